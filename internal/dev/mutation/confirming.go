package mutation

// confirmed are bugs in what the log says of the states at its checkpoint entries.
func confirmed() []Mutation {
	replica := []string{"./internal/replica"}
	return []Mutation{
		{
			Name: "confirmed-by-the-leader-alone", Breaks: "a leader that is wrong makes its state everybody's",
			File: "internal/replica/confirmation.go", Tests: replica,
			Old: "findDigest(d.polled, x.index); polled",
			New: "findDigest(d.own, x.index); polled",
		},
		{
			Name: "confirmation-not-heeded", Breaks: "a member that has something else than the log confirms goes on to serve it",
			File: "internal/replica/confirmation.go", Tests: replica,
			Old: "case known && !same && !doubted:",
			New: "case known && !same && !doubted && i > d.log.applied:",
		},
		{
			Name: "unconfirmed-is-given", Breaks: "who is wrong and does not know hands its state to a voter that is far behind, and two of three convict the third",
			File: "internal/replica/checkpoint.go", Tests: replica,
			Old: "if c.audit.confirms(&c.kept[i]) {\n\t\t\tlist",
			New: "if c.kept[i].Index > 0 {\n\t\t\tlist",
		},
		{
			Name: "installed-counts-at-once", Breaks: "a checkpoint of others is served and fed before the log has confirmed it",
			File: "internal/replica/confirmation.go", Tests: replica,
			Old: "waits := !d.confirms(c)",
			New: "waits := !d.confirms(c) && c.Index == 0",
		},
		{
			Name: "installed-counts-after-a-start", Breaks: "a checkpoint of others that the log has not confirmed is served after a crash",
			File: "internal/replica/replica.go", Tests: replica,
			Old: "d.Index == restored.Applied && d.Installed {",
			New: "d.Index == restored.Applied && d.Installed && d.Index == 0 {",
		},
		{
			Name: "confirmed-is-pushed-out", Breaks: "while nobody knows who is right the last checkpoint that was confirmed goes: no member can come to a right state again",
			File: "storage/checkpoint/recover.go", Tests: []string{"./storage/checkpoint"},
			Old: "case len(list) == slots && list[1].manifest.Confirmed && ",
			New: "case len(list) > slots && list[1].manifest.Confirmed && ",
		},
		{
			Name: "head-above-the-confirmed", Breaks: "the log above the last confirmed checkpoint is given up",
			File: "internal/replica/checkpoint.go", Tests: replica,
			Old: "below = min(below, c.confirmed()+1, max(",
			New: "below = min(below, max(",
		},
		{
			Name: "confirmed-and-not-there", Breaks: "a dispute ends by a state of which there is no checkpoint, and which the log does not lead to: the others come to something else for ever",
			File: "internal/replica/checkpoint.go", Tests: replica,
			Old: "!c.busy && c.passed > c.newest() &&",
			New: "!c.busy && c.since < 0 &&",
		},
		{
			Name: "disputed-is-told", Breaks: "a watch that runs goes on to tell what nobody knows to be right",
			File: "internal/machine/watch.go", Tests: []string{"./internal/machine"},
			Old: "if err == nil && w.withheld != nil {",
			New: "if err == nil && n == nil && w.withheld != nil {",
		},
		{
			Name: "confirmation-counts-as-written", Breaks: "a cluster where nobody writes goes on to take checkpoints and to confirm them",
			File: "internal/replica/checkpoint.go", Tests: replica,
			Old: "c.since -= len(last.Raw)",
			New: "c.since -= 0 * len(last.Raw)",
		},
	}
}

// vouched are bugs in what counts as the log's word.
func vouched() []Mutation {
	replica := []string{"./internal/replica"}
	return []Mutation{
		{
			Name: "heard-is-confirmed", Breaks: "a checkpoint is given by what a majority was heard to have: whoever gets it need not find the confirmation in its log",
			File: "internal/replica/confirmation.go", Tests: replica,
			Old: "said, known := findDigest(d.confirmations.said, c.Index)",
			New: "said, _, known := d.right(c.Index)",
		},
		{
			Name: "confirmed-is-forgotten", Breaks: "a start in a dispute does not know the last confirmed checkpoint: nobody gets it, and it goes",
			File: "internal/replica/confirmation.go", Tests: replica,
			Old: "return c.Confirmed || known &&",
			New: "return known &&",
		},
		{
			Name: "confirmed-is-not-marked", Breaks: "a start does not find which checkpoint was confirmed",
			File: "storage/checkpoint/codec.go", Tests: []string{"./storage/checkpoint"},
			Old: "marks |= 2",
			New: "marks |= 0",
		},
		{
			Name: "unconfirmed-has-a-say", Breaks: "a leader confirms by its own word a state that it has from others",
			File: "internal/replica/audit.go", Tests: replica,
			Old: "known = known && !d.standing.in[unconfirmed]",
			New: "",
		},
		{
			Name: "built-on-others-counts", Breaks: "a checkpoint that was taken of a state that waits for its confirmation is served after a crash",
			File: "internal/replica/apply.go", Tests: replica,
			Old: ", Installed: a.standing.in[unconfirmed]}",
			New: "}",
		},
		{
			Name: "replayed-is-right-by-itself", Breaks: "a state that keeps going bad is fetched anew without a pause",
			File: "internal/replica/confirmation.go", Tests: replica,
			Old: "d.standing.may(mayVouch) && i > q.fetched {",
			New: "i > 0 {",
		},
		{
			Name: "start-marks-nothing", Breaks: "a member that ended between a confirmation and its mark gives the confirmed checkpoint to nobody, and lets it go",
			File: "internal/snapshotter/confirmed.go", Tests: []string{"./internal/snapshotter"},
			Old: "kept[0].Confirmed || kept[1].Confirmed {",
			New: "kept[0].Confirmed || kept[1].Index > 0 {",
		},
		{
			Name: "recovered-is-of-others", Breaks: "the only voter of a recovered cluster waits for others to confirm what it begins with",
			File: "internal/recovery/recover.go", Tests: []string{"./internal/runtime"},
			Old: "Index: r.result.Begin, Term: r.result.Term, LogSum:",
			New: "Installed: true, Index: r.result.Begin, Term: r.result.Term, LogSum:",
		},
		{
			Name: "stranded-leader-leads-on", Breaks: "a leader whose state nobody confirms serves nobody, and another one could",
			File: "internal/replica/transferees.go", Tests: replica,
			Old: "why == \"\" && from != 0 {",
			New: "why == \"\" && from > protocol.IndexMax {",
		},
	}
}

// ruled are bugs in what an operator makes everybody's.
func ruled() []Mutation {
	replica := []string{"./internal/replica"}
	return []Mutation{
		{
			Name: "unknown-survives-a-ruling", Breaks: "a member that does not know what it had where an operator has decided goes on to serve it",
			File: "internal/replica/ruling.go", Tests: replica,
			Old: "if !known && !d.standing.in[discarded] {",
			New: "if !known && d.standing.in[discarded] {",
		},
		{
			Name: "ruled-and-not-there", Breaks: "the others give their states up for one of which nobody has a checkpoint",
			File: "internal/replica/ruling.go", Tests: replica,
			Old: "case c.entryAt == 0 || c.newest() != c.entryAt:",
			New: "case c.entryAt == 0 && c.newest() != c.entryAt:",
		},
		{
			Name: "ruled-below-a-checkpoint-entry", Breaks: "between a ruling and the state that it names a newer checkpoint takes the place of the one that the others need",
			File: "internal/replica/ruling.go", Tests: replica,
			Old: "case c.proposed > c.log.applied ||",
			New: "case c.proposed > protocol.IndexMax ||",
		},
		{
			Name: "ruled-over-a-majority", Breaks: "an operator's word is taken where a majority has one state",
			File: "internal/replica/ruling.go", Tests: replica,
			Old: "if _, _, known := d.right(i); known {",
			New: "if _, _, known := d.right(i); known && i == 0 {",
		},
		{
			Name: "ruling-in-a-batch", Breaks: "a ruling that is applied with what follows it is looked at by nobody",
			File: "internal/replica/apply.go", Tests: replica,
			Old: "k == protocol.EntryCheckpoint || k.Confirms() {",
			New: "k == protocol.EntryCheckpoint || k == protocol.EntryConfirmation {",
		},
		{
			Name: "late-word-undoes-a-ruling", Breaks: "the only member that has the state that counts gives it up for what others had at an entry before",
			File: "internal/replica/confirmation.go", Tests: replica,
			Old: "case says == majoritySays && i <= d.confirmations.upheld:",
			New: "case says == majoritySays && i == 0:",
		},
		{
			Name: "late-word-before-a-ruling", Breaks: "a leader that is deposed while its ruling is on its way gives the state up that the ruling makes everybody's",
			File: "internal/replica/audit.go", Tests: replica,
			Old: "d.confirmations.imposed && d.imposing() {",
			New: "d.confirmations.imposed && d.log.leads() {",
		},
		{
			Name: "start-passes-over-rulings", Breaks: "a member that ended between a ruling and its mark gives the checkpoint that counts to nobody",
			File: "internal/snapshotter/confirmed.go", Tests: []string{"./internal/snapshotter"},
			Old: "if !e.Kind.Confirms() {",
			New: "if e.Kind != protocol.EntryConfirmation {",
		},
		{
			Name: "asked-is-disputed", Breaks: "writes fail, and are not tried again, in the moment in which one active has been heard and not the other",
			File: "internal/replica/differing.go", Tests: replica,
			Old: "asked: !p.audit.isDisputed()}",
			New: "asked: false}",
		},
		{
			Name: "wanted-while-written", Breaks: "where checkpoints take long each one that an operator waits for is passed over",
			File: "internal/replica/ruling.go", Tests: replica,
			Old: "c.wanted = !c.busy && (",
			New: "c.wanted = (",
		},
	}
}
