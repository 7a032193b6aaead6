package mutation

// levels are bugs in reads at the levels session and stale.
func levels() []Mutation {
	replica := []string{"./internal/replica"}
	return []Mutation{
		{
			Name: "session-goes-back", Breaks: "a member that is behind what a session has seen answers it",
			File: "internal/replica/levels.go", Tests: replica,
			Old: "case i < q.Seen:",
			New: "case i < q.Seen && q.Consistency != protocol.Session:",
		},
		{
			Name: "stale-without-proof", Breaks: "a state of unknown age is served as young enough",
			File: "internal/replica/levels.go", Tests: replica,
			Old: "(!known || int64(age) > q.MaxAge)",
			New: "known && int64(age) > q.MaxAge",
		},
		{
			Name: "stale-without-limit", Breaks: "a state that is older than it may be is served",
			File: "internal/replica/levels.go", Tests: replica,
			Old: "(!known || int64(age) > q.MaxAge)",
			New: "!known",
		},
		{
			Name: "age-of-a-newer-state", Breaks: "an older state is told the age of a newer one",
			File: "internal/replica/levels.go", Tests: replica,
			Old: "if !f.Known || i < f.Index {",
			New: "if !f.Known {",
		},
		{
			Name: "age-without-its-index", Breaks: "a member tells the age of what it has heard of, not of what it has applied",
			File: "gossip/freshness.go", Tests: []string{"./gossip"},
			Old: "f.pairs[i].index <= applied {",
			New: "(f.pairs[i].index <= applied || i > 0) {",
		},
	}
}

// flows are bugs in what limits the bytes on their way.
func flows() []Mutation {
	wire := []string{"./internal/wire"}
	return []Mutation{
		{
			Name: "bulk-overtakes", Breaks: "chunks of checkpoints go before entries",
			File: "internal/wire/outbox.go", Tests: wire,
			Old: "if data && o.bulkWaits < bulkTurns {",
			New: "if data && o.bulkWaits < 0 {",
		},
		{
			Name: "bulk-starves", Breaks: "chunks of checkpoints never go while there are entries",
			File: "internal/wire/outbox.go", Tests: wire,
			Old: "if data && o.bulkWaits < bulkTurns {",
			New: "if data {",
		},
		{
			Name: "bulk-unbounded", Breaks: "chunks for a member that is slow to take them fill the memory",
			File: "internal/wire/outbox.go", Tests: wire,
			Old: "if len(o.bulk) >= o.framesMax || o.bulkBytes > 0 && o.bulkBytes+size > o.bytesMax {",
			New: "if len(o.bulk) >= o.framesMax {",
		},
		{
			Name: "flight-unweighed", Breaks: "a leader has any number of bytes on their way to a follower",
			File: "active/progress.go", Tests: []string{"./active"},
			Old: "len(w.list) < cfg.InflightMax && w.bytes+cfg.AppendBytesMax <= cfg.InflightBytesMax",
			New: "len(w.list) < cfg.InflightMax && w.bytes <= cfg.InflightBytesMax<<20",
		},
		{
			Name: "flight-never-lands", Breaks: "what was acknowledged goes on to count as on its way: the leader stalls",
			File: "active/progress.go", Tests: []string{"./active"},
			Old: "w.bytes -=",
			New: "w.bytes -= 0 *",
		},
	}
}
