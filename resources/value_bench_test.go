package resources_test

import (
	"testing"
	"time"

	"github.com/starlinghq/starling/resources"
	"github.com/starlinghq/starling/resources/kvmap"
)

// person is a value as services have them.
type person struct {
	Name  string
	Age   int
	Tags  []string
	Since time.Time
}

// BenchmarkValues encodes and decodes what maps are made of.
func BenchmarkValues(b *testing.B) {
	benchmarkValue(b, "put", kvmap.PutRequest{Key: []byte("some-key"), Value: make([]byte, 256), Version: 7})
	benchmarkValue(b, "item", kvmap.Item{Key: []byte("some-key"), Value: make([]byte, 256), Version: 7})
	benchmarkValue(b, "string", "a value of some thirty bytes..")
	benchmarkValue(b, "int", 1234567)
	benchmarkValue(b, "struct", person{"Ada", 36, []string{"a", "b"}, time.Unix(1, 2)})
	benchmarkValue(b, "map", map[string]int{"a": 1, "b": 2, "c": 3})
	benchmarkValue(b, "any", map[string]any{"a": 1, "b": "x", "c": []any{1.5, nil}})
}

func benchmarkValue[T any](b *testing.B, name string, value T) {
	data, err := resources.AppendValue(nil, value)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("append/"+name, func(b *testing.B) {
		b.ReportAllocs()
		var dst []byte
		for b.Loop() {
			dst, _ = resources.AppendValue(dst[:0], value)
		}
	})
	b.Run("parse/"+name, func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := resources.ParseValue[T](data); err != nil {
				b.Fatal(err)
			}
		}
	})
}
