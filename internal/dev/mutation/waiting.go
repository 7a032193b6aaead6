package mutation

// waits are bugs in who waits for whom, and for how long.
func waits() []Mutation {
	return []Mutation{
		{
			Name: "forwards-outlive-their-leader", Breaks: "what was forwarded waits for a leader that is none any more",
			File: "internal/replica/heed.go", Tests: []string{"./internal/replica"},
			Old: "if leader == h.asked && term == h.askedTerm {",
			New: "if !leader.IsZero() {",
		},
		{
			Name: "at-work-is-an-answer", Breaks: "a write is acknowledged because the leader has it in hand",
			File: "internal/replica/forward.go", Tests: []string{"./internal/replica"},
			Old: "\t\tq.who.atWork(now, from)\n\t\treturn\n",
			New: "\t\tq.who.atWork(now, from)\n\t\tm.Result.Code = protocol.OK\n",
		},
		{
			Name: "any-answer-is-life", Breaks: "a member whose loop hangs is waited for while it answers what needs no loop",
			File: "internal/wire/client.go", Tests: []string{"./internal/wire"},
			Old: "one := c.pending[p.ID]\n",
			New: "one := c.pending[p.ID]\n\tc.pulse.asked, c.pulse.quiet = false, 0\n",
		},
		{
			Name: "slow-is-silent", Breaks: "a member is left while a long answer is on its way over a slow link",
			File: "internal/wire/pulse.go", Tests: []string{"./internal/wire"},
			Old: "return leaving || arriving",
			New: "return leaving && arriving",
		},
		{
			Name: "silence-outlived", Breaks: "a stream on which nothing comes any more is missed when something is lost on it",
			File: "internal/wire/lifesigns.go", Tests: []string{"./internal/wire"},
			Old: "if s.asked && s.quiet >= pulseBeats+s.behind() {",
			New: "if s.asked && s.quiet < 0 {",
		},
		{
			Name: "query-outlives-its-caller", Breaks: "a query that nobody waits for runs to its end",
			File: "resources/view.go", Tests: []string{"./internal/machine"},
			Old: "return v.ctx.Err()",
			New: "return nil",
		},
		{
			Name: "stale-leader-believed", Breaks: "a client goes back to the leader of an older term",
			File: "internal/attempt/endpoints.go", Tests: []string{"./internal/attempt"},
			Old: "if term < e.term || !newer",
			New: "if !newer",
		},
		{
			Name: "mailbox-closed-late", Breaks: "connections that wait for room in a full mailbox hold the end of a member",
			File: "internal/runtime/member.go", Tests: []string{"./internal/runtime"},
			Old: "\tm.mailbox.close() // first",
			New: "\tdefer m.mailbox.close() // first",
		},
		{
			Name: "old-leader-waited-for", Breaks: "a command waits at a leader that stands still though another one is known",
			File: "internal/attempt/search.go", Tests: []string{"./internal/client"},
			Old: "if e.address != leader && e.term < term {",
			New: "if e.address == leader && e.term < term {",
		},
	}
}

// fillsUp are bugs in what a leader takes while disks are full.
func fillsUp() []Mutation {
	return []Mutation{
		{
			Name: "majority-filled-up", Breaks: "a leader with room fills the disks of the others to the last byte",
			File: "internal/replica/requests.go", Tests: []string{"./internal/replica"},
			Old: "if allCan && roomy && differ == nil {",
			New: "if allCan && differ == nil {",
		},
		{
			Name: "refuses-from-memory", Breaks: "a write is refused for want of room though a voter that has some has answered meanwhile",
			File: "internal/replica/room.go", Tests: []string{"./internal/replica"},
			Old: "\twhy := h.cramps(&s)\n\tif why == \"\" {",
			New: "\twhy := h.cramped\n\tif why == \"\" {",
		},
		{
			Name: "needs-nothing-for-a-while", Breaks: "a member whose log begins anew after a checkpoint says that it needs nothing: what follows is given up meanwhile, and it fetches the next one",
			File: "internal/replica/behind.go", Tests: []string{"./internal/replica"},
			Old: "\t\treturn b.install.D.Index + 1 // also",
			New: "\t\treturn 0 // also",
		},
		{
			Name: "learner-makes-behind", Breaks: "a learner that claims what nobody has makes all voters unready",
			File: "internal/replica/behind.go", Tests: []string{"./internal/replica"},
			Old: "if conf.IsVoter(h.ID) {",
			New: "if conf.Names(h.ID) {",
		},
		{
			Name: "taken-back-and-lacking", Breaks: "a member to which a voter has said once that more is committed than is does not serve any more",
			File: "internal/replica/behind.go", Tests: []string{"./internal/replica"},
			Old: "for ; n > 0 && b.looks[n-1].high > b.high; n-- {",
			New: "for ; n > looksMax; n-- {",
		},
		{
			Name: "gathered-in-one-write", Breaks: "all that came while a passive's disk was busy is one record, which is read as a whole for each entry of it",
			File: "passive/run.go", Tests: []string{"./passive"},
			Old: "m.waiting[n-1].bytes+bytes <= writeBytesMax {",
			New: "m.waiting[n-1].bytes+bytes <= UnwrittenBytesMax {",
		},
	}
}

// takingTurns are bugs in whose command the leader hands to the log next.
func takingTurns() []Mutation {
	in := []string{"./internal/replica"}
	return []Mutation{
		{
			Name: "light-callers-count", Breaks: "many clients with little under way leave no turn to those with more",
			File: "internal/replica/turns.go", Tests: in,
			Old: "t.light = now.Add(turnsLast)\n",
			New: "t.light, t.inLog = now.Add(turnsLast), t.inLog+1\n",
		},
		{
			Name: "light-caller-waits", Breaks: "a client with one write under way waits behind all that greedy ones have sent",
			File: "internal/replica/turns.go", Tests: in,
			Old: "if now < t.light {",
			New: "if now < 0 {",
		},
		{
			Name: "overtakes-its-session", Breaks: "a command goes into the log before an older one of its session",
			File: "internal/replica/turns.go", Tests: in,
			Old: "now >= l.heavy && len(l.queue) == 0 {",
			New: "now >= l.heavy {",
		},
		{
			Name: "turns-outlive-the-lead", Breaks: "what waited for its turn at a leader that is none any more is told nothing",
			File: "internal/replica/keepalives.go", Tests: in,
			Old: "range q.turns.all() {",
			New: "range []command(nil) {",
		},
		{
			Name: "waits-and-not-in-hand", Breaks: "the leader disowns a command that waits for its turn, and proposes it later",
			File: "internal/replica/forward.go", Tests: in,
			Old: " || q.turns.holds(o) ||",
			New: " ||",
		},
	}
}

// reports are bugs in what a client says of a write that has no answer.
func reports() []Mutation {
	return []Mutation{
		{
			Name: "lost-attempt-forgotten", Breaks: "a write is told as refused though an earlier copy may have happened",
			File: "internal/attempt/command.go", Tests: []string{"./internal/attempt"},
			Old: "c.received = c.received || !NotSent(err)",
			New: "c.received = !NotSent(err)",
		},
		{
			Name: "superseded-told-as-refused", Breaks: "a write that was given up for another leader is told as one that has not happened",
			File: "internal/attempt/search.go", Tests: []string{"./internal/attempt"},
			Old: "Unwrap() error { return protocol.ErrUnknownOutcome }",
			New: "Unwrap() error { return protocol.ErrUnavailable }",
		},
	}
}
