package gossip_test

import (
	"fmt"
	"time"

	"github.com/starlinghq/starling/gossip"
	"github.com/starlinghq/starling/protocol"
)

// memory is a log of which all is in memory.
type memory []protocol.Entry

func (m memory) Entries(first, last protocol.Index, _ int) []protocol.Entry {
	return m[first-1 : last : last]
}

func (m memory) SumBefore(first protocol.Index) (protocol.LogSum, bool) {
	if first == 1 {
		return protocol.LogSum{}, true
	}
	return m[first-2].Sum, true
}

// An active that has committed entries pushes a frame; a passive that gets it hands its
// owner a run. The owner of a core carries its messages, and nothing else.
func Example() {
	log := make(memory, 3)
	for i := range log {
		log[i] = protocol.Entry{Index: protocol.Index(i + 1), Term: 1, Kind: protocol.EntryCommand, Data: fmt.Appendf(nil, "command %d", i+1)}
	}
	protocol.EncodeEntries(log)
	protocol.SumEntries(protocol.LogSum{}, log)

	peers := []protocol.Peer{{ID: protocol.MemberID{1}, Role: protocol.RoleActive}, {ID: protocol.MemberID{2}, Role: protocol.RolePassive}}
	active := gossip.New(0, gossip.Config{ID: peers[0].ID, Seed: 1}, log)
	passive := gossip.New(0, gossip.Config{ID: peers[1].ID, Seed: 2}, memory{})
	cores := map[protocol.MemberID]*gossip.Core{peers[0].ID: active, peers[1].ID: passive}

	for _, c := range cores {
		c.SetPeers(0, peers)
	}
	passive.Progress(0, gossip.Progress{Term: 1, Role: protocol.RolePassive, Leader: peers[0].ID})
	active.Progress(0, gossip.Progress{First: 1, Term: 1, Role: protocol.RoleActive, Leader: peers[0].ID, Source: true})
	active.Progress(0, gossip.Progress{First: 1, LastIndex: 3, Applied: 3, Commit: 3, Term: 1, Role: protocol.RoleActive, Leader: peers[0].ID, Source: true})

	for now := protocol.Instant(0); now < protocol.Instant(time.Second); now += protocol.Instant(time.Millisecond) {
		for _, peer := range peers {
			c := cores[peer.ID]
			if c.Tick(now); !c.HasReady() {
				continue
			}
			r := c.Ready()
			for _, e := range r.Messages {
				cores[e.To].Step(now, peer.ID, e.Message)
			}
			for _, run := range r.Runs {
				fmt.Printf("entries %d to %d, committed up to %d\n", run.Entries[0].Index, run.Entries[len(run.Entries)-1].Index, run.Commit)
				return
			}
		}
	}
	// Output:
	// entries 1 to 3, committed up to 3
}
