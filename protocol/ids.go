package protocol

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"io"
	"time"
)

// Index is the position of an entry in the log. The first entry has index 1;
// 0 means "none".
type Index uint64

// Term counts elections. 0 means "none".
type Term uint64

// Sequence numbers the records of one member's write-ahead log. It never goes
// back, not even when entries are truncated.
type Sequence uint64

// Instant is a reading of a member's own boot-time clock, in nanoseconds since an
// origin that only this member knows. It never goes back, runs on while the process
// or the machine is suspended, has nothing to do with the wall clock, which anybody
// may set, and must not be compared between members.
type Instant int64

// Add returns the instant d later.
func (t Instant) Add(d time.Duration) Instant { return t + Instant(d) }

// Sub returns the time that passed from u to t.
func (t Instant) Sub(u Instant) time.Duration { return time.Duration(t - u) }

// ClusterTime is replicated time, in nanoseconds. It is carried by entries,
// never goes back, and has no relation to wall time.
type ClusterTime int64

// MemberID names a member. It is 128 random bits, drawn when the member's
// directory is created; the zero value means "nobody". Configurations, votes
// and messages name ids, never names.
type MemberID [16]byte

// ClusterID names a cluster: 128 random bits, drawn at bootstrap.
type ClusterID [16]byte

// RunID is a random number that a member draws at each start, so that an
// answer to a previous run is not taken for one to this run.
type RunID uint64

// NewMemberID draws an id from r.
func NewMemberID(r io.Reader) (MemberID, error) {
	var id MemberID
	_, err := io.ReadFull(r, id[:])
	return id, err
}

// NewClusterID draws an id from r.
func NewClusterID(r io.Reader) (ClusterID, error) {
	var id ClusterID
	_, err := io.ReadFull(r, id[:])
	return id, err
}

// IsZero reports whether id names nobody.
func (id MemberID) IsZero() bool { return id == MemberID{} }

// Less orders ids, so that no core depends on the order of a Go map.
func (id MemberID) Less(other MemberID) bool { return id.Compare(other) < 0 }

// Compare orders ids bytewise, for slices.SortFunc.
func (id MemberID) Compare(other MemberID) int { return bytes.Compare(id[:], other[:]) }

// String returns the id as 32 hexadecimal digits.
func (id MemberID) String() string { return hex.EncodeToString(id[:]) }

// Short returns the first eight digits, for logs and tables.
func (id MemberID) Short() string { return hex.EncodeToString(id[:4]) }

// ParseMemberID reads what String wrote.
func ParseMemberID(s string) (MemberID, error) {
	var id MemberID
	if len(s) != 2*len(id) {
		return id, fmt.Errorf("a member id has %d hexadecimal digits, %q has %d", 2*len(id), s, len(s))
	}
	_, err := hex.Decode(id[:], []byte(s))
	return id, err
}

// IsZero reports whether id names no cluster.
func (id ClusterID) IsZero() bool { return id == ClusterID{} }

// String returns the id as 32 hexadecimal digits.
func (id ClusterID) String() string { return hex.EncodeToString(id[:]) }

// ParseClusterID reads what String wrote.
func ParseClusterID(s string) (ClusterID, error) {
	id, err := ParseMemberID(s)
	return ClusterID(id), err
}
