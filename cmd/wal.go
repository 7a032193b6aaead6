package cmd

import (
	"fmt"
	"path/filepath"

	"github.com/urfave/cli/v2"

	"github.com/starlinghq/starling/storage"
	"github.com/starlinghq/starling/storage/checkpoint"
	"github.com/starlinghq/starling/storage/vfs"
	"github.com/starlinghq/starling/storage/wal"
)

func (p *Program) walCommand() *cli.Command {
	return &cli.Command{
		Name:  "wal",
		Usage: "look into a member's directory, offline",
		Description: "Nothing is changed, and nothing is locked: a running member's directory can be read too, and may look torn at its end.\n\n" +
			examples("starling wal inspect /var/lib/starling", "starling wal verify /var/lib/starling"),
		Subcommands: []*cli.Command{
			{
				Name: "inspect", Usage: "print what is in a directory", ArgsUsage: "DIR",
				Description: examples("starling wal inspect /var/lib/starling", "starling wal inspect --records /var/lib/starling", "starling wal inspect -o json /var/lib/starling"),
				Flags:       []cli.Flag{boolFlag("records", "every record, one a line"), outputFlag()},
				Action:      offline(p.walInspect),
			},
			{
				Name: "verify", Usage: "say whether a log is sound; exit code 1 if it is not", ArgsUsage: "DIR",
				Description: "What the next start drops, passes over or repairs is said: the end that a crash has left incomplete is no damage. " +
					"The content of the checkpoints beside it is for starling checkpoint inspect.\n\n" + examples("starling wal verify /var/lib/starling"),
				Flags:  []cli.Flag{outputFlag()},
				Action: offline(p.walVerify),
			},
		},
	}
}

func (p *Program) walInspect(c *cli.Context, args []string, asJSON bool) error {
	var visit func(wal.Record)
	if c.Bool("records") {
		visit = func(r wal.Record) {
			if asJSON {
				p.printJSON(recordJSON(r)) // a reader that went away is noticed at the end
				return
			}
			fmt.Fprintln(p.Stdout, recordText(r))
		}
	}
	report, err := wal.Inspect(vfs.OS(), args[0], visit)
	if err != nil {
		return err
	}
	kept, err := pointers(args[0])
	if err != nil {
		return err
	}
	if asJSON {
		return p.printJSON(reportJSON(&report, kept))
	}
	return p.printReport(&report, kept)
}

// pointers returns what the pointers of a directory's checkpoints say.
func pointers(dir string) ([]storage.Manifest, error) {
	return checkpoint.Peek(vfs.OS(), filepath.Join(dir, checkpoint.Folder))
}

// beginText says what goes before a log: nothing, the newest checkpoint that
// reaches its begin, or that there is none.
func beginText(r *wal.Report, kept []storage.Manifest) string {
	begin := r.First - 1
	switch {
	case len(kept) > 0 && kept[0].Index >= begin:
		return fmt.Sprintf("goes on from the checkpoint at %d", kept[0].Index)
	case begin == 0:
		return "is whole"
	}
	return fmt.Sprintf("begins after %d, and no checkpoint reaches that: the member fetches one from the others", begin)
}

func (p *Program) walVerify(c *cli.Context, args []string, asJSON bool) error {
	report, err := wal.Verify(vfs.OS(), args[0])
	if err != nil {
		return fmt.Errorf("%s is not sound: %w", args[0], err)
	}
	kept, err := pointers(args[0])
	if err != nil {
		return err
	}
	if asJSON {
		return p.printJSON(reportJSON(&report, kept))
	}
	for _, note := range report.Notes {
		p.say("at the next start: %s\n", note)
	}
	for _, x := range report.Unreadable {
		p.say("cannot be read, and nothing of the log is there: %s, offset %d, %d bytes: %v\n", x.Segment, x.Offset, x.Bytes, x.Err)
	}
	return p.say("%s is sound: member %s, entries %d to %d in %d segments; the log %s\n",
		args[0], report.Identity.Name, report.First, report.Last, len(report.Segments), beginText(&report, kept))
}

func recordText(r wal.Record) string {
	s := fmt.Sprintf("%s+%-10d %-7s sequence=%d durable=%d", r.Segment, r.Offset, r.Status, r.Sequence, r.Durable)
	if r.Status != wal.StatusGood {
		return s
	}
	s += fmt.Sprintf(" kind=%v term=%d commit=%d", r.Kind, r.State.Term, r.State.Commit)
	if r.Last > 0 {
		s += fmt.Sprintf(" entries=%d..%d@%d", r.First, r.Last, r.LastTerm)
	}
	if r.Cut {
		s += " cut"
	}
	return s
}

func (p *Program) printReport(r *wal.Report, kept []storage.Manifest) error {
	sound := "yes"
	if r.Damage != nil {
		sound = "no: " + r.Damage.Error()
	}
	vote := "nobody"
	if !r.State.Vote.IsZero() {
		vote = r.State.Vote.String()
	}
	err := printTable(p.Stdout, nil, [][]string{
		{"member", fmt.Sprintf("%s (%s)", r.Identity.Name, r.Identity.Member)},
		{"cluster", r.Identity.Cluster.String()},
		{"starts", fmt.Sprint(r.Identity.Starts)},
		{"sound", sound},
		{"term", fmt.Sprint(r.State.Term)},
		{"vote", vote},
		{"commit", fmt.Sprint(r.State.Commit)},
		{"entries", fmt.Sprintf("%d@%d to %d@%d", r.First, r.FirstTerm, r.Last, r.LastTerm)},
		{"log sum", r.LastSum.String()},
		{"log", beginText(r, kept)},
		{"durable", fmt.Sprintf("record %d of %d", r.Durable, r.Sequence)},
		{"records", fmt.Sprintf("%d with %d entries; %d corrupt (%d harmless), %d torn, %d gone", r.Records, r.Entries, r.Corrupt, r.Harmless, r.Torn, r.Gone)},
		{"spares", fmt.Sprint(r.Preallocated)},
	})
	if err != nil {
		return err
	}
	for _, c := range r.Configurations {
		p.say("configuration %d: %s, target %d, format level %d\n", c.Index, c.Configuration, c.Configuration.Target, c.Configuration.Level.Number())
	}
	for _, d := range kept {
		p.say("checkpoint %d@%d: %d keys, %d bytes\n", d.Index, d.Term, d.Items, d.Bytes)
	}
	for _, note := range r.Notes {
		p.say("at the next start: %s\n", note)
	}
	for _, x := range r.Unreadable {
		p.say("cannot be read: %s, offset %d, %d bytes: %v\n", x.Segment, x.Offset, x.Bytes, x.Err)
	}
	for _, name := range r.Unexpected {
		p.say("not ours: %s\n", name)
	}
	var rows [][]string
	for _, s := range r.Segments {
		header := "good"
		if !s.Good {
			header = "damaged"
		}
		rows = append(rows, []string{s.Name, fmt.Sprint(s.Bytes), header, fmt.Sprint(s.First), fmt.Sprint(s.PreviousIndex + 1)})
	}
	return printTable(p.Stdout, []string{"SEGMENT", "BYTES", "HEADER", "FIRST RECORD", "FIRST ENTRY"}, rows)
}

// reportJSON is what `wal inspect -o json` prints last; fields are added, never
// renamed.
func reportJSON(r *wal.Report, kept []storage.Manifest) map[string]any {
	out := map[string]any{
		"member": r.Identity.Member.String(), "name": r.Identity.Name, "cluster": r.Identity.Cluster.String(),
		"starts": r.Identity.Starts, "format": r.Identity.Format,
		"sound": r.Damage == nil, "term": r.State.Term, "vote": r.State.Vote.String(), "commit": r.State.Commit,
		"first": r.First, "first_term": r.FirstTerm, "last": r.Last, "last_term": r.LastTerm, "log_sum": r.LastSum.String(),
		"durable": r.Durable, "sequence": r.Sequence, "segments": len(r.Segments), "records": r.Records, "entries": r.Entries,
		"corrupt": r.Corrupt, "harmless": r.Harmless, "torn": r.Torn, "gone": r.Gone, "bad_headers": r.BadHeaders,
	}
	if n := len(r.Configurations); n > 0 {
		out["format_level"] = r.Configurations[n-1].Configuration.Level.Number()
	}
	unexpected := []string{}
	for _, name := range r.Unexpected {
		unexpected = append(unexpected, pathText(name))
	}
	out["unexpected"] = unexpected
	checkpoints := []uint64{}
	for _, d := range kept {
		checkpoints = append(checkpoints, uint64(d.Index))
	}
	out["checkpoints"] = checkpoints
	if r.Damage != nil {
		out["damage"] = r.Damage.Error()
	}
	if len(r.Notes) > 0 {
		out["notes"] = r.Notes
	}
	if len(r.Unreadable) > 0 {
		var places []map[string]any
		for _, x := range r.Unreadable {
			places = append(places, map[string]any{"segment": x.Segment, "offset": x.Offset, "bytes": x.Bytes, "error": x.Err.Error()})
		}
		out["unreadable"] = places
	}
	return out
}

// recordJSON is one line of `wal inspect --records -o json`.
func recordJSON(r wal.Record) map[string]any {
	return map[string]any{
		"segment": r.Segment, "offset": r.Offset, "status": r.Status, "sequence": r.Sequence, "durable": r.Durable,
		"kind": fmt.Sprint(r.Kind), "cut": r.Cut, "term": r.State.Term, "commit": r.State.Commit,
		"first": r.First, "last": r.Last, "last_term": r.LastTerm, "bytes": r.Bytes,
	}
}
