package active_test

import (
	"fmt"
	"time"

	"github.com/starlinghq/starling/active"
	"github.com/starlinghq/starling/protocol"
)

// wholeLog is the smallest owner of a log: all entries in memory.
type wholeLog struct{ entries []protocol.Entry }

// Fit walks the encoded sizes. Index i is at entries[i-1].
func (l *wholeLog) Fit(first, last protocol.Index, bytes int) protocol.Index {
	size, i := len(l.entries[first-1].Raw), first
	for i < last && size+len(l.entries[i].Raw) <= bytes {
		size += len(l.entries[i].Raw)
		i++
	}
	return i
}

// SumAt chains the sums of the encoded entries from index 1.
func (l *wholeLog) SumAt(i protocol.Index) (sum protocol.LogSum, known bool) {
	for _, e := range l.entries[:i] {
		sum = sum.Next(e.Raw)
	}
	return sum, true
}

// Three members in one function: the loop hands each Ready to an instant disk
// and an instant network until nobody has anything to say.
func Example() {
	a, b, c := protocol.MemberID{'a'}, protocol.MemberID{'b'}, protocol.MemberID{'c'}
	var first protocol.Configuration
	for _, id := range []protocol.MemberID{a, b, c} {
		first = first.With(protocol.ActiveMember{ID: id, Name: string(id[:1]), Suffrage: protocol.SuffrageVoter})
	}
	ids := first.Voters()
	members := map[protocol.MemberID]*active.Member{}
	logs := map[protocol.MemberID]*wholeLog{}
	for i, id := range ids {
		cfg := active.LAN
		cfg.ID, cfg.Run, cfg.Seed = id, protocol.RunID(i+1), uint64(i)
		logs[id] = &wholeLog{}
		// The first configuration is known where the log begins.
		configs := protocol.NewConfigurations(protocol.ConfigurationAt{Configuration: first})
		members[id] = active.New(0, cfg, active.Start{Configurations: configs}, logs[id])
	}

	now := protocol.Instant(0)
	settle := func() {
		for busy := true; busy; {
			busy = false
			for _, id := range ids {
				m, log := members[id], logs[id]
				if !m.HasReady() {
					continue
				}
				busy = true
				ready := m.Ready()
				if ready.Delta.Truncate {
					log.entries = log.entries[:ready.Delta.After]
				}
				log.entries = append(log.entries, ready.Delta.Entries...)
				if ready.Write != nil {
					m.Persisted(now, ready.Write.ID)
				}
				for _, read := range ready.Reads {
					fmt.Printf("%s may serve read %d at index %d\n", id[:1], read.Request, read.Index)
				}
				for _, e := range ready.Messages {
					if out, ok := e.Message.(*protocol.Append); ok {
						out.Entries = log.entries[out.PrevIndex:out.Last]
					}
					members[e.To].Step(now, e.From, e.Message)
				}
			}
		}
	}

	now = now.Add(time.Second) // longer than any election timeout of the preset
	members[a].Tick(now)
	settle()
	fmt.Println("leader:", members[a].State(), "term", members[a].Term())

	index, err := members[a].Propose(now, []active.Proposal{{Kind: protocol.EntryCommand, Data: []byte("hello")}})
	settle()
	fmt.Println("proposed:", index, err)
	for _, id := range ids {
		entry := logs[id].entries[index-1]
		fmt.Printf("%s has committed %d: %s %q\n", id[:1], members[id].Status().Commit, entry, entry.Data)
	}

	members[b].ReadIndex(now, protocol.ReadIndex{Origin: b, Run: 2, Request: 7})
	settle()
	// Output:
	// leader: leader term 1
	// proposed: 2 <nil>
	// a has committed 2: 2@1 command "hello"
	// b has committed 2: 2@1 command "hello"
	// c has committed 2: 2@1 command "hello"
	// b may serve read 7 at index 2
}
