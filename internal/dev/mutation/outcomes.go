package mutation

// outcomes are bugs in what becomes of something whose maker is gone: of commands, of
// answers, of what waits for a disk.
func outcomes() []Mutation {
	return []Mutation{
		{
			Name: "lost-leader-refuses", Breaks: "a write that the next leader may commit is said to be refused when its leader loses its leadership",
			File: "internal/replica/requests.go", Tests: []string{"./internal/replica"},
			Old: "protocol.ErrUnknownOutcome.With(\"the leader lost its leadership; the write may have happened\")",
			New: "protocol.ErrNotLeader",
		},
		{
			Name: "silent-leader-refuses", Breaks: "a write that was forwarded to a leader that says nothing is said to be refused",
			File: "internal/replica/forward.go", Tests: []string{"./internal/replica"},
			Old: "protocol.ErrUnknownOutcome.With(\"the leader says nothing; the write may have happened\")",
			New: "protocol.ErrNoLeader",
		},
		{
			Name: "installed-state-refuses", Breaks: "a write that an installed state has is said to be refused",
			File: "internal/replica/requests.go", Tests: []string{"./internal/replica"},
			Old: "protocol.ErrUnknownOutcome.With(\"the state that took it was replaced or in doubt; the write may have happened\")",
			New: "protocol.ErrNotLeader",
		},
		{
			Name: "queued-is-settled", Breaks: "entries whose write has not begun leave the memory",
			File: "internal/replica/disk.go", Tests: []string{"./internal/replica"},
			Old: "low = min(low, w.First-1)",
			New: "_ = w",
		},
		{
			Name: "late-answer-never-evicted", Breaks: "the answer of a command that came late is passed over when answers are evicted",
			File: "internal/machine/session.go", Tests: []string{"./internal/machine"},
			Old: "\tone.kept = min(one.kept, c.Sequence)\n",
			New: "",
		},
		{
			Name: "badger-unsynced", Breaks: "a checkpoint is counted on while Badger's files are not durable",
			File: "storage/engine/badgerengine/engine.go", Tests: []string{"./storage/engine/badgerengine"},
			Old: "WithSyncWrites(true).",
			New: "WithSyncWrites(false).",
		},
	}
}

// windows are bugs in what a session knows of its commands, and in values that are changed in place.
func windows() []Mutation {
	return []Mutation{
		{
			Name: "slot-of-another", Breaks: "a command is answered with what another one was answered that had its place in the window, and never runs",
			File: "internal/machine/window.go", Tests: []string{"./internal/machine"},
			Old: "k < uint64(n) && w.slots[k].sequence == sequence {",
			New: "k < uint64(n) {",
		},
		{
			Name: "snapshot-sees-changes", Breaks: "a checkpoint has what sessions executed after its index",
			File: "internal/state/mutable.go", Tests: []string{"./internal/state"},
			Old: "if v.index <= s.frozen {",
			New: "if v.index < s.frozen {",
		},
		{
			Name: "slot-counted-on", Breaks: "what a session has forgotten stays in the digest",
			File: "internal/machine/session.go", Tests: []string{"./internal/machine"},
			Old: "s.state.AmendDigest(w.slotTerm(slot), state.Digest{})",
			New: "_ = slot",
		},
		{
			Name: "error-lost-with-its-answer", Breaks: "a command that had no effect is said to have had one, and its answer to be lost, when a session keeps too much",
			File: "internal/machine/window.go", Tests: []string{"./internal/machine"},
			Old: "code != protocol.OK && 1+len(code) <= slotRoom",
			New: "code != protocol.OK && len(code) > slotRoom",
		},
		{
			Name: "taken-and-not-told", Breaks: "the answer of who has taken an element of a queue is dropped, with the element, for what others were told who have taken none",
			File: "resources/queue/queue.go", Tests: []string{"./internal/machine"},
			Old: "\t\te.Value = nil\n\t\treturn Elements{e}, remove",
			New: "\t\treturn Elements{e}, remove",
		},
		{
			Name: "last-level-counts", Breaks: "a read that asks for two levels is made at the one given last, which may be the weaker one",
			File: "resources/options.go", Tests: []string{"./resources"},
			Old: "if o.given && o.level != l {",
			New: "if false {",
		},
		{
			Name: "format-before-accepted", Breaks: "a directory is opened whose log tells of digests that this program does not come to",
			File: "storage/wal/identity.go", Tests: []string{"./storage/wal"},
			Old: "if id.Format < Format {",
			New: "if id.Format == 0 {",
		},
	}
}

// alone are bugs in what is remembered of commands that belong to no session.
func alone() []Mutation {
	state := []string{"./internal/machine"}
	return []Mutation{
		{
			Name: "one-shot-not-remembered", Breaks: "a copy of a write without a session runs again",
			File: "internal/machine/oneshot.go", Tests: state,
			Old: "o.all[one.number] = rememberedAs{one.index, text}",
			New: "_ = text",
		},
		{
			Name: "one-shot-forgotten-early", Breaks: "a write without a session is forgotten while its client may ask again: after an election",
			File: "internal/machine/oneshot.go", Tests: state,
			Old: "max(o.queue[n].at, lease)+",
			New: "o.queue[n].at+",
		},
		{
			Name: "one-shot-without-horizon", Breaks: "a copy that is later than its number is remembered runs again",
			File: "internal/machine/oneshot.go", Tests: state,
			Old: "seen < o.horizon || ",
			New: "",
		},
		{
			Name: "one-shot-horizon-not-loaded", Breaks: "a member that starts from a checkpoint runs copies that are later than their numbers are remembered",
			File: "internal/machine/restore.go", Tests: state,
			Old: "l.oneShots.horizon, _ = parseIndex(value)",
			New: "",
		},
		{
			Name: "one-shot-not-loaded", Breaks: "a member that starts from a checkpoint runs copies again",
			File: "internal/machine/restore.go", Tests: state,
			Old: "err = l.oneShots.restore(key, value)",
			New: "",
		},
		{
			Name: "limit-not-loaded", Breaks: "a member that starts from a checkpoint takes writes that the others refuse, because the state is full",
			File: "internal/machine/machine.go", Tests: state,
			Old: "m.limit, m.full = limitOf(s), false",
			New: "m.full = false",
		},
		{
			Name: "taken-back-counted", Breaks: "what a command wrote before it failed counts as held by who was there, and not by who starts from a checkpoint",
			File: "internal/state/state.go", Tests: state,
			Old: "\t\ts.count(u.space, u.record, after, -1)\n",
			New: "",
		},
		{
			Name: "full-state-frees-nothing", Breaks: "a full state refuses what would free space",
			File: "internal/machine/limit.go", Tests: state,
			Old: " || held <= before",
			New: "",
		},
		{
			Name: "one-shot-drawn-again", Breaks: "a client gives up a number, or a session, in which a copy may have run, and the write happens twice",
			File: "internal/attempt/command.go", Tests: []string{"./internal/attempt"},
			Old: "protocol.ErrSessionExpired) && !c.received:",
			New: "protocol.ErrSessionExpired):",
		},
	}
}

// rebuilt are bugs in repairing a log while it runs.
func rebuilt() []Mutation {
	return []Mutation{
		{
			Name: "repaired-with-another-log", Breaks: "entries take the place of lost ones although their log sum does not reach the next good header",
			File: "storage/wal/rebuild_write.go", Tests: []string{"./storage/wal"},
			Old: "if at != x.after {",
			New: "if at.index != x.after.index {",
		},
		{
			Name: "repaired-file-unsynced", Breaks: "a repaired segment takes the old one's place before it is durable",
			File: "storage/wal/rebuild_write.go", Tests: []string{"./storage/wal"},
			Old: "\t\terr = f.Sync()\n",
			New: "\t\terr = nil\n",
		},
		{
			Name: "repaired-file-unread", Breaks: "a repaired segment counts though the disk has written something else",
			File: "storage/wal/rebuild_write.go", Tests: []string{"./storage/wal"},
			Old: "\treturn r.check(ctx)\n",
			New: "\treturn nil\n",
		},
		{
			Name: "repaired-name-unsynced", Breaks: "a repaired segment counts before its name is durable",
			File: "storage/wal/rebuild_write.go", Tests: []string{"./storage/wal"},
			Old: "if err := folder.Sync(); err != nil {",
			New: "if err := error(nil); err != nil {",
		},
		{
			Name: "repaired-although-gone", Breaks: "a segment that the log has given up is put back by its repair",
			File: "storage/wal/rebuild_write.go", Tests: []string{"./storage/wal"},
			Old: "if r.fresh == nil || k < 0 {",
			New: "if k < 0 {\n\t\tk = 0\n\t}\n\tif r.fresh == nil {",
		},
		{
			Name: "running-repair-from-the-answered", Breaks: "an answer to another step of the repair is taken for this one's",
			File: "internal/repair/live.go", Tests: []string{"./internal/repair"},
			Old: "if done.ID != l.id || l.phase != liveLooks && l.phase != liveWrites {",
			New: "if l.phase != liveLooks && l.phase != liveWrites {",
		},
		{
			Name: "place-outlives-its-entries", Breaks: "a place that could not be read stays when its entries are cut off, and others there are not read",
			File: "internal/replica/unreadable.go", Tests: []string{"./internal/replica"},
			Old: "return p.entries.Last > after })",
			New: "return p.entries.First > after+1<<40 })",
		},
		{
			Name: "records-on-the-word-of-the-system", Breaks: "a file system that is wrong about what was written of the log takes acknowledged records with it",
			File: "storage/wal/content.go", Tests: []string{"./storage/wal"},
			Old: "if at+n > c.size || c.err != nil {",
			New: "if at+n > min(c.size, c.written) || c.err != nil {",
		},
	}
}
