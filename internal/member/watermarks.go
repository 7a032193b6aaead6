package member

import (
	"cmp"
	"errors"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/internal/witness"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage/vfs"
)

// While nothing but records is added, what was seen is written at most every watermarksMin,
// and at least every watermarksMax: between, so that a slow disk has a twentieth of its time
// to do with that. A restart is written at once, whenever somebody looks. What is not
// written yet is forgotten with a power cut, and a copy that is as old is let in.
const (
	watermarksMin, watermarksMax = time.Second, 10 * time.Second
	watermarksShare              = 20
)

// Watermarks is replica.Watermarks for many goroutines, and for more than one run: what
// it remembers it can write down. The zero value remembers nothing.
type Watermarks struct {
	mu   sync.Mutex
	seen replica.Watermarks
	// heard is when each was heard last, as a count. What of it is not in the file is
	// fresh, a start that was not known, or merely changed, a log that has grown.
	heard          map[protocol.MemberID]uint64
	count          uint64
	fresh, changed bool
	written        protocol.Instant // when the file was
	took           time.Duration    // that, the last time
}

// Check refuses a member whose directory has gone back.
func (s *Watermarks) Check(peer protocol.Hello) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen.Check(peer)
}

// Answers judges a member that answers where it was dialled. [S] What it says is
// remembered only if that is the address that the configuration has for it.
func (s *Watermarks) Answers(peer protocol.Hello, configured bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.seen.Check(peer)
	if err == nil && configured {
		s.raise(peer)
	}
	return err
}

// Says takes what a member says of its directory while it runs, on a stream to its
// configured address. The stream may be older than the configuration that names the
// member: then it is met now, and may be refused.
func (s *Watermarks) Says(peer protocol.Hello) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.seen.Seen(peer.Member)
	if _, met := s.heard[peer.Member]; met && before.Starts == peer.Starts && before.Run == peer.Run {
		s.seen.OnWatermark(peer.Member, &protocol.Watermark{Starts: peer.Starts, Run: peer.Run, Sequence: peer.Sequence})
		s.note(peer.Member, before)
		return nil
	}
	err := s.seen.Check(peer)
	if err == nil {
		s.raise(peer)
	}
	return err
}

// Condemn has a run refused that has proven to its leader that its directory was put
// back.
func (s *Watermarks) Condemn(id protocol.MemberID, run protocol.RunID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen.Condemn(id, run)
}

// Seen returns what a member last said of its directory; zeros if it never did.
func (s *Watermarks) Seen(id protocol.MemberID) protocol.Watermark {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen.Seen(id)
}

// raise remembers what a member says.
func (s *Watermarks) raise(peer protocol.Hello) {
	before := s.seen.Seen(peer.Member)
	s.seen.Raise(peer)
	s.note(peer.Member, before)
}

// note remembers when s.seen has taken something, and what it is: before is what was
// known.
func (s *Watermarks) note(id protocol.MemberID, before protocol.Watermark) {
	now := s.seen.Seen(id)
	s.fresh = s.fresh || now.Starts != before.Starts || now.Run != before.Run
	s.changed = s.changed || now.Sequence > before.Sequence
	if s.heard == nil {
		s.heard = map[protocol.MemberID]uint64{}
	}
	s.count++
	s.heard[id] = s.count
	if len(s.heard) >= 2*witness.Max {
		s.forget()
	}
}

// forget drops those not heard for longest, as the file does: members come and
// go for years, each new one with an id of its own.
func (s *Watermarks) forget() {
	list := slices.Sorted(maps.Values(s.heard))
	oldest := list[len(list)-witness.Max]
	for id, heard := range s.heard { // order does not matter: each by itself
		if heard < oldest {
			delete(s.heard, id)
			s.seen.Forget(id)
		}
	}
}

// Wanted reports whether the file should be written now.
func (s *Watermarks) Wanted(now protocol.Instant) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.fresh && (!s.changed || now < s.written.Add(min(max(watermarksMin, watermarksShare*s.took), watermarksMax))) {
		return false
	}
	s.written = now
	return true
}

// Keep writes what is remembered into a directory, durably; clock says how long that takes.
// After an error it is wanted again.
func (s *Watermarks) Keep(fsys vfs.FS, dir string, clock func() protocol.Instant) error {
	began := clock()
	err := vfs.WriteFile(fsys, filepath.Join(dir, witness.File), s.encode())
	if err == nil {
		err = fsys.SyncDir(dir)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.took = clock().Sub(began)
	if err != nil {
		s.fresh = true
	}
	return err
}

// Recall takes what an earlier run has kept, and forgets all else. protocol.ErrCorrupt:
// the file is damaged, and nothing is remembered.
func (s *Watermarks) Recall(fsys vfs.FS, dir string) error {
	b, err := vfs.ReadFile(fsys, filepath.Join(dir, witness.File), witness.BytesMax)
	if err == nil {
		return s.decode(b)
	}
	_ = s.decode(witness.Encode(nil))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// encode returns the file's content.
func (s *Watermarks) encode() []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]witness.Watermark, 0, len(s.heard))
	for id := range s.heard { // sorted below
		last := s.seen.Seen(id)
		out = append(out, witness.Watermark{Member: id, Starts: last.Starts, Run: last.Run, Sequence: last.Sequence})
	}
	slices.SortFunc(out, func(a, b witness.Watermark) int { return cmp.Compare(s.heard[b.Member], s.heard[a.Member]) })
	s.fresh, s.changed = false, false
	return witness.Encode(out)
}

// decode takes what encode wrote.
func (s *Watermarks) decode(b []byte) error {
	list, err := witness.Decode(b) // each member once
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen, s.heard = replica.Watermarks{}, nil
	for _, x := range slices.Backward(list) { // the one heard last comes last, here, too
		s.raise(protocol.Hello{Member: x.Member, Starts: x.Starts, Run: x.Run, Sequence: x.Sequence})
	}
	s.fresh, s.changed = false, false
	return err
}
