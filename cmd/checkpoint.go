package cmd

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"github.com/starlinghq/starling/internal/machine"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
	"github.com/starlinghq/starling/storage/checkpoint"
	"github.com/starlinghq/starling/storage/engine"
	"github.com/starlinghq/starling/storage/engine/badgerengine"
	"github.com/starlinghq/starling/storage/vfs"
	"github.com/starlinghq/starling/storage/wal"
)

// checkpointCommands are the commands of checkpoints on disk.
type checkpointCommands struct{ *Program }

func (p checkpointCommands) command() *cli.Command {
	return &cli.Command{
		Name:        "checkpoint",
		Usage:       "look into the checkpoints in a member's directory, offline",
		Description: examples("starling checkpoint inspect /var/lib/starling", "starling checkpoint put-back /var/lib/starling"),
		Subcommands: []*cli.Command{
			{
				Name: "inspect", Usage: "read all of them, and say whether they are sound; exit code 1 if one is not", ArgsUsage: "DIR",
				Description: "The member must be stopped. Each chunk is compared with its sum and the state with its digest. " +
					"Of a member in quarantine, those of a state that may be wrong are named, and the exit code is 1. " +
					"Nothing in the directory is changed. A checkpoint that is not sound is told and not given up: the next start of the member does that, and goes on from the older one.\n\n" +
					examples("starling checkpoint inspect /var/lib/starling", "starling checkpoint inspect -o json /var/lib/starling"),
				Flags:  []cli.Flag{outputFlag()},
				Action: offline(p.inspect),
			},
			{
				Name: "put-back", Usage: "put checkpoints that were set aside back to their places, if they can be read after all", ArgsUsage: "DIR",
				Description: "The member must be stopped. A member sets a checkpoint aside whose files are damaged, or whose store has killed it three times. " +
					"When the cause has been repaired (files brought back from a copy, a newer program), this reads all of it and, if it is whole, has the next start use it. " +
					"What is below the two that are kept stays aside.\n\n" +
					examples("starling checkpoint put-back /var/lib/starling"),
				Flags:  []cli.Flag{outputFlag()},
				Action: offline(p.putBack),
			},
		},
	}
}

// found is a checkpoint, and what is wrong with it.
type found struct {
	storage.Manifest
	fault error
	aside bool
	// doubted says that the state may have been wrong when it was taken.
	doubted bool
}

func (p checkpointCommands) inspect(c *cli.Context, args []string, asJSON bool) error {
	list, lost, err := p.readCheckpoints(c.Context, args[0])
	if err != nil {
		return err
	}
	noted, err := wal.ReadQuarantine(vfs.OS(), args[0])
	if err != nil {
		return err
	}
	for k := range list {
		list[k].doubted = noted.At != 0 && list[k].Index >= noted.At && (list[k].Index > noted.At || list[k].Digest != noted.Digest)
	}
	if asJSON {
		err = p.printJSON(checkpointsJSON(list))
	} else {
		err = p.printCheckpoints(args[0], list)
	}
	if noted.At != 0 {
		since := fmt.Sprintf(" at %d", noted.At)
		if noted.SinceUnknown() {
			since = ", and since when cannot be read any more"
		}
		err = errors.Join(err, fmt.Errorf("the state of this member had diverged%s, and it was stopped before it had come to where it was: its next start serves nobody before that", since))
	}
	for _, f := range list {
		if f.fault != nil {
			err = errors.Join(err, fmt.Errorf("the checkpoint at %d is not sound: %w", f.Index, f.fault))
		}
	}
	for _, name := range lost {
		err = errors.Join(err, fmt.Errorf("the file %s is damaged: which checkpoint it named is not known; its member takes another one, or fetches one", name))
	}
	return err
}

func (p checkpointCommands) putBack(c *cli.Context, args []string, asJSON bool) error {
	err := withCheckpoints(args[0], checkpoint.Open, func(store *checkpoint.Store) error { return store.Retry(c.Context) })
	if err != nil {
		return err
	}
	return p.inspect(c, args, asJSON)
}

// withCheckpoints opens the checkpoints of a member that is stopped.
func withCheckpoints(dir string, open func(vfs.FS, string, engine.Engine, checkpoint.Options) (*checkpoint.Store, error), use func(*checkpoint.Store) error) error {
	if _, err := wal.ReadIdentity(vfs.OS(), dir); err != nil {
		return err
	}
	lock, err := wal.LockDir(vfs.OS(), dir)
	if err != nil {
		return err
	}
	defer lock.Close()
	folder := filepath.Join(dir, checkpoint.Folder)
	if there, err := vfs.Exists(vfs.OS(), folder); err != nil || !there {
		return err
	}
	store, err := open(vfs.OS(), folder, badgerengine.New(badgerengine.Options{}), checkpoint.Options{})
	if err != nil {
		return err
	}
	return errors.Join(use(store), store.Close())
}

// readCheckpoints reads all that is kept in a member's directory.
func (p checkpointCommands) readCheckpoints(ctx context.Context, dir string) (list []found, lost []string, err error) {
	err = withCheckpoints(dir, checkpoint.Inspect, func(store *checkpoint.Store) error {
		for _, name := range store.Lost() {
			lost = append(lost, filepath.Join(dir, checkpoint.Folder, name))
		}
		list, err = readKept(ctx, store)
		return err
	})
	return list, lost, err
}

func readKept(ctx context.Context, store *checkpoint.Store) ([]found, error) {
	var list []found
	for _, d := range store.Kept() {
		fault := readCheckpoint(ctx, store, &d)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		list = append(list, found{Manifest: d, fault: fault})
	}
	for _, d := range store.Aside() {
		list = append(list, found{Manifest: d, aside: true})
	}
	return list, nil
}

// readCheckpoint builds the state of a checkpoint, whatever types it is of, and
// compares its digest.
func readCheckpoint(ctx context.Context, store storage.CheckpointStore, d *storage.Manifest) error {
	if level := d.Configuration.Configuration.Level; !protocol.FormatKnown.Covers(level) {
		return protocol.ErrUnsupported.With(protocol.BeyondLevel("the checkpoint", level, protocol.FormatKnown))
	}
	m := machine.New(machine.Config{})
	defer m.Close()
	loader := m.NewLoader()
	err := store.Iterate(ctx, d.Index, func(it storage.Item) error { return loader.Add(machine.CheckpointItem(it)) })
	if err != nil {
		return err
	}
	digest, err := loader.Finish(d.Index)
	if err == nil && digest.Bytes() != d.Digest {
		err = protocol.ErrCorrupt.With(fmt.Sprintf("its state has the digest %s, its description says %s", digest, machine.DigestFrom(d.Digest)))
	}
	return err
}

func (p checkpointCommands) printCheckpoints(dir string, list []found) error {
	if len(list) == 0 {
		return p.say("%s has no checkpoint\n", dir)
	}
	var rows [][]string
	for _, f := range list {
		rows = append(rows, []string{fmt.Sprint(f.Index), fmt.Sprint(f.Term), fmt.Sprint(f.Items), fmt.Sprint(f.Bytes),
			fmt.Sprint(len(f.Chunks)), fmt.Sprint(f.Configuration.Configuration.Level.Number()), machine.DigestFrom(f.Digest).String(), f.state()})
	}
	return printTable(p.Stdout, []string{"INDEX", "TERM", "KEYS", "BYTES", "CHUNKS", "LEVEL", "DIGEST", "STATE"}, rows)
}

func (f *found) state() string {
	switch {
	case f.aside:
		return "set aside: see put-back"
	case errors.Is(f.fault, protocol.ErrUnsupported):
		return "of a later release"
	case f.fault != nil:
		return "damaged"
	case f.doubted:
		return "of a state in quarantine"
	}
	return "sound"
}

// checkpointsJSON is what -o json prints; fields are added, never renamed.
func checkpointsJSON(list []found) []map[string]any {
	out := []map[string]any{}
	for _, f := range list {
		line := map[string]any{
			"index": f.Index, "term": f.Term, "log_sum": f.LogSum.String(), "configuration": f.Configuration.Index, "format_level": f.Configuration.Configuration.Level.Number(),
			"keys": f.Items, "bytes": f.Bytes, "chunks": len(f.Chunks),
			"digest": machine.DigestFrom(f.Digest).String(), "sound": f.fault == nil && !f.aside, "aside": f.aside, "quarantine": f.doubted,
		}
		if f.fault != nil {
			line["fault"] = f.fault.Error()
		}
		out = append(out, line)
	}
	return out
}
