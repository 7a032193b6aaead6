package protocol

// LabelOf names a member for people: by its name among those that are known, with the
// first digits of its id if another one has the same name, and by these alone if nobody
// knows its name.
func LabelOf(id MemberID, known func(yield func(MemberID, string) bool)) string {
	name, twice := "", false
	for other, its := range known {
		if other == id && name == "" {
			name = its
		}
	}
	for other, its := range known {
		twice = twice || other != id && its == name
	}
	switch {
	case name == "":
		return id.Short()
	case twice:
		return name + " (" + id.Short() + ")"
	}
	return name
}
