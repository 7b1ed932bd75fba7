package layout_test

import (
	"bytes"
	"errors"
	"reflect"
	"testing"

	"github.com/millrun/millrun/internal/layout"
)

func TestStampsAndOriginsAreReadAsWritten(t *testing.T) {
	t.Parallel()
	for _, s := range []layout.Stamp{
		{Kind: layout.Amended, Time: -1},
		{Kind: layout.Recorded, Time: 1 << 50, Offset: 1 << 60, Topic: []byte("in")},
		{Kind: layout.Stepped, Time: 3, Offset: 4, Topic: []byte{}},
		{Kind: layout.Recorded, Time: 3, Offset: 4, Topic: []byte("in"), Begun: true},
	} {
		b := layout.AppendStamp(nil, s)
		if got, err := layout.ReadStamp(b); err != nil || !reflect.DeepEqual(got, s) {
			t.Errorf("%+v was read as %+v, %v", s, got, err)
		}
		if _, err := layout.ReadStamp(b[:1]); !errors.Is(err, layout.ErrLayout) {
			t.Errorf("a part of %+v: %v", s, err)
		}
	}
	all := []layout.Origin{
		{Topic: []byte("a"), Partition: 3, Offset: 5, Index: 1},
		{Topic: []byte("b"), Partition: 3, Late: true, Offset: 1 << 40},
		{Topic: []byte("a"), Partition: 1<<31 - 1, Index: 2},
	}
	for _, o := range all {
		if got, err := layout.ReadOrigin(layout.AppendOrigin(nil, o)); err != nil || !reflect.DeepEqual(got, o) {
			t.Errorf("%+v was read as %+v, %v", o, got, err)
		}
	}
	b := layout.AppendOrigins(nil, all)
	if got, err := layout.ReadOrigins(b); err != nil || !reflect.DeepEqual(got, all) {
		t.Errorf("%+v were read as %+v, %v", all, got, err)
	}
	if _, err := layout.ReadOrigins(b[:len(b)-1]); !errors.Is(err, layout.ErrLayout) {
		t.Errorf("a part of the list: %v", err)
	}
}

func TestKafkaStreamsPassesOverTheTailOfMetadata(t *testing.T) {
	t.Parallel()
	tail := []byte{1, 2, 3}
	text := layout.MetadataBefore(7, map[string]int64{"m": 1}, tail)
	at, markers := layout.ReadMetadata(text) // reads as Kafka Streams does
	if _, _, got := layout.ReadMetadataBefore(text); at != 7 || markers["m"] != 1 || !bytes.Equal(got, tail) {
		t.Errorf("%s was read as %d %v %v", text, at, markers, got)
	}
	if _, _, got := layout.ReadMetadataBefore(layout.MetadataBefore(7, nil, tail)); !bytes.Equal(got, tail) {
		t.Errorf("without markers the tail is %v", got)
	}
}
