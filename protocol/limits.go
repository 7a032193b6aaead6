package protocol

import "time"

// Limits. Those that applying an entry can see (keys, values, names, scan,
// window) are part of the protocol's version: they are the same on every
// member and never come from a configuration, or replicas would fork.
const (
	// VersionLowest is the lowest version of the wire protocol that this code speaks;
	// Version is the highest.
	VersionLowest = 1

	// laterFieldsMax limits the fields that a later version has added to a structure.
	laterFieldsMax = 64

	// KeyBytesMax and ValueBytesMax limit one key (never empty) and value as
	// the state holds them. Beyond them: ErrTooLarge, and the command has no
	// effect. A key of a map has 4 KiB, and before it the byte that says what
	// it is.
	KeyBytesMax   = 4<<10 + 1
	ValueBytesMax = 512 << 10
	// KeyOverhead is what each key counts towards the limit of the state, beside its
	// bytes and those of its value: about what a member needs for it in memory. All members
	// must count alike, so it is the same in each release of a format level.
	KeyOverhead = 128
	// StateBytesMin and StateBytesMax are between what the limit of the state can be; 0 is none.
	StateBytesMin = 1 << 10
	StateBytesMax = 1 << 50
	// NameBytesMax limits the name of a resource, a type, an operation, a
	// member, a zone and an address. What else the first three may be: see
	// CheckName.
	NameBytesMax = 255
	// CommandBytesMax limits the encoded argument of one command.
	CommandBytesMax = 1 << 20
	// CommandWritesMax and CommandWrittenBytesMax limit how many keys one command
	// sets and deletes, each time counted, and their bytes with those of the values.
	// Beyond them: ErrTooLarge, and the command has no effect. What one command
	// changes fits into one frame, so that every watcher can be told of it.
	CommandWritesMax       = 16_384
	CommandWrittenBytesMax = 2 << 20
	// EntryBytesMax limits one encoded entry: a command and its envelope.
	EntryBytesMax = CommandBytesMax + 4<<10
	// ResultBytesMax limits the encoded answer of a command or a query.
	ResultBytesMax = 2 << 20
	// TextBytesMax limits the text of an error.
	TextBytesMax = 4 << 10

	// FrameBytesMax limits one frame on a stream, header excluded. A longer
	// one is refused before anything is allocated and closes the connection.
	FrameBytesMax = 4 << 20
	// WatchPartBytesMax is about how much of one entry's changes a watcher is told at
	// once over the wire, keys and values; at least one change. WatchEntryBytesMax limits
	// all changes of one entry that are put together there: who watches more than that
	// reads the state.
	WatchPartBytesMax  = 1 << 20
	WatchEntryBytesMax = 256 << 20
	// WatchWindowBytes is how far what a member has told a watch of another process may be
	// ahead of what was taken there. One that does not ask holds no more than that, and one part.
	WatchWindowBytes = 256 << 10
	// AppendBytesMax and AppendEntriesMax limit what one append or one bulk
	// frame carries (an entry that alone is larger travels alone).
	AppendBytesMax   = 1 << 20
	AppendEntriesMax = 4096
	// DatagramBytesMax limits one gossip datagram. Longer ones are lost
	// silently on some networks, so none is sent.
	DatagramBytesMax = 1290

	// ActivesMax limits the members that a configuration names.
	ActivesMax = 64
	// LeaseMax limits the lease of a configuration: for so long nobody may be
	// elected after a leader died.
	LeaseMax = time.Minute
	// AutopilotFailedMin is the shortest time after which a policy may take a
	// voter for failed: below it every pause would cost a seat.
	// AutopilotTimeMax limits all its times, AutopilotPassivesMax the passives
	// that it wants.
	AutopilotFailedMin   = time.Second
	AutopilotTimeMax     = 7 * 24 * time.Hour
	AutopilotPassivesMax = 100_000
	// HolesMax and RangesMax limit the holes of a HAVE and the ranges of a
	// WANT.
	HolesMax  = 8
	RangesMax = 8
	// CheckpointsMax limits the checkpoints that a HAVE names: the two that a
	// member keeps, and two that it still has because somebody fetches them.
	CheckpointsMax = 4
	// ManifestBytesMax and ChunkBytesMax limit an encoded manifest of a checkpoint and
	// one chunk of its content; ChunkNumbersMax limits how many chunks one message asks
	// for.
	ManifestBytesMax = 3 << 20
	ChunkBytesMax    = 1 << 20
	ChunkNumbersMax  = 64
	// FoundingMax limits the list of a member that has no cluster yet.
	FoundingMax = 64
	// TypesMax limits the resource types, by version, that a member can know.
	TypesMax = 4096
	// DepthMax limits the nesting of values that come from outside.
	DepthMax = 64

	// SessionWindow is how many commands a session may have in flight above
	// its floor. Beyond it: ErrWindow.
	SessionWindow = 1024
	// SessionTimeoutDefault, Min and Max bound a session's timeout, in
	// cluster time.
	SessionTimeoutDefault = 30 * time.Second
	SessionTimeoutMin     = time.Second
	SessionTimeoutMax     = time.Hour
	// SequenceMax limits a session's sequence numbers and floor, so that sums
	// with the window do not overflow.
	SequenceMax = 1 << 62
	// SessionUnusedMax bounds, in cluster time, how long a session lasts that has
	// carried no command yet, whatever its timeout: who opens sessions and dies
	// holds their places no longer.
	SessionUnusedMax = 30 * time.Second
	// SessionsMax limits the sessions of a cluster. Beyond it the oldest that has
	// carried no command ends for a new one; where all have, opening one is refused
	// with ErrTooLarge until others have ended.
	SessionsMax = 100_000
	// SessionsPerConnectionMax limits the sessions that one connection has opened
	// and that have not ended. Beyond it: ErrTooLarge. All connections that a member
	// takes together cannot fill the cluster.
	SessionsPerConnectionMax = 64
	// WatchesPerCallerMax limits the watches that one client, or one member's own
	// program, has at once. Beyond it: ErrTooLarge. They take nothing from its other
	// requests.
	WatchesPerCallerMax = 4096
	// CallersWaitingMax and CallersWaitingBytesMax limit the commands of one client, or
	// of a member's own program, that wait until its session has room for them, and the
	// bytes of their arguments. Beyond them: ErrOverloaded, at once; one waits in any
	// case.
	CallersWaitingMax      = 1 << 18
	CallersWaitingBytesMax = 64 << 20
	// SessionAnswersBytesMax limits the answers that one session keeps, those of 23 bytes
	// and less apart, which it has room for. Beyond
	// it the oldest are dropped; asked for again they are ErrAnswerLost.
	SessionAnswersBytesMax = ValueBytesMax
	// OneShotKept is how long the state knows, in cluster time, that a one-shot was
	// executed, and its answer. Whoever asks again after that hears ErrSessionExpired.
	OneShotKept = 30 * time.Second
	// OneShotsMax and OneShotsBytesMax limit the one-shots that the state knows at a time,
	// and the bytes of their answers. Beyond them: ErrOverloaded, until the oldest are
	// forgotten. An answer that does not fit a value is not kept: ErrAnswerLost.
	OneShotsMax      = 32_768
	OneShotsBytesMax = 32 << 20
	// OneShotExpiriesMax limits the one-shots that one entry forgets; the next entry
	// goes on.
	OneShotExpiriesMax = 1000
	// SessionKeepAlivesMax limits the sessions that one entry keeps alive.
	SessionKeepAlivesMax = 1000
	// SessionExpiriesMax limits the sessions that one entry ends because of
	// their deadline; the next entry goes on.
	SessionExpiriesMax = 1000
)
