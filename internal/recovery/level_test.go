package recovery

import (
	"errors"
	"strings"
	"testing"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage/vfs"
	"github.com/starlinghq/starling/storage/wal"
)

// atLevel is a member whose log was raised to a level.
func atLevel(t *testing.T, level protocol.FormatLevel) *member {
	t.Helper()
	m := newMember(t, oldCluster, "a1")
	m.put(1, "k", "v")
	report, err := wal.Inspect(vfs.OS(), m.dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	at := report.Configurations[len(report.Configurations)-1]
	m.append(1, protocol.EntryConfiguration, protocol.EncodeConfiguration(at.Configuration.At(level)))
	if err := m.log.Close(); err != nil {
		t.Fatal(err)
	}
	return m
}

// The new cluster would read in another format what the old one has written.
func TestRecoverKeepsTheFormatLevel(t *testing.T) {
	m := atLevel(t, protocol.FormatKnown)
	if _, err := Recover(t.Context(), Options{Dir: m.dir, Registry: registry(t)}); err != nil {
		t.Fatal(err)
	}
	_, rec := state(t, m.dir)
	if got := rec.Configurations.LevelAt(protocol.IndexMax).Number(); got != protocol.FormatKnown.Number() {
		t.Errorf("the new cluster begins at level %d, want %d", got, protocol.FormatKnown)
	}
}

// [S] A release that does not know the level would make a state of what it knows of the log.
func TestRecoverRefusesALevelThatItDoesNotKnow(t *testing.T) {
	m := atLevel(t, protocol.FormatKnown.Next())
	_, err := Recover(t.Context(), Options{Dir: m.dir, Registry: registry(t)})
	if !errors.Is(err, protocol.ErrUnsupported) || !strings.Contains(err.Error(), "start it with a release that knows level") {
		t.Errorf("got %v, want %v", err, protocol.ErrUnsupported)
	}
	if id, err := wal.ReadIdentity(vfs.OS(), m.dir); err != nil || id.Cluster != oldCluster {
		t.Errorf("the directory belongs to cluster %s now, %v", id.Cluster, err)
	}
}
