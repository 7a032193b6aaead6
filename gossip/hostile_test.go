package gossip

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// The signatures of these tests are cheap, and as good as real ones against
// members that do not know the secret.
var secret = []byte("the actives' key")

func sealOf(statement []byte) protocol.Signature {
	s := protocol.Signature{Key: [8]byte{1}}
	sum := sha256.Sum256(append(bytes.Clone(secret), statement...))
	copy(s.Bytes[:], sum[:])
	return s
}

func checkSeal(statement []byte, s protocol.Signature) error {
	if s != sealOf(statement) {
		return errors.New("its signature is false")
	}
	return nil
}

// signing is a flock whose actives sign and whose members check.
func signing(cfg Config) Config {
	cfg.Sign, cfg.Verify = sealOf, checkSeal
	return cfg
}

// villainAt is which node of a flock of three actives is the hostile one.
const villainAt = 3

// hostileFlock runs a flock with one hostile passive while there are some writes:
// what it sends goes through twist first. Then nobody writes any more, and
// everybody has a second.
func hostileFlock(t *testing.T, seed uint64, passives, writes int, cfg Config, twist func(*network, protocol.Envelope) []protocol.Message) (n *network, villain *node, slowest time.Duration) {
	n = newNetwork(t, options{
		seed: seed, actives: 3, passives: passives, loss: 0.03, delay: 500 * time.Microsecond, jitter: time.Millisecond, config: cfg,
	})
	villain = n.nodes[villainAt]
	villain.twist = func(e protocol.Envelope) []protocol.Message { return twist(n, e) }
	for range writes {
		n.write(1+n.rng.IntN(3), 60)
		n.run(n.now + time.Duration(n.rng.Int64N(int64(20*time.Millisecond))))
		for _, d := range n.nodes {
			if len(d.log) < len(n.history) {
				slowest = max(slowest, n.now-n.acked[len(d.log)])
			}
		}
	}
	n.run(n.now + time.Second)
	return n, villain, slowest
}

// named counts the events of a kind about a member, and about all others, at
// honest members.
func (n *network) named(kind protocol.EventKind, who *node) (its, others int) {
	for _, d := range n.nodes {
		for _, e := range d.events {
			switch {
			case d == who || e.Kind != kind:
			case e.Member == who.id:
				its++
			default:
				others++
			}
		}
	}
	return its, others
}

func inModes(t *testing.T, do func(t *testing.T, mode Mode, seed uint64)) {
	for name, mode := range map[string]Mode{"hybrid": Hybrid, "flood": Flood} {
		t.Run(name, func(t *testing.T) {
			for seed := range uint64(2) {
				do(t, mode, seed)
			}
		})
	}
}

// invented is a frame that goes on where f ends, with entries that nobody
// proposed. Its log sums fit.
func invented(f *protocol.Frame) *protocol.Frame {
	last := f.Entries[len(f.Entries)-1]
	var more []protocol.Entry
	for i := range 3 {
		more = append(more, protocol.Entry{Index: last.Index + 1 + protocol.Index(i), Term: last.Term, Kind: protocol.EntryCommand, Data: []byte("forged")})
	}
	protocol.EncodeEntries(more)
	return &protocol.Frame{
		Origin: f.Origin, Before: protocol.SumEntries(f.Before, slices.Clone(f.Entries)), Commit: last.Index + 3, Entries: more, Chain: f.Chain, Signature: f.Signature,
	}
}

// altered is f with another last entry.
func altered(f *protocol.Frame) *protocol.Frame {
	x := *f
	x.Body, x.Entries = nil, slices.Clone(f.Entries)
	e := &x.Entries[len(x.Entries)-1]
	e.Data = append([]byte("altered"), e.Data...)
	protocol.EncodeEntries(x.Entries)
	return &x
}

func forging(_ *network, e protocol.Envelope) []protocol.Message {
	switch m := e.Message.(type) {
	case *protocol.Frame:
		return []protocol.Message{m, invented(m)}
	case *protocol.Have:
		m.LastIndex, m.Commit = m.LastIndex+3, m.Commit+3
	}
	return []protocol.Message{e.Message}
}

func altering(_ *network, e protocol.Envelope) []protocol.Message {
	if f, ok := e.Message.(*protocol.Frame); ok {
		return []protocol.Message{altered(f)}
	}
	return []protocol.Message{e.Message}
}

func unfit(_ *network, e protocol.Envelope) []protocol.Message {
	if f, ok := e.Message.(*protocol.Frame); ok {
		x := *f
		x.Body, x.Before = nil, protocol.LogSum{f.Before[0] + 1, f.Before[1]}
		return []protocol.Message{&x}
	}
	return []protocol.Message{e.Message}
}

// [S] With signatures nobody takes what no active has signed: a member that
// forges or alters frames is named by those that it sends them to, and by nobody
// is anybody else named. All members hold the leader's log a moment later.
func TestForgedFramesHarmNobodyWhereTheyAreSigned(t *testing.T) {
	for name, twist := range map[string]func(*network, protocol.Envelope) []protocol.Message{
		"forges": forging, "alters": altering, "does not fit": unfit,
	} {
		t.Run(name, func(t *testing.T) {
			inModes(t, func(t *testing.T, mode Mode, seed uint64) {
				n, villain, slowest := hostileFlock(t, seed, 30, 300, signing(Config{Mode: mode}), twist)
				if err := n.equal(); err != nil {
					t.Error(err)
				}
				its, others := n.named(protocol.EventForged, villain)
				if its == 0 || others > 0 {
					t.Errorf("seed %d: named %d times, others %d times", seed, its, others)
				}
				if slowest > 500*time.Millisecond {
					t.Errorf("seed %d: somebody was %v behind", seed, slowest)
				}
			})
		})
	}
}

// Without signatures a frame that fits the log sum is believed: this is what
// they are for. If this test fails, the one above may prove nothing.
func TestForgedFrameThatFitsIsTakenWithoutSignatures(t *testing.T) {
	taken := 0
	for seed := range uint64(4) {
		n, villain, _ := hostileFlock(t, seed, 30, 300, Config{Mode: Flood}, forging)
		for _, d := range n.nodes {
			i := min(len(d.log), len(n.history))
			if d != villain && i > 0 && (len(d.log) > len(n.history) || d.sum(protocol.Index(i)) != n.history[i-1].Sum) {
				taken++
			}
		}
	}
	if taken == 0 {
		t.Error("nobody believed the forged frames, want some to")
	}
}

// Without signatures an altered entry is found when the next frame does not fit
// it: the member that has taken it finds out from an active that it is wrong, and
// stops serving. That may take as long as an origin is avoided, for the origins
// are blamed for what the relay did. Nothing tells who it was.
func TestAlteredEntryIsFoundByTheLogSumWithoutSignatures(t *testing.T) {
	for seed := range uint64(4) {
		n, villain, _ := hostileFlock(t, seed, 30, 300, Config{Mode: Flood}, altering)
		n.run(n.now + avoidFor)
		victims := 0
		for _, d := range n.nodes {
			i := min(len(d.log), len(n.history))
			if d == villain || i == 0 || d.sum(protocol.Index(i)) == n.history[i-1].Sum {
				continue
			}
			if victims++; d.wrong == nil && len(d.log) < len(n.history) {
				t.Errorf("seed %d: node %d holds other entries and does not know", seed, d.at)
			}
		}
		if victims == 0 {
			t.Errorf("seed %d: nobody took an altered entry, want somebody to", seed)
		}
	}
}

// Without signatures, frames that do not fit the log sum harm nobody: they are
// refused, and fetched from others.
func TestFrameThatDoesNotFitIsRefusedWithoutSignatures(t *testing.T) {
	inModes(t, func(t *testing.T, mode Mode, seed uint64) {
		n, _, _ := hostileFlock(t, seed, 30, 300, Config{Mode: mode}, unfit)
		refused := 0
		for _, d := range n.nodes {
			refused += d.refused
			d.refused = 0
		}
		if err := n.equal(); err != nil || refused == 0 {
			t.Errorf("seed %d: %v, %d refused", seed, err, refused)
		}
	})
}

// A member that takes everything and gives nothing is asked less and less, and
// named by those that it has left without an answer four times in a row; all do
// without it at once. That does not need signatures.
func TestWithheldFramesAreFoundElsewhere(t *testing.T) {
	withholding := func(_ *network, e protocol.Envelope) []protocol.Message {
		switch e.Message.Kind() {
		case protocol.KindFrame, protocol.KindFramePart, protocol.KindBusy:
			return nil
		}
		return []protocol.Message{e.Message}
	}
	for name, cfg := range map[string]Config{"signed": signing(Config{}), "unsigned": {}} {
		t.Run(name, func(t *testing.T) {
			total := 0
			for seed := range uint64(4) {
				n, villain, slowest := hostileFlock(t, seed, 10, 2000, cfg, withholding)
				if err := n.equal(); err != nil {
					t.Error(err)
				}
				its, others := n.named(protocol.EventWithheld, villain)
				if total += its; others > 0 {
					t.Errorf("seed %d: others were named %d times", seed, others)
				}
				if slowest > 500*time.Millisecond {
					t.Errorf("seed %d: somebody was %v behind", seed, slowest)
				}
			}
			if total == 0 {
				t.Error("nobody named the member that withholds")
			}
		})
	}
}

// What is lost on the way makes nobody one that withholds.
func TestLossesAreNotWithholding(t *testing.T) {
	for _, loss := range []float64{0.05, 0.2, 0.3} {
		for seed := range uint64(4) {
			n := newNetwork(t, options{seed: seed, actives: 3, passives: 20, delay: 500 * time.Microsecond, loss: loss})
			for n.now < 20*time.Second {
				n.write(2, 200)
				n.run(n.now + 10*ms)
			}
			for i, d := range n.nodes {
				if texts := d.said(protocol.EventWithheld); len(texts) > 0 {
					t.Errorf("loss %v, seed %d: member %d says %d times that others withhold entries", loss, seed, i, len(texts))
				}
			}
		}
	}
}

// replaying makes a member repeat old frames and old answers about freshness:
// as they were, and as answers to the questions of today.
func replaying(n *network) {
	villain := n.nodes[villainAt]
	var frames []*protocol.Frame
	var answers []protocol.Have
	villain.hears = func(m protocol.Message) {
		switch m := m.(type) {
		case *protocol.Frame:
			frames = append(frames, m)
		case *protocol.Have:
			if m.FreshKnown && len(answers) < 50 {
				answers = append(answers, *m)
			}
		}
	}
	villain.twist = func(e protocol.Envelope) []protocol.Message {
		out := []protocol.Message{e.Message}
		if len(frames) > 0 {
			old := *frames[n.rng.IntN(len(frames))]
			out = append(out, &old)
		}
		h, ok := e.Message.(*protocol.Have)
		if !ok || h.AnswerTo == 0 || len(answers) == 0 {
			return out
		}
		old := answers[n.rng.IntN(len(answers))]
		if old.Nonce = 0; n.rng.IntN(2) == 0 {
			old.AnswerTo = h.AnswerTo
			old.FreshAge = 0
		}
		out[0] = &old
		return out
	}
}

// [S] Old frames and old answers about freshness, repeated, make nobody's age
// less than the true one: an answer counts only for the question that it was
// signed for.
func TestReplayedFreshnessMakesNobodyYounger(t *testing.T) {
	opt := options{passives: 20, loss: 0.05, delay: 3 * time.Millisecond, jitter: 5 * time.Millisecond, drift: 0.9e-3, prepare: replaying}
	opt.config = signing(Config{})
	reads, its, others := 0, 0, 0
	for seed := range uint64(4) {
		n := readRandomly(t, opt, seed, 3*time.Second)
		reads += n.reads
		a, b := n.named(protocol.EventForged, n.nodes[villainAt])
		its, others = its+a, others+b
		n.run(n.now + time.Second)
		if err := n.equal(); err != nil {
			t.Error(err)
		}
	}
	if reads < 50_000 {
		t.Errorf("got %d reads that had an age, want 50,000", reads)
	}
	if its == 0 || others > 0 {
		t.Errorf("named %d times, others %d times", its, others)
	}
}

// The check above is not blind: without signatures the same lies are believed.
func TestReplayedFreshnessIsBelievedWithoutSignatures(t *testing.T) {
	if !tooYoung(t, options{passives: 20, delay: 3 * time.Millisecond, jitter: 5 * time.Millisecond, prepare: replaying}) {
		t.Error("got no age below the true one, want one")
	}
}
