package mutation

// elections are bugs in who may lead.
func elections() []Mutation {
	in := []string{"./active"}
	return []Mutation{
		{
			Name: "vote-twice", Breaks: "a member votes for whoever asks, twice in a term",
			File: "active/candidate.go", Tests: in,
			Old: "case !m.hard.Vote.IsZero() && m.hard.Vote != from:",
			New: "case false:",
		},
		{
			Name: "vote-forgotten", Breaks: "the vote is not written with the term",
			File: "active/disk.go", Tests: in,
			Old: "ID: d.lastID, State: m.hard, First: d.written + 1, Last: last,",
			New: "ID: d.lastID, State: protocol.HardState{Term: m.hard.Term, Commit: m.hard.Commit}, First: d.written + 1, Last: last,",
		},
		{
			Name: "older-log-elected", Breaks: "the vote does not compare logs",
			File: "active/candidate.go", Tests: in,
			Old: "case !m.upToDate(v.LastIndex, v.LastTerm):\n\t\tm.refuseVote(from, v, \"its log is older\")\n\tdefault:\n\t\tm.hard.Vote",
			New: "default:\n\t\tm.hard.Vote",
		},
		{
			Name: "pre-vote-skipped", Breaks: "a member that was cut off comes back with a high term",
			File: "active/candidate.go", Tests: in,
			Old: "\t\tm.preCampaign()\n",
			New: "\t\tm.campaign(false)\n",
		},
		{
			Name: "quorum-not-checked", Breaks: "a leader that nobody answers goes on leading",
			File: "active/leader.go", Tests: in,
			Old: "if m.now >= m.quorumHeard().Add(m.cfg.Election) {",
			New: "if false {",
		},
		{
			Name: "half-is-a-majority", Breaks: "half of an even number of voters decides",
			File: "active/quorum.go", Tests: in,
			Old: "func majority(n int) int { return n/2 + 1 }",
			New: "func majority(n int) int { return (n + 1) / 2 }",
		},
		{
			Name: "removed-leader-silent", Breaks: "whoever an uncommitted configuration removes does not campaign",
			File: "active/candidate.go", Tests: in,
			Old: "if c.Configuration.IsVoter(m.cfg.ID) {",
			New: "if c.Configuration.IsVoter(m.cfg.ID) && m.voter {",
		},
	}
}

// logs are bugs in what is replicated and when it counts.
func logs() []Mutation {
	in := []string{"./active"}
	return []Mutation{
		{
			Name: "old-term-counted", Breaks: "an entry of an earlier term is committed by counting (figure 8)",
			File: "active/leader.go", Tests: in,
			Old: "if t, ok := m.logTerms.TermAt(i); !ok || t != m.hard.Term {",
			New: "if _, ok := m.logTerms.TermAt(i); !ok {",
		},
		{
			Name: "acknowledged-before-sync", Breaks: "votes and acknowledgements do not wait for the disk",
			File: "active/disk.go", Tests: in,
			Old: "if d.holds(m.hard) && last <= d.stable {",
			New: "if d != nil {",
		},
		{
			Name: "leader-counts-unsynced", Breaks: "a leader counts itself before its own disk has answered",
			File: "active/leader.go", Tests: in,
			Old: "m.quorumOf(uint64(m.disk.stable), matchOf)",
			New: "m.quorumOf(uint64(m.logTerms.LastIndex()), matchOf)",
		},
		{
			Name: "late-append-truncates", Breaks: "a late append cuts off what came after it",
			File: "active/follower.go", Tests: in,
			Old: "if t != entries[0].Term {\n\t\t\tm.truncate",
			New: "if t != entries[0].Term || len(entries) == 1 {\n\t\t\tm.truncate",
		},
		{
			Name: "previous-entry-unchecked", Breaks: "an append is taken whatever entry precedes it",
			File: "active/follower.go", Tests: in,
			Old: "if t, ok := m.logTerms.TermAt(prev); !ok || t != prevTerm {",
			New: "if _, ok := m.logTerms.TermAt(prev); !ok {",
		},
		{
			Name: "write-proves-what-was-cut", Breaks: "a write in flight still proves entries that a truncation has replaced",
			File: "active/disk.go", Tests: in,
			Old: "d.flight.last = min(d.flight.last, after)",
			New: "d.flight.last = max(d.flight.last, after)",
		},
		{
			Name: "passive-tip-counts", Breaks: "what a passive holds counts as durable",
			File: "active/replicate.go", Tests: in,
			Old: "\tp.passive = true\n",
			New: "\tp.passive, p.match = true, max(p.match, lastIndex)\n",
		},
	}
}

// reads are bugs in what may be read, and how old it is said to be.
func reads() []Mutation {
	in := []string{"./active"}
	return []Mutation{
		{
			Name: "read-without-quorum", Breaks: "a leader confirms its own rounds",
			File: "active/read.go", Tests: in,
			Old: "confirmed := m.quorumOf(l.round, roundOf)",
			New: "confirmed := l.round",
		},
		{
			Name: "read-before-own-term", Breaks: "a new leader serves reads before its first entry is committed",
			File: "active/leader.go", Tests: in,
			Old: "func (m *Member) hasCommittedOwnTerm() bool { return m.hard.Commit >= m.lead.noop }",
			New: "func (m *Member) hasCommittedOwnTerm() bool { return m.lead.noop > 0 }",
		},
		{
			Name: "read-of-another-run", Breaks: "the answer to a read of the run before is taken for this run's",
			File: "active/read.go", Tests: in,
			Old: "if a.Run != m.cfg.Run {",
			New: "if m.cfg.Run == 0 {",
		},
		{
			Name: "age-from-confirmation", Breaks: "a freshness claim is stamped when it was confirmed, not when its round was sent",
			File: "active/read.go", Tests: in,
			Old: "At: r.at}",
			New: "At: m.now}",
		},
		{
			Name: "unsolicited-age-accepted", Breaks: "an age counts although nobody asked for it, from when it is read",
			File: "gossip/haves.go", Tests: []string{"./gossip"},
			Old: "\tif i < 0 {\n\t\treturn\n\t}\n\tasked :=",
			New: "\tif i < 0 {\n\t\ti = d.next\n\t\td.asks[i].at = now\n\t}\n\tasked :=",
		},
		{
			Name: "age-from-hearing", Breaks: "an age that a neighbour told counts from when it was heard",
			File: "gossip/haves.go", Tests: []string{"./gossip"},
			Old: "answered(asked, from, h)",
			New: "answered(now, from, h)",
		},
	}
}

// roles are bugs in who is active, and in what a passive takes.
func roles() []Mutation {
	return []Mutation{
		{
			Name: "role-by-commit-only", Breaks: "configurations above the commit index make nobody active",
			File: "protocol/configuration.go", Tests: []string{"./protocol", "./active", "./internal/replica"},
			Old: "if later.Index > commit && later.Configuration.Names(id) {",
			New: "if later.Index == commit && later.Configuration.Names(id) {",
		},
		{
			Name: "role-judged-per-entry", Breaks: "a member that passes an entry without it goes, whatever names it again later",
			File: "internal/replica/role.go", Tests: []string{"./internal/replica"},
			Old: "\tswitch want {\n\tcase protocol.RoleNone, ",
			New: "\tfor i := r.log.applied + 1; i <= r.log.commit && r.log.knows(); i++ {\n" +
				"\t\tif c, ok := confs.At(i); ok && !c.Configuration.Names(r.cfg.ID) {\n\t\t\twant = protocol.RolePassive\n\t\t}\n\t}\n" +
				"\tswitch want {\n\tcase protocol.RoleNone, ",
		},
		{
			Name: "taking-with-old-term", Breaks: "a member takes the active role with the term of its last active time",
			File: "passive/run.go", Tests: []string{"./passive", "./active", "./internal/replica"},
			Old: "m.state.Term, m.state.Vote = t, protocol.MemberID{}",
			New: "m.state.Vote = protocol.MemberID{}",
		},
		{
			Name: "taking-unsynced", Breaks: "a member takes the active role without syncing what it held as a passive",
			File: "active/disk.go", Tests: []string{"./active", "./internal/replica"},
			Old: "Sync: true, SyncAll: d.taking,",
			New: "Sync: true,",
		},
		{
			Name: "passive-takes-uncommitted", Breaks: "a passive takes entries above the commit index",
			File: "passive/run.go", Tests: []string{"./passive", "./internal/replica"},
			Old: "last := min(run.Entries[len(run.Entries)-1].Index, run.Commit)",
			New: "last := max(run.Entries[len(run.Entries)-1].Index, min(run.Commit, 0))",
		},
		{
			Name: "run-joined-unverified", Breaks: "a passive takes a run whose log sum is another log's",
			File: "passive/run.go", Tests: []string{"./passive", "./internal/replica"},
			Old: "if sum != m.lastSum {",
			New: "if sum != m.lastSum && overlap < 0 {",
		},
	}
}

// stores are bugs in the log on disk and in the state.
func stores() []Mutation {
	wal, state := []string{"./storage/wal"}, []string{"./internal/machine"}
	return []Mutation{
		{
			Name: "state-lost-with-segment", Breaks: "a new segment does not carry the hard state on",
			File: "storage/wal/rotate.go", Tests: wal,
			Old: "before: l.last, state: l.state, number: l.number,",
			New: "before: l.last, number: l.number,",
		},
		{
			Name: "page-cache-trusted", Breaks: "what the process finds at its start is taken for durable",
			File: "storage/wal/apply.go", Tests: wal,
			Old: "if h.sequence > r.durable {",
			New: "if h.sequence > r.durable && r.next == 0 {",
		},
		{
			Name: "good-after-bad-is-damage", Breaks: "a good record after a bad one proves the bad one durable: after a power cut all refuse to serve",
			File: "storage/wal/replay.go", Tests: wal,
			Old: "\tif r.next <= known {\n\t\treturn true, nil\n",
			New: "\tif r.next <= known || r.scan(r.segments[i], at+recordAlign) >= 0 {\n\t\treturn true, nil\n",
		},
		{
			Name: "failed-sync-retried", Breaks: "after a failed sync another one may succeed",
			File: "storage/wal/log.go", Tests: wal,
			Old: "if err := l.current.file.Sync(); err != nil {\n\t\treturn l.fail(err)",
			New: "if err := l.current.file.Sync(); err != nil {\n\t\treturn err",
		},
		{
			Name: "old-segment-unsynced", Breaks: "a new segment begins before the old one is durable",
			File: "storage/wal/rotate.go", Tests: wal,
			Old: "if err := l.Sync(); err != nil {\n\t\treturn err\n\t}\n\treturn l.beginSegment(",
			New: "if err := l.writable(); err != nil {\n\t\treturn err\n\t}\n\treturn l.beginSegment(",
		},
		{
			Name: "duplicate-by-last-sequence", Breaks: "a command below the newest one of its session is taken for a duplicate",
			File: "internal/machine/session.go", Tests: state,
			Old: "case c.Sequence < floor:",
			New: "case c.Sequence < floor || w != nil && len(w.slots) > 0 && c.Sequence < w.slots[len(w.slots)-1].sequence && w.find(c.Sequence) == nil:",
		},
		{
			Name: "retry-runs-again", Breaks: "the answer to a command is not remembered",
			File: "internal/machine/session.go", Tests: state,
			Old: "w.put(&slot)",
			New: "_ = w",
		},
		{
			Name: "view-not-registered", Breaks: "versions that an open view reads are dropped",
			File: "internal/state/views.go", Tests: []string{"./internal/state"},
			Old: "\tif s.first != nil {\n\t\treturn s.first.index\n\t}\n\treturn i\n",
			New: "\treturn i\n",
		},
	}
}
