package mutation

// watches are bugs in what a watch tells.
func watches() []Mutation {
	return []Mutation{
		{
			Name: "seen-by-asking", Breaks: "a watch of an index to come raises what its client has seen: its session reads hang, and its next watch has a gap",
			File: "internal/client/watch.go", Tests: []string{"."},
			Old: "if len(changes.Changes) > 0 || changes.Index != s.watch.From {",
			New: "if len(changes.Changes) > 0 || changes.Index >= s.watch.From {",
		},
		{
			Name: "part-told-alone", Breaks: "a part of what one entry changed is told as if it were all",
			File: "internal/wire/watch.go", Tests: []string{"./internal/wire"},
			Old: "if s.parts.Index == 0 && !c.More {",
			New: "if s.parts.Index == 0 {",
		},
		{
			Name: "entry-beyond-a-frame", Breaks: "an entry that changed more than a frame holds ends every watch, wherever it begins again",
			File: "internal/runtime/transport.go", Tests: []string{"."},
			Old: "m.watchWithin(w, protocol.WatchPartBytesMax)",
			New: "m.watchWithin(w, 0)",
		},
		{
			Name: "part-begins-anew", Breaks: "the parts of an entry all begin with its first change",
			File: "internal/machine/watch.go", Tests: []string{"./internal/machine"},
			Old: "w.part += part\n",
			New: "_ = part\n",
		},
	}
}
