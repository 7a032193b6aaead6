package resourcetest

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/starlinghq/starling/resources"
)

var cells = resources.NewTable[string, int64]("cells")

func typeOf(name string, ops ...resources.Operation) *resources.Type {
	return resources.NewType(name, 1, ops...)
}

func TestGoodTypePasses(t *testing.T) {
	add := resources.NewCommand("add", func(tx *resources.Tx, key string) (int64, error) {
		n, _, err := cells.Get(tx, key)
		if err != nil {
			return 0, err
		}
		n += int64(tx.Rand().N(10)) + int64(tx.Now())
		if err := cells.Put(tx, key, n); err != nil {
			return 0, err
		}
		if n%3 == 0 {
			return n, errors.New("not this one")
		}
		return n, nil
	})
	sum := resources.NewQuery("sum", func(v *resources.View, _ struct{}) (n int64, err error) {
		for row, err := range cells.All(v) {
			if err != nil {
				return 0, err
			}
			n += row.Value
		}
		return n, nil
	})
	Run(t, typeOf("good", add, sum), Options{})
}

// TestBadTypesAreCaught: each makes one mistake that forks a cluster.
func TestBadTypesAreCaught(t *testing.T) {
	calls := int64(0)
	outside := map[*resources.Tx]int64{}
	for want, typ := range map[string]*resources.Type{
		"answer differently": typeOf("maporder", resources.NewCommand("first", func(tx *resources.Tx, m map[string]int) (string, error) {
			for key := range m {
				return key, nil
			}
			return "", nil
		})),
		"different states": typeOf("clock", resources.NewCommand("stamp", func(tx *resources.Tx, key string) (int, error) {
			return 0, cells.Put(tx, key, time.Now().UnixNano())
		})),
		"two members answer": typeOf("variable", resources.NewCommand("count", func(tx *resources.Tx, _ struct{}) (int64, error) {
			calls++
			return calls, nil
		})),
		"random": typeOf("random", resources.NewCommand("draw", func(tx *resources.Tx, key string) (uint64, error) {
			return rand.Uint64(), nil
		})),
		// What it counts follows from the commands alone, so members that live
		// for ever agree, and so does one that applies all of them again. One
		// that begins with a checkpoint does not.
		"restart": typeOf("outside", resources.NewCommand("count", func(tx *resources.Tx, _ struct{}) (int64, error) {
			outside[tx]++ // a machine always hands out the same one
			return outside[tx], nil
		})),
		"panicked": typeOf("panics", resources.NewCommand("divide", func(tx *resources.Tx, n int) (int, error) {
			return 100 / n, nil
		})),
		"behind its back": typeOf("scribbler", resources.NewCommand("scribble", func(tx *resources.Tx, b byte) (int, error) {
			if got, ok, _ := tx.Get([]byte("k")); ok {
				got[0]++
			}
			return 0, tx.Set([]byte("k"), []byte{b, b})
		})),
		"the query changed the state": typeOf("writer",
			resources.NewCommand("set", func(tx *resources.Tx, b byte) (int, error) { return 0, tx.Set([]byte("k"), []byte{b, 0}) }),
			resources.NewQuery("scribble", func(v *resources.View, _ struct{}) (int, error) {
				if got, ok, _ := v.Get([]byte("k")); ok {
					got[1]++
				}
				return 0, nil
			})),
	} {
		err := run(typ, Options{Seed: 1})
		if want == "random" || want == "restart" {
			want = "answer differently"
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("type %s: got %v, want %q", typ.Name(), err, want)
		}
	}
}

func TestArgumentsCanBeDrawnByTheTest(t *testing.T) {
	seen := 0
	double := resources.NewCommand("double", func(tx *resources.Tx, n int) (int, error) {
		if n != 7 {
			return 0, errors.New("not drawn by the test")
		}
		seen++
		return 2 * n, nil
	})
	Run(t, typeOf("double", double), Options{Steps: 10, Argument: func(*rand.Rand, resources.Description) any { return 7 }})
	if seen != 30 {
		t.Errorf("got %d calls, want 30: two machines and the replay", seen)
	}
}
