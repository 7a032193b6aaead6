package cmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/starlinghq/starling"
	"github.com/starlinghq/starling/protocol"
)

func (p *Program) recoverCommand() *cli.Command {
	return &cli.Command{
		Name: "recover", Usage: "begin a new cluster from a survivor, after the quorum is lost for good", ArgsUsage: "DIR...",
		Description: "For the day on which a majority of the voters is gone and will not come back, or was put back to old " +
			"copies, so that the members refuse one another. Without --begin-new-cluster nothing is changed: it " +
			"shows how far each directory reaches, which one is best, and whether the members can go on as they " +
			"are. Give it all directories that are left, those of voters above all, passive members too; those on " +
			"other machines can be compared by the term and index that are printed: the higher term wins, then " +
			"the higher index.\n\n" +
			"With --begin-new-cluster the best of the given directories becomes the only member of a new " +
			"cluster. What only the lost members had is lost. All sessions are closed. Members of the old " +
			"cluster are refused from then on: move their directories away and let them join anew.\n\n" +
			"If the directories are those of a majority of the voters, and sound, the quorum is intact: nothing is " +
			"begun (exit code 5), because those members go on when they are started, and two clusters with the " +
			"same data are the worst that can happen. --although-quorum-is-intact begins one nevertheless.\n\n" +
			"A command of a resource type that never returns, or kills its member, stops all members at its entry. " +
			"--refuse goes on without it: without --begin-new-cluster it prints the command to type, with it the " +
			"entry has no effect in the new cluster, at any member. If the recovery stops at another one it says so, " +
			"and both are given: --refuse 52100,52107.\n\n" +
			"The commands of the log are run to get the state, so this program must know the types that they belong " +
			"to. If some are your own, do it in a program of yours that calls cmd.Main with them, which is this " +
			"command, or starling.Recover. docs/recover.md has both in full.\n\n" +
			"The members whose directories are given must be stopped. No voter of the old cluster may run, or " +
			"ever be started again with its old directory.\n\n" +
			examples("starling recover /var/lib/a1 /var/lib/a2 /var/lib/p1",
				"starling recover --begin-new-cluster /var/lib/a2 /var/lib/p1",
				"starling recover --begin-new-cluster --although-quorum-is-intact --refuse 52100,52107 /var/lib/a1 /var/lib/a2 /var/lib/a3"),
		Flags: []cli.Flag{
			boolFlag("begin-new-cluster", "do it, with the best of the given directories"),
			boolFlag("although-quorum-is-intact", "do it although the given members could go on as they are: then there are two clusters with the same data, or, with --refuse, one in place of one that an entry kills"),
			indexesFlag("refuse", "`INDEX[,INDEX...]` of entries whose commands never return, or kill every member that applies them: they get no effect in the new cluster; up to 1,000, and the flag may be repeated"),
			unsaid("as the old one", boundedInt("actives", 0, 0, protocol.ActivesMax, "`N` voters that the new cluster aims at; 0: as the old one")),
			outputFlag(),
		},
		Action: offline(p.recover),
	}
}

func (p *Program) recover(c *cli.Context, dirs []string, asJSON bool) error {
	if c.Bool("although-quorum-is-intact") && !c.Bool("begin-new-cluster") {
		return &usageError{"starling recover: --although-quorum-is-intact goes with --begin-new-cluster"}
	}
	survey, err := starling.Survivors(c.Context, dirs...)
	if err != nil {
		return err
	}
	best, err := bestOf(survey.Survivors)
	if !c.Bool("begin-new-cluster") {
		return showSurvey(p, c, survey, best, err, asJSON)
	}
	if err != nil {
		return err
	}
	logger, err := newLogger(p.Stderr, "warn", "text")
	if err != nil {
		return err
	}
	bar := newProgress(p.Stderr, "replaying", " entries", int64(best.Last))
	r, err := starling.Recover(c.Context, starling.RecoverConfig{
		Dir: best.Dir, Others: slices.DeleteFunc(slices.Clone(dirs), func(dir string) bool { return dir == best.Dir }),
		AlthoughQuorumIsIntact: c.Bool("although-quorum-is-intact"), Types: p.Types, Refuse: indexesOf(c, "refuse"), Actives: c.Int("actives"), Logger: logger,
		Progress: func(applied, _ starling.Index) { bar.set(int64(applied), int64(applied)) },
	})
	bar.finish()
	if errors.Is(err, context.Canceled) && err.Error() != context.Canceled.Error() {
		return cutShort{err} // at which command it stood
	}
	if err != nil {
		return err
	}
	if asJSON {
		return p.printJSON(recoveredJSON(&r))
	}
	return p.say("%s is the only member of the new cluster %s.\n"+
		"  taken over     everything up to index %d of cluster %s\n"+
		"  begins after   index %d, in term %d\n"+
		"  closed         %d sessions\n%s"+
		"  the old directory is %s\n"+
		"Start %s as always. Every other member joins with an empty directory: those of the old cluster are refused.\n%s",
		r.Name, r.Cluster, r.Last, r.OldCluster, r.Begin, r.Term, r.Sessions, leftOut(r.Refused, "left out"), r.Aside, r.Name, beside(r.Quorum))
}

// showSurvey says what directories hold, and what to type to begin from the best of them,
// if none of it is refused: a list of entries that cannot be left out, and directories of
// more than one cluster. Why there is no best one is no error of somebody who looks.
func showSurvey(p *Program, c *cli.Context, survey starling.Survey, best starling.Survivor, why error, asJSON bool) error {
	var refused []starling.RefusedEntry
	var wrong error
	if refuse := indexesOf(c, "refuse"); errors.Is(why, protocol.ErrWrongCluster) {
		wrong = why
	} else if best.Best && len(refuse) > 0 {
		refused, wrong = starling.RefusedEntries(c.Context, best.Dir, refuse)
	}
	var err error
	if asJSON {
		err = p.printJSON(surveyJSON(survey, refused))
	} else if err = p.printSurvey(survey); err == nil && wrong == nil {
		err = printWayOn(p, survey, best, refused)
	}
	return cmp.Or(err, wrong)
}

// leftOut says which entries have no effect in the new cluster.
func leftOut(list []starling.RefusedEntry, said string) string {
	var b strings.Builder
	for _, e := range list {
		fmt.Fprintf(&b, "  %-15sentry %d, ", said, e.Index)
		if e.Type == "" {
			b.WriteString("which no program can decode\n")
			continue
		}
		fmt.Fprintf(&b, "command %s.%s on %q\n", e.Type, e.Operation, e.Resource)
	}
	return b.String()
}

// beside says who must not run beside a new cluster.
func beside(q starling.Quorum) string {
	if len(q.Voters) == 0 {
		return ""
	}
	list := make([]string, len(q.Voters))
	for i, v := range q.Voters {
		list[i] = v.Name
		if v.Address != "" {
			list[i] += " at " + v.Address
		}
	}
	return fmt.Sprintf("The voters of the old cluster were %s. None of them may run now, or ever be started again with its old directory: "+
		"a majority of them would go on as the old cluster, beside the new one.\n", strings.Join(list, ", "))
}

// bestOf returns the survivor to begin from, or why there is none.
func bestOf(list []starling.Survivor) (starling.Survivor, error) {
	var best starling.Survivor
	for _, s := range list {
		if s.Cluster != list[0].Cluster {
			return best, protocol.ErrWrongCluster.With(fmt.Sprintf("%s belongs to cluster %s, %s to cluster %s: they have nothing to do with each other. Look at those of one cluster at a time",
				list[0].Dir, list[0].Cluster, s.Dir, s.Cluster))
		}
		if s.Best {
			best = s
		}
	}
	if !best.Best {
		return best, fmt.Errorf("%s: %w; nothing can be begun from it", list[0].Dir, list[0].Fault)
	}
	return best, nil
}

func (p *Program) printSurvey(survey starling.Survey) error {
	list := survey.Survivors
	rows := make([][]string, len(list))
	for i, s := range list {
		verdict := ""
		switch {
		case s.Fault != nil:
			verdict = s.Fault.Error()
		case s.Best:
			verdict = "best"
		}
		if s.Note != "" {
			verdict = strings.TrimPrefix(verdict+", "+s.Note, ", ")
		}
		if s.InUse {
			verdict = strings.TrimPrefix(verdict+", in use by a running process: stop it first", ", ")
		}
		rows[i] = []string{s.Dir, s.Name, short(s.Cluster), fmt.Sprint(s.Term), fmt.Sprint(s.Last), fmt.Sprint(s.Commit), fmt.Sprint(s.Checkpoint), verdict}
	}
	if err := printTable(p.Stdout, []string{"DIR", "MEMBER", "CLUSTER", "TERM", "LAST", "COMMITTED", "CHECKPOINT", ""}, rows); err != nil {
		return err
	}
	if survey.Quorum.Text == "" {
		return nil
	}
	return p.say("\n%s.\n", survey.Quorum.Text)
}

// printWayOn says what to type to begin a new cluster, if that is worth it.
func printWayOn(p *Program, survey starling.Survey, best starling.Survivor, refused []starling.RefusedEntry) error {
	q, refuse := survey.Quorum, make([]starling.Index, len(refused))
	for i, e := range refused {
		refuse[i] = e.Index
	}
	switch {
	case q.Intact && len(refuse) == 0:
		return p.say("\nNothing was changed.\n")
	case !best.Best:
		return p.say("\nNothing was changed. No new cluster can be begun from these.\n")
	}
	dirs := []string{best.Dir}
	for _, s := range survey.Survivors {
		if s.Dir != best.Dir {
			dirs = append(dirs, s.Dir)
		}
	}
	return p.say("\nNothing was changed. To begin a new cluster from the best one, %s%s:\n  %s recover --begin-new-cluster %s\n%s%s",
		best.Name, withoutEntries(refuse), cmp.Or(p.Command, "starling"), strings.Join(append(flagsFor(q, refuse), dirs...), " "), leftOut(refused, "it leaves out"), beside(q))
}

// withoutEntries says which entries the new cluster goes on without.
func withoutEntries(refuse []starling.Index) string {
	switch len(refuse) {
	case 0:
		return ""
	case 1:
		return fmt.Sprintf(", without entry %d", refuse[0])
	}
	return ", without entries " + indexes(refuse)
}

// flagsFor are those that the command takes besides.
func flagsFor(q starling.Quorum, refuse []starling.Index) (flags []string) {
	if q.Intact {
		flags = append(flags, "--although-quorum-is-intact")
	}
	if len(refuse) > 0 {
		flags = append(flags, "--refuse", indexes(refuse))
	}
	return flags
}

func indexes(list []starling.Index) string {
	texts := make([]string, len(list))
	for i, index := range list {
		texts[i] = fmt.Sprint(index)
	}
	return strings.Join(texts, ",")
}

// short is enough of an id to tell it from others by eye.
func short(id string) string { return id[:min(len(id), 8)] }

// surveyJSON is the stable form for scripts.
func surveyJSON(survey starling.Survey, refused []starling.RefusedEntry) any {
	type survivor struct {
		Dir        string         `json:"dir"`
		Name       string         `json:"name"`
		Cluster    string         `json:"cluster"`
		ID         string         `json:"id"`
		Term       uint64         `json:"term"`
		Last       starling.Index `json:"last"`
		Commit     starling.Index `json:"commit"`
		Checkpoint starling.Index `json:"checkpoint"`
		Best       bool           `json:"best"`
		InUse      bool           `json:"in_use"`
		Fault      string         `json:"fault,omitempty"`
		Note       string         `json:"note,omitempty"`
	}
	list := make([]survivor, len(survey.Survivors))
	for i, s := range survey.Survivors {
		list[i] = survivor{pathText(s.Dir), s.Name, s.Cluster, s.ID, s.Term, s.Last, s.Commit, s.Checkpoint, s.Best, s.InUse, "", s.Note}
		if s.Fault != nil {
			list[i].Fault = strings.TrimSpace(s.Fault.Error())
		}
	}
	return struct {
		Survivors []survivor `json:"survivors"`
		Quorum    any        `json:"quorum"`
		Refused   any        `json:"refused,omitempty"`
	}{list, quorumJSON(survey.Quorum), refusedJSON(refused)}
}

// quorumJSON is null if nothing is known of the voters.
func quorumJSON(q starling.Quorum) any {
	if q.Version == 0 {
		return nil
	}
	type voter struct {
		Name    string `json:"name"`
		ID      string `json:"id"`
		Address string `json:"address"`
		Dir     string `json:"dir,omitempty"`
		Fault   string `json:"fault,omitempty"`
		Refused string `json:"refused,omitempty"`
	}
	voters := make([]voter, len(q.Voters))
	for i, v := range q.Voters {
		voters[i] = voter{v.Name, v.ID, v.Address, pathText(v.Dir), v.Fault, v.Refused}
	}
	return struct {
		Version  starling.Index `json:"version"`
		Voters   []voter        `json:"voters"`
		Intact   bool           `json:"intact"`
		Refusing bool           `json:"refusing"`
		Damaged  bool           `json:"damaged"`
		Text     string         `json:"text"`
	}{q.Version, voters, q.Intact, q.Refusing, q.Damaged, q.Text}
}

// refusedJSON is nil for none.
func refusedJSON(list []starling.RefusedEntry) any {
	type refused struct {
		Index     starling.Index `json:"index"`
		Type      string         `json:"type"`
		Operation string         `json:"operation"`
		Resource  string         `json:"resource"`
	}
	if len(list) == 0 {
		return nil
	}
	out := make([]refused, len(list))
	for i, e := range list {
		out[i] = refused(e)
	}
	return out
}

func recoveredJSON(r *starling.Recovered) any {
	list := refusedJSON(r.Refused)
	if list == nil {
		list = []string{}
	}
	return struct {
		Name       string         `json:"name"`
		OldCluster string         `json:"old_cluster"`
		Cluster    string         `json:"cluster"`
		Last       starling.Index `json:"last"`
		Begin      starling.Index `json:"begin"`
		Term       uint64         `json:"term"`
		Sessions   int            `json:"sessions"`
		Refused    any            `json:"refused"`
		Aside      string         `json:"aside"`
		Quorum     any            `json:"old_quorum"`
	}{r.Name, r.OldCluster, r.Cluster, r.Last, r.Begin, r.Term, r.Sessions, list, pathText(r.Aside), quorumJSON(r.Quorum)}
}
