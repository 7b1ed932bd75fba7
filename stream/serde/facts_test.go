package serde_test

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/millrun/millrun/stream/serde"
)

// The facts are what Kafka's own serializers wrote; each is written and read back.
func TestSerdesAreKafkasInAllFacts(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("../../internal/layout/testdata/serde.json")
	if err != nil {
		t.Fatal(err)
	}
	var facts []struct {
		Serde string `json:"serde"`
		Value string `json:"value"`
		Bytes string `json:"bytes"`
	}
	if err := json.Unmarshal(b, &facts); err != nil || len(facts) == 0 {
		t.Fatalf("%d facts: %v", len(facts), err)
	}
	for _, f := range facts {
		if strings.HasPrefix(f.Serde, "list(") {
			continue // package layout's
		}
		write, ok := byName[f.Serde]
		if !ok {
			t.Errorf("%s is not known", f.Serde)
			continue
		}
		if got, err := write(f.Value); err != nil || got != f.Bytes {
			t.Errorf("%s %q: %s, want %s (%v)", f.Serde, f.Value, got, f.Bytes, err)
		}
	}
}

var byName = map[string]func(string) (string, error){
	"short":   whole(serde.Int16()),
	"integer": whole(serde.Int32()),
	"long":    whole(serde.Int64()),
	"float":   fraction(serde.Float32()),
	"double":  fraction(serde.Float64()),
	"boolean": func(v string) (string, error) {
		b, err := strconv.ParseBool(v)
		return twice(serde.Bool(), b, err)
	},
	"string": func(v string) (string, error) { return twice(serde.String(), v, nil) },
	"uuid": func(v string) (string, error) {
		var u [16]byte
		_, err := hex.Decode(u[:], []byte(strings.ReplaceAll(v, "-", "")))
		return twice(serde.UUID(), u, err)
	},
}

func whole[T int16 | int32 | int64](s serde.Serde[T]) func(string) (string, error) {
	return func(v string) (string, error) {
		n, err := strconv.ParseInt(v, 10, 64)
		return twice(s, T(n), err)
	}
}

func fraction[T float32 | float64](s serde.Serde[T]) func(string) (string, error) {
	return func(v string) (string, error) {
		x, err := strconv.ParseFloat(v, 64)
		return twice(s, T(x), err)
	}
}

// twice writes v, reads it, and writes it again.
func twice[T any](s serde.Serde[T], v T, err error) (string, error) {
	if err != nil {
		return "", err
	}
	b, err := s.Append(nil, v, serde.Meta{})
	if err != nil {
		return "", err
	}
	back, err := s.Decode(b, serde.Meta{})
	if err != nil {
		return "", err
	}
	c, err := s.Append(nil, back, serde.Meta{})
	if err == nil && string(c) != string(b) {
		err = fmt.Errorf("read back as %v, which is %x", back, c)
	}
	return hex.EncodeToString(b), err
}
