package mutation

// heeded are bugs in who is listened to.
func heeded() []Mutation { return append(append(asked(), bounded()...), believed()...) }

// asked are bugs in whose requests and answers count.
func asked() []Mutation {
	core := []string{"./active"}
	return []Mutation{
		{
			Name: "stranger-heeded", Breaks: "requests of members that the log does not name count: one stranger deposes every leader",
			File: "active/heed.go", Tests: core,
			Old: "if m.names(from) || m.Lost(m.now) {",
			New: "if m.names(from) || !from.IsZero() {",
		},
		{
			Name: "answers-unasked", Breaks: "an answer of somebody who was asked nothing carries its term to a leader",
			File: "active/heed.go", Tests: core,
			Old: "return m.state == StateLeader && m.lead.find(from) != nil",
			New: "return m.state == StateLeader || m.lead.find(from) != nil",
		},
		{
			Name: "read-in-anothers-name", Breaks: "who asks for a read of another before that one does gives it an answer older than its question",
			File: "active/heed.go", Tests: core,
			Old: "return from == msg.Origin && from != m.cfg.ID || m.names(from)",
			New: "return from == msg.Origin || !from.IsZero()",
		},
		{
			Name: "learner-leads", Breaks: "a learner is taken for a leader: it puts entries in the place of acknowledged ones",
			File: "active/heed.go", Tests: core,
			Old: "if line.Suffrage == protocol.SuffrageVoter || line.Outgoing {",
			New: "if line.Suffrage != protocol.SuffrageNone || line.Outgoing {",
		},
		{
			Name: "outgoing-unnamed", Breaks: "the leader of a joint configuration that leaves is not listened to while it leads on",
			File: "active/heed.go", Tests: core,
			Old: "if line.Suffrage == protocol.SuffrageVoter || line.Outgoing {",
			New: "if line.Suffrage == protocol.SuffrageVoter {",
		},
		{
			Name: "transferee-of-the-removed", Breaks: "the transferee of a leader that is removed does not listen to it: each removal costs an election timeout",
			File: "active/heed.go", Tests: core,
			Old: "case *protocol.ReadIndexAnswer, *protocol.TimeoutNow:",
			New: "case *protocol.ReadIndexAnswer:",
		},
	}
}

// bounded are bugs in how long only those count, and up to which terms.
func bounded() []Mutation {
	core := []string{"./active"}
	return []Mutation{
		{
			Name: "lost-for-ever", Breaks: "a member whose log names nobody who is left listens to nobody, ever",
			File: "active/heed.go", Tests: core,
			Old: "return m.state != StateLeader && m.now >= max(m.heardNamed, m.led).Add(lostAfter*m.cfg.Election)",
			New: "return m.state != StateLeader && m.now < m.led",
		},
		{
			Name: "lost-too-soon", Breaks: "without a leader for a moment, anybody counts",
			File: "active/heed.go", Tests: core,
			Old: "const lostAfter = 10",
			New: "const lostAfter = 1",
		},
		{
			Name: "term-unbounded", Breaks: "a member that has a say can name the highest term there is",
			File: "active/heed.go", Tests: core,
			Old: "return term-committed > protocol.LeapMax",
			New: "return term < committed",
		},
		{
			Name: "term-from-own", Breaks: "the bound on terms is measured from the own term, which the messages move",
			File: "active/heed.go", Tests: core,
			Old: "return term-m.logTerms.LastTerm() > protocol.VoterLeapMax",
			New: "return term-m.hard.Term > protocol.VoterLeapMax",
		},
		{
			Name: "deposed-again-and-again", Breaks: "a learner keeps the others without a leader for as long as it likes: then they listen to anybody",
			File: "active/heed.go", Tests: core,
			Old: "if m.deposed && m.now < m.deposedAt.Add(lostAfter*m.cfg.Election) {",
			New: "if m.deposed && m.now < m.deposedAt {",
		},
		{
			Name: "called-in-vain", Breaks: "a follower that hears a leader whom its log does not name yet waits as if nobody had called",
			File: "active/heed.go", Tests: core,
			Old: "m.asked = true",
			New: "m.asked = false",
		},
	}
}

// believed are bugs in whose word is taken outside of Raft.
func believed() []Mutation {
	replica := []string{"./internal/replica"}
	return []Mutation{
		{
			Name: "flock-of-anybody", Breaks: "an active without a leader takes forged entries for committed from a fake passive",
			File: "gossip/heed.go", Tests: replica,
			Old: "len(h.named) > 0 && !h.anybody",
			New: "len(h.named) > 0 && h.anybody",
		},
		{
			Name: "voucher-by-membership", Breaks: "whoever says to the membership that it is an active is believed",
			File: "gossip/core.go", Tests: replica,
			Old: "c.self.follows() && !c.heed.heeds(from)",
			New: "c.self.follows() && !c.heed.heeds(from) && (c.members.get(from) == nil || c.members.get(from).peer.Role != protocol.RoleActive)",
		},
		{
			Name: "passive-enters-terms", Breaks: "a passive enters the term of any message, and brings it along when it becomes active",
			File: "passive/run.go", Tests: []string{"./passive"},
			Old: "		// What a deposed leader says is not wrong",
			New: "		m.raiseTerm(msg.Term)\n		// What a deposed leader says is not wrong",
		},
		{
			Name: "told-leader-kept-alive", Breaks: "two passives tell each other for ever of a leader that is gone",
			File: "gossip/presence.go", Tests: replica,
			Old: "if h.FreshKnown || p.self.Role == protocol.RoleActive {",
			New: "if h.FreshKnown || !p.self.Leader.IsZero() {",
		},
		{
			Name: "told-leader-is-of-now", Breaks: "what a passive says of who leads counts as news, however old it is",
			File: "internal/replica/heed.go", Tests: replica,
			Old: "\t\tat = now.Add(-age)\n",
			New: "\t\tat = now.Add(min(age, 0))\n",
		},
		{
			Name: "anybody-answers-forwards", Breaks: "a stranger acknowledges writes that never were",
			File: "internal/replica/forward.go", Tests: replica,
			Old: "if a.sent[i].to != from {",
			New: "if a.sent[i].to.IsZero() {",
		},
		{
			Name: "recovery-by-hard-state", Breaks: "recover fails in a directory that was told the highest term",
			File: "internal/recovery/recover.go", Tests: []string{"./internal/recovery"},
			Old: "r.result.Term = rec.LogTerms.LastTerm() + 1",
			New: "r.result.Term = max(rec.State.Term, rec.LogTerms.LastTerm()) + 1",
		},
	}
}
