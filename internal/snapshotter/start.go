package snapshotter

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/starlinghq/starling/internal/machine"
	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
)

// Progress says how far the reading of a checkpoint has come, in items.
type Progress struct {
	Index       protocol.Index // of the checkpoint
	Done, Total uint64
}

// Options of a start. The zero value is good.
type Options struct {
	// Progress is called now and then while a checkpoint is read, and at its
	// end. It must return soon.
	Progress func(Progress)
	// Tell hears what was found: checkpoints that are given up, a log that is
	// begun anew, a state that has to be fetched.
	Tell func(protocol.Event)
	// Elsewhere reports whether other members may have a checkpoint. It is asked
	// only if the state cannot be completed from what is here while there are
	// checkpoints that were set aside, because their store killed the process
	// again and again. false: they are tried once more. Nil: they may have one.
	Elsewhere func(context.Context) bool
	// Level is the highest format level that the member knows; 0: what this code does.
	Level protocol.FormatLevel
}

func (o Options) withDefaults() Options {
	o.Level = o.Level.OrKnown()
	if o.Progress == nil {
		o.Progress = func(Progress) {}
	}
	if o.Tell == nil {
		o.Tell = func(protocol.Event) {}
	}
	if o.Elsewhere == nil {
		o.Elsewhere = func(context.Context) bool { return true }
	}
	return o
}

// progressItems is how many items are read between two calls of Progress.
const progressItems = 4096

// Start brings a log, the checkpoints beside it and an empty machine together.
// The machine's state becomes that of the newest checkpoint that can be used, or
// stays empty; what the log says about it is in what Start returns, and the log
// itself is changed only if it has to begin after the checkpoint. [S] Of a checkpoint at
// a format level that the member does not know nothing is read, and the machine stays
// empty; the log goes with it all the same, so that it is known which level is in force. It is
// idempotent: a crash anywhere leaves what the next Start brings to the same end.
//
// Errors: protocol.ErrCorrupt if the log is damaged, or contradicts the
// checkpoint at a committed index; protocol.ErrMalformed if a checkpoint is sound
// and this program cannot read it, which must not cost the checkpoint; those of
// the store and of the log; the context's.
func Start(ctx context.Context, log storage.Log, store storage.CheckpointStore, m *machine.Machine, o Options) (storage.Opened, replica.OpenedState, error) {
	s := &starting{log: log, store: store, machine: m, o: o.withDefaults(), rec: log.Opened()}
	if s.rec.Damage != nil {
		return s.rec, replica.OpenedState{}, s.rec.Damage
	}
	restored, err := s.run(ctx)
	return s.rec, restored, err
}

// starting is one start.
type starting struct {
	log     storage.Log
	store   storage.CheckpointStore
	machine *machine.Machine
	o       Options
	rec     storage.Opened
	retried bool
	refused error // why the disk does not give the newest checkpoint, while the older one is used
}

func (s *starting) run(ctx context.Context) (replica.OpenedState, error) {
	for {
		if err := ctx.Err(); err != nil {
			return replica.OpenedState{}, err
		}
		kept := s.store.Kept()
		if len(kept) == 0 || kept[0].Index < s.rec.LogTerms.PrevIndex {
			// Nothing here completes the state, unless the log has it all.
			again, err := s.lastResort(ctx)
			if err != nil {
				return replica.OpenedState{}, err
			}
			if again {
				continue
			}
			s.lost(kept)
			return replica.OpenedState{Kept: kept}, nil
		}
		if !s.o.reads(&kept[0]) {
			if err := s.join(&kept[0]); err != nil {
				return replica.OpenedState{}, fmt.Errorf("the checkpoint at %d: %w", kept[0].Index, err)
			}
			return replica.OpenedState{Kept: kept}, nil
		}
		d, loader, err := s.newest(ctx, kept)
		if errors.Is(err, protocol.ErrCorrupt) {
			if err := s.giveUp(d, err); err != nil {
				return replica.OpenedState{}, err
			}
			continue
		}
		if err == nil {
			err = s.join(d)
		}
		if err != nil {
			return replica.OpenedState{}, fmt.Errorf("the checkpoint at %d: %w", d.Index, err)
		}
		if d != &kept[0] {
			if err := s.setAside(&kept[0], d); err != nil {
				return replica.OpenedState{}, fmt.Errorf("the checkpoint at %d: %w", kept[0].Index, err)
			}
		}
		s.machine.Install(loader)
		if err := s.markOlder(ctx); err != nil {
			return replica.OpenedState{}, fmt.Errorf("the checkpoints kept: %w", err)
		}
		return replica.OpenedState{Kept: s.store.Kept(), Applied: d.Index, Time: loader.Time()}, nil
	}
}

// newest builds the state of the newest checkpoint, or of the older one where the disk
// has given up a place of the newest.
//
// [S] That place may come back, as after a cable was loose: the newest is only set
// aside, and only when the older one was read to its end and the log goes on from it. A
// disk that gives nothing at a start must not take the last checkpoint of all members.
func (s *starting) newest(ctx context.Context, kept []storage.Manifest) (*storage.Manifest, *machine.Loader, error) {
	newest := &kept[0]
	loader, err := s.load(ctx, newest)
	if !errors.Is(err, storage.ErrUnreadable) || len(kept) < 2 {
		return newest, loader, err
	}
	older := &kept[1]
	if older.Index < s.rec.LogTerms.PrevIndex || !s.o.reads(older) {
		return newest, nil, err
	}
	loader, failed := s.load(ctx, older)
	if failed != nil {
		return newest, nil, cmp.Or(ctx.Err(), err)
	}
	s.refused = err
	return older, loader, nil
}

// setAside sets the newest checkpoint aside for the older one, which the log goes with.
func (s *starting) setAside(newest, older *storage.Manifest) error {
	s.tell(protocol.EventRefused, newest, fmt.Sprintf(
		"the disk does not give the checkpoint at %d, which is set aside (starling checkpoint put-back uses it again): the one at %d and the log take its place: %v", newest.Index, older.Index, s.refused))
	return s.store.SetAside(newest.Index)
}

// reads reports whether the member can read a checkpoint: whether it knows its format level.
func (o *Options) reads(d *storage.Manifest) bool {
	return o.Level.Covers(d.Configuration.Configuration.Level)
}

// load builds the state of a kept checkpoint and compares its digest.
func (s *starting) load(ctx context.Context, d *storage.Manifest) (*machine.Loader, error) {
	return load(s.machine, d, s.o.Progress, func(fn func(storage.Item) error) error {
		return s.store.Iterate(ctx, d.Index, fn)
	})
}

// giveUp says that a kept checkpoint is bad. One whose store could not be opened
// has been set aside already.
func (s *starting) giveUp(d *storage.Manifest, why error) error {
	s.tell(protocol.EventRefused, d, fmt.Sprintf("the checkpoint at %d cannot be used: %v", d.Index, why))
	if err := s.store.Bad(d.Index); err != nil && !errors.Is(err, protocol.ErrNotFound) {
		return err
	}
	return nil
}

// join makes the log go with a checkpoint whose state is good.
//
// [S] The pointer of a checkpoint is durable before the log follows. So a crash
// in an installation is found here: the log ends below the checkpoint, or has
// something else there that was never committed.
func (s *starting) join(d *storage.Manifest) error {
	var failed error
	sum := func(i protocol.Index) (protocol.LogSum, bool) {
		sum, err := s.sumAt(i)
		if err != nil {
			failed = err
		}
		return sum, err == nil
	}
	joining := replica.Join(&s.rec.LogTerms, sum, d)
	if failed != nil {
		return failed
	}
	switch joining {
	case replica.JoinKeep:
		// What is in a checkpoint is committed, whatever the log knew of that.
		s.rec.State.Commit = max(s.rec.State.Commit, d.Index)
		s.knowConfiguration(d)
		return nil
	case replica.JoinReset:
		return s.reset(d)
	}
	panic(fmt.Sprintf("snapshotter: the log begins after %d, above the checkpoint at %d", s.rec.LogTerms.PrevIndex, d.Index))
}

// sumAt returns the log sum after an entry that the log holds.
func (s *starting) sumAt(i protocol.Index) (protocol.LogSum, error) {
	switch {
	case i == s.rec.LogTerms.PrevIndex:
		return s.rec.LogTerms.PrevSum, nil
	case i == s.rec.LogTerms.LastIndex():
		return s.rec.LastSum, nil
	}
	entries, err := s.log.Read(i, i, 0)
	if err != nil {
		return protocol.LogSum{}, err
	}
	return entries[0].Sum, nil
}

// knowConfiguration adds the checkpoint's configuration to a log that does not
// know the one in force there.
func (s *starting) knowConfiguration(d *storage.Manifest) {
	if _, known := s.rec.Configurations.At(d.Index); known {
		return
	}
	all := append([]protocol.ConfigurationAt{d.Configuration}, s.rec.Configurations.All()...)
	s.rec.Configurations = protocol.NewConfigurations(all...)
}

// reset begins the log anew after a checkpoint.
func (s *starting) reset(d *storage.Manifest) error {
	if d.Index <= s.rec.State.Commit {
		return protocol.ErrCorrupt.With(fmt.Sprintf(
			"damaged data: the checkpoint at %d contradicts the log, which is committed up to %d; move the directory away and start the member anew: it fetches everything from the others",
			d.Index, s.rec.State.Commit))
	}
	state := replica.StateAfter(&s.rec.LogTerms, s.rec.State, d)
	if err := s.log.Reset(storage.BeginAfter(d), state); err != nil {
		return err
	}
	s.tell(protocol.EventInstalled, d, fmt.Sprintf("the log ended at %d and begins after the checkpoint at %d now", s.rec.LogTerms.LastIndex(), d.Index))
	s.rec = storage.Opened{
		State:          state,
		LogTerms:       protocol.LogTerms{PrevIndex: d.Index, PrevTerm: d.Term, PrevSum: d.LogSum},
		Configurations: protocol.NewConfigurations(d.Configuration),
		LastSum:        d.LogSum,
		Sequence:       s.log.DurableSequence(),
	}
	return nil
}

// lastResort tries checkpoints again that were set aside, once, if nobody else
// has one. It may kill the process, which loses nothing: they are set aside
// again. It reports whether there is something new to look at.
func (s *starting) lastResort(ctx context.Context) (bool, error) {
	if s.retried || s.rec.LogTerms.PrevIndex == 0 {
		return false, nil
	}
	useful := false
	for _, d := range s.store.Aside() {
		useful = useful || d.Index >= s.rec.LogTerms.PrevIndex
	}
	if !useful || s.o.Elsewhere(ctx) {
		return false, ctx.Err()
	}
	s.retried = true
	s.o.Tell(protocol.Event{Kind: protocol.EventRefused, Index: s.rec.LogTerms.PrevIndex,
		Text: "no other member has a checkpoint: those that were set aside are tried again"})
	err := s.store.Retry(ctx)
	if errors.Is(err, protocol.ErrCorrupt) || errors.Is(err, protocol.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// lost says that the state has to come from other members.
func (s *starting) lost(kept []storage.Manifest) {
	begin := s.rec.LogTerms.PrevIndex
	if begin == 0 {
		return
	}
	newest := protocol.Index(0)
	if len(kept) > 0 {
		newest = kept[0].Index
	}
	s.o.Tell(protocol.Event{Kind: protocol.EventRefused, Index: begin, Text: fmt.Sprintf(
		"the log begins after %d and no checkpoint reaches it (the newest is at %d): nothing is applied until one has come from another member, or the folder is put back from a copy", begin, newest)})
}

func (s *starting) tell(kind protocol.EventKind, d *storage.Manifest, text string) {
	s.o.Tell(protocol.Event{Kind: kind, Term: d.Term, Index: d.Index, Text: text})
}

// load builds a state beside the one in force from all items of a checkpoint.
// protocol.ErrCorrupt: it is not the state that the manifest speaks of.
// protocol.ErrMalformed: it holds what this program cannot read. Since its chunks
// are the described ones, another program made it.
func load(m *machine.Machine, d *storage.Manifest, progress func(Progress), each func(func(storage.Item) error) error) (*machine.Loader, error) {
	loader := m.NewLoader()
	p := Progress{Index: d.Index, Total: d.Items}
	err := each(func(it storage.Item) error {
		if p.Done++; p.Done%progressItems == 0 {
			progress(p)
		}
		return loader.Add(machine.CheckpointItem(it))
	})
	if err != nil {
		return nil, err
	}
	digest, err := loader.Finish(d.Index)
	if err != nil {
		return nil, err
	}
	if digest.Bytes() != d.Digest {
		return nil, protocol.ErrCorrupt.With(fmt.Sprintf(
			"damaged data: the state at %d has the digest %s, its checkpoint says %s", d.Index, digest, machine.DigestFrom(d.Digest)))
	}
	progress(p)
	return loader, nil
}
