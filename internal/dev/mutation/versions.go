package mutation

// versions are bugs in how members of two releases understand each other.
func versions() []Mutation {
	return []Mutation{
		{
			Name: "later-field-refused", Breaks: "a field that a later version has added to a message ends the stream",
			File: "protocol/codec_read.go", Tests: []string{"./protocol"},
			Old: "if have < n {",
			New: "if have != n {",
		},
		{
			Name: "unknown-kind-refused", Breaks: "a kind of messages that only a later version knows ends the stream",
			File: "protocol/codec_message.go", Tests: []string{"./protocol"},
			Old: "decode = func(r *reader) Message { return r.unknown(kind) }",
			New: "decode = func(r *reader) Message { r.short(); return nil }",
		},
		{
			Name: "unknown-question-unanswered", Breaks: "whoever asks what an older member does not know waits for ever",
			File: "internal/replica/unknown.go", Tests: []string{"./internal/replica"},
			Old: "if m.Of.Asks() {",
			New: "if m.Of.Asks() && m.Request == 0 {",
		},
		{
			Name: "lowest-version-spoken", Breaks: "two sides speak another version than the highest that both know",
			File: "protocol/version.go", Tests: []string{"./internal/wire"},
			Old: "version := min(v.Highest, theirs.Highest)",
			New: "version := max(v.Lowest, theirs.Lowest)",
		},
		{
			Name: "no-common-version-let-in", Breaks: "a member that nobody understands counts as a peer",
			File: "gossip/swim/delegate.go", Tests: []string{"./gossip/swim"},
			Old: "\t\terr = d.understands(&peer)\n",
			New: "\t\t_ = d.understands(&peer)\n",
		},
		{
			Name: "later-code-settles", Breaks: "a code that only a later version knows counts as the write's own answer",
			File: "protocol/meaning.go", Tests: []string{"./internal/client"},
			Old: "return Meaning{OutcomeUnknown, never, Failure}",
			New: "return Meaning{Settled, never, Failure}",
		},
	}
}
