package config

import (
	"crypto/ed25519"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/starlinghq/starling/internal/naming"
	"github.com/starlinghq/starling/protocol"
)

// Every field has a row but those that only a program can fill in.
func TestEveryFieldHasARow(t *testing.T) {
	var rows []string
	for _, f := range Fields {
		rows = append(rows, string(f.Name))
	}
	for _, f := range reflect.VisibleFields(reflect.TypeFor[Config]()) {
		own := slices.Contains([]string{"Neighbours", "Types", "Logger"}, f.Name)
		if n := len(slices.DeleteFunc(slices.Clone(rows), func(r string) bool { return r != f.Name })); own && n != 0 || !own && n != 1 {
			t.Errorf("%s has %d rows", f.Name, n)
		}
	}
}

// What a row calls the default is one: of the field's type, and within its bounds. What
// is said stays, and nothing is left for others to fill in but what they know better.
func TestDefaultsAreFilledInOnce(t *testing.T) {
	once := Config{Name: "a", Bootstrap: true}.Filled()
	if twice := once.Filled(); !reflect.DeepEqual(once, twice) {
		t.Errorf("got %+v, want %+v", twice, once)
	}
	if once.Role != protocol.RoleActive || once.Actives != 3 || once.Election == 0 {
		t.Errorf("got %+v", once)
	}
	for _, f := range Fields {
		if err := f.check(&once); err != nil {
			t.Error(err)
		}
	}
}

// A number beyond the bounds of its row is refused, and one at them is not.
func TestBoundsOfARowAreKept(t *testing.T) {
	for _, f := range Fields {
		if f.Least == nil {
			continue
		}
		for _, bound := range []any{f.Least, f.Most} {
			c := Config{Name: "a"}.Filled()
			reflect.ValueOf(f.In(&c)).Elem().Set(reflect.ValueOf(bound))
			if err := f.check(&c); err != nil {
				t.Errorf("%v: %v", bound, err)
			}
			step := 1.0
			if bound == f.Least {
				step = -1
			}
			switch v := f.In(&c).(type) {
			case *uint64:
				*v += uint64(int64(step))
			case *float64:
				*v += step
			case *int:
				*v += int(step)
			default:
				d := reflect.ValueOf(v).Elem()
				d.SetInt(d.Int() + int64(step))
			}
			if err := f.check(&c); err == nil && !reflect.ValueOf(f.In(&c)).Elem().IsZero() {
				t.Errorf("%s is %v, and nobody minds", f.Name, reflect.ValueOf(f.In(&c)).Elem())
			}
		}
	}
	c := Config{Name: "a", GossipProbability: math.NaN(), CheckpointEvery: 1, RetainBytes: -1, SigningKey: ed25519.PrivateKey("short")}
	err := c.Validate()
	for field, wrong := range map[naming.Field]bool{"GossipProbability": true, "CheckpointEvery": true, "RetainBytes": false, "SigningKey": true} {
		if got := strings.Contains(err.Error(), string(field)+" "); got != wrong {
			t.Errorf("%s is named: %t, want %t, in %v", field, got, wrong, err)
		}
	}
}
