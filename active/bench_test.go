package active

import (
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// trio is three cores without checker or trace, for benchmarks.
type trio struct {
	now     protocol.Instant
	members [3]*Member
	logs    [3]benchLog
	ids     []protocol.MemberID
}

type benchLog struct{ entries []protocol.Entry }

func (l *benchLog) Fit(first, last protocol.Index, bytes int) protocol.Index {
	return min(last, first+999)
}

func (l *benchLog) SumAt(protocol.Index) (protocol.LogSum, bool) { return protocol.LogSum{}, true }

func newTrio() *trio {
	r := &trio{now: 1}
	base := configurationOf("a", "b", "c")
	r.ids = base.Voters()
	for i := range r.members {
		cfg := LAN
		cfg.ID, cfg.Seed = r.ids[i], uint64(i)
		cfg.UncommittedMax = 1 << 20
		r.members[i] = New(r.now, cfg, Start{Configurations: protocol.NewConfigurations(protocol.ConfigurationAt{Configuration: base})}, &r.logs[i])
	}
	r.now = r.now.Add(time.Second)
	r.members[0].Tick(r.now)
	r.settle()
	return r
}

func (r *trio) settle() {
	for busy := true; busy; {
		busy = false
		for i, m := range r.members {
			if !m.HasReady() {
				continue
			}
			busy = true
			ready, log := m.Ready(), &r.logs[i]
			log.entries = append(log.entries, ready.Delta.Entries...)
			if ready.Write != nil {
				m.Persisted(r.now, ready.Write.ID)
			}
			for _, e := range ready.Messages {
				if a, ok := e.Message.(*protocol.Append); ok {
					a.Entries = log.entries[a.PrevIndex:a.Last]
				}
				to := 0
				for r.ids[to] != e.To {
					to++
				}
				r.members[to].Step(r.now, e.From, e.Message)
			}
		}
	}
}

// BenchmarkReplicate64 is a batch of 64 commands of 256 B from proposal to
// commit on all three members, without disk and network.
func BenchmarkReplicate64(b *testing.B) {
	r := newTrio()
	proposals := make([]Proposal, 64)
	for i := range proposals {
		proposals[i] = Proposal{Kind: protocol.EntryCommand, Data: make([]byte, 256)}
	}
	b.ReportAllocs()
	for b.Loop() {
		r.now++
		if _, err := r.members[0].Propose(r.now, proposals); err != nil {
			b.Fatal(err)
		}
		r.settle()
		if r.members[2].hard.Commit != r.members[0].logTerms.LastIndex() {
			b.Fatal("not committed")
		}
		if len(r.logs[0].entries) > 100_000 {
			b.StopTimer()
			r = newTrio()
			b.StartTimer()
		}
	}
}

// TestNoAllocationPerEntry: what a batch costs does not depend on its size.
func TestNoAllocationPerEntry(t *testing.T) {
	cost := func(n int) float64 {
		r := newTrio()
		for i := range r.logs {
			r.logs[i].entries = append(make([]protocol.Entry, 0, 1<<18), r.logs[i].entries...)
		}
		proposals := make([]Proposal, n)
		for i := range proposals {
			proposals[i] = Proposal{Kind: protocol.EntryCommand, Data: []byte("x")}
		}
		return testing.AllocsPerRun(100, func() {
			if _, err := r.members[0].Propose(r.now, proposals); err != nil {
				t.Fatal(err)
			}
			r.settle()
		})
	}
	small, large := cost(1), cost(512)
	t.Logf("%.0f allocations for a batch of 1, %.0f for 512", small, large)
	if large > small+5 {
		t.Errorf("got %.0f allocations for a batch of 512, want at most five more than the %.0f for one", large, small)
	}
}
