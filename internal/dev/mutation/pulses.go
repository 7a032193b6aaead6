package mutation

// pulses are bugs in heartbeats that go by datagram.
func pulses() []Mutation { return append(append(tokens(), pulsed()...), pulseAnswers()...) }

// tokens are bugs in how datagrams are sent and known.
func tokens() []Mutation {
	core := []string{"./active"}
	return []Mutation{
		{
			Name: "pulse-without-tokens", Breaks: "anybody who can send a datagram keeps followers from electing, and confirms reads",
			File: "active/pulse.go", Tests: core,
			Old: "	known, mine := m.tokens[from].token, m.cfg.tokenFor(from)\n",
			New: "	known, mine := of, to\n	if from.IsZero() || of != to {\n		return true\n	}\n",
		},
		{
			Name: "pulse-with-one-token", Breaks: "who has seen one datagram of the receiver's can send it others",
			File: "active/pulse.go", Tests: core,
			Old: "of != known || to != mine",
			New: "of != known || to.IsZero()",
		},
		{
			Name: "token-of-every-run", Breaks: "what a member answered before its restart counts after it",
			File: "active/pulse.go", Tests: core,
			Old: "copy(b[copy(b[:], c.Secret[:]):], id[:])",
			New: "copy(b[len(c.Secret):], id[:])",
		},
		{
			Name: "token-of-every-pair", Breaks: "each member can send datagrams in the name of each other one",
			File: "active/pulse.go", Tests: core,
			Old: "copy(b[copy(b[:], c.Secret[:]):], id[:])",
			New: "copy(b[:], c.Secret[:])",
		},
		{
			Name: "token-of-the-run-before", Breaks: "datagrams of a run count after another one was let in",
			File: "active/pulse.go", Tests: core,
			Old: "if m.tokens[id].run != run {",
			New: "if m.tokens[id].run != run && run == 0 {",
		},
		{
			Name: "heartbeats-by-stream-alone", Breaks: "where packets are lost one leader is elected after the other",
			File: "active/read.go", Tests: append([]string{"./internal/sim"}, core...),
			Old: "		if all {\n			sendPulse(m, p.id)",
			New: "		if !all {\n			sendPulse(m, p.id)",
		},
		{
			Name: "pulses-by-stream", Breaks: "a heartbeat that finds no datagram waits in the stream, twice",
			File: "internal/runtime/transport.go", Tests: []string{"./internal/runtime"},
			Old: "if s.Message.Kind().NeverByStream() {",
			New: "if s.To.IsZero() {",
		},
	}
}

// pulsed are bugs in what a datagram counts for.
func pulsed() []Mutation {
	core := []string{"./active"}
	return []Mutation{
		{
			Name: "pulse-takes-to-its-term", Breaks: "a datagram takes its receiver to another term",
			File: "active/pulse.go", Tests: core,
			Old: "if p.Term != m.hard.Term || m.state == StateLeader",
			New: "if p.Term < m.hard.Term || m.state == StateLeader",
		},
		{
			Name: "pulse-of-any-leader", Breaks: "a datagram makes a member follow another one than the leader of its term",
			File: "active/pulse.go", Tests: core,
			Old: " || !m.leader.IsZero() && m.leader != from {",
			New: " {",
		},
		{
			Name: "pulse-commits", Breaks: "a heartbeat that came by datagram commits what no majority has",
			File: "active/pulse.go", Tests: core,
			Old: "		hear(m, from, p.Term)\n",
			New: "		hear(m, from, p.Term)\n		m.commitTo(m.logTerms.LastIndex())\n",
		},
		{
			Name: "pulses-for-ever", Breaks: "who has seen two tokens keeps members with a leader that is gone, for as long as it likes",
			File: "active/pulse.go", Tests: core,
			Old: "m.streamed.Add(lostAfter*m.cfg.Election)",
			New: "m.streamed.Add(1000*lostAfter*m.cfg.Election)",
		},
		{
			Name: "pulses-answered-unheard", Breaks: "a leader renews its lease with the word of a member that does not pledge it",
			File: "active/pulse.go", Tests: core,
			Old: "		return\n	}\n	m.pulse.term, m.pulse.round = p.Term, p.Round\n",
			New: "		m.send(from, &protocol.PulseAnswer{Round: p.Round, Term: p.Term, Of: p.To, To: p.Of})\n		return\n	}\n	m.pulse.term, m.pulse.round = p.Term, p.Round\n",
		},
		{
			Name: "token-of-one-stream", Breaks: "each new stream silences pulses, just where packets are lost and streams break",
			File: "active/pulse.go", Tests: core,
			Old: "if m.tokens[id].run != run {",
			New: "if run != 0 {",
		},
		{
			Name: "old-pulse-is-news", Breaks: "a datagram that was kept keeps its receiver with a leader that is gone",
			File: "active/pulse.go", Tests: core,
			Old: "last.term == p.Term && p.Round <= last.round",
			New: "last.term == p.Term && p.Round > last.round+1<<40",
		},
	}
}

// pulseAnswers are bugs in what an answer by datagram counts for, and in what streams do.
func pulseAnswers() []Mutation {
	core := []string{"./active"}
	both := append([]string{"./internal/sim"}, core...)
	return []Mutation{
		{
			Name: "answer-to-any-round", Breaks: "the answer to an earlier round confirms a read that came after it",
			File: "active/pulse.go", Tests: core,
			Old: "p.pulsed, p.round = m.now, a.Round",
			New: "p.pulsed, p.round = m.now, m.lead.round",
		},
		{
			Name: "answer-of-any-term", Breaks: "the answer to a round of another term confirms one of this",
			File: "active/pulse.go", Tests: core,
			Old: "if m.state != StateLeader || a.Term != m.hard.Term {",
			New: "if m.state != StateLeader {",
		},
		{
			Name: "led-by-datagrams", Breaks: "a leader whose streams are dead leads on and commits nothing",
			File: "active/pulse.go", Tests: both,
			Old: "return orderOf(p.heard) }",
			New: "return orderOf(max(p.heard, p.pulsed)) }",
		},
		{
			Name: "fed-by-datagrams", Breaks: "a follower that hears a leader and gets nothing from it asks nobody else",
			File: "active/catchup.go", Tests: both,
			Old: "max(m.streamed, m.led).Add(patience)",
			New: "max(m.heard, m.led).Add(patience)",
		},
	}
}
