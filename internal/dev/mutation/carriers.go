package mutation

// carriers are bugs in finding out whether datagrams come back, and in doing without them.
func carriers() []Mutation {
	gossip := []string{"./gossip"}
	return []Mutation{
		{
			Name: "datagrams-for-ever", Breaks: "where datagrams do not come back they are sent all the same, and passives stand still",
			File: "gossip/carriers.go", Tests: gossip,
			Old: "return c.doubted || c.told != protocol.DatagramsWork }",
			New: "return false && c.doubted }",
		},
		{
			Name: "datagrams-one-sided", Breaks: "who asks nobody, as a leader, is not told that its datagrams do not arrive",
			File: "gossip/carriers.go", Tests: gossip,
			Old: "return c.doubted || c.told != protocol.DatagramsWork }",
			New: "return c.doubted }",
		},
		{
			Name: "streams-for-ever", Breaks: "datagrams that come back are not sent again",
			File: "gossip/carriers.go", Tests: gossip,
			Old: "if c.back++; c.back >= echoesBack || !c.lost {",
			New: "if c.back++; c.back > 1000 {",
		},
		{
			Name: "dead-is-a-firewall", Breaks: "UDP is blamed for a member that is gone",
			File: "gossip/carriers.go", Tests: gossip,
			Old: "	case p.byStream:\n",
			New: "	case !p.byDatagram:\n",
		},
		{
			Name: "silent-for-ever", Breaks: "the word that datagrams are lost counts for ever, whoever gave it and is gone",
			File: "gossip/carriers.go", Tests: gossip,
			Old: "c.toldUntil = now.Add(echoToldFor)",
			New: "c.toldUntil = now.Add(1000 * echoToldFor)",
		},
		{
			Name: "word-is-all", Breaks: "who has said that datagrams are lost, and has forgotten it, gives a follower no age for a minute and a half",
			File: "gossip/carriers.go", Tests: gossip,
			Old: "	if c.doubted {\n		return\n	}\n	if c.unanswered == 0 {",
			New: "	if c.streams() {\n		return\n	}\n	if c.unanswered == 0 {",
		},
		{
			Name: "losses-held-back", Breaks: "who was told that datagrams come back is not told for ten minutes that they are lost again",
			File: "gossip/carriers.go", Tests: gossip,
			Old: "s.quiet = min(s.quiet, tellEvery)",
			New: "_ = tellEvery",
		},
		{
			Name: "news-wait-for-datagrams", Breaks: "newcomers are heard of by whoever they have asked, and where datagrams are lost by nobody else for half a minute",
			File: "gossip/reunion/reunion.go", Tests: []string{"./gossip/swim"},
			Old: "n > 0 && f.rand.IntN(max(n, len(f.live))) < n {",
			New: "n > 1000 {",
		},
		{
			Name: "probes-by-stream-refused", Breaks: "who is probed over a stream takes the port in the probe for a number of nodes, and does not answer",
			File: "gossip/swim/streams.go", Tests: []string{"./gossip/swim"},
			Old: "if c.heads == 0 && !c.ping {",
			New: "if c.heads == 0 {",
		},
	}
}

// smallAnswers are bugs in doing without streams.
func smallAnswers() []Mutation {
	gossip := []string{"./gossip"}
	return []Mutation{
		{
			Name: "streams-for-answers", Breaks: "where streams do not get through answers go by stream all the same, and passives stand still from the first gap on",
			File: "gossip/small.go", Tests: gossip,
			Old: "x.small, x.bytes = true, s.bytes",
			New: "x.bytes = s.bytes",
		},
		{
			Name: "parts-from-the-start", Breaks: "a large entry begins anew with each part that is lost, and never arrives",
			File: "gossip/small.go", Tests: gossip,
			Old: "return x.missing()",
			New: "return 0 * x.missing()",
		},
		{
			Name: "small-for-ever", Breaks: "streams that get through again carry no answers",
			File: "gossip/small.go", Tests: gossip,
			Old: "x.try, s.tryAt = true, now.Add(streamTry)",
			New: "x.small, s.tryAt = true, now.Add(streamTry)",
		},
		{
			Name: "rest-for-ever", Breaks: "one member that gives the same part of a frame each time keeps all others from being asked",
			File: "gossip/small.go", Tests: gossip,
			Old: "case x.drags():",
			New: "case false && x.drags():",
		},
		{
			Name: "signed-as-a-whole", Breaks: "a signed run goes in hundreds of datagrams at once, whatever was asked for",
			File: "gossip/serve.go", Tests: gossip,
			Old: "entries[:n:n], how.bytes, how.from)",
			New: "entries[:n:n], left, how.from)",
		},
	}
}
