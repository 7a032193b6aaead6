package mutation

// votes are bugs in what is written ahead of a write that waits for room.
func votes() []Mutation {
	core, writer, log := []string{"./active"}, []string{"./internal/member"}, []string{"./storage/wal"}
	return []Mutation{
		{
			Name: "vote-ahead-unsynced", Breaks: "a vote that passes what waits for room leaves before it is durable: after a crash the member votes again",
			File: "internal/member/logwriter.go", Tests: writer,
			Old: "return w.persisted(p, w.log.Sync())",
			New: "return w.persisted(p, nil)",
		},
		{
			Name: "term-back-with-what-waited", Breaks: "the write that has waited for room takes back the term and the vote that were written ahead of it",
			File: "internal/member/logwriter.go", Tests: writer,
			Old: "write.State = write.State.Noting(w.voted.Term, w.voted.Vote)",
			New: "_ = w.voted",
		},
		{
			Name: "vote-ahead-acknowledges", Breaks: "a vote that passes what waits for room releases the acknowledgement of that",
			File: "active/ahead.go", Tests: core,
			Old: "case *protocol.Vote, *protocol.VoteAnswer:",
			New: "case *protocol.Vote, *protocol.VoteAnswer, *protocol.AppendAnswer:",
		},
		{
			Name: "vote-ahead-forgotten", Breaks: "a member takes its vote for not durable when what has waited lands, and its next write says less",
			File: "active/ahead.go", Tests: core,
			Old: "d.flight.state = d.flight.state.Noting(a.term, a.vote)",
			New: "_ = d.flight.state",
		},
		{
			Name: "vote-ahead-commits", Breaks: "a vote that passes what waits for room moves the commit index beyond the log on the disk",
			File: "storage/wal/reserve.go", Tests: log,
			Old: "state := l.state.Noting(term, vote)\n",
			New: "state := l.state.Noting(term, vote)\n\tstate.Commit = l.last.index + 1\n",
		},
		{
			Name: "no-room-for-votes", Breaks: "entries fill a segment to its end, and no vote has room on a full disk",
			File: "storage/wal/reserve.go", Tests: log,
			Old: "return max(reserveBytes, size/reserveShare)",
			New: "return 0",
		},
		{
			Name: "leads-on-without-room", Breaks: "a leader whose disk has no room keeps the lead from a majority that stores what it cannot",
			File: "active/ahead.go", Tests: core,
			Old: "return p == nil || p.match",
			New: "return true || p.match",
		},
		{
			Name: "gives-way-to-who-lacks", Breaks: "a leader whose disk has no room steps down for a voter that is not elected, and elections follow one another",
			File: "active/ahead.go", Tests: core,
			Old: "p.match < m.logTerms.LastIndex()",
			New: "p.match <= m.disk.stable",
		},
		{
			Name: "gives-way-for-nothing", Breaks: "a leader whose disk has no room steps down though nobody could commit more, and its reads with it",
			File: "active/ahead.go", Tests: core,
			Old: "if m.hard.Commit <= m.disk.stable {",
			New: "if false {",
		},
		{
			Name: "names-who-lacks", Breaks: "a leader whose disk has no room names a voter with room that lacks entries, and that is not elected",
			File: "active/transfer.go", Tests: core,
			Old: "return m.bestTransferee(m.logTerms.LastIndex())",
			New: "return m.bestTransferee(m.hard.Commit)",
		},
	}
}

// successions are bugs in how a leader that cannot go on gives way to another one.
func successions() []Mutation {
	core := []string{"./active"}
	return []Mutation{
		{
			Name: "transferee-has-a-rival", Breaks: "a leader that steps down in the middle of a transfer names another voter, which is a rival in the same election",
			File: "active/transfer.go", Tests: core,
			Old: "t != nil && t.sent {\n\t\tif p := m.lead.find(t.to); p != nil && unable",
			New: "t != nil && t.sent {\n\t\tif p := m.lead.find(t.to); p == nil && unable",
		},
		{
			Name: "passes-on-all-the-time", Breaks: "a leader without room refuses what frees space as long as its transferee is behind",
			File: "active/ahead.go", Tests: core,
			Old: "m.now < m.lead.passAt || ",
			New: "",
		},
		{
			Name: "pre-votes-unanswered", Breaks: "voters that hear a leader count as gone, and seat commands say that a quorum is missing",
			File: "active/candidate.go", Tests: core,
			Old: "if v.Pre { // its sender",
			New: "if false { // its sender",
		},
	}
}
