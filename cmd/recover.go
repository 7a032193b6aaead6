package cmd

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/starlinghq/starling"
	"github.com/starlinghq/starling/protocol"
)

func (p *Program) recoverCommand() *cli.Command {
	return &cli.Command{
		Name: "recover", Usage: "begin a new cluster from a survivor, after the quorum is lost for good", ArgsUsage: "DIR...",
		Description: "For the day on which a majority of the voters is gone and will not come back. Without " +
			"--begin-new-cluster nothing is changed: it shows how far each directory reaches, and which " +
			"one is best. Look at all survivors, passive members too; those on other machines can be " +
			"compared by the term and index that are printed: the higher term wins, then the higher index.\n\n" +
			"With --begin-new-cluster the best of the given directories becomes the only member of a new " +
			"cluster. What only the lost members had is lost. All sessions are closed. Members of the old " +
			"cluster are refused from then on: move their directories away and let them join anew.\n\n" +
			"The members whose directories are given must be stopped.\n\n" +
			examples("starling recover /var/lib/a2 /var/lib/p1",
				"starling recover --begin-new-cluster /var/lib/a2",
				"starling recover --begin-new-cluster --refuse 52100 /var/lib/a2"),
		Flags: []cli.Flag{
			boolFlag("begin-new-cluster", "do it, with the best of the given directories"),
			uint64Flag("refuse", 0, "`INDEX` of an entry that kills every member that applies it: it gets no effect in the new cluster"),
			intFlag("actives", 0, "how many voters the new cluster aims at; 0: as the old one"),
			outputFlag(),
		},
		Action: offline(1, 1000, p.recover),
	}
}

func (p *Program) recover(c *cli.Context, dirs []string, asJSON bool) error {
	if c.Int("actives") < 0 || c.Int("actives") > protocol.ActivesMax {
		return &usageError{fmt.Sprintf("starling recover: --actives is between 1 and %d", protocol.ActivesMax)}
	}
	list, err := starling.Survivors(c.Context, dirs...)
	if err != nil {
		return err
	}
	best, err := bestOf(list)
	if !c.Bool("begin-new-cluster") {
		if asJSON {
			return p.printJSON(survivorsJSON(list))
		}
		return p.printSurvivors(list, best)
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
		Dir: best.Dir, Types: p.Types, Refuse: c.Uint64("refuse"), Actives: c.Int("actives"), Logger: logger,
		Progress: func(applied, _ uint64) { bar.set(int64(applied), int64(applied)) },
	})
	bar.finish()
	if err != nil {
		return err
	}
	if asJSON {
		return p.printJSON(recoveredJSON(&r))
	}
	return p.say("%s is the only member of the new cluster %s.\n"+
		"  taken over     everything up to index %d of cluster %s\n"+
		"  begins after   index %d, in term %d\n"+
		"  closed         %d sessions\n"+
		"  the old directory is %s\n"+
		"Start %s as always. Every other member joins with an empty directory: those of the old cluster are refused.\n",
		r.Name, r.Cluster, r.Last, r.OldCluster, r.Begin, r.Term, r.Sessions, r.Aside, r.Name)
}

// bestOf returns the survivor to begin from, or why there is none.
func bestOf(list []starling.Survivor) (starling.Survivor, error) {
	var best starling.Survivor
	for _, s := range list {
		if s.Cluster != list[0].Cluster {
			return best, protocol.ErrWrongCluster.With(fmt.Sprintf("%s belongs to cluster %s, %s to cluster %s: they have nothing to do with each other",
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

func (p *Program) printSurvivors(list []starling.Survivor, best starling.Survivor) error {
	rows := make([][]string, len(list))
	for i, s := range list {
		verdict := ""
		switch {
		case s.Fault != nil:
			verdict = s.Fault.Error()
		case s.Best:
			verdict = "best"
		}
		rows[i] = []string{s.Dir, s.Name, short(s.Cluster), fmt.Sprint(s.Term), fmt.Sprint(s.Last), fmt.Sprint(s.Commit), fmt.Sprint(s.Checkpoint), verdict}
	}
	if err := printTable(p.Stdout, []string{"DIR", "MEMBER", "CLUSTER", "TERM", "LAST", "COMMITTED", "CHECKPOINT", ""}, rows); err != nil {
		return err
	}
	if !best.Best {
		_, err := fmt.Fprintln(p.Stdout, "\nNothing was changed. No new cluster can be begun from these.")
		return err
	}
	return p.say("\nNothing was changed. To begin a new cluster from the best one:\n  %s recover --begin-new-cluster %s\n", cmp.Or(p.Command, "starling"), best.Dir)
}

// short is enough of an id to tell it from others by eye.
func short(id string) string { return id[:min(len(id), 8)] }

// survivorsJSON is the stable form for scripts.
func survivorsJSON(list []starling.Survivor) any {
	type survivor struct {
		Dir        string `json:"dir"`
		Name       string `json:"name"`
		Cluster    string `json:"cluster"`
		ID         string `json:"id"`
		Term       uint64 `json:"term"`
		Last       uint64 `json:"last"`
		Commit     uint64 `json:"commit"`
		Checkpoint uint64 `json:"checkpoint"`
		Best       bool   `json:"best"`
		Fault      string `json:"fault,omitempty"`
	}
	out := make([]survivor, len(list))
	for i, s := range list {
		out[i] = survivor{pathText(s.Dir), s.Name, s.Cluster, s.ID, s.Term, s.Last, s.Commit, s.Checkpoint, s.Best, ""}
		if s.Fault != nil {
			out[i].Fault = strings.TrimSpace(s.Fault.Error())
		}
	}
	return out
}

func recoveredJSON(r *starling.Recovered) any {
	return struct {
		Name       string `json:"name"`
		OldCluster string `json:"old_cluster"`
		Cluster    string `json:"cluster"`
		Last       uint64 `json:"last"`
		Begin      uint64 `json:"begin"`
		Term       uint64 `json:"term"`
		Sessions   int    `json:"sessions"`
		Aside      string `json:"aside"`
	}{r.Name, r.OldCluster, r.Cluster, r.Last, r.Begin, r.Term, r.Sessions, pathText(r.Aside)}
}
