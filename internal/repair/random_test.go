package repair_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"github.com/starlinghq/starling/internal/repair"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
	"github.com/starlinghq/starling/storage/wal"
)

// Three members with logs as Raft leaves them: two hold what is committed, the
// third less, or something else above. Bits are flipped in some of them, they
// heal one another, those that can run commit more, and a checkpoint is given to
// those that ask. In the end each log is a log that its member may have: its
// own, or what is committed, and nothing of the committed part that it held is
// gone.
func TestRandomDamageHeals(t *testing.T) {
	seeds := 150
	if n, err := strconv.Atoi(os.Getenv("STARLING_MEND_SEEDS")); err == nil {
		seeds = n
	} else if testing.Short() {
		seeds = 20
	}
	counts := map[string]int{}
	for seed := range uint64(seeds) {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) { healRandom(t, seed, counts) })
	}
	t.Logf("%v", counts)
	for _, what := range []string{"own log again", "committed log instead", "helped by a later commit", "three damaged", "checkpoint"} {
		if counts[what] == 0 && seeds >= 100 {
			t.Errorf("never: %s", what)
		}
	}
}

type scene struct {
	*network
	r         *rand.Rand
	committed []protocol.Entry // all of the committed log, later entries too
	commit    protocol.Index
	own       [][]protocol.Entry // what each held before the damage
}

func healRandom(t *testing.T, seed uint64, counts map[string]int) {
	r := rand.New(rand.NewPCG(seed, 21))
	s := &scene{network: &network{t: t}, r: r, commit: 30 + protocol.Index(r.IntN(30))}
	s.committed = run(run(nil, 30, 2, seed, 900), 60, 3, seed+1, 900)
	// A log below: some of the common one, and an uncommitted end of its own.
	split := 10 + r.IntN(int(s.commit))
	third := s.committed[:split]
	if r.IntN(2) == 0 {
		third = run(third, 1+r.IntN(40), max(2, third[split-1].Term), seed+9, 900)
	}
	s.own = [][]protocol.Entry{s.committed[:s.commit+protocol.Index(r.IntN(8))], s.committed[:s.commit+protocol.Index(r.IntN(8))], third}
	damaged := 0
	for k, entries := range s.own {
		known := min(protocol.Index(split), s.commit-protocol.Index(r.IntN(5)))
		if k < 2 {
			known = s.commit - protocol.Index(r.IntN(5))
		}
		m := newMember(t, byte(k+1), entries, known, 1+r.IntN(7))
		m.log.Close()
		if r.IntN(4) > 0 {
			s.flipSome(m, 1+r.IntN(3))
		}
		log, err := wal.Open(m.disk, dir, m.options)
		if err != nil { // the hard state is lost: no such member any more
			counts["hard state lost"]++
			return
		}
		m.log = log
		if rec := log.Opened(); repair.Needed(m.id, &rec) {
			damaged++
		} else if rec.LogTerms.LastIndex() != protocol.Index(len(entries)) {
			t.Fatalf("seed %d: an undamaged log ends at %d, not %d", seed, rec.LogTerms.LastIndex(), len(entries))
		}
		s.members = append(s.members, m)
	}
	if damaged == 3 {
		counts["three damaged"]++
	}
	s.heal(seed, counts)
}

// flipSome flips bits of records and headers of segments, but not of the last
// record: with two flips there, that it was synced cannot be known.
func (s *scene) flipSome(m *member, n int) {
	records, segments := m.records(), m.segments()
	for range n {
		if s.r.IntN(6) == 0 {
			m.flip(segments[s.r.IntN(len(segments))], int64(s.r.IntN(128)))
			continue
		}
		rec := records[s.r.IntN(len(records)-2)]
		m.flip(rec.Segment, rec.Offset+int64(s.r.IntN(104+rec.Bytes)))
	}
}

// heal runs the cores in turns: after each, what is repaired starts and the others
// commit more.
func (s *scene) heal(seed uint64, counts map[string]int) {
	t := s.t
	s.start()
	for turn := range 9 {
		done := s.run(20 * second)
		for k, m := range s.members {
			if m.core == nil || m.core.Verdict().Plan == nil {
				continue
			}
			if turn > 0 {
				counts["helped by a later commit"]++
			}
			m.repair()
			s.checkRepaired(seed, k, counts)
		}
		if done {
			break
		}
		s.goOn()
		for _, m := range s.members {
			if m.core == nil {
				continue
			}
			if want := m.core.Verdict().Checkpoint; want > 0 && want <= s.commit {
				counts["checkpoint"]++
				m.core.Checkpoint(s.now, s.checkpoint(want+protocol.Index(s.r.IntN(int(s.commit-want)+1))))
			}
		}
	}
	if a, b := s.members[0].core, s.members[1].core; a != nil && b != nil && (s.lost(0) || s.lost(1)) {
		counts["uncommitted entries lost by all that held them"]++ // and with them the quorum
		return
	}
	for _, m := range s.members {
		if m.core != nil {
			t.Fatalf("seed %d: %s is not repaired: %+v, damage %+v", seed, m.id.Short(), m.core.Verdict(), m.log.Opened().Damage)
		}
	}
}

// lost reports whether an uncommitted entry of a member is damaged, and nobody
// else can read it.
func (s *scene) lost(k int) bool {
	for i, e := range s.own[k] {
		if e.Index <= s.commit {
			continue
		}
		held := false
		for o, m := range s.members {
			got, err := m.log.Read(e.Index, e.Index, 0)
			held = held || err == nil && got[0].Sum == s.own[k][i].Sum && len(s.own[o]) > i
		}
		if !held {
			return true
		}
	}
	return false
}

func (s *scene) checkpoint(at protocol.Index) storage.Begin { return beginAt(s.committed, at) }

// goOn lets those that run commit ten entries more, if the members that hold
// what is committed are among them.
func (s *scene) goOn() {
	if s.members[0].core != nil && s.members[1].core != nil {
		return
	}
	next := min(s.commit+10, protocol.Index(len(s.committed)))
	for _, m := range s.members[:2] {
		if m.core != nil {
			continue
		}
		rec := m.log.Opened()
		last := rec.LogTerms.LastIndex()
		m.state = rec.State
		if next > last {
			m.write(s.committed[last:next], s.commit)
		}
		m.state.Commit = next
		m.must(m.log.Write(protocol.Write{State: m.state, First: 1}, nil))
		m.must(m.log.Sync())
		m.must(m.log.Settle())
		m.reopen()
	}
	s.commit = next
}

// checkRepaired: the log is the member's own, or the committed one, and nothing
// committed that it held is missing.
func (s *scene) checkRepaired(seed uint64, k int, counts map[string]int) {
	t, m := s.t, s.members[k]
	t.Helper()
	rec := m.log.Opened()
	last := rec.LogTerms.LastIndex()
	own := s.own[k]
	same := func(entries []protocol.Entry) bool {
		return last <= protocol.Index(len(entries)) && (last == 0 || entries[last-1].Sum == rec.LastSum)
	}
	switch {
	case same(own) && last == protocol.Index(len(own)):
		counts["own log again"]++
	case same(s.committed):
		counts["committed log instead"]++
	default:
		t.Fatalf("seed %d: member %d has a log to %d that is neither its own nor the committed one", seed, k+1, last)
	}
	common := protocol.Index(0)
	for int(common) < len(own) && own[common].Sum == s.committed[common].Sum {
		common++
	}
	if last < common {
		t.Fatalf("seed %d: member %d held %d entries of the committed log, now it holds %d", seed, k+1, common, last)
	}
	if same(s.committed) {
		m.holds(s.committed[:last])
	} else {
		m.holds(own)
	}
}
