package mutation

// paces are bugs in what waits for a slow disk, and for how long.
func paces() []Mutation {
	in := []string{"./active"}
	return []Mutation{
		{
			Name: "own-vote-not-waited-for", Breaks: "a candidate gives up before its own vote is on its disk: with slow disks nobody is ever elected",
			File: "active/candidate.go", Tests: in,
			Old: "if m.state == StateCandidate && !m.disk.holds(m.hard) {\n\t\treturn",
			New: "if false {\n\t\treturn",
		},
		{
			Name: "slow-disk-is-dead", Breaks: "a leader gives up for each write that takes two election timeouts, whatever the last ones took",
			File: "active/pace.go", Tests: in,
			Old: "return since.Add(2*d.pace.election + d.pace.stretch(d.pace.done()))",
			New: "return since.Add(2 * d.pace.election)",
		},
		{
			Name: "heartbeat-waits-for-the-disk", Breaks: "a follower whose disk is slow does not answer heartbeats, and its leader steps down",
			File: "active/follower.go", Tests: in,
			Old: "m.send(from, &protocol.HeartbeatAnswer{Term: h.Term, Round: h.Round, Unfit: m.unfit != \"\", Token: m.cfg.tokenFor(from)})",
			New: "m.promise(from, &protocol.HeartbeatAnswer{Term: h.Term, Round: h.Round, Unfit: m.unfit != \"\", Token: m.cfg.tokenFor(from)}, m.logTerms.LastIndex())",
		},
		{
			Name: "waits-as-long-as-is-asked", Breaks: "a voter waits for a candidate for as long as that says",
			File: "active/pace.go", Tests: in,
			Old: "wait = min(max(wait, 0), p.stretchMax())",
			New: "wait = max(wait, 0)",
		},
		{
			Name: "slow-leader-leads-on", Breaks: "a leader that runs a fifth of the time leads on, and everybody waits for it",
			File: "internal/replica/slowness.go", Tests: []string{"./internal/replica"},
			Old: "if w.row++; w.row < slowWindows {",
			New: "if w.row < slowWindows {",
		},
		{
			Name: "lead-to-and-fro", Breaks: "where to lead makes a member slow, the lead goes to and fro",
			File: "internal/replica/slowness.go", Tests: []string{"./internal/replica"},
			Old: "return max(w.tempo.of.sum(), w.took, 1)",
			New: "return max(w.tempo.of.sum(), 1)",
		},
		{
			Name: "one-is-faster", Breaks: "the lead is handed over where no majority is fast without the slow leader",
			File: "internal/replica/slowness.go", Tests: []string{"./internal/replica"},
			Old: "return !conf.Joint() && protocol.Majority(conf.Voters(), func(id protocol.MemberID) bool {",
			New: "return !conf.Joint() && slices.ContainsFunc(conf.Voters(), func(id protocol.MemberID) bool {",
		},
	}
}
