package gossip

import (
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// Many passives that begin at once with nothing come forward alike: none has what the next one
// lacks, and all is asked of actives. They were asked for 32 KiB at a time, for as long as some
// passive was asked now and then, in vain.
func TestPassivesThatBeginAtOnceAskActivesForMore(t *testing.T) {
	const passives, entries = 24, 4000
	n := newNetwork(t, options{seed: 1, actives: 3, passives: passives, delay: 500 * time.Microsecond, jitter: 2 * ms})
	n.write(entries, 256)
	n.run(n.now + 3*time.Second)
	wants := 0
	for i := range 3 {
		n.nodes[i].hears = func(m protocol.Message) {
			if _, ok := m.(*protocol.Want); ok {
				wants++
			}
		}
	}
	clear(n.net.Bytes)
	began := n.now
	for _, d := range n.nodes[3:] {
		d.log = nil
		d.restart()
	}
	n.levels(t)
	given, all := 0, 0
	for i, b := range n.net.Bytes {
		all += b
		if i < 3 {
			given += b
		}
	}
	whole := passives * protocol.RawSize(n.history)
	if wants > 6*passives || given*10 > 3*whole {
		t.Errorf("%d pulls from actives, and %d of %d bytes, want at most six for each passive, and three tenths", wants, given, whole)
	}
	t.Logf("level after %v, %d pulls from actives, %.2f of all bytes that are lacking sent, %.2f by actives",
		n.now-began, wants, float64(all)/float64(whole), float64(given)/float64(whole))
}
