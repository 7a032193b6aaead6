package gossip

import (
	"math"
	"slices"
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
)

const ms = time.Millisecond

// bench is one core on a bench: a scripted test drives it by hand.
type bench struct {
	t         *testing.T
	core      *Core
	now       protocol.Instant
	log       []protocol.Entry // may be longer than the last index: the rest is uncommitted
	lastIndex protocol.Index
	role      protocol.Role
	// cold says that entries below it are on the disk only.
	cold protocol.Index
	read [2]protocol.Index // the widest range asked of the log
}

var self = protocol.MemberID{0xff, 1}

func (b *bench) Entries(first, last protocol.Index, bytes int) []protocol.Entry {
	b.read = [2]protocol.Index{first, max(last, b.read[1])}
	if first < b.cold {
		return nil
	}
	e := b.log[first-1 : last : last]
	return e[:cut(e, bytes)]
}

func (b *bench) SumBefore(i protocol.Index) (protocol.LogSum, bool) {
	if i < b.cold {
		return protocol.LogSum{}, false
	}
	if i == 1 {
		return protocol.LogSum{}, true
	}
	return b.log[i-2].Sum, true
}

// chain returns n entries with sums; text tells histories apart.
func chain(n, bytes int, text string) []protocol.Entry {
	entries := make([]protocol.Entry, n)
	for i := range entries {
		entries[i] = protocol.Entry{
			Index: protocol.Index(i + 1), Term: 1, Kind: protocol.EntryCommand,
			Data: append([]byte(text), make([]byte, bytes)...),
		}
	}
	protocol.EncodeEntries(entries)
	protocol.SumEntries(protocol.LogSum{}, entries)
	return entries
}

// actives and passives 1.. of the bench's flock.
func activeID(i int) protocol.MemberID  { return protocol.MemberID{1, byte(i)} }
func passiveID(i int) protocol.MemberID { return protocol.MemberID{2, byte(i)} }

func newBench(t *testing.T, role protocol.Role, log []protocol.Entry, lastIndex protocol.Index, actives, passives int, cfg Config) *bench {
	b := &bench{t: t, now: 5000, log: log, lastIndex: lastIndex, role: role}
	cfg.ID, cfg.Seed = self, 42
	if cfg.Mode == 0 {
		cfg.Mode = Flood // links are not what most tests are about
	}
	if cfg.Have == 0 {
		cfg.Have = time.Hour // out of the way
	}
	b.core = New(b.now, cfg, b)
	b.core.digest.at = b.now.Add(cfg.Have)
	var peers []protocol.Peer
	for i := range actives {
		peers = append(peers, protocol.Peer{ID: activeID(i + 1), Role: protocol.RoleActive})
	}
	for i := range passives {
		peers = append(peers, protocol.Peer{ID: passiveID(i + 1), Role: protocol.RolePassive})
	}
	b.core.SetPeers(b.now, peers)
	b.progress()
	return b
}

func (b *bench) progress() {
	b.core.Progress(b.now, Progress{
		First: 1, LastIndex: b.lastIndex, Applied: b.lastIndex, Commit: b.lastIndex, Term: 1, Leader: activeID(1), Role: b.role, Source: true,
	})
}

func (b *bench) step(from protocol.MemberID, m protocol.Message) Ready {
	b.core.Step(b.now, from, m)
	return b.core.Ready()
}

// wait lets time pass, serving the deadlines on the way.
func (b *bench) wait(d time.Duration) Ready {
	var all Ready
	end := b.now.Add(d)
	for b.core.Deadline() <= end {
		b.now = max(b.now, b.core.Deadline())
		b.core.Tick(b.now)
		rd := b.core.Ready()
		all.Messages = append(all.Messages, rd.Messages...)
		all.Runs = append([]Run(nil), rd.Runs...) // not taken: offered again by each Tick
		all.Events = append(all.Events, rd.Events...)
	}
	b.now = end
	return all
}

// frame is what origin would send of a history.
func frame(h []protocol.Entry, origin protocol.MemberID, first, last protocol.Index) *protocol.Frame {
	f := &protocol.Frame{Origin: origin, Commit: last, Entries: slices.Clone(h[first-1 : last])}
	if first > 1 {
		f.Before = h[first-2].Sum
	}
	f.Body = protocol.EncodeFrameBody(f)
	return f
}

// take is what the owner does with runs: all of them fit.
func (b *bench) take(runs []Run) {
	for _, r := range runs {
		b.lastIndex = max(b.lastIndex, r.Entries[len(r.Entries)-1].Index)
	}
	b.progress()
}

func only[M protocol.Message](messages []protocol.Envelope) (out []protocol.Envelope) {
	for _, e := range messages {
		if _, ok := e.Message.(M); ok {
			out = append(out, e)
		}
	}
	return out
}

// [S] Gossip speaks of the committed prefix only (counterexample 4): an
// uncommitted suffix neither leaves the member nor counts as held.
func TestUncommittedSuffixDoesNotExist(t *testing.T) {
	stale, committed := chain(105, 10, "mine"), chain(110, 10, "mine")
	for i := 100; i < 110; i++ { // 101'.. are others
		committed[i].Data = []byte("theirs")
	}
	protocol.EncodeEntries(committed)
	protocol.SumEntries(protocol.LogSum{}, committed)

	for _, role := range []protocol.Role{protocol.RoleActive, protocol.RolePassive} {
		b := newBench(t, role, stale, 100, 2, 10, Config{})
		other := passiveID(1)
		for _, e := range b.step(other, &protocol.Want{Ranges: []protocol.Range{{First: 95, Last: 105}, {First: 101, Last: 105}}, Bytes: 1 << 20}).Messages {
			if f, ok := e.Message.(*protocol.Frame); ok && f.Range().Last > 100 {
				t.Errorf("%s: got %v in answer to a pull, want nothing above 100", role, f.Range())
			}
		}
		b.step(other, &protocol.Want{Ranges: []protocol.Range{{First: 103, Last: 105}}, Bytes: 1 << 20})
		if b.read[1] > 100 {
			t.Errorf("%s: the log was asked for %d", role, b.read[1])
		}
		h := b.step(other, &protocol.Have{LastIndex: 90, Nonce: 1}).Messages[0].Message.(*protocol.Have)
		if h.LastIndex != 100 || h.Commit != 100 {
			t.Errorf("%s: got digest %+v, want last index and commit 100", role, h)
		}
		if role == protocol.RoleActive {
			a := b.step(other, &protocol.SumQuestion{Index: 101}).Messages[0].Message.(*protocol.SumAnswer)
			if a.Known {
				t.Errorf("got the sum of an uncommitted index")
			}
			continue
		}
		// 101' is news, although something is held at 101.
		rd := b.step(other, frame(committed, activeID(1), 101, 106))
		if len(rd.Runs) != 1 || len(rd.Messages) == 0 {
			t.Errorf("got %d runs and %d messages for 101', want it taken and passed on", len(rd.Runs), len(rd.Messages))
		}
	}
	// An active pushes up to its last index.
	b := newBench(t, protocol.RoleActive, stale, 90, 2, 10, Config{})
	b.lastIndex = 100
	b.progress()
	last := protocol.Index(0)
	for _, e := range only[*protocol.Frame](b.core.Ready().Messages) {
		last = max(last, e.Message.(*protocol.Frame).Range().Last)
	}
	if last != 100 {
		t.Errorf("got frames up to %d, want 100", last)
	}
}

func TestFrameIsPassedOnOnceUnchanged(t *testing.T) {
	h := chain(20, 10, "h")
	b := newBench(t, protocol.RolePassive, h, 10, 2, 50, Config{Probability: 1, HopLimit: 5})
	f := frame(h, activeID(1), 13, 14)
	f.Hop = 2
	rd := b.step(passiveID(1), f)
	if len(rd.Messages) != 4 {
		t.Fatalf("got %d copies, want 4", len(rd.Messages))
	}
	var to []protocol.MemberID
	for _, e := range rd.Messages {
		p := e.Message.(*protocol.Frame)
		if p.Hop != 3 || &p.Body[0] != &f.Body[0] {
			t.Errorf("got hop %d, same body %v; want hop 3 and the body as it came", p.Hop, &p.Body[0] == &f.Body[0])
		}
		if e.To[0] != 2 || e.To == passiveID(1) || slices.Contains(to, e.To) {
			t.Errorf("sent to %s: want distinct passives, not the sender", e.To.Short())
		}
		to = append(to, e.To)
	}
	for _, again := range []*protocol.Frame{f, frame(h, activeID(2), 14, 14), frame(h, activeID(2), 5, 9)} {
		if rd := b.step(passiveID(2), again); len(only[*protocol.Frame](rd.Messages)) != 0 {
			t.Errorf("%v was passed on again", again.Range())
		}
	}
	old := frame(h, activeID(1), 15, 15)
	old.Hop = 4
	if rd := b.step(passiveID(1), old); len(rd.Messages) != 0 {
		t.Error("a frame was passed on beyond the hop limit")
	}
	old.Hop = 255
	old.Entries = h[16:17]
	if rd := b.step(passiveID(1), old); len(rd.Messages) != 0 {
		t.Error("a frame with the highest hop was passed on")
	}
}

func TestFramesAreDeliveredInOrder(t *testing.T) {
	h := chain(30, 10, "h")
	b := newBench(t, protocol.RolePassive, h, 0, 1, 5, Config{})
	var got []protocol.Range
	step := func(first, last protocol.Index) {
		rd := b.step(passiveID(1), frame(h, activeID(1), first, last))
		for _, r := range rd.Runs {
			got = append(got, protocol.Range{First: r.Entries[0].Index, Last: r.Entries[len(r.Entries)-1].Index})
		}
		b.take(rd.Runs)
	}
	step(5, 6)
	step(9, 10)
	step(3, 4)
	step(1, 2)
	step(6, 8) // overlaps what is held
	step(1, 10)
	want := []protocol.Range{{First: 1, Last: 2}, {First: 3, Last: 4}, {First: 5, Last: 6}, {First: 6, Last: 8}, {First: 9, Last: 10}}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if len(b.core.intake.buffer.frames) != 0 || b.core.intake.buffer.bytes != 0 || len(b.core.intake.seen.list) != 0 {
		t.Errorf("got %d frames, %d bytes, seen %v left, want nothing", len(b.core.intake.buffer.frames), b.core.intake.buffer.bytes, b.core.intake.seen.list)
	}
}

// A run that the role could not take (its disk is behind) is offered again.
func TestRunThatWasNotTakenIsOfferedAgain(t *testing.T) {
	h := chain(10, 10, "h")
	b := newBench(t, protocol.RolePassive, h, 0, 1, 5, Config{Have: 50 * ms})
	if rd := b.step(activeID(1), frame(h, activeID(1), 1, 3)); len(rd.Runs) != 1 {
		t.Fatalf("got %d runs, want 1", len(rd.Runs))
	}
	rd := b.wait(60 * ms)
	if len(rd.Runs) == 0 {
		t.Fatal("got nothing, want the run again")
	}
	b.take(rd.Runs[:1])
	b.core.Ready()
	if rd := b.wait(60 * ms); len(rd.Runs) != 0 {
		t.Errorf("got %d runs after it was taken, want none", len(rd.Runs))
	}
}

func TestActiveTakesNothingFromTheFlock(t *testing.T) {
	h := chain(10, 10, "h")
	b := newBench(t, protocol.RoleActive, h, 5, 2, 5, Config{})
	rd := b.step(passiveID(1), frame(h, activeID(1), 6, 8))
	b.step(passiveID(1), &protocol.Have{LastIndex: 10, First: 1})
	if w := b.wait(time.Second); len(rd.Runs)+len(rd.Messages)+len(w.Messages) != 0 {
		t.Errorf("got %+v %+v, want nothing", rd, w)
	}
}

func TestPushIsBatched(t *testing.T) {
	h := chain(6000, 100, "h")
	b := newBench(t, protocol.RoleActive, h, 1000, 2, 4, Config{Probability: 1})
	rise := func(n protocol.Index) (frames []*protocol.Frame) {
		b.lastIndex += n
		b.progress()
		for _, e := range b.core.Ready().Messages {
			if f := e.Message.(*protocol.Frame); e.To == passiveID(1) {
				frames = append(frames, f)
			}
		}
		return frames
	}
	if got := rise(1); len(got) != 1 || got[0].Range() != (protocol.Range{First: 1001, Last: 1001}) || got[0].Body == nil {
		t.Fatalf("idle: got %d frames, want one at once, encoded", len(got))
	}
	if got := rise(1); len(got) != 0 {
		t.Errorf("within the flush interval: got %d frames, want none yet", len(got))
	}
	b.now = b.now.Add(2 * ms)
	if got := rise(20); len(got) == 0 {
		t.Error("a full datagram: got nothing, want it at once")
	} else {
		for _, f := range got {
			if n := protocol.MessageSize(f); n > protocol.DatagramBytesMax {
				t.Errorf("got a frame of %d bytes", n)
			}
		}
	}
	rise(1)
	rd := b.wait(10 * ms)
	if got := len(rd.Messages); got != 4 {
		t.Errorf("after the flush interval: got %d copies, want 4", got)
	}
	// A jump beyond what is pushed leaves the old entries to pulls, and goes
	// in larger frames.
	b.now = b.now.Add(time.Second)
	got := rise(4900)
	if len(got) == 0 || got[0].Range().First <= 1024 {
		t.Fatalf("got %d frames from %d", len(got), got[0].Range().First)
	}
	if n := protocol.RawSize(got[0].Entries); n < protocol.DatagramBytesMax || n > bulkEntriesBytes {
		t.Errorf("got a frame of %d bytes, want a larger one", n)
	}
}

func TestEvidenceIsPulledAfterAGrace(t *testing.T) {
	h := chain(20, 10, "h")
	b := newBench(t, protocol.RolePassive, h, 10, 2, 5, Config{})
	b.step(passiveID(3), &protocol.Have{First: 1, LastIndex: 14})
	b.step(activeID(1), &protocol.Have{First: 1, LastIndex: 14})
	if rd := b.wait(ms); len(rd.Messages) != 0 {
		t.Fatalf("got %v within the grace, want nothing", rd.Messages)
	}
	wants := only[*protocol.Want](b.wait(2 * ms).Messages)
	if len(wants) != 1 || wants[0].To != passiveID(3) {
		t.Fatalf("got %v, want one pull, from the passive", wants)
	}
	if got, want := wants[0].Message.(*protocol.Want).Ranges, []protocol.Range{{First: 11, Last: 14}}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	// It stays silent: the active is asked.
	wants = only[*protocol.Want](b.wait(30 * ms).Messages)
	if len(wants) != 1 || wants[0].To != activeID(1) {
		t.Fatalf("got %v after silence, want the active asked", wants)
	}
	// The active says BUSY, for long; nobody else holds it: the passive is
	// asked again when it is heard of.
	b.step(activeID(1), &protocol.Busy{RetryAfter: math.MaxInt64})
	b.wait(100 * ms)
	b.step(passiveID(3), &protocol.Have{First: 1, LastIndex: 14})
	wants = only[*protocol.Want](b.wait(10 * ms).Messages)
	if len(wants) != 1 || wants[0].To != passiveID(3) {
		t.Fatalf("got %v, want the passive asked again", wants)
	}
	// The answer comes, in part: the rest is pulled at once.
	f := frame(h, passiveID(3), 11, 12)
	f.Flags = protocol.FramePulled
	rd := b.step(passiveID(3), f)
	wants = only[*protocol.Want](rd.Messages)
	if len(rd.Runs) != 1 || len(wants) != 1 || wants[0].Message.(*protocol.Want).Ranges[0].First != 13 {
		t.Errorf("got %d runs and %v, want 11..12 and a pull from 13", len(rd.Runs), wants)
	}
	if len(only[*protocol.Frame](rd.Messages)) != 0 {
		t.Error("the answer to a pull was passed on")
	}
}

func TestGapIsFilledByAPushWithoutAPull(t *testing.T) {
	h := chain(20, 10, "h")
	b := newBench(t, protocol.RolePassive, h, 10, 2, 5, Config{})
	b.step(passiveID(1), frame(h, activeID(1), 12, 12))
	b.now = b.now.Add(ms)
	b.take(b.step(passiveID(2), frame(h, activeID(1), 11, 11)).Runs)
	b.core.Ready()
	if wants := only[*protocol.Want](b.wait(time.Second).Messages); len(wants) != 0 {
		t.Errorf("got %v, want no pull", wants)
	}
}

// A member that was away for long pulls tiny entries, of which thousands fit
// into the bytes that it asks for. A frame of more than AppendEntriesMax is
// refused unread, and the same one would be sent for ever.
func TestPullOfTinyEntriesFitsIntoAFrame(t *testing.T) {
	const n = protocol.AppendEntriesMax + 100
	h := chain(n+20, 0, "h")
	for _, cold := range []protocol.Index{0, n + 10} {
		b := newBench(t, protocol.RolePassive, h, n+20, 1, 5, Config{})
		b.cold = cold
		rd := b.step(passiveID(1), &protocol.Want{Ranges: []protocol.Range{{First: 5, Last: n + 4}}, Bytes: protocol.AppendBytesMax})
		if cold > 0 {
			b.core.Answer(b.now, passiveID(1), h[3:n+4])
			rd = b.core.Ready()
		}
		f := rd.Messages[0].Message.(*protocol.Frame)
		if want := (protocol.Range{First: 5, Last: 4 + protocol.AppendEntriesMax}); f.Range() != want {
			t.Errorf("cold up to %d: got %v, want %v", cold, f.Range(), want)
		}
		if _, err := protocol.DecodeMessage(protocol.AppendMessage(nil, f)); err != nil {
			t.Error(err)
		}
	}
}

func TestPullFromTheDisk(t *testing.T) {
	h := chain(20, 10, "h")
	b := newBench(t, protocol.RolePassive, h, 20, 1, 5, Config{})
	b.cold = 15
	other := passiveID(1)
	want := func(first, last protocol.Index) Ready {
		return b.step(other, &protocol.Want{Ranges: []protocol.Range{{First: first, Last: last}}, Bytes: 1000})
	}
	rd := want(5, 10)
	if len(rd.Reads) != 1 || rd.Reads[0].Range != (protocol.Range{First: 4, Last: 10}) || rd.Reads[0].To != other {
		t.Fatalf("got %+v, want a read of 4..10: entry 4 carries the sum before 5", rd.Reads)
	}
	if rd := want(5, 10); len(rd.Reads) != 0 {
		t.Error("the same read was asked for twice")
	}
	b.core.Answer(b.now, other, h[3:4]) // it came alone
	rd = b.core.Ready()
	if len(rd.Reads) != 1 || rd.Reads[0].Range != (protocol.Range{First: 5, Last: 10}) {
		t.Fatalf("got %+v, want a read of 5..10", rd.Reads)
	}
	b.core.Answer(b.now, other, h[4:9])
	f := b.core.Ready().Messages[0].Message.(*protocol.Frame)
	if f.Range() != (protocol.Range{First: 5, Last: 9}) || f.Before != h[3].Sum || f.Flags != protocol.FramePulled || f.Origin != self {
		t.Errorf("got %+v, want 5..9 with the sum before", f)
	}
	rd = want(1, 3) // the sum before the first entry is known
	if len(rd.Reads) != 1 || rd.Reads[0].Range.First != 1 {
		t.Errorf("got %+v, want a read from 1", rd.Reads)
	}
	b.core.Answer(b.now, passiveID(4), h[:3]) // nobody asked
	if b.core.HasReady() {
		t.Error("got an answer to nobody's question")
	}
}

// A flood of pulls costs bounded work, and is told so.
func TestFloodOfPullsIsBounded(t *testing.T) {
	h := chain(2000, 1000, "h")
	b := newBench(t, protocol.RolePassive, h, 2000, 1, 5, Config{ServeBytesMax: 8 << 20})
	bytes, frames, busy := 0, 0, 0
	ranges := make([]protocol.Range, 50)
	for i := range ranges {
		ranges[i] = protocol.Range{First: 1, Last: math.MaxUint64}
	}
	for range 10_000 {
		for _, e := range b.step(passiveID(1), &protocol.Want{Ranges: ranges, Bytes: math.MaxUint64}).Messages {
			switch m := e.Message.(type) {
			case *protocol.Frame:
				frames++
				bytes += protocol.RawSize(m.Entries)
			case *protocol.Busy:
				busy++
			}
		}
	}
	if bytes > 2<<20+protocol.AppendBytesMax+2000 || frames == 0 {
		t.Errorf("got %d bytes in %d frames, want a quarter of the share at most", bytes, frames)
	}
	if busy == 0 || busy > answersBurst {
		t.Errorf("got %d times BUSY, want some and at most %d", busy, answersBurst)
	}
	// Others are still served.
	if rd := b.step(passiveID(2), &protocol.Want{Ranges: ranges[:1], Bytes: 1000}); len(only[*protocol.Frame](rd.Messages)) != 1 {
		t.Errorf("got %v, want a frame for another member", rd.Messages)
	}
}

// Absurd claims are harmless: the liar is asked in vain, ever more seldom, and
// the honest feed on.
func TestAbsurdClaimsAreHarmless(t *testing.T) {
	h := chain(40, 10, "h")
	b := newBench(t, protocol.RolePassive, h, 10, 2, 5, Config{})
	liar := passiveID(1)
	asked := 0
	for i := range 200 {
		b.core.Step(b.now, liar, &protocol.Have{First: 1, LastIndex: 1 << 60, Commit: math.MaxUint64, FreshKnown: true, FreshAge: -1, FreshIndex: math.MaxUint64, Nonce: uint64(i)})
		b.core.Step(b.now, liar, &protocol.Have{LastIndex: math.MaxUint64, AnswerTo: uint64(i)})
		b.core.Step(b.now, liar, &protocol.Frame{Origin: liar, Commit: 1 << 61, Entries: []protocol.Entry{{Index: 1<<60 + protocol.Index(2*i), Term: 1, Raw: []byte{1}}}})
		b.core.Step(b.now, liar, &protocol.Frame{Origin: liar, Commit: math.MaxUint64, Entries: []protocol.Entry{{Index: math.MaxUint64, Term: 1}}})
		b.core.Step(b.now, liar, &protocol.Frame{Origin: liar, Commit: 5, Entries: h[10:12]}) // above its own commit
		b.core.Step(b.now, liar, &protocol.Frame{})
		rd := b.wait(50 * ms)
		if len(rd.Runs) != 0 {
			t.Fatalf("got runs %v", rd.Runs)
		}
		asked += len(only[*protocol.Want](rd.Messages))
	}
	t.Logf("the liar was asked %d times in 10 s", asked)
	if asked > 50 {
		t.Errorf("the liar was asked %d times in 10 s, want few", asked)
	}
	b.core.Step(b.now, passiveID(2), &protocol.Have{First: 1, LastIndex: 40})
	for range 20 {
		for _, e := range only[*protocol.Want](b.wait(50 * ms).Messages) {
			if e.To == passiveID(2) {
				f := frame(h, passiveID(2), b.lastIndex+1, b.lastIndex+10)
				f.Flags = protocol.FramePulled
				b.take(b.step(passiveID(2), f).Runs)
			}
		}
		b.core.Step(b.now, passiveID(2), &protocol.Have{First: 1, LastIndex: 40})
	}
	if b.lastIndex != 40 {
		t.Errorf("got up to %d from the honest member, want 40", b.lastIndex)
	}
	if _, ok := b.core.Age(b.now, math.MaxUint64); ok {
		t.Error("got an age from a liar's unsolicited claims")
	}
}

func TestBufferIsBounded(t *testing.T) {
	h := chain(3000, 1000, "h")
	b := newBench(t, protocol.RolePassive, h, 0, 1, 5, Config{BufferBytesMax: 1 << 20})
	for i := protocol.Index(3000); i > 1; i-- {
		b.step(passiveID(1), frame(h, activeID(1), i, i))
		if got := b.core.intake.buffer.bytes; got > 1<<20 {
			t.Fatalf("got %d bytes in the buffer", got)
		}
	}
	// The nearest were kept.
	if first := b.core.intake.buffer.frames[0].r.First; first != 2 {
		t.Errorf("got frames from %d, want 2", first)
	}
	rd := b.step(passiveID(1), frame(h, activeID(1), 1, 1))
	if len(rd.Runs) < 500 {
		t.Errorf("got %d runs, want what was kept", len(rd.Runs))
	}
	b.take(rd.Runs)
	if got := b.core.intake.buffer.bytes; got != 0 {
		t.Errorf("got %d bytes left", got)
	}
}

// A member that is far behind hears how far the others are, and passes that on. It is
// not the age of its state, before that has come there.
func TestClaimAboutAnIndexThatIsNotAppliedIsNoAge(t *testing.T) {
	b := newBench(t, protocol.RolePassive, chain(5, 10, "h"), 5, 2, 3, Config{})
	hear := func(applied, fresh protocol.Index) Heard {
		b.step(passiveID(2), &protocol.Have{First: 1, LastIndex: 5, Applied: applied, FreshKnown: true, FreshIndex: fresh, FreshAge: int64(7 * ms)})
		return b.core.Heard()[0]
	}
	if got := hear(4, 1_000_000); got.AgeKnown {
		t.Errorf("got an age of %v, want none: it has applied 4 of 1,000,000", got.Age)
	}
	b.now = b.now.Add(time.Second)
	if got := hear(900_000, 1_100_000); got.AgeKnown {
		t.Errorf("got an age of %v, want none: it has applied 900,000 of 1,000,000", got.Age)
	}
	b.now = b.now.Add(time.Second)
	if got, want := hear(1_000_000, 1_200_000), 2*time.Second+7*ms; !got.AgeKnown || got.Age != want {
		t.Errorf("got %+v, want an age of %v: it has come to what was the end then", got, want)
	}
	if got := hear(1_200_000, 1_200_000); !got.AgeKnown || got.Age != 7*ms {
		t.Errorf("got %+v, want an age of 7 ms: it is level", got)
	}
}

func TestPeersComeAndGo(t *testing.T) {
	b := newBench(t, protocol.RolePassive, chain(5, 10, "h"), 5, 2, 3, Config{})
	b.step(passiveID(2), &protocol.Have{First: 1, LastIndex: 5, Applied: 4, FreshKnown: true, FreshIndex: 4, FreshAge: int64(7 * ms)})
	b.step(activeID(1), &protocol.Have{First: 1, LastIndex: 5, Applied: 5})
	b.step(protocol.MemberID{9}, &protocol.Have{First: 1, LastIndex: 5, Applied: 5}) // a stranger
	want := []Heard{
		{ID: activeID(1), Applied: 5, LastIndex: 5, At: b.now},
		{ID: passiveID(2), Applied: 4, LastIndex: 5, AgeKnown: true, Age: 7 * ms, At: b.now},
	}
	if got := b.core.Heard(); !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	b.core.SetPeers(b.now, []protocol.Peer{
		{ID: passiveID(2), Role: protocol.RoleActive}, {ID: self}, {ID: passiveID(2)}, {},
	})
	if got := b.core.Heard(); !slices.Equal(got, want[1:]) {
		t.Errorf("got %+v, want only the member that stayed", got)
	}
	if a, p := len(b.core.members.actives), len(b.core.members.passives); a != 1 || p != 0 {
		t.Errorf("got %d actives and %d passives, want 1 and 0", a, p)
	}
}

func TestValidate(t *testing.T) {
	if err := (Config{}).Validate(); err != nil {
		t.Errorf("got %v for the defaults", err)
	}
	bad := Config{Mode: 9, Fanout: -1, Probability: 2, HopLimit: 300, Have: -1, ServeBytesMax: -1}
	err, ok := bad.Validate().(interface{ Unwrap() []error })
	if !ok || len(err.Unwrap()) != 6 {
		t.Errorf("got %v, want six mistakes", bad.Validate())
	}
}
