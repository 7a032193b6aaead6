package member

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/starlinghq/starling/internal/witness"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage/vfs"
)

func TestWatermarksKnowARestoredCopy(t *testing.T) {
	hello := func(starts uint64, run protocol.RunID, sequence protocol.Sequence) protocol.Hello {
		return protocol.Hello{Member: protocol.MemberID{1}, Starts: starts, Run: run, Sequence: sequence}
	}
	for _, test := range []struct {
		name string
		next protocol.Hello
		good bool
	}{
		{"the same run connects again", hello(2, 7, 90), true},
		{"the same run, on a connection that is slower than another", hello(2, 7, 89), true},
		{"the next start", hello(3, 8, 90), true},
		{"an earlier start", hello(1, 6, 90), false},
		{"the same start by another run", hello(2, 8, 90), false},
		{"what it said to be durable while it ran is gone", hello(3, 8, 89), false},
	} {
		s := new(Watermarks)
		if err := s.Answers(hello(2, 7, 50), true); err != nil {
			t.Fatal(err)
		}
		_ = s.Says(protocol.Hello{Member: protocol.MemberID{1}, Starts: 2, Run: 7, Sequence: 90})
		_ = s.Says(protocol.Hello{Member: protocol.MemberID{1}, Starts: 2, Run: 6, Sequence: 900}) // of a run that is over
		if err := s.Check(test.next); (err == nil) != test.good || err != nil && !errors.Is(err, protocol.ErrRolledBack) {
			t.Errorf("%s: got %v", test.name, err)
		}
		if err := s.Check(hello(9, 9, 89)); err == nil {
			t.Errorf("%s: then record 90 is forgotten", test.name)
		}
	}
}

// The members that have seen a directory remember how far it was across restarts
// of their own: a power cut of all of them must not let an old copy in.
func TestWatermarksSurviveARestart(t *testing.T) {
	hello := func(starts uint64, run protocol.RunID, sequence protocol.Sequence) protocol.Hello {
		return protocol.Hello{Member: protocol.MemberID{1}, Starts: starts, Run: run, Sequence: sequence}
	}
	s := new(Watermarks)
	if s.Wanted(1) {
		t.Error("nothing was seen and it wants to be written")
	}
	if err := s.Answers(hello(2, 7, 50), true); err != nil {
		t.Fatal(err)
	}
	if !s.Wanted(2) {
		t.Error("a start that was not known is not written")
	}
	file := s.encode()
	_ = s.Says(protocol.Hello{Member: protocol.MemberID{1}, Starts: 2, Run: 7, Sequence: 90})
	for _, tt := range []struct{ took, pause time.Duration }{
		{0, watermarksMin}, {time.Millisecond, watermarksMin}, {200 * time.Millisecond, 4 * time.Second}, {time.Minute, watermarksMax},
	} {
		s.took, s.written = tt.took, 2
		if at := protocol.Instant(2).Add(tt.pause); s.Wanted(at-1) || !s.Wanted(at) {
			t.Errorf("a log that grew, on a disk that takes %v, is not written after %v", tt.took, tt.pause)
		}
	}
	for _, content := range [][]byte{file, s.encode()} {
		again := new(Watermarks)
		if err := again.decode(content); err != nil {
			t.Fatal(err)
		}
		for what, old := range map[string]protocol.Hello{"an earlier start": hello(1, 6, 90), "another run": hello(2, 8, 90), "a shorter log": hello(3, 9, 49)} {
			if err := again.Check(old); !errors.Is(err, protocol.ErrRolledBack) {
				t.Errorf("%s: got %v, want %v", what, err, protocol.ErrRolledBack)
			}
		}
		if err := again.Check(hello(3, 9, 90)); err != nil {
			t.Errorf("the next start: %v", err)
		}
	}
	for i := range file {
		damaged := bytes.Clone(file)
		damaged[i] ^= 1
		if err := new(Watermarks).decode(damaged); !errors.Is(err, protocol.ErrCorrupt) {
			t.Errorf("byte %d flipped: got %v, want %v", i, err, protocol.ErrCorrupt)
		}
	}
}

func TestWatermarksAreBounded(t *testing.T) {
	s := new(Watermarks)
	for i := range 2 * witness.Max {
		id := protocol.MemberID{byte(i), byte(i >> 8), 1}
		if err := s.Answers(protocol.Hello{Member: id, Starts: 1<<64 - 1, Run: 1<<64 - 1, Sequence: 1<<64 - 1}, true); err != nil {
			t.Fatal(err)
		}
	}
	b := s.encode()
	again := new(Watermarks)
	if err := again.decode(b); err != nil || len(b) > witness.BytesMax || len(again.heard) != witness.Max {
		t.Errorf("%d members in %d bytes, the limits are %d and %d: %v", len(again.heard), len(b), witness.Max, witness.BytesMax, err)
	}
	last := 2*witness.Max - 1
	if _, known := again.heard[protocol.MemberID{byte(last), byte(last >> 8), 1}]; !known {
		t.Error("the member heard last is forgotten")
	}

	// In memory, too: those who are heard stay, however many come and go.
	stays := protocol.Hello{Member: protocol.MemberID{1, 1, 2}, Starts: 7, Run: 1, Sequence: 50}
	if err := again.Answers(stays, true); err != nil {
		t.Fatal(err)
	}
	for i := range 5 * witness.Max {
		if err := again.Answers(protocol.Hello{Member: protocol.MemberID{byte(i), byte(i >> 8), 3}, Starts: 9}, true); err != nil {
			t.Fatal(err)
		}
		if i%1000 == 0 {
			_ = again.Says(protocol.Hello{Member: stays.Member, Starts: 7, Run: 1, Sequence: 50})
		}
	}
	if got, limit := len(again.heard), 2*witness.Max; got >= limit {
		t.Errorf("%d members are remembered, the limit is %d", got, limit)
	}
	stays.Starts = 6
	if err := again.Check(stays); !errors.Is(err, protocol.ErrRolledBack) {
		t.Errorf("one that was heard all the time, with an older directory: got %v, want %v", err, protocol.ErrRolledBack)
	}
	if err := again.Check(protocol.Hello{Member: protocol.MemberID{0, 0, 3}, Starts: 8}); err != nil {
		t.Errorf("one that was forgotten: got %v, want a newcomer", err)
	}
}

// still is a clock that stands.
func still() protocol.Instant { return 0 }

// What was seen outlives a power cut as soon as it is said to be kept, and what could
// not be kept, for want of room, is wanted again at once: it was forgotten that it was
// not written.
func TestWhatWasSeenIsKeptDurably(t *testing.T) {
	disk := vfs.NewMemory(1)
	if err := disk.MkdirAll("d"); err != nil {
		t.Fatal(err)
	}
	peer := protocol.Hello{Member: protocol.MemberID{1}, Starts: 2, Run: 7, Sequence: 50}
	s := new(Watermarks)
	if err := s.Answers(peer, true); err != nil {
		t.Fatal(err)
	}
	disk.Fail(vfs.OpWrite, 1, vfs.ErrNoSpace)
	if err := s.Keep(disk, "d", still); !errors.Is(err, vfs.ErrNoSpace) {
		t.Fatalf("got %v, want %v", err, vfs.ErrNoSpace)
	}
	if !s.Wanted(1) {
		t.Error("what could not be kept is not wanted again")
	}
	if err := disk.SyncDir("."); err != nil {
		t.Fatal(err)
	}
	if err := s.Keep(disk, "d", still); err != nil {
		t.Fatal(err)
	}
	disk.Crash()
	again := new(Watermarks)
	if err := again.Recall(disk, "d"); err != nil {
		t.Fatal(err)
	}
	if got, want := again.Seen(peer.Member), s.Seen(peer.Member); got != want {
		t.Errorf("after a power cut: got %+v, want %+v", got, want)
	}
}

// What a member says where it was dialled raises what is remembered only at its
// configured address.
func TestOnlyAConfiguredAddressRaises(t *testing.T) {
	s := new(Watermarks)
	peer := protocol.Hello{Member: protocol.MemberID{1}, Starts: 9, Run: 7, Sequence: 50}
	if err := s.Answers(peer, false); err != nil || s.Seen(peer.Member) != (protocol.Watermark{}) {
		t.Errorf("got %+v, %v; want nothing", s.Seen(peer.Member), err)
	}
}
