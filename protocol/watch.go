package protocol

// Watch asks for the changes of a resource whose keys begin with Prefix, after
// index From (0: from now on).
type Watch struct {
	Resource string
	Type     string
	Prefix   []byte
	From     Index
	// Latest leaves out what is out of date already: a change of a key that was changed again since,
	// which is told where that was. Whoever keeps up is told everything. See docs/reads.md.
	Latest bool
	// Previous has each change tell what its key was before.
	Previous bool
}

// ChangeKind says what happened to a key.
type ChangeKind uint8

const (
	// ChangePut set a key.
	ChangePut ChangeKind = 1
	// ChangeDelete removed it.
	ChangeDelete ChangeKind = 2
)

// PreviousKind says what is known of a key before a change.
type PreviousKind uint8

const (
	// PreviousUnknown: nothing is, or nobody has asked.
	PreviousUnknown PreviousKind = 0
	// PreviousNone: there was no such key.
	PreviousNone PreviousKind = 1
	// PreviousValue: it had a value.
	PreviousValue PreviousKind = 2
)

// Change is one key that an entry changed.
type Change struct {
	Kind  ChangeKind
	Key   []byte
	Value []byte // nil for a delete
	// PreviousKind says what is known of the key before the entry, for who has asked: of PreviousValue
	// Previous is what it was.
	PreviousKind PreviousKind
	Previous     []byte
}

// Changes are all changes of one entry that a watcher asked for, in the order
// in which they were made. With no changes it says only that the watcher has
// seen everything up to Index.
type Changes struct {
	Index   Index
	Changes []Change
	// More says that the changes of this entry go on in the next answer: what does not
	// fit a frame comes in parts, which whoever receives them puts together. Nobody who
	// reads a watch ever sees it.
	More bool
	// Age, if AgeKnown, bounds in nanoseconds how old all that has been told is: what was
	// acknowledged longer ago than that and is watched has been told. Whoever hands out changes
	// reckons it then; it is not sent.
	AgeKnown bool
	Age      int64
}

// Size is what the changes count as, in bytes, between a client and a member.
func (c *Changes) Size() int {
	n := changesOverhead
	for i := range c.Changes {
		n += len(c.Changes[i].Key) + len(c.Changes[i].Value) + len(c.Changes[i].Previous) + changesOverhead
	}
	return n
}

// changesOverhead is about what a change takes beside its key and values.
const changesOverhead = 64
