// Package storage is durability: storage/wal is the segmented log,
// storage/vfs the file system that tests break, and storage/storagetest the
// suite that every implementation passes.
//
// This package holds only what the owners of a log see of it. A member has one
// log; its records carry the member's hard state together with the entries that
// came with it, so that one sync makes both durable.
package storage

import (
	"fmt"

	"github.com/starlinghq/starling/protocol"
)

const (
	// TailEntriesMax and TailBytesMax bound Opened.Tail: the entries that a
	// member keeps in memory so that those who keep up never read its disk.
	TailEntriesMax = 4096
	TailBytesMax   = 4 << 20
)

// Opened is what opening a log found. With Damage, LogTerms, Tail, LastSum,
// LastTime and Configurations end below the first damaged entry, while State is
// still the newest one.
type Opened struct {
	State          protocol.HardState
	LogTerms       protocol.LogTerms
	Configurations protocol.Configurations
	// LastSum is the log sum after the last entry, and LastTime that entry's
	// cluster time: 0 if no entry is held.
	LastSum  protocol.LogSum
	LastTime protocol.ClusterTime
	// Tail is the last entries held, with Raw and Sum set: everything from the
	// commit index on, and below it at most TailEntriesMax and TailBytesMax in
	// all.
	Tail []protocol.Entry
	// Sequence is the highest sequence number that is durable. It never goes
	// back in the life of a directory.
	Sequence protocol.Sequence
	// Damage is nil for a sound log.
	Damage *Damage
	// Notes are sentences for people: what the opening has dropped or passed over although
	// it was bad, where that is, and why it is no loss.
	Notes []string
}

// Damage is an acknowledged record that can no longer be read. It is kept, not
// dropped: until it is repaired from another member, its owner must neither
// vote nor campaign nor acknowledge, and the log refuses writes.
type Damage struct {
	// Sequence is the number of the first damaged record; Segment and Offset
	// say where it is.
	Sequence protocol.Sequence
	Segment  string
	Offset   int64
	// First..Last are the entries that cannot be trusted, of all damaged
	// records together. What lies between may hold good ones: Read decides.
	First, Last protocol.Index
	// Reaches is the log sum after Last, as the next good record says it: what
	// entries from another member must lead to.
	Reaches protocol.LogSum
	// Good is what can be read, in order of index; between two ranges, and
	// nowhere else, entries are damaged.
	Good []Range
	// Begin is where the log begins, if the first range begins there. Its
	// configuration has index 0 if it is not known.
	Begin Begin
	// HeadLost says that what stood before Begin cannot be read: the log began
	// there or lower, and nothing tells where.
	HeadLost bool
	// EndUnknown says that nothing tells where the log ended. It cannot be repaired:
	// what the member acknowledged is not known.
	EndUnknown bool
	// Records counts the damaged records.
	Records int
	// Text says what was found, for people.
	Text string
}

// Error says what is damaged. It has the code of protocol.ErrCorrupt.
func (d *Damage) Error() string {
	return fmt.Sprintf("damaged data: %s: entries %d to %d, record %d in %s at byte %d",
		d.Text, d.First, d.Last, d.Sequence, d.Segment, d.Offset)
}

// Unwrap makes errors.Is(d, protocol.ErrCorrupt) true.
func (d *Damage) Unwrap() error { return protocol.ErrCorrupt }

// Unreadable is a record that Read cannot give: the disk returns an error, or
// other bytes than were written. A later try may go well.
type Unreadable struct {
	// Entries are those of the record.
	Entries protocol.Range
	// Segment and Offset, in bytes, say where the record is.
	Segment string
	Offset  int64
	// Err is what the disk said, or protocol.ErrCorrupt.
	Err error
}

// Error says where, and why.
func (u *Unreadable) Error() string {
	return fmt.Sprintf("%s, offset %d: entries %d to %d: %v", u.Segment, u.Offset, u.Entries.First, u.Entries.Last, u.Err)
}

// Unwrap makes errors.Is find protocol.ErrCorrupt and the cause.
func (u *Unreadable) Unwrap() []error { return []error{protocol.ErrCorrupt, u.Err} }

// Log is one member's log. Write, Sync, Idle, Settle, DropHead and Reset are
// called by one goroutine at a time, the log's writer; Read, Space and
// DurableSequence by any.
//
// The first failed write or sync is final: that call and all later ones return
// protocol.ErrDiskFailed. The sync is never tried again, because the kernel
// marks the pages that it could not write as clean. The one exception is what a
// new file of the log lacks, before anything acknowledged hangs on it: room,
// descriptors, a permission, an answer of the disk. That is protocol.ErrNoSpace,
// which names the cause; the log is as it was before, takes what it has room for,
// and the call can be made again.
type Log interface {
	// Opened returns what opening found. It does not follow later writes.
	Opened() Opened

	// Write hands one durable step to the operating system: w.State, the
	// truncation and the entries are recovered together or not at all. The
	// entries are w.First..w.Last with Raw and Sum set; the log keeps neither
	// them nor w. It does not sync.
	Write(w protocol.Write, entries []protocol.Entry) error

	// WriteVote hands a term and the vote in it to the operating system, ahead of a
	// Write that returned protocol.ErrNoSpace: into room that is kept for that. The commit
	// index stays as it is, and what is noted already is not written again. When that
	// room is used up as well it returns protocol.ErrNoSpace, and nothing has changed.
	// It does not sync. The states of all writes after it say at least as much.
	WriteVote(term protocol.Term, vote protocol.MemberID) error

	// Sync makes everything that was written durable.
	Sync() error

	// Idle is called after a Sync when nothing waits to be written. It notes in
	// the log, once and without a sync, how far the log is known to be durable,
	// so that damage can be told from a torn tail.
	Idle() error

	// Settle is Idle and a sync of that note. The owner calls it 50 ms after
	// Idle, unless it has written in between.
	Settle() error

	// Read returns entries from first on: at least one, at most up to last, no
	// more than fit into bytes after the first; Raw and Sum are set. It returns
	// protocol.ErrCompacted below the log's begin, protocol.ErrNotFound above
	// its end, and *Unreadable, which has the code of protocol.ErrCorrupt, where
	// the first of them cannot be read.
	Read(first, last protocol.Index, bytes int) ([]protocol.Entry, error)

	// DropHead gives up entries below an index, which must be committed and
	// held or one above the end, and returns what the log begins after now:
	// lower than below, since only whole segments are dropped. The
	// configuration is the one in force there, with index 0 if the log does not
	// know it. It also frees what a Reset left on the disk, whatever below is.
	// What cannot be removed now is no error: it is removed when it is called again.
	DropHead(below protocol.Index) (Begin, error)

	// Reset drops all entries and begins again after b, which is committed: not
	// below the log's own begin, and not above state.Commit. The state's term
	// is not below the one before. It is durable when it returns.
	Reset(b Begin, state protocol.HardState) error

	// DurableSequence is the number of a record known to be synced, the last one
	// whose loss would be a loss. It is what a member says in protocol.Hello, and
	// never goes back unless something acknowledged is gone.
	//
	// [S] A note that Idle made does not count while it is the last record of all:
	// nothing vouches for it, so that damage to it looks like a torn end, and
	// takes nothing away. Had the member told its number, the others would refuse
	// it as restored from an old copy.
	DurableSequence() protocol.Sequence

	// Space says how much free space there is, and whether that is so little that no
	// new proposals should be taken. What the log has set aside and does not need
	// is given back first, if that makes the difference.
	Space() (Space, error)

	// Close syncs nothing and releases the directory. It is safe to call twice.
	Close() error
}

// Space is what the disk of a log has left, in bytes.
type Space struct {
	// Full turns true below the low mark and false again from the high one on.
	Full bool
	// Free is what there is; Low and High are the limits. All are 0 where nothing
	// is watched.
	Free, Low, High uint64
}

// Begin is the point after which a log begins, with what is needed there: the
// last entry below, the log sum after it, and the configuration in force.
type Begin struct {
	Index         protocol.Index
	Term          protocol.Term
	Sum           protocol.LogSum
	Configuration protocol.ConfigurationAt
}

// BeginAfter returns where a log begins that is reset to a checkpoint.
func BeginAfter(d *Manifest) Begin {
	return Begin{Index: d.Index, Term: d.Term, Sum: d.LogSum, Configuration: d.Configuration}
}
