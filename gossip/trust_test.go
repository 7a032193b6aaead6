package gossip

import (
	"bytes"
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// signed is what an active that signs would push of a history: chain is the one
// of what it has pushed before.
func signed(h []protocol.Entry, first, last protocol.Index, chain protocol.Chain) (*protocol.Frame, protocol.Chain) {
	f := frame(h, activeID(1), first, last)
	f.Chain = chain
	after := chain.NextEntries(f.Before, f.Entries)
	f.Signature, f.Body = sealOf(protocol.LogStatement(last, after)), nil
	f.Body = protocol.EncodeFrameBody(f)
	return f, after
}

// [S] Nothing that is not signed is taken, nor passed on; its sender is named,
// once. The same frame with its signature is welcome, from whomever.
func TestUnsignedFrameIsNeitherTakenNorPassedOn(t *testing.T) {
	h := chain(20, 40, "x")
	b := newBench(t, protocol.RolePassive, h, 0, 2, 6, signing(Config{Probability: 1}))
	good, _ := signed(h, 1, 3, protocol.Chain{})
	bad := *good
	bad.Signature.Bytes[0] ^= 1
	for _, f := range []*protocol.Frame{frame(h, activeID(1), 1, 3), &bad} {
		rd := b.step(passiveID(1), f)
		if len(rd.Runs) > 0 || len(rd.Messages) > 0 {
			t.Fatalf("got %d runs, %d messages", len(rd.Runs), len(rd.Messages))
		}
		want := 0
		if f != &bad {
			want = 1
		}
		if len(rd.Events) != want || want == 1 && (rd.Events[0].Kind != protocol.EventForged || rd.Events[0].Member != passiveID(1)) {
			t.Errorf("got the events %v, want %d", rd.Events, want)
		}
	}
	if got := b.core.Refusals(); got != 2 {
		t.Errorf("got %d refusals, want 2", got)
	}
	// Who sends a datagram is not proven: what is signed counts, whoever it
	// seems to come from.
	rd := b.step(passiveID(1), good)
	frames := only[*protocol.Frame](rd.Messages)
	if len(rd.Runs) != 1 || len(frames) == 0 {
		t.Fatalf("got %d runs and %d copies of a signed frame", len(rd.Runs), len(frames))
	}
	if f := frames[0].Message.(*protocol.Frame); !bytes.Equal(f.Body, good.Body) {
		t.Error("a frame was not passed on as it came")
	}
}

// An active without a key among members that check signatures is named and counted:
// nobody believes what it says of ages. A passive need not sign.
func TestActiveThatSignsNothingIsNamed(t *testing.T) {
	b := newBench(t, protocol.RolePassive, freshLog, 100, 1, 1, signing(Config{Have: 50 * ms}))
	said := map[protocol.MemberID]int{}
	for range 400 {
		b.now = max(b.core.Deadline(), b.now.Add(ms))
		b.core.Tick(b.now)
		for _, asked := range only[*protocol.Have](b.core.Ready().Messages) {
			rd := b.step(asked.To, answer(asked.Message.(*protocol.Have).Nonce, 100, ms))
			for _, e := range rd.Events {
				if e.Kind == protocol.EventForged {
					said[e.Member]++
				}
			}
		}
	}
	if got := said[activeID(1)]; got < 1 || got > 8 {
		t.Errorf("the active was named %d times, want a few", got)
	}
	if got := said[passiveID(1)]; got != 0 {
		t.Errorf("the passive was named %d times, want none", got)
	}
	if b.core.Refusals() == 0 {
		t.Error("nothing was counted")
	}
	if _, known := b.core.Age(b.now, 100); known {
		t.Error("an age without a signature was believed")
	}
}

// More than the entries is not signed: a commit index above them is no news.
func TestCommitIndexAboveTheSignedEntriesIsIgnored(t *testing.T) {
	h := chain(20, 40, "x")
	b := newBench(t, protocol.RolePassive, h, 0, 2, 2, signing(Config{}))
	f, _ := signed(h, 1, 3, protocol.Chain{})
	f.Commit = 1000
	if rd := b.step(activeID(1), f); len(rd.Runs) != 1 || rd.Runs[0].Commit != 3 {
		t.Errorf("got %+v, want one run with the commit index 3", rd.Runs)
	}
}

// A passive gives to pulls what actives have signed, in runs that begin and end
// where a signature does; whoever gets them can check that, and repeat it. What
// it has no signature for it leaves to others.
func TestPassiveRepeatsSignatures(t *testing.T) {
	h := chain(400, 100, "x")
	b := newBench(t, protocol.RolePassive, h, 100, 2, 4, signing(Config{}))
	var c protocol.Chain
	for i := protocol.Index(101); i <= 400; i += 3 { // 101..103, ..., 398..400
		var f *protocol.Frame
		f, c = signed(h, i, i+2, c)
		b.take(b.step(activeID(1), f).Runs)
	}
	b.core.Ready()
	other := newBench(t, protocol.RolePassive, h, 200, 2, 4, signing(Config{}))
	for _, x := range []struct {
		first, last protocol.Index
		bytes       uint64
	}{{201, 400, 1 << 20}, {205, 207, 1 << 20}, {101, 101, 10}, {399, 400, 1 << 20}} {
		b.now = b.now.Add(time.Second)
		rd := b.step(passiveID(2), &protocol.Want{Ranges: []protocol.Range{{First: x.first, Last: x.last}}, Bytes: x.bytes})
		frames := only[*protocol.Frame](rd.Messages)
		if len(frames) != 1 {
			t.Fatalf("%d..%d: got %v", x.first, x.last, rd.Messages)
		}
		f := frames[0].Message.(*protocol.Frame)
		if r := f.Range(); r.First > x.first || r.Last < min(x.last, x.first) {
			t.Errorf("%d..%d: got %v", x.first, x.last, r)
		}
		msg, err := protocol.DecodeMessage(protocol.AppendMessage(nil, f))
		if err != nil {
			t.Fatal(err)
		}
		other.core.Step(other.now, passiveID(1), msg)
	}
	rd := other.core.Ready()
	if got := other.core.Refusals(); got != 0 || len(rd.Runs) == 0 {
		t.Errorf("whoever got them: %d refused, %d runs, %v", got, len(rd.Runs), rd.Events)
	}
	rd = b.step(passiveID(2), &protocol.Want{Ranges: []protocol.Range{{First: 50, Last: 60}}, Bytes: 1 << 20})
	if len(only[*protocol.Busy](rd.Messages)) != 1 || len(only[*protocol.Frame](rd.Messages)) != 0 {
		t.Errorf("what it has no signature for: got %v, want BUSY", rd.Messages)
	}
	if n := len(b.core.trust.spans); n > 6 {
		t.Errorf("300 entries of 100 bytes are %d spans, want a few", n)
	}
}

// An active signs whatever is asked for, from the disk, too.
func TestActiveSignsWhatItGives(t *testing.T) {
	h := chain(100, 40, "x")
	b := newBench(t, protocol.RoleActive, h, 100, 1, 4, signing(Config{}))
	b.cold = 50
	check := func(rd Ready) {
		t.Helper()
		frames := only[*protocol.Frame](rd.Messages)
		if len(frames) != 1 {
			t.Fatalf("got %v", rd)
		}
		f := frames[0].Message.(*protocol.Frame)
		r := f.Range()
		if err := checkSeal(protocol.LogStatement(r.Last, f.Chain.NextEntries(f.Before, f.Entries)), f.Signature); err != nil {
			t.Errorf("%v: %v", r, err)
		}
	}
	check(b.step(passiveID(1), &protocol.Want{Ranges: []protocol.Range{{First: 70, Last: 80}}, Bytes: 1 << 20}))
	rd := b.step(passiveID(2), &protocol.Want{Ranges: []protocol.Range{{First: 20, Last: 30}}, Bytes: 1 << 20})
	if len(rd.Reads) != 1 {
		t.Fatalf("got %v, want a read", rd)
	}
	r := rd.Reads[0]
	b.core.Answer(b.now, r.To, h[r.Range.First-1:r.Range.Last])
	check(b.core.Ready())
}

// A member that sends nothing but forgeries costs a bounded number of checks.
func TestChecksOfForgeriesAreBounded(t *testing.T) {
	h := chain(20, 40, "x")
	checks := 0
	cfg := signing(Config{})
	cfg.Verify = func(statement []byte, s protocol.Signature) error {
		checks++
		return checkSeal(statement, s)
	}
	b := newBench(t, protocol.RolePassive, h, 0, 2, 4, cfg)
	bad, _ := signed(h, 1, 3, protocol.Chain{})
	bad.Signature.Bytes[5] ^= 1
	for range 1000 {
		b.step(passiveID(1), bad)
	}
	if checks > forgeriesBurst {
		t.Errorf("got %d checks at once, want at most %d", checks, forgeriesBurst)
	}
	// Others are not affected.
	good, _ := signed(h, 1, 3, protocol.Chain{})
	if rd := b.step(passiveID(2), good); len(rd.Runs) != 1 {
		t.Errorf("got %d runs of a signed frame from another member", len(rd.Runs))
	}
}

// [S] What a passive says of its age, and of who leads, is not believed where
// signatures are checked, nor an active's answer to another question.
func TestOnlySignedAnswersCount(t *testing.T) {
	b := newBench(t, protocol.RolePassive, chain(20, 40, "x"), 10, 1, 1, signing(Config{Have: 50 * ms}))
	ask := func(from protocol.MemberID) *protocol.Have {
		for range 100 {
			for _, e := range only[*protocol.Have](b.wait(50 * ms).Messages) {
				if e.To == from {
					return answer(e.Message.(*protocol.Have).Nonce, 10, 20*ms)
				}
			}
		}
		t.Fatal("it was not asked")
		return nil
	}
	known := func(rd Ready) bool {
		_, ok := b.core.Age(b.now, 10)
		return ok || rd.Led != nil
	}
	a := ask(passiveID(1))
	if known(b.step(passiveID(1), a)) {
		t.Error("an unsigned answer of a passive counts")
	}
	if got := b.core.Refusals(); got != 0 {
		t.Errorf("got %d refusals for an honest answer, want none", got)
	}
	old := ask(activeID(1))
	old.Signature = sealOf(protocol.FreshnessStatement(old))
	again := ask(activeID(1))
	replayed := *old
	replayed.AnswerTo = again.AnswerTo
	if rd := b.step(activeID(1), &replayed); known(rd) || len(rd.Events) != 1 {
		t.Errorf("a replayed answer counts, or is not named: %v", rd.Events)
	}
	a = ask(activeID(1))
	a.Term, a.Leader = 7, activeID(1)
	a.Signature = sealOf(protocol.FreshnessStatement(a))
	rd := b.step(activeID(1), a)
	if !known(rd) || rd.Led == nil || *rd.Led != (Led{7, activeID(1)}) {
		t.Errorf("a signed answer does not count: %v", rd.Led)
	}
}

// [S] A log sum that nobody has signed convinces nobody that its own log is
// wrong, and a manifest that nobody has signed is not installed: not of two
// members that agree, not of one that says it is an active.
func TestUnsignedSumsAndDescriptionsAreNotBelieved(t *testing.T) {
	h := chain(20, 40, "x")
	b := newBench(t, protocol.RolePassive, h, 10, 1, 2, signing(Config{}))
	b.core.Refused(b.now, Run{From: passiveID(1), Origin: passiveID(1), Entries: h[10:12], Commit: 12})
	b.core.Ready()
	a := &protocol.SumAnswer{Index: 10, Known: true, Sum: protocol.LogSum{1, 2}}
	if rd := b.step(activeID(1), a); rd.Diverged != nil {
		t.Error("an unsigned log sum counts")
	}
	b.now = b.now.Add(2 * sumPause)
	b.core.Tick(b.now) // it is asked again
	a = &protocol.SumAnswer{Index: 10, Known: true, Sum: protocol.LogSum{1, 2}}
	a.Signature = sealOf(protocol.SumStatement(a))
	if rd := b.step(activeID(1), a); rd.Diverged == nil {
		t.Error("a signed log sum does not count")
	}

	b = below(t, 1, 2)
	b.core.cfg.Verify = checkSeal
	d := &protocol.Manifest{Manifest: []byte("state")}
	for round := range 20 {
		if round > 0 { // its sender was named for the first one
			b.now = b.now.Add(avoidFor)
			d.Signature = sealOf(protocol.ManifestStatement(d.Manifest))
		}
		for _, e := range only[*protocol.ManifestWant](b.wait(time.Second).Messages) {
			if e.To != activeID(1) {
				t.Errorf("a passive is asked for a manifest, which it cannot sign")
			}
			sent := *d
			rd := b.step(e.To, &sent)
			if d.Signature.IsZero() && rd.Offer != nil {
				t.Fatal("an unsigned manifest is believed")
			}
			if rd.Offer != nil {
				return
			}
		}
	}
	t.Error("a signed manifest was not believed")
}

// What was asked for in datagrams is given, and no more: a signed entry of 300 KB went as a whole
// each time.
func TestASignedEntryGoesInTheDatagramsAskedFor(t *testing.T) {
	for name, cold := range map[string]protocol.Index{"memory": 0, "disk": 102} {
		t.Run(name, func(t *testing.T) {
			h := chain(101, 300_000, "x")
			b := newBench(t, protocol.RolePassive, h, 100, 2, 4, signing(Config{}))
			f, _ := signed(h, 101, 101, protocol.Chain{})
			b.take(b.step(activeID(1), f).Runs)
			b.cold = cold
			b.now = b.now.Add(time.Second)
			rd := b.step(passiveID(2), &protocol.Want{Ranges: []protocol.Range{{First: 101, Last: 101}}, Bytes: smallBytesMin, Small: true})
			for _, r := range rd.Reads {
				first := r.Range.First
				b.core.Answer(b.now, r.To, h[first-1:first])
				rd = b.core.Ready()
				for _, r := range rd.Reads { // the entry before came alone
					b.core.Answer(b.now, r.To, h[r.Range.First-1:r.Range.Last])
					rd = b.core.Ready()
				}
			}
			bytes := 0
			for _, e := range only[*protocol.FramePart](rd.Messages) {
				bytes += len(e.Message.(*protocol.FramePart).Data)
			}
			if bytes < smallBytesMin || bytes > smallBytesMin+protocol.FramePartBytesMax {
				t.Errorf("%d bytes of parts, want the %d that were asked for", bytes, smallBytesMin)
			}
		})
	}
}
