package recovery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/starlinghq/starling/internal/witness"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
	"github.com/starlinghq/starling/storage/checkpoint"
	"github.com/starlinghq/starling/storage/vfs"
	"github.com/starlinghq/starling/storage/wal"
)

// Survivor is how far a directory reaches.
type Survivor struct {
	Dir string
	// InUse says that a process has the directory: nothing can be begun from it.
	InUse   bool
	Cluster protocol.ClusterID
	Member  protocol.MemberID
	Name    string
	// Term and Last are those of the last entry: what decides. Commit is what
	// the member knew to be committed.
	Term         protocol.Term
	Last, Commit protocol.Index
	// Checkpoint is the index of its newest checkpoint, 0 if there is none. The
	// log above it, or from 1, makes the state.
	Checkpoint protocol.Index
	// Configuration is the latest in its log; index 0: it has none.
	Configuration protocol.ConfigurationAt
	// Starts is how often the directory was opened, DurableSequence how far its member says
	// that its log is durable when it starts. Seen is what it remembers of others.
	Starts          uint64
	DurableSequence protocol.Sequence
	Seen            []witness.Watermark
	// Quarantine is that of its state, which had diverged: its log counts, its checkpoints from there
	// on do not. Zero: there is none.
	Quarantine storage.Quarantine
	// Refusal is why the member does not take part any more, or nil.
	Refusal *wal.Refusal
	// Fault says why nothing can be begun from this directory, or is nil.
	Fault error
	// Votes says of a fault that it is of the state alone, which had diverged: the member votes
	// and stores, and the others bring it another one.
	Votes bool
}

// Compare orders survivors: the better one is greater. It is the order of
// elections (the paper, section 5.4.1): what was acknowledged by a majority is in
// the log with the highest last term and, among those, the highest last index,
// if it is in any.
func (s *Survivor) Compare(o *Survivor) int {
	if (s.Fault == nil) != (o.Fault == nil) {
		if s.Fault == nil {
			return 1
		}
		return -1
	}
	return cmp.Or(cmp.Compare(s.Term, o.Term), cmp.Compare(s.Last, o.Last), cmp.Compare(s.Checkpoint, o.Checkpoint))
}

// Survey looks into a directory without changing or locking it; the member
// should be stopped. The error says that it is no member's directory, or cannot
// be read at all.
func Survey(_ context.Context, dir string) (Survivor, error) {
	s := Survivor{Dir: dir, InUse: wal.InUse(vfs.OS(), dir)}
	report, err := wal.Inspect(vfs.OS(), dir, nil)
	if err != nil {
		return s, err
	}
	s.Cluster, s.Member, s.Name = report.Identity.Cluster, report.Identity.Member, report.Identity.Name
	s.Term, s.Last, s.Commit = report.LastTerm, report.Last, report.State.Commit
	s.Starts, s.DurableSequence = report.Identity.Starts, report.DurableSequence
	if n := len(report.Configurations); n > 0 {
		s.Configuration = report.Configurations[n-1]
	}
	if err := s.remember(vfs.OS()); err != nil {
		return s, err
	}
	all, err := checkpoint.Peek(vfs.OS(), filepath.Join(dir, checkpoint.Folder))
	if err != nil {
		return s, err
	}
	if kept := right(s.Quarantine, all); len(kept) > 0 {
		s.Checkpoint = kept[0].Index
		if kept[0].Index > s.Last {
			s.Term, s.Last = kept[0].Term, kept[0].Index
			s.Configuration = kept[0].Configuration
		}
	}
	switch {
	case report.Damage != nil:
		s.Fault = report.Damage
	case s.Last == 0:
		s.Fault = protocol.ErrNotFound.With("the log is empty")
	case report.First > 1 && s.Checkpoint+1 < report.First:
		s.Fault = protocol.ErrCorrupt.With(fmt.Sprintf("damaged data: the log begins at %d and no checkpoint reaches it", report.First))
		s.Votes = s.Quarantine.At != 0 && len(all) > 0 && all[0].Index+1 >= report.First
	}
	return s, nil
}

// remember reads what the directory says of who may take part. A damaged file of
// watermarks says nothing: a member that starts forgets it, too.
func (s *Survivor) remember(fsys vfs.FS) (err error) {
	if s.Seen, err = witness.Read(fsys, s.Dir); err != nil && !errors.Is(err, protocol.ErrCorrupt) {
		return protocol.ErrDirectory.Because(err)
	}
	if s.Refusal, err = wal.ReadRefusal(fsys, s.Dir); err != nil {
		return protocol.ErrDirectory.Because(err)
	}
	s.Quarantine, err = wal.ReadQuarantine(fsys, s.Dir)
	return err
}

// right returns the checkpoints that were made before a state had diverged, and one that is what
// the majority had where it had.
func right(q storage.Quarantine, kept []storage.Manifest) []storage.Manifest {
	return slices.DeleteFunc(slices.Clone(kept), func(d storage.Manifest) bool {
		return q.At != 0 && d.Index >= q.At && !(d.Index == q.At && d.Digest == q.Digest && !q.SinceUnknown())
	})
}

// rightOnes is a store without the checkpoints of a state that had diverged. [S] What is begun from
// one of them is wrong at all members.
type rightOnes struct {
	storage.CheckpointStore
	quarantine storage.Quarantine
}

func (r rightOnes) Kept() []storage.Manifest { return right(r.quarantine, r.CheckpointStore.Kept()) }

// SetConfirmed changes nothing: the directory stays as it was found.
func (r rightOnes) SetConfirmed(protocol.Index, bool) error { return nil }

// Note says why checkpoints of a directory do not count; empty: all do.
func (s *Survivor) Note() string { return doubts(s.Dir, s.Quarantine) }

func doubts(dir string, q storage.Quarantine) string {
	file := filepath.Join(dir, wal.QuarantineFile)
	switch {
	case q.At == 0:
		return ""
	case q.SinceUnknown():
		return fmt.Sprintf("its state had diverged, and since when cannot be read in %s: no checkpoint counts", file)
	}
	return fmt.Sprintf("its state had diverged: checkpoints from %d on do not count, as %s says", q.At, file)
}
