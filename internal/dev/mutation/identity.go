package mutation

// identified are bugs in telling the runs of one member apart, and in whose word
// about a directory counts.
func identified() []Mutation {
	replica, wire := []string{"./internal/replica"}, []string{"./internal/wire"}
	return []Mutation{
		{
			Name: "newer-run-supersedes", Breaks: "a copy of a running member is taken for its restart, and both are believed",
			File: "internal/replica/holders.go", Tests: replica,
			Old: "if now.streams > 0 && now.run != run {",
			New: "if now.streams > 0 && now.run > run {",
		},
		{
			Name: "old-stream-leaves", Breaks: "the end of a stream that was superseded takes the id from the run that has it",
			File: "internal/replica/holders.go", Tests: replica,
			Old: "case now.run != run:",
			New: "case now.streams == 0:",
		},
		{
			Name: "refused-at-any-address", Breaks: "a stranger at an address that the membership has for a voter stops other voters",
			File: "internal/replica/refusals.go", Tests: replica,
			Old: `line.Address == "" || line.Address != address {`,
			New: `line.Address == "" {`,
		},
		{
			Name: "refused-by-a-learner", Breaks: "a learner stops voters",
			File: "internal/replica/refusals.go", Tests: replica,
			Old: "!conf.IsVoter(by)",
			New: "!conf.Names(by)",
		},
		{
			Name: "refused-by-anybody-there", Breaks: "whoever has taken a member's port refuses in its name",
			File: "internal/wire/handshake.go", Tests: wire,
			Old: "if expect != nil && (err == nil || peer.Refused != protocol.OK) {",
			New: "if expect != nil && err == nil {",
		},
		{
			Name: "unread-is-silence", Breaks: "a run whose answer waits to be read is taken for dead, and a copy let in beside it",
			File: "internal/wire/inbound.go", Tests: wire,
			Old: "undecided = undecided || !asked || now != before || s.handing.Load()",
			New: "undecided = undecided || !asked",
		},
		{
			Name: "refused-supersedes", Breaks: "a newcomer that is refused ends the streams of a run that is only slow",
			File: "internal/wire/inbound.go", Tests: wire,
			Old: "if err = welcome(); err == nil { //",
			New: "if true { //",
		},
	}
}
