package layout_test

import (
	"errors"
	"reflect"
	"testing"

	"github.com/millrun/millrun/internal/layout"
)

func TestHeadersOfStoresAreKafkaStreams(t *testing.T) {
	t.Parallel()
	for _, f := range facts[struct {
		Headers                                                     headers
		Bytes, Value, ValueTimestampHeaders, AggregationWithHeaders octets
		TS                                                          int64
	}](t, "store-format-headers") {
		want := []header(f.Headers)
		wrote(t, "headers", layout.AppendHeaders(head, want), f.Bytes)
		wrote(t, "value", layout.AppendHeadersValue(head, f.Value, f.TS, want), f.ValueTimestampHeaders)
		wrote(t, "aggregation", layout.AppendHeadersAggregation(head, f.Value, want), f.AggregationWithHeaders)
		hs, err := layout.ReadHeaders[header](f.Bytes)
		read(t, "headers", err, reflect.DeepEqual(hs, want))
		value, at, hs, err := layout.ReadHeadersValue[header](f.ValueTimestampHeaders)
		read(t, "value", err, equal(value, f.Value) && at == f.TS && reflect.DeepEqual(hs, want))
		value, hs, err = layout.ReadHeadersAggregation[header](f.AggregationWithHeaders)
		read(t, "aggregation", err, equal(value, f.Value) && reflect.DeepEqual(hs, want))
		if len(f.Bytes) > 0 {
			refused(t, "headers", f.Bytes[:len(f.Bytes)-1], func(b []byte) error {
				if len(b) == 0 {
					return layout.ErrLayout // no bytes are no headers, which is right
				}
				_, err := layout.ReadHeaders[header](b)
				return err
			})
		}
	}
}

func TestHeadersThatAreNoneAreRefused(t *testing.T) {
	t.Parallel()
	some := headers{{"h", []byte("v")}}
	refused(t, "value", layout.AppendHeadersValue(nil, nil, 5, some), func(b []byte) error {
		_, _, _, err := layout.ReadHeadersValue[header](b)
		return err
	})
	refused(t, "aggregation", layout.AppendHeadersAggregation(nil, nil, some), func(b []byte) error {
		_, _, err := layout.ReadHeadersAggregation[header](b)
		return err
	})
	for _, b := range []string{"\x02\x01", "\x02\x02h\x03", "\x00x", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"} {
		if hs, err := layout.ReadHeaders[header]([]byte(b)); !errors.Is(err, layout.ErrLayout) || hs != nil {
			t.Errorf("%q was read as %v (%v)", b, hs, err)
		}
	}
	if _, _, _, err := layout.ReadHeadersValue[header]([]byte("\x02\x01\x00\x00\x00\x00\x00\x00\x00\x00")); !errors.Is(err, layout.ErrLayout) {
		t.Errorf("headers that are none were read before a value (%v)", err)
	}
}
