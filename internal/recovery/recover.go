package recovery

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"github.com/starlinghq/starling/internal/machine"
	"github.com/starlinghq/starling/internal/snapshotter"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
	"github.com/starlinghq/starling/storage"
	"github.com/starlinghq/starling/storage/checkpoint"
	"github.com/starlinghq/starling/storage/engine/badgerengine"
	"github.com/starlinghq/starling/storage/vfs"
	"github.com/starlinghq/starling/storage/wal"
)

// Gap is how far above the old log's end the new one begins. It is more than
// any member that is not among the survivors can have appended beyond it
// without an acknowledgement.
const Gap = 1 << 20

// replayBytes is how much of the log is read at once.
const replayBytes = 4 << 20

// Options of a recovery. Registry and Dir are needed.
type Options struct {
	// Dir is the survivor's directory; its member must be stopped.
	Dir string
	// Others are the directories of other members of the same cluster that are at
	// hand, all stopped. Nothing is changed in them; they show whether the cluster
	// can still go on.
	Others []string
	// AlthoughIntact says that a new cluster is wanted although the old one can go
	// on (Quorum.Intact).
	AlthoughIntact bool
	// Registry has all types that are in the log.
	Registry *resources.Registry
	// Refuse are the indexes of entries whose commands kill whoever applies them, or
	// never return: they have no effect in the new cluster. At most RefuseMax.
	//
	// [S] They are left out once, here, of the one state that the new cluster begins
	// with: all its members get that state, and none applies the old log again.
	Refuse []protocol.Index
	// Target is how many voters the new cluster aims at; 0: as the old one.
	Target int
	Logger *slog.Logger
	// Progress is called now and then with the index that is applied and the
	// last one. It must return soon.
	Progress func(applied, last protocol.Index)
}

// Result is what came of it.
type Result struct {
	Old, New protocol.ClusterID
	Member   protocol.MemberID // of the new cluster; the name stays
	Name     string
	// Last is the last entry of the old log that is in the state, Begin the
	// index that the new log begins after, in Term.
	Last, Begin protocol.Index
	Term        protocol.Term
	Sessions    int // that were closed
	// Refused are the entries that were left out, by index.
	Refused []Refusal
	// Quorum is what the directories said of the old cluster.
	Quorum Quorum
	// Aside is where the old directory is now. Nothing in it is lost.
	Aside string
}

// Recover makes the member of a directory the only one of a new cluster. The
// directory is replaced when everything is durable; a crash before that changes
// nothing, and the old one is kept beside it.
//
// Errors: protocol.ErrDirectory if it is no member's directory or in use,
// protocol.ErrCorrupt if it is damaged (another survivor must do),
// protocol.ErrQuorumIntact if the old cluster can go on, protocol.ErrWrongCluster
// if the directories are not of one cluster, protocol.ErrUnknownType if the log
// needs a type that the registry lacks, protocol.ErrUnsupported if it is at a format level
// that this release does not know, protocol.ErrNotFound if it is empty,
// protocol.ErrInvalid if Refuse names what is no command in the log,
// protocol.ErrNoSpace. When ctx ends, so does Recover, with its error, even if a
// command never returns: it is named, and its goroutine stays.
func Recover(ctx context.Context, o Options) (Result, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Progress == nil {
		o.Progress = func(protocol.Index, protocol.Index) {}
	}
	r := &recovery{o: o, fsys: vfs.OS(), fresh: o.Dir + ".recovered"}
	defer r.unlock()
	if err := r.look(ctx); err != nil {
		return r.result, err
	}
	// Locked until the end, as the others are: no member of the old cluster whose
	// directory is at hand must start in between.
	log, err := wal.Open(r.fsys, o.Dir, wal.Options{})
	if err != nil {
		return r.result, err
	}
	defer log.Close()
	if err := r.read(ctx, log); err != nil {
		return r.result, err
	}
	if err := r.clear(); err != nil {
		return r.result, err
	}
	if err := r.write(ctx); err != nil {
		return r.result, errors.Join(err, os.RemoveAll(r.fresh))
	}
	return r.result, r.swap()
}

// look refuses to begin a cluster beside one that can go on, or that runs. It
// changes nothing.
func (r *recovery) look(ctx context.Context) error {
	r.o.Others = distinct(r.o.Dir, r.o.Others)
	var list []Survivor
	for _, dir := range append([]string{r.o.Dir}, r.o.Others...) {
		s, err := r.lockAndSurvey(ctx, dir)
		if err != nil {
			return err
		}
		if len(list) > 0 && s.Cluster != list[0].Cluster {
			return foreign(&list[0], &s)
		}
		list = append(list, s)
	}
	r.result.Quorum = QuorumOf(list)
	if !r.result.Quorum.Intact || r.o.AlthoughIntact {
		return nil
	}
	why := ""
	if len(r.o.Refuse) > 0 {
		why = ", unless entries that they cannot get past (" + Indexes(r.o.Refuse) + ") stop them all"
	}
	return protocol.ErrQuorumIntact.With(r.result.Quorum.Text() + why +
		".\nNothing was begun: a new cluster would stand beside one that can go on. Whoever wants that has to say so (--although-quorum-is-intact)")
}

func (r *recovery) lockAndSurvey(ctx context.Context, dir string) (Survivor, error) {
	if _, err := wal.ReadIdentity(r.fsys, dir); err != nil {
		return Survivor{}, err
	}
	lock, err := wal.LockDir(r.fsys, dir)
	if err != nil {
		return Survivor{}, err
	}
	s, err := Survey(ctx, dir)
	if dir == r.o.Dir { // the log takes it
		return s, errors.Join(err, lock.Close())
	}
	r.locks = append(r.locks, lock)
	return s, err
}

func (r *recovery) unlock() {
	for _, lock := range r.locks {
		_ = lock.Close() // nothing was written
	}
}

// distinct drops what is the same directory as another one.
func distinct(dir string, others []string) (out []string) {
	var known []os.FileInfo
	for i, d := range append([]string{dir}, others...) {
		info, err := os.Stat(d)
		if err == nil && slices.ContainsFunc(known, func(k os.FileInfo) bool { return os.SameFile(k, info) }) {
			continue
		}
		if err == nil {
			known = append(known, info)
		}
		if i > 0 {
			out = append(out, d)
		}
	}
	return out
}

func foreign(a, b *Survivor) error {
	return protocol.ErrWrongCluster.With(fmt.Sprintf("%s belongs to cluster %s, %s to cluster %s: they have nothing to do with each other",
		a.Dir, a.Cluster, b.Dir, b.Cluster))
}

type recovery struct {
	o      Options
	fsys   vfs.FS
	fresh  string      // where the new directory is built
	locks  []io.Closer // of the others
	result Result

	machine *machine.Machine
	conf    protocol.Configuration // the latest of the old log
}

// read brings the machine to the end of the old log. What is not known to be
// committed counts: it may have been acknowledged.
func (r *recovery) read(ctx context.Context, log *wal.Log) error {
	store, err := r.checkpoints(r.o.Dir)
	if err != nil {
		return err
	}
	defer store.Close()
	r.machine = machine.New(machine.Config{Registry: r.o.Registry, Logger: r.o.Logger, Refuse: r.o.Refuse})
	alone := func(context.Context) bool { return false }
	noted, err := wal.ReadQuarantine(r.fsys, r.o.Dir)
	if err != nil {
		return err
	}
	rec, restored, err := snapshotter.Start(ctx, log, rightOnes{store, noted}, r.machine, snapshotter.Options{Elsewhere: alone})
	if err != nil {
		return err
	}
	if at, known := rec.Configurations.Latest(); known && !protocol.FormatKnown.Covers(at.Configuration.Level) {
		return protocol.ErrUnsupported.With(protocol.BeyondLevel("the log of "+r.o.Dir, at.Configuration.Level, protocol.FormatKnown))
	}
	last := rec.LogTerms.LastIndex()
	switch {
	case last == 0:
		return protocol.ErrNotFound.With("the log of " + r.o.Dir + " is empty: there is nothing to begin from")
	case restored.Applied < rec.LogTerms.PrevIndex:
		text := fmt.Sprintf("damaged data: the log of %s begins at %d and no checkpoint reaches it", r.o.Dir, rec.LogTerms.FirstIndex())
		if noted.At != 0 {
			text += " (" + doubts(r.o.Dir, noted) + ")"
		}
		return protocol.ErrCorrupt.With(text + "; choose another survivor")
	}
	if at, known := rec.Configurations.Latest(); known {
		r.conf = at.Configuration
	}
	id := log.Identity()
	r.result.Old, r.result.Name, r.result.Last = id.Cluster, id.Name, last
	// The term of the hard state may be any that somebody has named to this
	// member; that of an entry was voted for.
	r.result.Term = rec.LogTerms.LastTerm() + 1
	if err := r.refuses(log, restored.Applied, last); err != nil {
		return err
	}
	return r.replay(ctx, log, restored.Applied, last)
}

func (r *recovery) replay(ctx context.Context, log storage.Log, applied, last protocol.Index) error {
	for applied < last {
		if err := ctx.Err(); err != nil {
			return err
		}
		entries, err := log.Read(applied+1, last, replayBytes)
		if err != nil {
			return err
		}
		if err := r.apply(ctx, entries); err != nil {
			return err
		}
		applied = entries[len(entries)-1].Index
		r.o.Progress(applied, last)
	}
	return nil
}

// write builds the new directory beside the old one.
func (r *recovery) write(ctx context.Context) error {
	var err error
	if r.result.New, err = protocol.NewClusterID(rand.Reader); err != nil {
		return err
	}
	if r.result.Member, err = protocol.NewMemberID(rand.Reader); err != nil {
		return err
	}
	r.result.Begin = r.result.Last + Gap
	r.result.Sessions = r.machine.Stats().Sessions
	if err := r.machine.EndSessions(r.result.Begin); err != nil {
		return err
	}
	d := storage.Manifest{
		Index: r.result.Begin, Term: r.result.Term, LogSum: firstSum(r.result.New, r.result.Begin),
		Configuration: protocol.ConfigurationAt{Index: r.result.Begin, Configuration: r.configuration()},
	}
	id := wal.Identity{Cluster: r.result.New, Member: r.result.Member, Name: r.result.Name}
	if err := wal.Init(r.fsys, r.fresh, id, nil, wal.Options{}); err != nil {
		return err
	}
	if err := r.writeCheckpoint(ctx, d); err != nil {
		return err
	}
	// Pointer first, then the log, as in every installation.
	log, err := wal.Open(r.fsys, r.fresh, wal.Options{})
	if err != nil {
		return err
	}
	begin := storage.Begin{Index: d.Index, Term: d.Term, Sum: d.LogSum, Configuration: d.Configuration}
	err = log.Reset(begin, protocol.HardState{Term: d.Term, Commit: d.Index})
	return errors.Join(err, log.Close())
}

// checkpoints opens the store in a member's directory.
func (r *recovery) checkpoints(dir string) (*checkpoint.Store, error) {
	e := badgerengine.New(badgerengine.Options{Logger: r.o.Logger})
	return checkpoint.Open(r.fsys, filepath.Join(dir, checkpoint.Folder), e, checkpoint.Options{Logger: r.o.Logger})
}

func (r *recovery) writeCheckpoint(ctx context.Context, d storage.Manifest) error {
	store, err := r.checkpoints(r.fresh)
	if err != nil {
		return err
	}
	_, err = snapshotter.Take(ctx, store, r.machine.Snapshot(), d)
	return errors.Join(err, store.Close())
}

// configuration names the new member alone. Its old address, if it had a seat,
// and the settings of the old cluster stay. A floor above one voter is met when
// others have joined.
func (r *recovery) configuration() protocol.Configuration {
	line := protocol.ActiveMember{ID: r.result.Member, Name: r.result.Name, Suffrage: protocol.SuffrageVoter}
	for _, old := range r.conf.Members {
		if old.Name == r.result.Name {
			line.Address = old.Address
		}
	}
	target := r.o.Target
	if target == 0 {
		target = max(r.conf.Target, 1)
	}
	return protocol.Configuration{Members: []protocol.ActiveMember{line}, Target: target, Lease: r.conf.Lease, Autopilot: r.conf.Autopilot, StateBytes: r.conf.StateBytes, Level: r.conf.Level}
}

// firstSum is the log sum that a new log begins from.
func firstSum(cluster protocol.ClusterID, i protocol.Index) protocol.LogSum {
	return protocol.LogSum{}.Next(binary.BigEndian.AppendUint64(append([]byte{}, cluster[:]...), uint64(i)))
}

// clear makes room for the new directory. What an attempt left that was cut
// short is not removed: whoever looks at it knows what it is.
func (r *recovery) clear() error {
	_, err := r.fsys.ReadDir(r.fresh)
	switch {
	case err == nil:
		return protocol.ErrDirectory.With(r.fresh + " exists: an earlier attempt was cut short; remove it and try again")
	case !errors.Is(err, fs.ErrNotExist):
		return protocol.ErrDirectory.Because(err)
	}
	if err := r.fsys.MkdirAll(r.fresh); err != nil {
		return protocol.ErrDirectory.Because(err)
	}
	return nil
}

// swap puts the new directory in the place of the old one.
func (r *recovery) swap() error {
	for n := 1; ; n++ {
		r.result.Aside = fmt.Sprintf("%s.before-recovery-%d", r.o.Dir, n)
		if _, err := r.fsys.ReadDir(r.result.Aside); errors.Is(err, fs.ErrNotExist) {
			break
		} else if err != nil {
			return protocol.ErrDirectory.Because(err)
		}
	}
	if err := r.fsys.Rename(r.o.Dir, r.result.Aside); err != nil {
		return protocol.ErrDirectory.Because(err)
	}
	if err := r.fsys.Rename(r.fresh, r.o.Dir); err != nil {
		return protocol.ErrDirectory.With(fmt.Sprintf("the new directory is %s and the old one %s: rename the first to %s", r.fresh, r.result.Aside, r.o.Dir)).Because(err)
	}
	return r.fsys.SyncDir(filepath.Dir(r.o.Dir))
}
