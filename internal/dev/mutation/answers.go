package mutation

// answered are bugs in who is answered with what was applied, and when.
func answered() []Mutation {
	in := []string{"./internal/member"}
	return []Mutation{
		{
			Name: "late-batch-answers", Breaks: "a batch that was on its way to a state that is given up answers its clients",
			File: "internal/member/gate.go", Tests: in,
			Old: "if epoch != 0 && g.epoch == epoch {",
			New: "if epoch != 0 {",
		},
		{
			Name: "gate-read-before", Breaks: "an answer of a state leaves after others have heard that the state is wrong: the gate was read before",
			File: "internal/member/gate.go", Tests: in,
			Old: "\t\tgive()\n",
			New: "\t\tg.mu.Unlock()\n\t\tgive()\n\t\tg.mu.Lock()\n",
		},
		{
			Name: "stopped-state-answers", Breaks: "a member that must stop, because there are two of it, goes on to answer",
			File: "internal/member/driver.go", Tests: in,
			Old: "\t\td.c.Answers.Shut()\n",
			New: "",
		},
		{
			Name: "answered-twice", Breaks: "a client hears the leader's answer and that of its own member's state",
			File: "internal/member/answers.go", Tests: in,
			Old: "\tdelete(a.commands, id)\n\tif w.key",
			New: "\tif w.key",
		},
		{
			Name: "copy-answers-for-another", Breaks: "a copy of a command that was not admitted answers for the next one, which runs",
			File: "internal/member/answers.go", Tests: in,
			Old: "results[i].Code.AnswersEveryCopy()",
			New: "results[i].Code.Meaning().Outcome != protocol.NotAdmitted",
		},
		{
			Name: "epoch-comes-back", Breaks: "a state that came right answers with what it applied while it was wrong",
			File: "internal/replica/standing.go", Tests: []string{"./internal/replica"},
			Old: "\t\ts.epoch++\n",
			New: "",
		},
		{
			Name: "suspended-forgets-who-waits", Breaks: "who waits for a state that is suspended is told nothing, for as long as that lasts",
			File: "internal/replica/pump.go", Tests: []string{"./internal/replica"},
			Old: "\tr.commands.suspend()\n",
			New: "",
		},
	}
}
