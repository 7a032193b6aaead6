package machine_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/zeebo/xxh3"

	"github.com/starlinghq/starling/internal/machine"
	"github.com/starlinghq/starling/protocol"
)

// TestAHistoryAlwaysEndsWithTheSameBytes: members of different versions of this program
// apply the same log. What this test has recorded never changes: digests, answers, and
// the items of a checkpoint. It has twice, before there was a release: a copy of a command is answered with the
// index of what it is a copy of, which is no part of the state; and what a session has executed is one key
// (docs/adr/0074).
func TestAHistoryAlwaysEndsWithTheSameBytes(t *testing.T) {
	checkHistory(t, &history{r: rand.New(rand.NewPCG(11, 13))}, map[string]any{
		"digest":                machine.Digest{0xfae7971b2620d6df, 0xb83a7e2ab19596a7},
		"digests along the way": uint64(0x8c9bf6d2ac149361), "answers": uint64(0xde11a11bd9983036), "items": uint64(0xf87548971df366a8),
		"bytes": 169966,
	})
	checkHistory(t, &history{r: rand.New(rand.NewPCG(11, 13)), alone: true}, map[string]any{
		"digest":                machine.Digest{0x154504e64d31711e, 0xb3308b4348201644},
		"digests along the way": uint64(0xac1b194753e4ecfc), "answers": uint64(0x3e36ff5da03fd8e0), "items": uint64(0xb089ed1a54ec01d4),
		"bytes": 436957,
	})
}

func checkHistory(t *testing.T, h *history, recorded map[string]any) {
	t.Helper()
	m := newTracked(t)
	along, answers, items := xxh3.New(), xxh3.New(), xxh3.New()
	for range 5000 {
		for _, r := range m.Apply([]protocol.Entry{h.next()}, nil) {
			answers.WriteString(fmt.Sprintf("%d %s %x\n", r.Index, r.Code, r.Data))
		}
		_, digest := m.Digest()
		b := digest.Bytes()
		along.Write(b[:])
	}
	snapshot := m.Snapshot()
	defer snapshot.Close()
	for item := range snapshot.All() {
		items.Write(binary.BigEndian.AppendUint64([]byte(item.Space+"\x00"+string(item.Key)+"\x00"+string(item.Value)), uint64(item.Index)))
	}
	got := map[string]any{
		"digest": snapshot.Digest(), "digests along the way": along.Sum64(), "answers": answers.Sum64(), "items": items.Sum64(),
		"bytes": snapshot.Bytes(),
	}
	for what, want := range recorded {
		if got[what] != want {
			t.Errorf("%s: got %#v, want %#v", what, got[what], want)
		}
	}
}
