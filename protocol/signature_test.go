package protocol

import (
	"bytes"
	"errors"
	"reflect"
	"testing"
)

// unsigned returns the messages that can carry a signature, without one.
func unsigned() []Message {
	entries := sampleEntries(3, 40)
	EncodeEntries(entries)
	frame := &Frame{Hop: 2, Origin: idA, Before: LogSum{1, 2}, Commit: 100_010, Entries: entries}
	frame.Body = EncodeFrameBody(frame)
	return []Message{
		frame,
		&Have{Applied: 1, FreshKnown: true, FreshIndex: 3, FreshAge: 4},
		&Have{Applied: 1, Diverged: 5},
		&SumAnswer{Index: 1, Known: true, Sum: LogSum{1, 2}},
		&Manifest{Manifest: []byte("manifest")},
	}
}

func TestWithoutASealTheWireSaysSo(t *testing.T) {
	for _, m := range unsigned() {
		src := AppendMessage(nil, m)
		got, err := DecodeMessage(src)
		if err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("%s: got %+v, %v, want %+v", m.Kind(), got, err, m)
		}
		if size := MessageSize(m); size < len(src) {
			t.Errorf("%s: size %d said, %d needed", m.Kind(), size, len(src))
		}
	}
	frame := unsigned()[0].(*Frame)
	if n := len(AppendMessage(nil, frame)) - RawSize(frame.Entries); n > FrameOverheadMax {
		t.Errorf("got an overhead of %d without a signature, want at most %d", n, FrameOverheadMax)
	}
}

func TestSealOfZerosIsMalformed(t *testing.T) {
	// The same thing, no signature, would have two encodings.
	src := AppendMessage(nil, &Manifest{Signature: Signature{Key: [8]byte{1}}})
	at := len(src) - SignatureBytes
	if src[at] != 1 {
		t.Fatalf("the signature does not begin at %d of %x", at, src)
	}
	src[at] = 0
	if got, err := DecodeMessage(src); !errors.Is(err, ErrMalformed) {
		t.Errorf("got %v, %v, want %v", got, err, ErrMalformed)
	}
}

// No two statements may have the same bytes: a signature of one would be one of
// the other.
func TestStatementsDiffer(t *testing.T) {
	h := Have{AnswerTo: 1, FreshKnown: true, FreshIndex: 2, FreshAge: 3, Term: 4, Leader: idA}
	alter := func(change func(*Have)) *Have {
		x := h
		change(&x)
		return &x
	}
	list := [][]byte{
		LogStatement(1, Chain{}), LogStatement(2, Chain{}), LogStatement(1, Chain{1}),
		SumStatement(&SumAnswer{Index: 1}), SumStatement(&SumAnswer{Index: 2}), SumStatement(&SumAnswer{Index: 1, Sum: LogSum{1}}), SumStatement(&SumAnswer{Index: 1, Sum: LogSum{0, 1}}),
		ManifestStatement(nil), ManifestStatement([]byte{0}),
		FreshnessStatement(&h),
		FreshnessStatement(alter(func(h *Have) { h.AnswerTo++ })),
		FreshnessStatement(alter(func(h *Have) { h.FreshKnown = false })),
		FreshnessStatement(alter(func(h *Have) { h.FreshIndex++ })),
		FreshnessStatement(alter(func(h *Have) { h.FreshSum++ })),
		FreshnessStatement(alter(func(h *Have) { h.FreshAge-- })),
		FreshnessStatement(alter(func(h *Have) { h.Term++ })),
		FreshnessStatement(alter(func(h *Have) { h.Leader = idB })),
	}
	for i := range list {
		for k := range i {
			if bytes.Equal(list[i], list[k]) {
				t.Errorf("statements %d and %d are both %x", k, i, list[i])
			}
		}
	}
}

// The chain runs over entries one by one: however they are cut into frames, the
// end is the same. Every byte before counts, the log sum's too.
func TestChainDoesNotDependOnFrames(t *testing.T) {
	entries := sampleEntries(6, 30)
	EncodeEntries(entries)
	before := LogSum{5, 6}
	want := Chain{}.NextEntries(before, entries)
	middle := before
	for i := range entries[:4] {
		middle = middle.Next(entries[i].Raw)
	}
	if got := (Chain{}.NextEntries(before, entries[:4])).NextEntries(middle, entries[4:]); got != want {
		t.Errorf("cut after 4: got %x, want %x", got, want)
	}
	if got := (Chain{1}).NextEntries(before, entries); got == want {
		t.Error("the same end from another beginning")
	}
	if got := (Chain{}).NextEntries(LogSum{5, 7}, entries); got == want {
		t.Error("the same end after another log")
	}
	entries[2].Raw = bytes.Clone(entries[2].Raw)
	entries[2].Raw[len(entries[2].Raw)-1] ^= 1
	if got := (Chain{}).NextEntries(before, entries); got == want {
		t.Error("the same end with another byte")
	}
}

func BenchmarkChain(b *testing.B) {
	entries := sampleEntries(1, 256)
	EncodeEntries(entries)
	b.SetBytes(int64(len(entries[0].Raw)))
	var c Chain
	for b.Loop() {
		c = c.Next(LogSum{}, entries[0].Raw)
	}
}
