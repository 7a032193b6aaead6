package mutation

// driven are bugs in what carries out what a replica wants done.
func driven() []Mutation {
	tests := []string{"./internal/member"}
	return append(logWriters(tests), []Mutation{
		{
			Name: "failed-sync-outlived", Breaks: "a member whose disk has failed goes on, and does nothing more",
			File: "internal/member/driver.go", Tests: tests,
			Old: "if done.Failed != nil && d.c.Hands.Alive() {",
			New: "if done.Failed != nil && done.Tell == nil && d.c.Hands.Alive() {",
		},
		{
			Name: "two-histories-stored", Breaks: "a member that must stop, because there are two histories, first stores and sends what it still has",
			File: "internal/member/driver.go", Tests: tests,
			Old: "if fx.Stop != nil {",
			New: "if fx.Stop != nil && fx.Persist == nil {",
		},
		{
			Name: "session-before-level", Breaks: "a member that has just started answers a session with what it had long ago",
			File: "internal/member/reads.go", Tests: tests,
			Old: "(now.Fresh.CaughtUp == 0 || i < now.Fresh.CaughtUp)",
			New: "now.Fresh.CaughtUp == 0 && i == 0",
		},
		{
			Name: "age-stands-still", Breaks: "the age of a state is what it was when it was looked at last",
			File: "internal/member/reads.go", Tests: tests,
			Old: "\treturn f.Of(i, r.Longest())\n",
			New: "\treturn f.Of(i, f.At)\n",
		},
		{
			Name: "damaged-checkpoint-kept", Breaks: "a checkpoint that was found damaged is offered on and on",
			File: "internal/member/checkpoints.go", Tests: tests,
			Old: "if errors.Is(err, protocol.ErrCorrupt) {\n\t\tc.Hands.Work(",
			New: "if errors.Is(err, protocol.ErrCorrupt) && x.Index == 0 {\n\t\tc.Hands.Work(",
		},
		{
			Name: "watermarks-name-unsynced", Breaks: "after a power cut of all members an old copy of a directory is let in",
			File: "internal/member/watermarks.go", Tests: tests,
			Old: "err = fsys.SyncDir(dir)",
			New: "_ = dir",
		},
		{
			Name: "unkept-is-kept", Breaks: "what a full disk did not take of what was seen is never written",
			File: "internal/member/watermarks.go", Tests: tests,
			Old: "\t\ts.fresh = true\n",
			New: "\t\ts.fresh = s.changed\n",
		},
	}...)
}

// logWriters are bugs in what is done with a change of the log.
func logWriters(tests []string) []Mutation {
	return []Mutation{
		{
			Name: "written-is-durable", Breaks: "what was written is said to be durable before it is synced",
			File: "internal/member/logwriter.go", Tests: tests,
			Old: "\t\tw.next = LogSyncs\n\t\treturn Wrote{}\n",
			New: "\t\tw.next = LogNotes\n",
		},
		{
			Name: "note-ends-a-full-member", Breaks: "a note that the full disk has no room for ends a member that would have waited",
			File: "internal/member/logwriter.go", Tests: tests,
			Old: "\tcase errors.Is(err, protocol.ErrNoSpace):\n\t\treturn Wrote{Lacks: err, Pause: RoomPause}\n",
			New: "\tcase errors.Is(err, protocol.ErrNoSpace) && pause < 0:\n\t\treturn Wrote{Lacks: err, Pause: RoomPause}\n",
		},
		{
			Name: "full-disk-takes-half", Breaks: "a write that found no room is answered as if it had been made",
			File: "internal/member/logwriter.go", Tests: tests,
			Old: "\tif errors.Is(err, protocol.ErrNoSpace) {\n\t\tw.next = w.first()\n",
			New: "\tif errors.Is(err, protocol.ErrNoSpace) {\n\t\terr = nil\n\t}\n\tif err != nil && p.ID == 0 {\n\t\tw.next = w.first()\n",
		},
		{
			Name: "failed-sync-untold", Breaks: "what a failed sync has not made durable is acknowledged",
			File: "internal/member/logwriter.go", Tests: tests,
			Old: "return w.told(err, func(r *replica.Replica, now protocol.Instant) { r.Persisted(now, id, err) })",
			New: "return w.told(err, func(r *replica.Replica, now protocol.Instant) { r.Persisted(now, id, nil) })",
		},
	}
}
