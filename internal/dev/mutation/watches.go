package mutation

// watches are bugs in what a watch tells.
func watches() []Mutation {
	return []Mutation{
		{
			Name: "seen-by-asking", Breaks: "a watch of an index to come raises what its client has seen: its session reads hang, and its next watch has a gap",
			File: "internal/attempt/watch.go", Tests: []string{"."},
			Old: "if len(c.Changes) > 0 || c.Index != w.request.From {",
			New: "if len(c.Changes) > 0 || c.Index >= w.request.From {",
		},
		{
			Name: "part-told-alone", Breaks: "a part of what one entry changed is told as if it were all",
			File: "internal/wire/watch.go", Tests: []string{"./internal/wire"},
			Old: "if s.parts.Index == 0 && !c.More {",
			New: "if s.parts.Index == 0 {",
		},
		{
			Name: "entry-beyond-a-frame", Breaks: "an entry that changed more than a frame holds ends every watch, wherever it begins again",
			File: "internal/runtime/watch.go", Tests: []string{"."},
			Old: "m.watchWithin(w, protocol.WatchPartBytesMax)",
			New: "m.watchWithin(w, 0)",
		},
		{
			Name: "part-begins-anew", Breaks: "the parts of an entry all begin with its first change",
			File: "internal/machine/watch.go", Tests: []string{"./internal/machine"},
			Old: "w.part += i\n",
			New: "_ = i\n",
		},
		{
			Name: "bookmark-ahead-of-changes", Breaks: "a watch is said to have told everything up to an index while a change below it waits to be told",
			File: "internal/machine/watch.go", Tests: []string{"./internal/machine"},
			Old: "if w.slot < 0 || upTo <= w.told ||",
			New: "if upTo <= w.told ||",
		},
		{
			Name: "first-node-forgotten", Breaks: "a watch that has waited begins with the latest entry that concerns it, and not with the first",
			File: "internal/machine/audience.go", Tests: []string{"./internal/machine"},
			Old: "\t\tg.waiting[k] = nil\n\t}\n\tg.audience.waiting -= len(g.waiting)\n\tg.waiting = g.waiting[:0]\n",
			New: "\t\t_ = k\n\t}\n",
		},
		{
			Name: "listing-of-many-indexes", Breaks: "a listing of Follow is said to be complete while its pages are of several indexes",
			File: "follow.go", Tests: []string{"."},
			Old: "if !f.listed && e.Index > most {",
			New: "if !f.listed {",
		},
		{
			Name: "resume-in-the-middle", Breaks: "a watch that goes on from an event in the middle of an entry is not told the rest of that entry",
			File: "resources/watch.go", Tests: []string{"."},
			Old: "return e.Index - 1",
			New: "return e.Index",
		},
		{
			Name: "window-without-end", Breaks: "a member tells a loop that does not read as much as it has",
			File: "internal/wire/stream.go", Tests: []string{"./internal/wire"},
			Old: ">= protocol.WatchWindowBytes {",
			New: ">= protocol.WatchWindowBytes<<20 {",
		},
	}
}

// watchHistories are bugs that show in all that a watch was told, at members that come and go.
func watchHistories() []Mutation {
	return []Mutation{
		{
			Name: "resume-behind-what-is-gone", Breaks: "a watch that goes on lacks the last change that its member does not keep any more",
			File: "internal/machine/watch.go", Tests: []string{"./internal/machine"},
			Old: "if w.From < s.gone &&",
			New: "if w.From+1 < s.gone &&",
		},
		{
			Name: "boundary-told-twice", Breaks: "a watch that goes on from an index is told the entry of that index again",
			File: "internal/machine/watch.go", Tests: []string{"./internal/machine"},
			Old: "if n.index > w.from {",
			New: "if n.index >= w.from {",
		},
		{
			Name: "entry-torn", Breaks: "of an entry that is told in parts only the first is told, as if it were all",
			File: "internal/machine/watch.go", Tests: []string{"./internal/machine"},
			Old: "\t\t\tout.More = true\n\t\t\treturn out, nil",
			New: "\t\t\treturn out, nil",
		},
		{
			Name: "resume-over-an-installation", Breaks: "a watch that goes on at a member which has installed a checkpoint lacks what was changed in between",
			File: "internal/machine/hub.go", Tests: []string{"./internal/machine"},
			Old: "h.gone = max(h.gone, i)\n",
			New: "",
		},
		{
			Name: "entry-cut-by-another-resource", Breaks: "[S] an entry that goes on in the file of changes is told as two, where it changed two resources",
			File: "internal/machine/recall.go", Tests: []string{"./internal/machine"},
			Old: "if w.midway { // [S]",
			New: "if w.midway && w.from == 0 { // [S]",
		},
		{
			Name: "rests-and-is-read-over", Breaks: "[S] a watch passes over what the file of changes did not keep for want of room",
			File: "internal/changefile/file.go", Tests: []string{"./internal/changefile"},
			Old: "f.begin(e.Index) // [S]",
			New: "f.from = e.Index // [S]",
		},
		{
			Name: "full-disk-kept-full", Breaks: "the file of changes keeps its room where nothing is written any more for want of it",
			File: "internal/changefile/write.go", Tests: []string{"./internal/changefile"},
			Old: "f.file != nil && spare < 0",
			New: "f.file != nil && spare < -1<<62",
		},
		{
			Name: "age-of-an-entry", Breaks: "a loop that takes its time with the changes of one entry is told the age of the first for all of them",
			File: "resources/watch.go", Tests: []string{"."},
			Old: "bookmark.Age+time.Since(came)",
			New: "bookmark.Age+0*time.Since(came)",
		},
	}
}

// watchAges are bugs in how old a watch is said to be, and in where it goes on.
func watchAges() []Mutation {
	return []Mutation{
		{
			Name: "age-from-the-answer", Breaks: "an age counts from when its answer was read, however long that lay in a socket",
			File: "internal/client/watched.go", Tests: []string{"./internal/client"},
			Old: "w.source.Says(&response.Result, asked)",
			New: "w.source.Says(&response.Result, time.Now())",
		},
		{
			Name: "age-of-an-index-to-come", Breaks: "a watch is as young as its member's state, which it has not been told so far",
			File: "internal/attempt/watch.go", Tests: []string{"./internal/attempt"},
			Old: "if w.waits.AgeKnown && w.waits.Index <= c.Index {",
			New: "if w.waits.AgeKnown {",
		},
		{
			Name: "doubted-watch-goes-on", Breaks: "a watch that was told what is wrong goes on elsewhere behind changes that it was never told",
			File: "internal/runtime/watch.go", Tests: []string{"./internal/runtime"},
			Old: "if errors.Is(withheld, errDoubted) || errors.Is(withheld, protocol.ErrDisputed) {",
			New: "if errors.Is(withheld, protocol.ErrDisputed) {",
		},
		{
			Name: "withheld-and-watched", Breaks: "a member that serves nobody tells the watches that run",
			File: "internal/runtime/watch.go", Tests: []string{"./internal/runtime"},
			Old: "out.EndWith(func() error { return endOfWatch(withheld()) })",
			New: "out.EndWith(func() error { return nil })",
		},
		{
			Name: "left-and-compacted", Breaks: "a watch that its member has ended for what it told goes on elsewhere when the client leaves that member",
			File: "internal/attempt/watch.go", Tests: []string{"./internal/client"},
			Old: "why != nil && errors.Is(end, protocol.ErrClosed) {",
			New: "why != nil && end != nil {",
		},
		{
			Name: "refusal-is-old-age", Breaks: "a watch leaves a member that serves nobody as if it were only old, before it could say that what it told may be wrong",
			File: "internal/attempt/sources.go", Tests: []string{"./internal/client"},
			Old: "case errors.Is(err, protocol.ErrCompacted), errors.Is(err, protocol.ErrNotServing):",
			New: "case err != nil && s == nil:",
		},
		{
			Name: "doubt-behind-another-reason", Breaks: "a quarantine that begins while its member serves nobody for another reason lets watches go on elsewhere",
			File: "internal/runtime/servinggate.go", Tests: []string{"./internal/runtime"},
			Old: "(m.withheld == nil || cause != nil && !errors.Is(*m.withheld, errDoubted))",
			New: "m.withheld == nil",
		},
		{
			Name: "moves-to-the-older", Breaks: "a watch leaves an old member for one that is as old",
			File: "internal/attempt/sources.go", Tests: []string{"./internal/attempt", "./internal/client"},
			Old: "!found.AgeKnown || time.Duration(found.Age) >= age/2 {",
			New: "!found.AgeKnown {",
		},
	}
}

// behindWatches are bugs in what a watch is told that is behind the changes in memory.
func behindWatches() []Mutation {
	return []Mutation{
		{
			Name: "lost-while-it-opens", Breaks: "a watch from now on fails because a member is lost while it is opened",
			File: "internal/client/watch.go", Tests: []string{"./internal/client"},
			Old: "if ctx.Err() != nil || !attempt.MayGoOn(err) {",
			New: "if ctx.Err() != nil || err != nil {",
		},
		{
			Name: "gap-is-no-end", Breaks: "a watch that has read the file of changes to its end goes on behind a gap",
			File: "internal/changefile/file.go", Tests: []string{"./internal/changefile"},
			Old: "f.first += uint64(len(f.blocks)) + 1",
			New: "f.first += uint64(len(f.blocks))",
		},
		{
			Name: "sum-of-changes-unchecked", Breaks: "a watch is told what the disk has made of the changes",
			File: "internal/changefile/read.go", Tests: []string{"./internal/changefile"},
			Old: "if err = nil; xxh3.Hash(data) != b.sum {",
			New: "if err = nil; xxh3.Hash(data) == 0 {",
		},
		{
			Name: "changes-of-another-state", Breaks: "a watch goes on in the file of changes with those of the state that took the place of the one that it was told of",
			File: "internal/machine/hub.go", Tests: []string{"./internal/machine"},
			Old: "\th.gone = i\n\th.resetFile(i)\n",
			New: "\th.gone = i\n",
		},
		{
			Name: "gap-of-an-installation", Breaks: "a watch is told from the file of changes as if nothing lay between them and an installed state",
			File: "internal/machine/hub.go", Tests: []string{"./internal/machine"},
			Old: "\th.gone = max(h.gone, i)\n\th.resetFile(i)\n",
			New: "\th.gone = max(h.gone, i)\n",
		},
		{
			Name: "told-again-from-the-file", Breaks: "an entry that leaves the ring while it is told is told from its beginning",
			File: "internal/machine/recall.go", Tests: []string{"./internal/machine"},
			Old: "r.next = min(w.part, len(e.Changes))",
			New: "r.next = 0",
		},
		{
			Name: "deletes-are-out-of-date", Breaks: "a watch of the newest changes is not told that a key is gone",
			File: "internal/machine/latest.go", Tests: []string{"./internal/machine"},
			Old: "return c.Kind != protocol.ChangeDelete && v.Index() <= listed",
			New: "return v.Index() <= listed",
		},
	}
}

// previousValues are bugs in what a watch says that keys were before.
func previousValues() []Mutation {
	return []Mutation{
		{
			Name: "previous-is-now", Breaks: "a watch is told the new value of a key as the previous one",
			File: "internal/state/state.go", Tests: []string{"./internal/machine"},
			Old: "changed(u.space, u.record, before, after)",
			New: "changed(u.space, u.record, after, after)",
		},
		{
			Name: "unknown-is-none", Breaks: "[S] a previous value that is not kept is said not to have been there",
			File: "internal/machine/recall.go", Tests: []string{"./internal/machine"},
			Old: "\tcase !previous || c.before == nil:\n\tcase c.before.Gone():",
			New: "\tcase !previous:\n\tcase c.before == nil || c.before.Gone():",
		},
		{
			Name: "deleted-and-kept", Breaks: "[S] what is deleted to have room stays in memory, as previous values",
			File: "internal/machine/hub.go", Tests: []string{"./internal/machine"},
			Old: "previous > h.limitBytes/previousFraction {",
			New: "previous < 0 {",
		},
		{
			Name: "deleted-and-noted", Breaks: "[S] what is deleted to have room stays in memory, in the notes on an entry that is over",
			File: "internal/machine/hub.go", Tests: []string{"./internal/machine"},
			Old: "[]notedChange(nil) //",
			New: "h.noted[:0:0] //",
		},
		{
			Name: "previous-left-behind", Breaks: "what a key was before is lost when its change leaves memory",
			File: "internal/machine/recall.go", Tests: []string{"./internal/machine"},
			Old: "changeOf(c, true)",
			New: "changeOf(c, false)",
		},
		{
			Name: "previous-weighs-nothing", Breaks: "previous values do not count in the parts of an entry, which become too large for a frame",
			File: "internal/machine/watch.go", Tests: []string{"./internal/machine"},
			Old: "return len(c.Key) + len(c.Value) + len(c.Previous) + 16",
			New: "return len(c.Key) + len(c.Value) + 16",
		},
		{
			Name: "cells-that-begin-alike", Breaks: "a watch of a cell tells those, too, whose names begin with its name",
			File: "resources/watch.go", Tests: []string{"./resources"},
			Old: "if !r.watch.of.alone {",
			New: "if true {",
		},
	}
}

// simulatedWatches are bugs in what a client decides about watches, and in the file of changes, that the
// simulator has to find.
func simulatedWatches() []Mutation {
	return []Mutation{
		{
			Name: "word-that-does-not-age", Breaks: "a watch is as old as its member's state was when that was asked for",
			File: "internal/attempt/watch.go", Tests: []string{"./internal/attempt"},
			Old: "w.Age += int64(Elapsed(w.asked, now))",
			New: "w.Age += 0 * int64(Elapsed(w.asked, now))",
		},
		{
			Name: "now-is-before-what-was-seen", Breaks: "a watch from now on at a member that is behind tells what its client has seen",
			File: "internal/attempt/watch.go", Tests: []string{"./internal/attempt"},
			Old: "c.Index <= w.known {",
			New: "c.Index < 1 {",
		},
		{
			Name: "old-member-kept", Breaks: "a watch stays at a member that is cut off from the others, though one of those that it asks is much younger",
			File: "internal/attempt/sources.go", Tests: []string{"./internal/attempt", "./internal/client"},
			Old: "time.Duration(found.Age) >= age/2 {",
			New: "time.Duration(found.Age) >= age/200 {",
		},
		{
			Name: "what-went-counts-as-kept", Breaks: "a watch goes on in the file of changes behind an entry that the oldest block had, which is gone",
			File: "internal/changefile/file.go", Tests: []string{"./internal/changefile", "./internal/machine"},
			Old: "f.from = b.last\n",
			New: "f.from = b.last - 1\n",
		},
		{
			Name: "kept-from-before-the-gap", Breaks: "a file of changes that has begun anew says that it has what came before",
			File: "internal/changefile/file.go", Tests: []string{"./internal/changefile"},
			Old: "nil, block{}, 0, i\n",
			New: "nil, block{}, 0, min(f.from, i)\n",
		},
		{
			Name: "recalled-one-too-late", Breaks: "a watch that its member's memory has left behind lacks the change that came next",
			File: "internal/machine/recall.go", Tests: []string{"./internal/machine"},
			Old: "w.hub.file.Read(w.resource, w.from)",
			New: "w.hub.file.Read(w.resource, w.from+1)",
		},
	}
}

// turnsAtTheFile are bugs in how watches take turns at the file of changes.
func turnsAtTheFile() []Mutation {
	return []Mutation{
		{
			Name: "keeps-its-turn", Breaks: "a watch that has read the file of changes keeps its turn while it waits in memory",
			File: "internal/machine/recall.go", Tests: []string{"./internal/machine"},
			Old: "w.pass() // it may wait",
			New: "// it may wait",
		},
		{
			Name: "turn-is-the-file", Breaks: "a watch keeps its turn for the whole file where each entry is of its resource",
			File: "internal/machine/recall.go", Tests: []string{"./internal/machine"},
			Old: "\t\tif r.reader.Loads() {\n\t\t\tw.pass()\n\t\t}\n",
			New: "",
		},
		{
			Name: "turn-is-what-others-wrote", Breaks: "a watch keeps its turn for as much of the file as holds changes of other resources only",
			File: "internal/machine/recall.go", Tests: []string{"./internal/machine"},
			Old: "\t\tw.pass() // at the end of a block\n",
			New: "",
		},
		{
			Name: "asked-before-the-turn", Breaks: "a watch that waited for its turn is told of a state that was found to be wrong meanwhile",
			File: "internal/machine/recall.go", Tests: []string{"./internal/machine"},
			Old: "if err := w.mayRead(ctx, w.recalled.reads()); err != nil {",
			New: "if err := errors.Join(w.mayRead(ctx, false), w.turn(ctx)); err != nil {",
		},
	}
}
