package mutation

// sharedWatches are bugs in what several watches of a client read together.
func sharedWatches() []Mutation {
	in := []string{"./internal/client"}
	return []Mutation{
		{
			Name: "read-past-the-others", Breaks: "a watch passes over what another one, which has gone, has read for it",
			File: "internal/client/shared.go", Tests: in,
			Old: "if at != s.last || r.closed || s.over {",
			New: "if r.closed || s.over {",
		},
		{
			Name: "read-for-nobody", Breaks: "whoever reads for all keeps what has come for itself",
			File: "internal/client/shared.go", Tests: in,
			Old: "case err == nil && len(s.readers) == 1 && !r.closed:",
			New: "case err == nil && len(s.readers) <= 2 && !r.closed:",
		},
		{
			Name: "known-before-it-began", Breaks: "a watch that joins others is told what its client knew when it began",
			File: "internal/client/shared.go", Tests: in,
			Old: "changes.Index <= r.known {",
			New: "changes.Index <= r.known/1000 {",
		},
		{
			Name: "younger-than-it-came", Breaks: "what has waited for a loop is as young as when it came",
			File: "internal/client/shared.go", Tests: in,
			Old: "changes.Age += int64(attempt.Elapsed(p.came, time.Now()))",
			New: "changes.Age += int64(attempt.Elapsed(p.came, p.came))",
		},
		{
			Name: "held-for-who-stands-still", Breaks: "all that others are told is held for a loop that stands still",
			File: "internal/client/shared.go", Tests: in,
			Old: "s.behind(r.at) > sharedBehindMax {",
			New: "s.behind(r.at) > 1<<62 {",
		},
		{
			Name: "large-piece-parts-all", Breaks: "one large piece has all the loops that share a stream part, for ever",
			File: "internal/client/shared.go", Tests: in,
			Old: "s.behind(r.at) > sharedBehindMax {",
			New: "p.bytes-r.at.bytes > sharedBehindMax {",
		},
		{
			Name: "rejoins-and-is-told-twice", Breaks: "a loop that shares a stream again is told what its own has told",
			File: "internal/client/shared.go", Tests: in,
			Old: "r.known, r.own, r.at = r.from, nil, s.last",
			New: "r.own, r.at = nil, s.last",
		},
		{
			Name: "rejoins-the-dead", Breaks: "a loop shares a stream again that has ended with its last reader, and ends",
			File: "internal/client/shared.go", Tests: in,
			Old: "if r.closed || s.index > r.from || !s.lives() {",
			New: "if r.closed || s.index > r.from {",
		},
		{
			Name: "rejoins-with-a-gap", Breaks: "a loop shares a stream again before it was told what has come there",
			File: "internal/client/shared.go", Tests: in,
			Old: "if r.closed || s.index > r.from || !s.lives() {",
			New: "if r.closed || s.index > r.from+8 || !s.lives() {",
		},
		{
			Name: "own-stream-with-a-gap", Breaks: "a loop that gets a stream of its own lacks an entry",
			File: "internal/client/shared.go", Tests: in,
			Old: "w.From = max(1, r.from)",
			New: "w.From = max(1, r.from) + 1",
		},
	}
}
