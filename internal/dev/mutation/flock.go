package mutation

// reunions are bugs in who of a flock is looked for.
func reunions() []Mutation {
	in := []string{"./gossip/reunion"}
	return []Mutation{
		{
			Name: "lost-members-untried", Breaks: "nobody looks for members that are not heard: a flock that was split for longer than the dead are remembered stays split",
			File: "gossip/reunion/reunion.go", Tests: in,
			Old: "\tf.memory.expire(now)\n\treturn f.tryAny(now)\n",
			New: "\tf.memory.expire(now)\n\treturn Try{}, false\n",
		},
		{
			Name: "the-dead-are-not-missed", Breaks: "who dies is forgotten with its death, and not looked for by anybody that has heard it",
			File: "gossip/reunion/reunion.go", Tests: in,
			Old: "\t\tf.memory.lose(knownOf(&peer, now), false)\n",
			New: "\t\t_, _ = peer, now\n",
		},
		{
			Name: "live-members-not-remembered", Breaks: "a directory remembers for the next start whom the member did not hear, and not those that it heard",
			File: "gossip/reunion/memory.go", Tests: in,
			Old: "\t\tlist = append(list, knownOf(&live[i], now))\n",
			New: "\t\t_ = knownOf(&live[i], now)\n",
		},
		{
			Name: "claims-forgotten", Breaks: "a member that came back elsewhere before its death was noticed, and was refused, is not asked when it is",
			File: "gossip/reunion/reunion.go", Tests: in,
			Old: "\t\tf.free = append(f.free, address)\n",
			New: "\t\t_ = address\n",
		},
	}
}
