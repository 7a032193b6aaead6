package mutation

// identified are bugs in telling the runs of one member apart, and in whose word
// about a directory counts.
func identified() []Mutation {
	replica, wire, handshake := []string{"./internal/replica"}, []string{"./internal/wire"}, []string{"./internal/handshake"}
	return []Mutation{
		{
			Name: "newer-run-supersedes", Breaks: "a copy of a running member is taken for its restart, and both are believed",
			File: "internal/handshake/holders.go", Tests: handshake,
			Old: "if now.streams > 0 && now.run != run {",
			New: "if now.streams > 0 && now.run > run {",
		},
		{
			Name: "old-stream-leaves", Breaks: "the end of a stream that was superseded takes the id from the run that has it",
			File: "internal/handshake/holders.go", Tests: handshake,
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
			File: "internal/handshake/handshake.go", Tests: handshake,
			Old: "peer.Member != g.Meant && (err == nil || peer.Refused != protocol.OK || !peer.Member.IsZero()) {",
			New: "peer.Member != g.Meant && err == nil {",
		},
		{
			Name: "unread-is-silence", Breaks: "a run whose answer waits to be read is taken for dead, and a copy let in beside it",
			File: "internal/wire/inbound.go", Tests: wire,
			Old: "undecided = undecided || !asked || now != before || s.handing.Load()",
			New: "undecided = undecided || !asked",
		},
		{
			Name: "refused-supersedes", Breaks: "a newcomer that is refused ends the streams of a run that is only slow",
			File: "internal/handshake/handshake.go", Tests: wire,
			Old: "\t\t\tif err := welcome(); err != nil {\n\t\t\t\treturn err\n\t\t\t}\n\t\t\trival",
			New: "\t\t\trival",
		},
		{
			Name: "answering-run-superseded", Breaks: "a copy of a running member's directory is let in beside the original",
			File: "internal/handshake/handshake.go", Tests: handshake,
			Old: "\t\tcase Answers:\n\t\t\treturn Twin(peer, rival.At())\n\t\tcase Silent:",
			New: "\t\tcase Answers, Silent:",
		},
		{
			Name: "run-without-rival-welcome", Breaks: "a directory that was put back is let in if no other run of its member has a stream",
			File: "internal/handshake/handshake.go", Tests: handshake,
			Old: "\tif err := welcome(); err != nil {\n\t\th.Leave(peer)",
			New: "\tif err := error(nil); err != nil {\n\t\th.Leave(peer)",
		},
		{
			Name: "other-member-judged", Breaks: "a member takes what another one at the address says of its own directory for the word of who was meant",
			File: "internal/handshake/handshake.go", Tests: handshake,
			Old: "if !g.Meant.IsZero() && peer",
			New: "if g.Meant.IsZero() && peer",
		},
	}
}
