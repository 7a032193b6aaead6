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
			Name: "names-of-another-command", Breaks: "a command is applied to the resource of the one before",
			File: "protocol/codec_command.go", Tests: []string{"./protocol"},
			Old: "if string(before[:endC]) != read.all {",
			New: "if len(before[:endC]) != len(read.all) {",
		},
		{
			Name: "argument-of-another-command", Breaks: "a codec of a type keeps something of one argument for the next",
			File: "resources/value.go", Tests: []string{"./resources"},
			Old: "own, ok := any(*p).(RawCodec[T])",
			New: "own, ok := any(p).(RawCodec[T])",
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
			Old: "return Meaning{OutcomeUnknown, never, Failure,",
			New: "return Meaning{Settled, never, Failure,",
		},
	}
}

// formats are bugs in the format level of the log.
func formats() []Mutation {
	replica := []string{"./internal/replica"}
	return []Mutation{
		{
			Name: "level-without-a-voter", Breaks: "the format level rises while a voter does not know it: it is out at once, and with the next fault the quorum",
			File: "internal/replica/format.go", Tests: replica,
			Old: "if m.ID != f.cfg.ID && !f.knows(m.ID, next) {",
			New: "if m.ID != f.cfg.ID && !f.knows(m.ID, next) && m.Suffrage != protocol.SuffrageVoter {",
		},
		{
			Name: "earlier-run-knows-the-level", Breaks: "what a run said of itself counts for the next one, which may be of an older release",
			File: "internal/replica/format.go", Tests: replica,
			Old: "if s := f.of(from); s.run == 0 || s.run == m.Run {",
			New: "if s := f.of(from); m.Run != 0 {",
		},
		{
			Name: "applies-beyond-its-level", Breaks: "a member passes over entries that it does not know, and its state is another one",
			File: "internal/replica/format.go", Tests: replica,
			Old: "return min(f.log.commit, f.log.configurations().AppliesTo(f.cfg.Level))",
			New: "return f.log.commit",
		},
		{
			Name: "campaigns-beyond-its-level", Breaks: "a member leads that writes in a format that the others do not read any more",
			File: "internal/replica/format.go", Tests: replica,
			Old: "f.standing.set(outgrown, why != \"\")",
			New: "f.standing.set(outgrown, why != \"\" && committed)",
		},
		{
			Name: "seat-beyond-its-level", Breaks: "a member gets a vote that can neither apply the log nor lead",
			File: "internal/policy/policy.go", Tests: []string{"./internal/policy", "./internal/replica"},
			Old: "case !p.Level.Covers(level):",
			New: "case !p.Level.Covers(level) && p.Level > level:",
		},
		{
			Name: "level-taken-back", Breaks: "a configuration takes the format level back, and what was written in the later format is read in the earlier one",
			File: "protocol/format.go", Tests: []string{"./protocol", "./active"},
			Old: "if c.Level.Number() == before.Level.Number() || c.raises(before) {",
			New: "if c.Level.Number() <= before.Level.Number() || c.raises(before) {",
		},
		{
			Name: "later-checkpoint-read", Breaks: "a member reads what it knows of a checkpoint of a later format level",
			File: "internal/snapshotter/start.go", Tests: []string{"./internal/snapshotter"},
			Old: "if !s.o.reads(&kept[0]) {",
			New: "if !s.o.reads(&kept[0]) && kept[0].Index == 0 {",
		},
	}
}
