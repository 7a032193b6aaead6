package mutation

import "slices"

// checkpoints are bugs in how they are taken, kept, installed and started from.
func checkpoints() []Mutation {
	return slices.Concat(taken(), installed(), installing())
}

// taken are bugs on the way from the state to a checkpoint and back.
func taken() []Mutation {
	state := []string{"./internal/machine", "./internal/snapshotter"}
	store, snapshotter := []string{"./storage/checkpoint", "./internal/snapshotter"}, []string{"./internal/snapshotter"}
	return []Mutation{
		{
			Name: "version-from-checkpoint", Breaks: "keys get the checkpoint's index for their own: conditions on versions fork the replicas",
			File: "internal/machine/loader.go", Tests: state,
			Old: "l.space(item.Space), item.Key, item.Value, item.Index)",
			New: "l.space(item.Space), item.Key, item.Value, max(item.Index, l.newest))",
		},
		{
			Name: "digest-not-compared", Breaks: "a state is served that is not the one that its checkpoint describes",
			File: "internal/snapshotter/start.go", Tests: snapshotter,
			Old: "if digest.Bytes() != d.Digest {",
			New: "if digest.Bytes() != d.Digest && d.Items == 0 {",
		},
		{
			Name: "last-checkpoint-set-aside", Breaks: "a disk that gives nothing at a start takes the last checkpoint",
			File: "internal/snapshotter/start.go", Tests: snapshotter,
			Old: "return newest, nil, cmp.Or(ctx.Err(), err)",
			New: "return newest, nil, errors.Join(cmp.Or(ctx.Err(), err), s.store.SetAside(newest.Index))",
		},
		{
			Name: "older-below-the-log", Breaks: "a checkpoint that the log does not go on from takes the place of one that the disk does not give",
			File: "internal/snapshotter/start.go", Tests: snapshotter,
			Old: "older.Index < s.rec.LogTerms.PrevIndex || ",
			New: "",
		},
		{
			Name: "pointer-name-unsynced", Breaks: "a checkpoint is counted on before its pointer's name is durable",
			File: "storage/checkpoint/home.go", Tests: store,
			Old: "if err := syncNames(s.fsys, s.dir, s.pause); err != nil {",
			New: "if err := error(nil); err != nil {",
		},
		{
			Name: "unsummed-files-seen", Breaks: "an engine opens files that are not what was written: damage ends the process",
			File: "storage/checkpoint/home.go", Tests: []string{"./storage/checkpoint"},
			Old: "if c.Files, err = checkSeal(s.fsys, s.engine, c.Folder); err != nil {",
			New: "if c.Files, err = checkSeal(s.fsys, s.engine, c.Folder); err != nil && c.Files != nil {",
		},
		{
			Name: "head-below-the-newer", Breaks: "the log's head is dropped below the newer checkpoint: if that is bad, nothing reaches the log",
			File: "internal/replica/checkpoint.go", Tests: []string{"./internal/replica"},
			Old: "below := min(c.kept[1].Index+1, c.log.commit+1)",
			New: "below := min(c.kept[0].Index+1, c.log.commit+1)",
		},
	}
}

// installed are bugs in taking over a checkpoint from others.
func installed() []Mutation {
	core, both := []string{"./active"}, []string{"./internal/replica", "./active"}
	return []Mutation{
		{
			Name: "both-in-one-store", Breaks: "both kept checkpoints have files in common: one fault takes both",
			File: "storage/checkpoint/write.go", Tests: []string{"./storage/checkpoint"},
			Old: "return s.kept[1]",
			New: "return s.kept[0]",
		},
		{
			Name: "background-error-unheard", Breaks: "a store in which a flush failed gets a pointer",
			File: "storage/checkpoint/session.go", Tests: []string{"./storage/checkpoint"},
			Old: "if x.err == nil {\n\t\tx.err = err",
			New: "if x.err == nil && err == nil {\n\t\tx.err = err",
		},
		{
			Name: "published-unread", Breaks: "a pointer names a store that does not hold what was written",
			File: "storage/checkpoint/session.go", Tests: []string{"./storage/checkpoint"},
			Old: "!got.equal(want)",
			New: "!got.equal(got)",
		},
		{
			Name: "passing-is-damage", Breaks: "want of descriptors at a start sets both checkpoints aside",
			File: "storage/checkpoint/home.go", Tests: []string{"./storage/checkpoint"},
			Old: "case !passing(err):",
			New: "case !passing(err) || passing(err):",
		},
		{
			Name: "log-before-pointer", Breaks: "the log is begun anew before the checkpoint is durable",
			File: "internal/replica/install.go", Tests: []string{"./internal/replica"},
			Old: "x.out.Install = append(x.out.Install, *s)\n",
			New: "x.out.Install = append(x.out.Install, *s)\n\t\tif s.Finish && x.D.Index > x.log.commit {\n\t\t\tx.Phase = install.Kept\n\t\t}\n",
		},
		{
			Name: "vote-lost-in-reset", Breaks: "a log that is begun anew after a checkpoint forgets the vote",
			File: "internal/replica/join.go", Tests: []string{"./internal/replica", "./internal/snapshotter"},
			Old: "if term > state.Term {\n\t\tstate.Term, state.Vote",
			New: "if term >= state.Term {\n\t\tstate.Term, state.Vote",
		},
		{
			Name: "term-kept-in-reset", Breaks: "a member that gave up what it had acknowledged speaks to the leader that has it after a crash, and passes for one that was put back",
			File: "internal/replica/join.go", Tests: []string{"./internal/replica"},
			Old: "term = max(term, state.Term+1)",
			New: "term = max(term, state.Term)",
		},
		{
			Name: "installing-acknowledges", Breaks: "a member acknowledges entries of a log that may be reset at any moment",
			File: "active/follower.go", Tests: both,
			Old: "if m.installing {",
			New: "if m.installing && m.hard.Term == 0 {",
		},
		{
			Name: "installing-campaigns", Breaks: "a member is elected while it installs a checkpoint",
			File: "active/candidate.go", Tests: both,
			Old: "if m.installing || m.unfit != \"\" || m.disk.taking",
			New: "if m.unfit != \"\" || m.disk.taking",
		},
		{
			Name: "install-keeps-conflict", Breaks: "entries of another log are kept above an installed checkpoint",
			File: "active/install.go", Tests: core,
			Old: "case held && term == b.Term && !b.Anew:",
			New: "case held && term <= b.Term && !b.Anew:",
		},
	}
}

// installing are bugs in what meets an installation.
func installing() []Mutation {
	both := []string{"./internal/replica", "./active"}
	return []Mutation{
		{
			Name: "core-keeps-another-sum", Breaks: "the log is begun anew on disk, and the core goes on with its own",
			File: "active/install.go", Tests: both,
			Old: "case held && term == b.Term && !b.Anew:",
			New: "case held && term == b.Term:",
		},
		{
			Name: "late-offer-ends-installing", Breaks: "a member takes entries while its log is begun anew",
			File: "internal/replica/install.go", Tests: both,
			Old: "x.tell(now, x.told)",
			New: "_ = x.told",
		},
		{
			Name: "installs-before-adoption", Breaks: "a built state is given up before it is taken over",
			File: "internal/replica/install.go", Tests: both,
			Old: "if x.apply.isInstalling() {",
			New: "if x.apply.isInstalling() && !x.standing.may(mayInstall) {",
		},
		{
			Name: "pull-read-above-the-tail", Breaks: "a passive is given as committed what is about to be cut off",
			File: "internal/replica/fetch.go", Tests: both,
			Old: "last: min(last, f.log.tail.first-1), bytes: want.Bytes",
			New: "last: last, bytes: want.Bytes",
		},
		{
			Name: "repair-answered-above-the-disk", Breaks: "who repairs takes for committed what is about to be cut off",
			File: "internal/replica/fetch.go", Tests: both,
			Old: "Commit: min(r.log.commit, logTerms.LastIndex(), settled)",
			New: "Commit: min(r.log.commit, logTerms.LastIndex(), max(settled, r.log.commit))",
		},
		{
			Name: "old-commit-after-a-reset", Breaks: "a vote that was given while the log was begun anew takes its commit index back",
			File: "internal/replica/disk.go", Tests: both,
			Old: "q.write.State.Commit = max(q.write.State.Commit, d.committed)",
			New: "_ = d.committed",
		},
		{
			Name: "unreadable-end-is-torn", Breaks: "votes in a sector that cannot be read are forgotten",
			File: "storage/wal/replay.go", Tests: []string{"./storage/wal"},
			Old: "if b.From < to && at < b.To {",
			New: "if b.From < to && at < b.To && b.Err == nil {",
		},
		{
			Name: "replaced-segment-forgotten", Breaks: "a segment that another one replaces, and that stayed, counts again when the head is dropped",
			File: "storage/wal/open.go", Tests: []string{"./storage/wal"},
			Old: "\t\t\tl.replaced = append(l.replaced, s)\n",
			New: "",
		},
		{
			Name: "start-cuts-what-counts", Breaks: "a start on a full disk gives up the end of the log that nobody knows to be durable",
			File: "storage/wal/open.go", Tests: []string{"./storage/wal"},
			Old: "return r.segments[n-1].cutFile(l, r.end)",
			New: "return r.segments[n-1].cutFile(l, r.begins[n-1])",
		},
	}
}
