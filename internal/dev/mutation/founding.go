package mutation

// foundings are bugs in who begins a cluster.
func foundings() []Mutation {
	in, file := []string{"./internal/founding"}, "internal/founding/founding.go"
	return []Mutation{
		{
			Name: "founding-promise-forgotten", Breaks: "who has promised not to begin a cluster begins one",
			File: file, Tests: in,
			Old: "return f.cfg.Begins && f.promise == nil &&",
			New: "return f.cfg.Begins &&",
		},
		{
			Name: "founding-promise-unwritten", Breaks: "a promise not to begin is given before it is on the disk",
			File: file, Tests: in,
			Old: "	if f.written {\n		return nil\n	}\n	return f.promise",
			New: "	return nil",
		},
		{
			Name: "founding-silence-agrees", Breaks: "a cluster begins although not all that are named have answered",
			File: file, Tests: in,
			Old: "return p.standing != promised })",
			New: "return p.standing == has })",
		},
		{
			Name: "founding-lists-not-compared", Breaks: "two begin that name the same third member and not each other",
			File: "internal/founding/list.go", Tests: in,
			Old: "return l.known() && o.known() && slices.Equal(l.addresses, o.addresses), false",
			New: "return true, false",
		},
		{
			Name: "founding-all-promise", Breaks: "of two that were told to begin each promises the other not to, and nobody begins",
			File: file, Tests: in,
			Old: "case order < 0:",
			New: "case false:",
		},
	}
}
