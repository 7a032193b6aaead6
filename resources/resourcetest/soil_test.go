package resourcetest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/starlinghq/starling/resources"
)

// bag is written in the order of a Go map.
type bag struct{ m map[string]int }

func (b bag) EncodeMsgpack(e *msgpack.Encoder) error {
	if err := e.EncodeArrayLen(2 * len(b.m)); err != nil {
		return err
	}
	for key, n := range b.m {
		if err := e.EncodeMulti(key, n); err != nil {
			return err
		}
	}
	return nil
}

func (b *bag) DecodeMsgpack(d *msgpack.Decoder) error {
	n, err := d.DecodeArrayLen()
	b.m = map[string]int{}
	for i := 0; i < n && err == nil; i += 2 {
		var key string
		var count int
		err = d.DecodeMulti(&key, &count)
		b.m[key] = count
	}
	return err
}

// reused is written by an encoder of the library's pool, as it comes.
type reused struct {
	Name string `json:"n"`
	F    float64
}

func (r reused) MarshalMsgpack() ([]byte, error) {
	var out bytes.Buffer
	e := msgpack.GetEncoder()
	defer msgpack.PutEncoder(e)
	e.ResetWriter(&out)
	type plain reused
	err := e.Encode(plain(r))
	return out.Bytes(), err
}

func (r *reused) UnmarshalMsgpack(b []byte) error {
	type plain reused
	return msgpack.Unmarshal(b, (*plain)(r))
}

// counted is written with the number of its encodings.
type counted struct{ N int64 }

var encodings atomic.Int64

func (c counted) MarshalText() ([]byte, error) {
	return []byte(strings.Repeat("x", int(encodings.Add(1)/4%3))), nil
}

func (c *counted) UnmarshalText([]byte) error { return nil }

// TestSaysWhichOfTheTwo: when members differ, is it the encoding of a value, or
// the command?
func TestSaysWhichOfTheTwo(t *testing.T) {
	bags, plain := resources.NewTable[string, bag]("bags"), resources.NewTable[string, map[string]any]("plain")
	const encoding, operation = "the encoding of a ", ", not the encoding of its values, depends on more"
	for _, c := range []struct {
		want string
		op   resources.Operation
	}{
		{encoding + "resourcetest.bag", resources.NewCommand("table", func(tx *resources.Tx, key string) (int, error) {
			return 0, bags.Put(tx, key, bag{map[string]int{"a": 1, "b": 2, "c": 3, "d": 4}})
		})},
		{encoding + "resourcetest.bag", resources.NewCommand("answer", func(*resources.Tx, int) (bag, error) {
			return bag{map[string]int{"a": 1, "b": 2, "c": 3}}, nil
		})},
		{encoding + "resourcetest.bag", resources.NewQuery("query", func(*resources.View, int) (bag, error) {
			return bag{map[string]int{"a": 1, "b": 2, "c": 3}}, nil
		})},
		{"its argument: " + encoding + "resourcetest.reused", resources.NewCommand("argument", func(*resources.Tx, reused) (int, error) { return 0, nil })},
		{encoding + "resourcetest.counted", resources.NewCommand("counted", func(*resources.Tx, int) (counted, error) { return counted{}, nil })},
		{"the command itself" + operation, resources.NewCommand("clock", func(tx *resources.Tx, key string) (int, error) {
			return 0, plain.Put(tx, key, map[string]any{"at": time.Now(), "by": key})
		})},
		{"the operation itself" + operation, resources.NewCommand("random", func(*resources.Tx, string) (uint64, error) { return rand.Uint64(), nil })},
	} {
		if err := run(typeOf("t", c.op), Options{Seed: 1, Steps: 50}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.op.Describe().Name, err, c.want)
		}
	}
}

// TestSoilReachesNobody: values of all kinds are written alike amid soil.
func TestSoilReachesNobody(t *testing.T) {
	type inner struct {
		Name string `json:"n"`
		F    float64
		L    []string
	}
	table := resources.NewTable[string, map[string]inner]("t")
	put := resources.NewCommand("put", func(tx *resources.Tx, m map[string]inner) (any, error) {
		for _, name := range words {
			if err := table.Put(tx, "key"+name, m); err != nil {
				return nil, err
			}
		}
		return map[string]any{"words": words, "F": 1.0, "inner": inner{"Zürich", 1, words}}, nil
	})
	Run(t, typeOf("t", put), Options{Steps: 50})
}

// TestArgumentsHaveAllKinds: what is in an interface is drawn, too, and what
// cannot be stored is drawn again.
func TestArgumentsHaveAllKinds(t *testing.T) {
	type sparse struct {
		Any any `msgpack:",omitempty"`
		At  time.Time
	}
	kinds := map[string]bool{}
	see := resources.NewCommand("see", func(_ *resources.Tx, s sparse) (bool, error) {
		kinds[fmt.Sprintf("%T in %v", s.Any, s.At.Location())] = true
		return s.Any == nil, nil
	})
	Run(t, typeOf("kinds", see), Options{Seed: 1})
	if len(kinds) < 8 {
		t.Errorf("got %v, want more kinds", kinds)
	}
}
