package machine_test

import (
	"testing"

	"github.com/starlinghq/starling/protocol"
)

// Used is part of the state: it survives a checkpoint, and holds for just the
// version that was applied.
func TestUsedTypesAreInTheState(t *testing.T) {
	l := newLocal(t, journal)
	id := l.open(t, 0)
	name, version := journal.Name(), journal.Version()
	x := protocol.TypeVersion{Name: name, Version: version}
	if l.m.Used(x) {
		t.Fatal("used before the first command")
	}
	wantCode(t, "refused", l.note(id, 1, 1, "refuse"), errRefused)
	if l.m.Used(x) {
		t.Error("used after a command without effect")
	}
	l.note(id, 2, 1, "hello")
	if !l.m.Used(x) || l.m.Used(protocol.TypeVersion{Name: name, Version: version + 1}) || l.m.Used(protocol.TypeVersion{Name: name + "x", Version: version}) {
		t.Errorf("used %t, another version %t", l.m.Used(x), l.m.Used(protocol.TypeVersion{Name: name, Version: version + 1}))
	}
	snap := l.m.Snapshot()
	defer snap.Close()
	loader := l.m.NewLoader()
	for item := range snap.All() {
		if err := loader.Add(item); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := loader.Finish(snap.Index()); err != nil {
		t.Fatal(err)
	}
	l.m.Install(loader)
	if !l.m.Used(x) {
		t.Error("not used after a restart from a checkpoint")
	}
}
