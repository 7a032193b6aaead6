package mutation

// directories are bugs in who is taken for whom, and in what is believed of
// directories.
func directories() []Mutation {
	rules, core := []string{"./internal/replica", "./internal/handshake", "./internal/sim"}, []string{"./active"}
	return []Mutation{
		{
			Name: "copy-let-in", Breaks: "a copy of a running member's directory is taken for its restart, and both are believed",
			File: "internal/handshake/holders.go", Tests: rules,
			Old: "if now.streams > 0 && now.run != run {",
			New: "if now.streams > 0 && now.run != run && run == 0 {",
		},
		{
			Name: "superseded-counts", Breaks: "what a run says counts although another one holds its id",
			File: "internal/handshake/holders.go", Tests: rules,
			Old: "return now.streams > 0 && now.run == run",
			New: "return now.streams > 0",
		},
		{
			Name: "greeting-raises", Breaks: "a greeting in a member's name shuts that member out for good",
			File: "internal/replica/watermarks.go", Tests: rules,
			Old: "func (s *Watermarks) Check(peer protocol.Hello) error {\n",
			New: "func (s *Watermarks) Check(peer protocol.Hello) error {\n\tdefer s.Raise(peer)\n",
		},
		{
			Name: "greeting-grows", Breaks: "a directory that was put back is let in when it has fetched what it lacks",
			File: "internal/runtime/identity.go", Tests: []string{"./internal/runtime"},
			Old: "Sequence: m.log.Opened().Sequence,",
			New: "Sequence: m.log.DurableSequence(),",
		},
		{
			Name: "refusal-of-anybody", Breaks: "a passive, or a stranger, silences every voter by refusing it",
			File: "internal/replica/refusals.go", Tests: rules,
			Old: "|| line.Address == \"\" || line.Address != address {",
			New: "&& line.Address == address {",
		},
		{
			Name: "put-back-unnoticed", Breaks: "a leader feeds a member whose directory was put back, and counts it for what it has forgotten",
			File: "active/histories.go", Tests: core,
			Old: "return held > 0 && p.run != 0",
			New: "return held > 0 && p.run == 0",
		},
		{
			Name: "put-back-by-its-own-run", Breaks: "a late rejection of a member that has caught up since is taken for proof that its directory was put back",
			File: "active/histories.go", Tests: core,
			Old: "a.Run != 0 && a.Run != p.run && (",
			New: "a.Run != 0 && (",
		},
		{
			Name: "condemned-counts", Breaks: "answers of a member whose directory was put back confirm rounds and keep a leader",
			File: "active/histories.go", Tests: core,
			Old: "return p != nil && p.putBack != 0",
			New: "return p != nil && p.putBack != 0 && id.IsZero()",
		},
		{
			Name: "old-term-left-late", Breaks: "an active that gave up what it had acknowledged speaks on to the leader that has it, and passes for one that was put back",
			File: "active/catchup.go", Tests: core,
			Old: "\t\treturn m.hard.Term + 1\n",
			New: "\t\treturn m.hard.Term\n",
		},
		{
			Name: "second-history-followed", Breaks: "a member follows a leader that contradicts what is committed here, and goes on",
			File: "active/follower.go", Tests: core,
			Old: "if m.hard.Commit > m.committedElsewhere || a.Commit >= index {",
			New: "if m.hard.Commit > m.committedElsewhere && a.Commit >= index {",
		},
	}
}
