package recovery

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/starlinghq/starling/internal/machine"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
	"github.com/starlinghq/starling/storage/vfs"
	"github.com/starlinghq/starling/storage/wal"
)

const (
	// RefuseMax limits how many entries a recovery leaves out. Each was found by a
	// run that stopped at it: more than a few say that the program is the fault.
	RefuseMax = 1000
	// hangsAfter is how long a command runs before it is said to hang, as in a
	// running member; hangsLook is between two looks at what runs.
	hangsAfter = 5 * time.Second
	hangsLook  = 250 * time.Millisecond
)

// seeHangs and seeTypes name where the whole way out is written down.
const (
	seeHangs = `docs/recover.md, "When a command does not return"`
	seeTypes = `docs/recover.md, "Types of your own"`
)

// Refusal is an entry that was left out. The texts are empty if no program can
// decode its command.
type Refusal struct {
	Index                     protocol.Index
	Type, Operation, Resource string
}

// refuses reads what it is asked to leave out: each has to be the command of a
// resource type that is still in the log. All that are not are named at once.
//
// [S] Nothing else may be left out. Configurations, checkpoint entries and those of a new
// leader call no code of types, and what is left out of a session's own entries takes
// away everything that its clients did in it.
func (r *recovery) refuses(log storage.Log, applied, last protocol.Index) (err error) {
	r.result.Refused, err = leaveOut(r.o.Dir, r.o.Refuse, applied, last, func(i protocol.Index) (Refusal, string, error) {
		entries, err := log.Read(i, i, 0)
		if err != nil {
			return Refusal{}, "", err
		}
		refusal, fault := refusalOf(&entries[0])
		return refusal, fault, nil
	})
	return err
}

// LeaveOut looks whether entries can be left out of what begins from a survivor's
// directory, and changes nothing. Errors as those of Recover for Options.Refuse.
func LeaveOut(s *Survivor, list []protocol.Index) ([]Refusal, error) {
	type found struct {
		refusal Refusal
		fault   string
	}
	seen := map[protocol.Index]found{}
	report, err := wal.Inspect(vfs.OS(), s.Dir, func(rec wal.Record) {
		if rec.Status != wal.StatusGood {
			return
		}
		for k := range rec.Entries {
			if e := &rec.Entries[k]; slices.Contains(list, e.Index) {
				refusal, fault := refusalOf(e)
				seen[e.Index] = found{refusal, fault} // a later record overwrites
			}
		}
	})
	if err != nil {
		return nil, err
	}
	return leaveOut(s.Dir, list, s.Checkpoint, report.Last, func(i protocol.Index) (Refusal, string, error) {
		x, ok := seen[i]
		if !ok {
			x.fault = fmt.Sprintf("entry %d cannot be read", i)
		}
		return x.refusal, x.fault, nil
	})
}

// leaveOut goes through a list of entries of a log whose state begins above applied.
func leaveOut(dir string, list []protocol.Index, applied, last protocol.Index, read func(protocol.Index) (Refusal, string, error)) (out []Refusal, err error) {
	if n := len(list); n > RefuseMax {
		return nil, protocol.ErrInvalid.With(fmt.Sprintf("%d entries are to be left out, the limit is %d", n, RefuseMax))
	}
	list = slices.Clone(list)
	slices.Sort(list)
	var faults []string
	for _, i := range slices.Compact(list) {
		switch {
		case i == 0 || i > last:
			faults = append(faults, fmt.Sprintf("there is no entry %d: the log of %s ends at %d", i, dir, last))
			continue
		case i <= applied:
			faults = append(faults, fmt.Sprintf("entry %d is part of the checkpoint at %d of %s: there its command did return", i, applied, dir))
			continue
		}
		refusal, fault, err := read(i)
		if err != nil {
			return nil, err
		}
		if fault != "" {
			faults = append(faults, fault)
		}
		out = append(out, refusal)
	}
	if len(faults) > 0 {
		return nil, protocol.ErrInvalid.With("only commands of resource types can be left out: " + strings.Join(faults, "; ") +
			". Nothing was begun; `starling wal inspect` shows what is in a log")
	}
	return out, nil
}

func refusalOf(e *protocol.Entry) (out Refusal, fault string) {
	out.Index = e.Index
	if e.Kind != protocol.EntryCommand {
		return out, fmt.Sprintf("entry %d holds no command, its kind is %s", e.Index, e.Kind)
	}
	c, err := protocol.DecodeCommand(e.Data)
	switch {
	case err != nil: // no program can apply it: a reason to leave it out
	case c.Type == protocol.SessionType:
		fault = fmt.Sprintf("entry %d is %s.%s, which calls no code of a type, and all commands of its session depend on it", e.Index, c.Type, c.Operation)
	default:
		out.Type, out.Operation, out.Resource = c.Type, c.Operation, c.Resource
	}
	return out, fault
}

// apply applies entries, and waits no longer than ctx lasts. A command that does not
// return is named in the log after a while, and in the error; nobody can end it, so
// its goroutine and the state stay behind.
func (r *recovery) apply(ctx context.Context, entries []protocol.Entry) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.machine.ApplyAside(entries, make([]protocol.Result, 0, len(entries)))
	}()
	ticker := time.NewTicker(hangsLook)
	defer ticker.Stop()
	var runs machine.Running
	since, said := time.Now(), false
	for {
		select {
		case <-done:
			return r.cannotApply(r.machine.Stopped())
		case <-ctx.Done():
			return r.interrupted(ctx, done)
		case <-ticker.C:
			now, ok := r.machine.Running()
			if now != runs || !ok {
				runs, since, said = now, time.Now(), false
			} else if !said && time.Since(since) >= hangsAfter {
				said = true
				r.o.Logger.Error("a command hangs: "+r.hangs(now), "index", now.Index, "type", now.Type, "operation", now.Operation, "resource", now.Resource)
			}
		}
	}
}

// interrupted returns the error of a context that has ended, with the command that
// does not return, if the state stands still at one.
func (r *recovery) interrupted(ctx context.Context, done <-chan struct{}) error {
	first, ok := r.machine.Running()
	if !ok {
		return ctx.Err()
	}
	look := time.NewTimer(hangsLook)
	defer look.Stop()
	select {
	case <-done:
	case <-look.C:
		if now, _ := r.machine.Running(); now == first {
			return fmt.Errorf("%w: %s", ctx.Err(), r.hangs(now))
		}
	}
	return ctx.Err()
}

// hangs says which command has not returned, and how to go on without it.
func (r *recovery) hangs(c machine.Running) string {
	return fmt.Sprintf("%s, has not returned. Nothing was begun. If it never returns, repair the type, or leave the entry out as well: --refuse %s (RecoverConfig.Refuse); see %s",
		c, r.with(c.Index), seeHangs)
}

// with returns the list of entries to leave out with one more.
func (r *recovery) with(i protocol.Index) string {
	list := append(slices.Clone(r.o.Refuse), i)
	slices.Sort(list)
	return Indexes(slices.Compact(list))
}

// Indexes writes a list as --refuse takes it.
func Indexes(list []protocol.Index) string {
	texts := make([]string, len(list))
	for k, i := range list {
		texts[k] = fmt.Sprint(i)
	}
	return strings.Join(texts, ",")
}

// cannotApply says what to do about an entry that the machine has stopped at. A
// program that knows the type can apply it, and to leave it out would lose it.
func (r *recovery) cannotApply(err error) error {
	if err == nil {
		return nil
	}
	for _, lacks := range []error{protocol.ErrUnknownType, protocol.ErrUnknownOperation} {
		if errors.Is(err, lacks) {
			return fmt.Errorf("%w. Nothing was begun. The program that recovers runs the commands of the log, so it has to know their types: "+
				"run the same command in a program of your own that calls cmd.Main with them, or call starling.Recover with RecoverConfig.Types; see %s", err, seeTypes)
		}
	}
	return fmt.Errorf("%w; if no program can apply this entry, leave it out: --refuse %s", err, r.with(r.machine.Applied()+1))
}
