package mutation

// tails are bugs by which some members hear of what the others have much later.
func tails() []Mutation {
	gossip := []string{"./gossip"}
	return []Mutation{
		{
			Name: "silent-parents-kept", Breaks: "two parents that die together are parents for ever: all comes late, by pulls",
			File: "gossip/tree.go", Tests: gossip,
			Old: "		case m.link.missed >= parentMisses:\n			t.giveUp(now, m)\n			continue\n",
			New: "		case m.link.missed >= parentMisses && m.id == t.links.anchor:\n			t.giveUp(now, m)\n			continue\n",
		},
		{
			Name: "late-is-in-time", Breaks: "a parent that brings everything after it was pulled stays one",
			File: "gossip/tree.go", Tests: gossip,
			Old: "		return // it was pulled, and not from the anchor\n	}\n	anchor.link.missed = 0\n",
			New: "		anchor.link.missed = 0\n		return\n	}\n	anchor.link.missed = 0\n",
		},
		{
			Name: "pulled-and-kept", Breaks: "whoever follows a member that pulls a frame has to hear of it and pull it, too",
			File: "gossip/core.go", Tests: gossip,
			Old: "(!pulled || asked && c.links.hands(f))",
			New: "!pulled",
		},
		{
			Name: "losses-not-told", Breaks: "where packets are lost, who lacks a frame hears of it by the next one",
			File: "gossip/core.go", Tests: gossip,
			Old: "			c.links.tell(now)\n",
			New: "			c.links.untold = nil\n",
		},
		{
			Name: "losses-are-withholding", Breaks: "where a fifth of all packets is lost honest members are named as ones that withhold entries",
			File: "gossip/silence.go", Tests: gossip,
			Old: "m.silences > silencesMax && chance == 0 && !m.accused",
			New: "m.silences > silencesMax && !m.accused",
		},
		{
			Name: "streams-not-waited-for", Breaks: "what is on its way on a stream is pulled meanwhile, and comes three times",
			File: "gossip/pull.go", Tests: gossip,
			Old: "		d = max(d, p.late.wait())\n",
			New: "		d = max(d, 0*p.late.wait())\n",
		},
	}
}
