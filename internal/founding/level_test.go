package founding

import (
	"testing"

	"github.com/starlinghq/starling/protocol"
)

// A cluster that begins above what one of its founders knows would begin without it.
func TestAClusterBeginsAtTheHighestLevelThatAllItsFoundersKnow(t *testing.T) {
	a, b, c := Place{"a:1", "10.0.0.1:1"}, Place{"b:1", "10.0.0.2:1"}, Place{"c:1", "10.0.0.3:1"}
	for _, test := range []struct{ a, b, c, want protocol.FormatLevel }{{2, 2, 2, 2}, {3, 2, 3, 2}, {2, 3, 3, 2}, {3, 3, 1, 1}} {
		f := New(Config{ID: memberIDOf(1), Begins: true, Level: test.a})
		f.Name(a, []Place{a, b, c})
		for at, level := range map[Place]protocol.FormatLevel{b: test.b, c: test.c} {
			said := &protocol.Founding{ID: memberIDOf(int(level) + 10), Name: at.Name, Address: at.Address, Level: level}
			if at == c {
				said.ID = memberIDOf(20)
			}
			f.Answered(at, f.Question(), &protocol.JoinInfo{Founding: said})
		}
		for _, p := range []struct {
			at    Place
			level protocol.FormatLevel
		}{{b, test.b}, {c, test.c}} {
			q := f.Question()
			f.Answered(p.at, q, &protocol.JoinInfo{Founding: &protocol.Founding{ID: memberIDOf(30), Name: p.at.Name, Address: p.at.Address, Promise: true, Level: p.level}})
		}
		if v := f.Verdict(); !v.Begin || v.Level != test.want {
			t.Errorf("founders that know %d, %d and %d: got %+v, want level %d", test.a, test.b, test.c, v, test.want)
		}
	}
	alone := New(Config{ID: memberIDOf(1), Begins: true, Level: 4})
	alone.Name(a, nil)
	if v := alone.Verdict(); !v.Begin || v.Level != 4 {
		t.Errorf("alone: got %+v, want level 4", v)
	}
}
