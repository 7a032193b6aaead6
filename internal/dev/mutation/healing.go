package mutation

// healing are bugs in finding out that something has gone wrong, and in setting
// it right.
func healing() []Mutation {
	all := append(repaired(), repairSteps()...)
	all = append(append(all, convicted()...), disputed()...)
	all = append(all, confirmed()...)
	all = append(all, vouched()...)
	all = append(all, ruled()...)
	return append(append(append(all, recovered()...), restarted()...), increments()...)
}

// disputed are bugs in refusing what differs while nobody knows who is right.
func disputed() []Mutation {
	replica := []string{"./internal/replica"}
	return []Mutation{
		{
			Name: "dispute-without-an-end", Breaks: "where nothing else is written no checkpoint entry shows that the difference is gone: reads are refused for ever",
			File: "internal/replica/checkpoint.go", Tests: replica,
			Old: "owed := c.owed && c.audit.doubts()",
			New: "owed := c.owed && c.audit.doubts() && c.since != 0",
		},
		{
			Name: "refusal-pushed-out", Breaks: "what differs is read again because other states are compared",
			File: "internal/replica/differences.go", Tests: replica,
			Old: "k := max(0, slices.IndexFunc(p.list, refusesNothing))",
			New: "k := 0 * slices.IndexFunc(p.list, refusesNothing)",
		},
		{
			Name: "unsearched-is-read", Breaks: "what is in a bucket that differs and was not gone through is read: each member answers what it has",
			File: "internal/replica/differing.go", Tests: replica,
			Old: "if d == nil || !d.named[resource] && !d.whole[protocol.DigestBucket(resource)] {",
			New: "if d == nil || !d.named[resource] {",
		},
		{
			Name: "disputed-is-proposed", Breaks: "a command whose answer or effect hangs on what differs is applied, by each member otherwise",
			File: "internal/replica/requests.go", Tests: replica,
			Old: "err = differ.RefusesCommand(c)",
			New: "err = nil",
		},
		{
			Name: "dispute-ends-with-the-leader", Breaks: "what differs is read again at whoever is as the leader was, though no majority agrees",
			File: "internal/replica/audit.go", Tests: replica,
			Old: "if d.doubts() && i > d.disputedAt {",
			New: "if d.differences.settle(i); d.doubts() && i > d.disputedAt {",
		},
		{
			Name: "parts-of-another-state", Breaks: "a state that has been replaced is compared as the one that replaced it: what differs is not found, and read",
			File: "internal/replica/differences.go", Tests: replica,
			Old: "if t.index == i && t.digest == digest {",
			New: "if t.index == i {",
		},
	}
}

// repaired are bugs in bringing a damaged log back, and in knowing one that has
// gone back.
func repaired() []Mutation {
	repair, replica := []string{"./internal/repair"}, []string{"./internal/replica"}
	return []Mutation{
		{
			Name: "repair-not-needed", Breaks: "a member takes part with a damaged log if that says who is active",
			File: "internal/repair/repair.go", Tests: repair,
			Old: "return rec.Damage != nil || rec.Configurations.RoleOf(",
			New: "return rec.Damage != nil && rec.Configurations.RoleOf(",
		},
		{
			Name: "repair-by-any-word", Breaks: "whoever says that entries are committed is believed, and what was acknowledged gives way to them",
			File: "internal/repair/ask.go", Tests: repair,
			Old: "if m.Active {",
			New: "if m.Commit > 0 {",
		},
		{
			Name: "repair-joined-unverified", Breaks: "a damaged log is repaired with entries of another log",
			File: "internal/repair/ask.go", Tests: repair,
			Old: "if before != at.sum {",
			New: "if before != at.sum && vouched == 0 {",
		},
		{
			Name: "repair-gives-up-early", Breaks: "entries that somebody still has are given up for an own checkpoint",
			File: "internal/repair/chain.go", Tests: repair,
			Old: "return now >= c.patient || len(c.peers) > 0 && !waiting",
			New: "return now >= 0 || !waiting",
		},
		{
			Name: "sequence-unseen", Breaks: "a directory that has forgotten what was durable is let in if it was opened often enough",
			File: "internal/replica/watermarks.go", Tests: replica,
			Old: "if peer.Starts >= last.Starts && !again && peer.Sequence >= last.Sequence {",
			New: "if peer.Starts >= last.Starts && !again {",
		},
		{
			Name: "same-start-let-in", Breaks: "a restored copy that is opened once is taken for the run that is known",
			File: "internal/replica/watermarks.go", Tests: replica,
			Old: "if peer.Starts >= last.Starts && !again && peer.Sequence >= last.Sequence {",
			New: "if peer.Starts >= last.Starts && (!again || peer.Run != 0) && peer.Sequence >= last.Sequence {",
		},
		{
			Name: "standing-of-any-run", Breaks: "what a run of before says late counts for the one that is there: an honest member is refused",
			File: "internal/replica/watermarks.go", Tests: replica,
			Old: "if known && m.Starts == last.Starts && m.Run == last.Run {",
			New: "if known && m.Starts == last.Starts {",
		},
	}
}

// repairSteps are bugs in what goes on between the members while a log is repaired, and
// while a checkpoint is fetched.
func repairSteps() []Mutation {
	repair := []string{"./internal/repair"}
	return []Mutation{
		{
			Name: "repair-patch-unverified", Breaks: "entries that do not lead to what the next good record states are taken for what was damaged",
			File: "internal/repair/chain.go", Tests: repair,
			Old: "case h.at.sum == s.Sum:",
			New: "case h.at.sum == s.Sum || h.vouched != h.at:",
		},
		{
			Name: "repair-takes-uncommitted", Breaks: "a log that left the committed one is repaired with entries that nobody has committed",
			File: "internal/repair/ask.go", Tests: repair,
			Old: "if c.chain.target > 0 || p.refuted {",
			New: "if p.refuted {",
		},
		{
			Name: "repair-answered-as-committed", Breaks: "a member without a role says what is committed to another one that repairs its log",
			File: "internal/repair/answer.go", Tests: repair,
			Old: "out := &protocol.Repair{Commit: c.state.Commit, First: c.own.Index + 1}",
			New: "out := &protocol.Repair{Active: true, Commit: c.good[len(c.good)-1].Last, First: c.own.Index + 1}",
		},
		{
			Name: "repair-begins-after-what-is-fetched", Breaks: "a log begins after a checkpoint that is not kept yet",
			File: "internal/repair/start.go", Tests: repair,
			Old: "s.install(s.fetch.Begin(now, s.flock, d))",
			New: "s.install(s.fetch.Begin(now, s.flock, d))\n\ts.core.Checkpoint(now, storage.BeginAfter(&d))",
		},
		{
			Name: "install-of-another-answered", Breaks: "what is missing of a checkpoint that was begun before is taken for this one's: it counts as complete",
			File: "internal/install/install.go", Tests: []string{"./internal/install"},
			Old: "if x.Phase != Begins || i != x.D.Index {",
			New: "if x.Phase != Begins {",
		},
		{
			Name: "install-ends-early", Breaks: "a checkpoint counts as complete while a chunk is still to come",
			File: "internal/install/install.go", Tests: []string{"./internal/install"},
			Old: "if x.left > 0 {\n\t\treturn nil",
			New: "if x.left > 1 {\n\t\treturn nil",
		},
		{
			Name: "repair-switches-what-failed", Breaks: "a file of a running log that could not be written whole takes the old one's place",
			File: "internal/snapshotter/rebuilding.go", Tests: []string{"./internal/snapshotter"},
			Old: "if err == nil && len(x.jobs) > 0 {",
			New: "if len(x.jobs) > 0 {",
		},
	}
}

// convicted are bugs in how a state that has diverged is found.
func convicted() []Mutation {
	replica := []string{"./internal/replica"}
	return []Mutation{
		{
			Name: "half-convicts", Breaks: "half of the actives decide whose state is right",
			File: "protocol/configuration.go", Tests: replica,
			Old: "return 2*n > len(voters)",
			New: "return 2*n >= len(voters)",
		},
		{
			Name: "one-half-convicts", Breaks: "one half of a joint configuration decides whose state is right",
			File: "internal/replica/audit.go", Tests: replica,
			Old: "if agree(conf.Configuration.Voters(), digest) &&\n\t\t\t(!conf.Configuration.Joint() || agree(conf.Configuration.OutgoingVoters(), digest)) {",
			New: "if agree(conf.Configuration.Voters(), digest) {",
		},
		{
			Name: "leader-unasked", Breaks: "a leader whose state is wrong does not find out from those who contradict it",
			File: "internal/replica/audit.go", Tests: replica,
			Old: "if contradicted && !x.told {",
			New: "if contradicted && x.told {",
		},
		{
			Name: "quarantine-leads", Breaks: "a member is elected whose state is known to be wrong",
			File: "active/candidate.go", Tests: []string{"./active", "./internal/replica"},
			Old: "if m.installing || m.unfit != \"\" || m.disk.taking",
			New: "if m.installing || m.disk.taking",
		},
		{
			Name: "cannot-apply-leads", Breaks: "a member is elected that cannot apply what is committed, and answers nobody",
			File: "internal/replica/standing.go", Tests: []string{"./internal/replica"},
			Old: "\treturn s.halt\n",
			New: "\treturn \"\"\n",
		},
		{
			Name: "unfit-transferee", Breaks: "the leadership is handed to a voter that has said that it does not campaign",
			File: "active/transfer.go", Tests: []string{"./internal/replica"},
			Old: "case p.unfit:",
			New: "case p.unfit && p.id.IsZero():",
		},
		{
			Name: "digest-not-amended", Breaks: "a state that was damaged and overwritten keeps a wrong digest, and never takes a checkpoint again",
			File: "internal/state/state.go", Tests: []string{"./internal/machine"},
			Old: "\ts.digest.add(xxh3.Uint128{Hi: s.owed[0], Lo: s.owed[1]})\n",
			New: "",
		},
	}
}

// recovered are bugs in how a state that has diverged is set right.
func recovered() []Mutation {
	replica := []string{"./internal/replica"}
	return []Mutation{
		{
			Name: "convicting-batch-answers", Breaks: "a batch whose checkpoint entry convicts the state answers the members that have forwarded its commands",
			File: "internal/replica/apply.go", Tests: replica,
			Old: "if r.standing.may(mayKeep) { // a state that is given up",
			New: "if true { // a state that is given up",
		},
		{
			Name: "one-trouble-hides-another", Breaks: "a member in two troubles does what the older one forbids",
			File: "internal/replica/standing.go", Tests: replica,
			Old: "s.forbidden |= forbids[t]",
			New: "s.forbidden = forbids[t]",
		},
		{
			Name: "quarantine-feeds", Breaks: "a member whose state is known to be wrong gives its checkpoints to others",
			File: "internal/replica/standing.go", Tests: replica,
			Old: "mayGive | mayFeed | mayTrim | mayKeep,",
			New: "mayGive | mayTrim | mayKeep,",
		},
		{
			Name: "quarantine-drops-head", Breaks: "a member drops entries that it has to apply again",
			File: "internal/replica/standing.go", Tests: replica,
			Old: "mayFeed | mayTrim | mayKeep,",
			New: "mayFeed | mayKeep,",
		},
		{
			Name: "quarantine-ends-early", Breaks: "a member serves again before its state has come to where it was: reads go back",
			File: "internal/replica/quarantine.go", Tests: replica,
			Old: "if !d.standing.in[replaying] || q.installing || d.log.applied < q.until {",
			New: "if !d.standing.in[replaying] || q.installing {",
		},
		{
			Name: "quarantine-ends-on-any-word", Breaks: "a member ends its quarantine although a majority had another state than its own at the later checkpoint entry, too",
			File: "internal/replica/confirmation.go", Tests: replica,
			Old: "case same && doubted:",
			New: "case known && doubted:",
		},
		{
			Name: "quarantine-ends-uncounted", Breaks: "a member ends its quarantine by a checkpoint entry at which nothing was counted",
			File: "internal/replica/quarantine.go", Tests: replica,
			Old: "if len(kept) > 0 && kept[0].Index > q.at {\n\t\tq.later = digestAt{kept[0].Index, kept[0].Digest}",
			New: "if own := d.own; len(own) > 0 && own[len(own)-1].index > q.at {\n\t\tq.later = own[len(own)-1]",
		},
		{
			Name: "quarantine-trusts", Breaks: "whoever heals takes the state of the next one that has diverged",
			File: "internal/replica/quarantine.go", Tests: replica,
			Old: "if d.isRight(c) {",
			New: "if d.isRight(c) || c.Index > 0 {",
		},
		{
			Name: "bad-checkpoints-stay", Breaks: "checkpoints of a wrong state stay, and a restart begins with one",
			File: "internal/replica/quarantine.go", Tests: replica,
			Old: "c.Index >= q.at && c.Index != q.resumed &&",
			New: "c.Index > q.at && c.Index != q.resumed &&",
		},
	}
}

// restarted are bugs in what a start makes of a state that had diverged.
func restarted() []Mutation {
	replica := []string{"./internal/replica"}
	return []Mutation{
		{
			Name: "quarantine-not-noted", Breaks: "the quarantine is not noted on disk: a member that dies in it begins from a bad checkpoint, and serves it",
			File: "internal/replica/quarantine_note.go", Tests: replica,
			Old: "d.out.Quarantine = &storage.Quarantine{At: q.at, Until: q.until, Digest: q.right}",
			New: "if q.at == 0 {\n\t\td.out.Quarantine = &storage.Quarantine{}\n\t}",
		},
		{
			Name: "quarantine-not-resumed", Breaks: "a start passes over the quarantine that is on disk",
			File: "internal/replica/replica.go", Tests: replica,
			Old: "\tr.audit.resume(now, &restored)\n",
			New: "",
		},
		{
			Name: "quarantine-resumed-convicted", Breaks: "a start keeps the very state that a majority has said to be wrong",
			File: "internal/replica/quarantine_note.go", Tests: replica,
			Old: "restored.Kept[i].Digest == q.right && !noted.SinceUnknown():",
			New: "!noted.SinceUnknown():",
		},
		{
			Name: "quarantine-ends-as-it-began", Breaks: "a start applies its log anew, comes to the same wrong state, and serves it",
			File: "internal/replica/audit.go", Tests: replica,
			Old: "if right, says, known := d.right(i); known {",
			New: "if right, says, known := d.right(i); known && !d.standing.in[replaying] {",
		},
	}
}

// increments are bugs in what a checkpoint is built on.
func increments() []Mutation {
	return []Mutation{
		{
			Name: "incremental-on-any-state", Breaks: "a checkpoint is built on one that does not have the changes before it",
			File: "internal/snapshotter/take.go", Tests: []string{"./internal/snapshotter"},
			Old: "return snap.Changed(kept[1].Index)",
			New: "if changes, known = snap.Changed(kept[1].Index); !known && len(snap.Bases()) > 0 {\n\t\tchanges, known = snap.Changed(snap.Bases()[0])\n\t}\n\treturn changes, known",
		},
		{
			Name: "incremental-on-another-log", Breaks: "a checkpoint is built on one of a deposed leader's log",
			File: "internal/snapshotter/take.go", Tests: []string{"./internal/snapshotter"},
			Old: "kept[1].Term > d.Term || kept[1].Configuration.Index > d.Configuration.Index",
			New: "kept[1].Configuration.Index > d.Configuration.Index",
		},
	}
}
