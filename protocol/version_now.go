//go:build !starling_next

package protocol

// Version is the highest version of the wire protocol that this code speaks. A version
// is for what an older reader could not pass over: a field at the end of a message, and a
// kind of messages, need none.
const Version = 1

// FormatKnown is the highest format level that this code knows.
const FormatKnown FormatLevel = 1

// nextLevel is the level that has brought a kind of entries that stands above those of
// the first; 0: there is none.
func nextLevel(EntryKind) FormatLevel { return 0 }

// next, nextFields and readNext are what the version after this one adds; see
// version_next.go.
func next(k [256]kind) [256]kind { return k }

func nextFields(dst []byte, _ int) []byte { return dst }

func (r *reader) readNext(MessageKind) {}
