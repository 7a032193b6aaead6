package cmd

import (
	"fmt"
	"io"
	"maps"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/starlinghq/starling"
	"github.com/starlinghq/starling/internal/notation"
	"github.com/starlinghq/starling/internal/observe"
	"github.com/starlinghq/starling/protocol"
)

func (p *Program) statusCommand() *cli.Command {
	return &cli.Command{
		Name:  "status",
		Usage: "how the member at --addr is, and what it says of the cluster",
		Description: "With several addresses, the first member that answers.\n\n" +
			examples("starling status", "starling status --addr 127.0.0.1:7602 -o json"),
		Flags: clientFlags(),
		Action: p.withStatus(func(s *session, status starling.Status) error {
			if s.json {
				return p.printJSON(status)
			}
			return printStatus(p.Stdout, status)
		}),
	}
}

// withStatus runs show with what the member at --addr says of itself.
func (p *Program) withStatus(show func(*session, starling.Status) error) cli.ActionFunc {
	return p.withClient(func(c *cli.Context, s *session) error {
		status, err := s.Status(s.ctx)
		if err != nil {
			return err
		}
		return show(s, status)
	})
}

func printStatus(w io.Writer, s starling.Status) error {
	rows := [][]string{
		{"name", s.Name},
		{"address", s.Address},
		{"http", orNone(s.HTTP)},
		{"role", s.Role},
		{"raft role", s.RaftRole},
		{"term", fmt.Sprint(s.Term)},
		{"leader", orNone(s.Leader)},
		{"commit", fmt.Sprint(s.Commit)},
		{"applied", fmt.Sprint(s.Applied)},
		{"digest", s.Digest},
		{"checkpoint", checkpointText(s)},
		{"age", ageText(s.AgeMS)},
		{"actives", orNone(strings.Join(s.Actives, " "))},
		{"passives", orNone(strings.Join(s.Passives, " "))},
		{"reserves", orNone(strings.Join(s.Reserves, " "))},
		{"serving", serving(s)},
		{"refused", refusedText(s.Refused)},
		{"log lost", lostText(s.LogLost)},
		{"unknown", unknownText(s.Unknown)},
		{"format level", levelText(s)},
		{"keys", fmt.Sprintf("%d, those of sessions and of the cluster's own books among them (starling resource list has those of each resource)", s.Keys)},
		{"state", stateText(s)},
		{"sessions", fmt.Sprint(s.Sessions)},
		{"up", (time.Duration(s.UptimeMS) * time.Millisecond).Round(time.Second).String()},
		{"version", orNone(s.Version)},
		{"cluster", s.Cluster},
	}
	for _, name := range slices.Sorted(maps.Keys(s.Counters)) {
		if n := s.Counters[name]; n != 0 {
			rows = append(rows, []string{name, strings.TrimRight(fmt.Sprintf("%d  %s", n, observe.Text(name)), " ")})
		}
	}
	for _, a := range s.Ahead {
		rows = append(rows, []string{"ahead", a.Name + " " + a.Text})
	}
	for _, m := range s.Members {
		if m.Other != "" {
			rows = append(rows, []string{"held twice", fmt.Sprintf("%s, at %s and %s: one directory is a copy of the other; stop that one", m.Name, m.Address, m.Other)})
		}
	}
	if err := printTable(w, nil, rows); err != nil {
		return err
	}
	return printNotes(w, s.Members)
}

// printNotes prints what people should know of members, below a table.
func printNotes(w io.Writer, members []starling.MemberStatus) error {
	for _, m := range members {
		if m.Note == "" {
			continue
		}
		if _, err := fmt.Fprintln(w, "note: "+notation.Safe(m.Note, "")); err != nil {
			return err
		}
	}
	return nil
}

// checkpointText is the newest checkpoint, and how far one is that comes from
// other members.
func checkpointText(s starling.Status) string {
	text := "-"
	if s.Checkpoint != 0 {
		text = fmt.Sprint(s.Checkpoint)
	}
	if i := s.Installing; i != nil {
		text += fmt.Sprintf(", installing %d: %d of %d chunks", i.Index, i.Chunks-i.Left, i.Chunks)
	}
	return text
}

// refusedText is how much counted for nothing, because of who sent it or because
// nobody had signed it.
func refusedText(n uint64) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprintf("%d messages or greetings did not count: their sender has no say, or was refused, or a signature is missing; the log names who (\"refused\", \"forged\")", n)
}

// lostText is how much the log lacks.
func lostText(n uint64) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprintf("%d lines of the log: whoever writes it was slow, or failed", n)
}

// stateText is how much the resources hold, and of how much.
func stateText(s starling.Status) string {
	if s.StateLimit == 0 {
		return fmt.Sprintf("%d bytes, without a limit", s.StateBytes)
	}
	text := fmt.Sprintf("%d of %d bytes", s.StateBytes, s.StateLimit)
	if s.StateBytes > s.StateLimit-s.StateLimit/16 {
		text += ": nearly full, and writes that need more room are refused (starling autopilot set --state-bytes)"
	}
	return text
}

// levelText is the format level, and what follows from it for who wants to go back.
func levelText(s starling.Status) string {
	text := fmt.Sprint(s.FormatLevel)
	switch {
	case s.FormatLevel > s.FormatLevelKnown:
		text += fmt.Sprintf(", of which this release knows nothing: it knows the levels up to %d", s.FormatLevelKnown)
	case s.FormatLevel < s.FormatLevelKnown:
		text += fmt.Sprintf(" (this release knows up to %d; until the level rises, members can be put back to one that knows %d only)", s.FormatLevelKnown, s.FormatLevel)
	case s.FormatLevel > 1:
		text += fmt.Sprintf(" (no member can be put back to a release that does not know %d)", s.FormatLevel)
	}
	if s.FormatLevelReason != "" {
		text += "; " + s.FormatLevelReason
	}
	return text
}

func unknownText(list []starling.UnknownKind) string {
	parts := make([]string, len(list))
	for i, k := range list {
		parts[i] = fmt.Sprintf("kind %d: %d passed over, %d not supported by others", k.Kind, k.Skipped, k.Unsupported)
	}
	return orNone(strings.Join(parts, "; "))
}

func serving(s starling.Status) string {
	switch {
	case s.Serving && s.Reason != "":
		return "yes, but " + s.Reason
	case s.Serving:
		return "yes"
	}
	return "no: " + s.Reason
}

func (p *Program) membersCommand() *cli.Command {
	return &cli.Command{
		Name:  "members",
		Usage: "the members of the cluster, as the member at --addr sees them",
		Description: "APPLIED is what each said last, SAID how long ago that was: one that has died is alive in STATE as long as nobody has found out. " +
			"AGE is an upper bound on the age of its state now; \"behind\": it has yet to catch up, and has none.\n\n" + examples("starling members", "starling members -o json"),
		Flags: clientFlags(),
		Action: p.withStatus(func(s *session, status starling.Status) error {
			if s.json {
				return p.printJSON(status.Members)
			}
			return printMembers(p.Stdout, status.Members)
		}),
	}
}

func printMembers(w io.Writer, members []starling.MemberStatus) error {
	var rows [][]string
	var most starling.Index
	for _, m := range members {
		if m.Applied != nil {
			most = max(most, *m.Applied)
		}
	}
	for _, m := range members {
		rows = append(rows, []string{m.Name, addressText(m), m.Role, memberSuffrage(m), aliveText(m), appliedText(m.Applied), memberAge(m, most), ageText(m.SaidMS), short(m.ID)})
	}
	if err := printTable(w, []string{"NAME", "ADDRESS", "ROLE", "SEAT", "STATE", "APPLIED", "AGE", "SAID", "ID"}, rows); err != nil {
		return err
	}
	return printNotes(w, members)
}

// memberAge is how old the state of a member is at most. One without a bound that has
// applied less than another one is behind.
func memberAge(m starling.MemberStatus, most starling.Index) string {
	if m.AgeMS == nil && m.Applied != nil && *m.Applied < most {
		return "behind"
	}
	return ageText(m.AgeMS)
}

// addressText is where a member is, and who else has its id.
func addressText(m starling.MemberStatus) string {
	if m.Other == "" {
		return m.Address
	}
	return m.Address + " and " + m.Other
}

func memberSuffrage(m starling.MemberStatus) string {
	if m.Leader {
		return "leader"
	}
	return orNone(m.Suffrage)
}

func aliveText(m starling.MemberStatus) string {
	switch {
	case m.Other != "":
		return "held twice"
	case m.Alive:
		return "alive"
	case m.SilentMS != nil:
		silent := time.Duration(*m.SilentMS) * time.Millisecond
		return "not heard for " + silent.Round(time.Second).String()
	}
	return "not heard"
}

func appliedText(applied *starling.Index) string {
	if applied == nil {
		return "?"
	}
	return fmt.Sprint(*applied)
}

// ageText prints an upper bound; one that is not known is a question mark.
func ageText(ms *int64) string {
	if ms == nil {
		return "?"
	}
	return (time.Duration(*ms) * time.Millisecond).String()
}

func orNone(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func (p *Program) versionCommand() *cli.Command {
	return &cli.Command{
		Name:        "version",
		Usage:       "the versions of this binary, of its protocol and of Go",
		Description: examples("starling version", "starling version -o json"),
		Flags:       []cli.Flag{outputFlag()},
		Action: offline(func(_ *cli.Context, _ []string, asJSON bool) error {
			if asJSON {
				return p.printJSON(map[string]any{"version": version(), "protocol": protocol.Version, "protocol_lowest": protocol.VersionLowest, "format_level": protocol.FormatKnown, "go": runtime.Version()})
			}
			_, err := fmt.Fprintf(p.Stdout, "starling %s, protocol %s, format level %d, %s %s/%s\n", version(), strings.TrimPrefix(protocol.Spoken().String(), "version "), protocol.FormatKnown, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		}),
	}
}

// version is the release, and for a build from a working copy the revision.
func version() string {
	v := starling.Version
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			v += "+" + s.Value[:12]
		}
	}
	return v
}
