package protocol

import (
	"io"
	"time"
)

// SessionID names a session: the index of the entry that opened it.
type SessionID uint64

// Command is one operation that changes a resource. It is the data of an
// EntryCommand, and what a client sends.
//
// Session 0 with an operation of type SessionType is how sessions are opened;
// any other command needs a session and a sequence number, or is a one-shot.
type Command struct {
	Session  SessionID
	Sequence uint64 // from 1, per session
	// Floor says that the client has all answers below it.
	Floor     uint64
	Resource  string
	Type      string
	Version   uint32 // of the type
	Operation string
	// Argument is encoded by the type's own codec.
	Argument []byte
	// OneShot is zero for a command of a session.
	OneShot OneShot
}

// OneShot makes a command one that belongs to no session: it is one entry, where a
// session would be two more, and takes effect at most once all the same. The state
// keeps what it was answered, by its number, for OneShotKept.
//
// [S] Seen is an index that its client knew to be applied somewhere before it drew the
// number, so that every copy of the command stands above it in the log. A copy that comes
// when what was executed above Seen may be forgotten is refused.
type OneShot struct {
	Number OneShotNumber
	Seen   Index
}

// OneShotNumber names a one-shot: 128 random bits, drawn by its client; zero names none.
type OneShotNumber [16]byte

// NewOneShotNumber draws a number from r.
func NewOneShotNumber(r io.Reader) (OneShotNumber, error) {
	var n OneShotNumber
	_, err := io.ReadFull(r, n[:])
	return n, err
}

// IsZero reports whether there is no number: the command belongs to a session.
func (o *OneShot) IsZero() bool { return o.Number == OneShotNumber{} }

// SessionType is the type of the operations on sessions themselves. Its
// operations are open (argument: timeout in nanoseconds, msgpack int; answer:
// the session id), keepalive, keepalives (of many sessions, gathered by a
// leader; see sessionop.KeepAliveMany) and close.
const (
	SessionType          = "session"
	SessionOpen          = "open"
	SessionKeepAlive     = "keepalive"
	SessionKeepAliveMany = "keepalives"
	SessionClose         = "close"
)

// CatalogueType is the type of the operations on the catalogue of all resources:
// delete (of a whole resource, in a session like any command of a type) and
// list. It is a type like those of resources, so that it is known which voters
// know it, in CatalogueVersion.
const (
	CatalogueType    = "catalogue"
	CatalogueVersion = 1
)

// Consistency is what a read promises.
type Consistency uint8

const (
	// Linearizable never returns a value older than one acknowledged before
	// the read began. The default.
	Linearizable Consistency = iota
	// Local reads what this member has, and says how old it can be.
	Local
	// Session reads what this member has, once that is no older than what the
	// session has seen: it reads its own writes, and never backwards, wherever
	// it goes.
	Session
	// MaxStale sees every write acknowledged longer than an age ago. A member
	// that cannot prove it of its own state waits a little, then asks the
	// leader, and fails with ErrTooStale rather than answer.
	MaxStale
)

// String returns the level's name.
func (l Consistency) String() string {
	return EnumText(l, "level", "linearizable", "local", "session", "stale")
}

// Query is one operation that reads a resource.
type Query struct {
	Resource    string
	Type        string
	Operation   string
	Argument    []byte
	Consistency Consistency

	// Seen, of Session and MaxStale, is an index that the state read must have
	// reached: the highest one that the session has seen.
	Seen Index
	// MaxAge, of MaxStale, is in nanoseconds and not negative. At 0 only the
	// leader can prove it.
	MaxAge int64
	// NoForwarding, of MaxStale, says that the leader is not to be asked: what the
	// member at hand has, or ErrTooStale.
	NoForwarding bool
}

// Result is the answer to a command or a query.
type Result struct {
	Code Code
	Text string
	// Data is encoded by the type's own codec. It may come with an error.
	Data []byte
	// Index is where the command was applied, or the read was made.
	Index Index
	// AgeKnown says that Age is an upper bound, in nanoseconds, on the age of
	// the state that was read.
	AgeKnown bool
	Age      int64
}

// Err returns the result's error, or nil.
func (r *Result) Err() error { return ErrorOf(r.Code, r.Text) }

// Failed returns the result of an error.
func Failed(err error) Result {
	code, text := CodeOf(err)
	return Result{Code: code, Text: text}
}

// RequestKind tells what clients ask on a stream apart.
type RequestKind uint8

const (
	RequestCommand          RequestKind = 1
	RequestQuery            RequestKind = 2
	RequestWatch            RequestKind = 3 // answered by many responses
	RequestCancel           RequestKind = 4 // nobody waits for the request with the same id; not answered
	RequestStatus           RequestKind = 5
	RequestJoin             RequestKind = 6 // who are you: cluster id, configuration; or, without one, how the start stands
	RequestMembershipChange RequestKind = 7 // change the configuration, or hand the leadership over
	// RequestAutopilot asks the leader what its policy goes by and said last.
	RequestAutopilot RequestKind = 8
	// RequestDigest asks a member for the digest of its state at an index.
	RequestDigest RequestKind = 9
	// RequestLeader asks who leads: it is answered when the member knows a leader
	// of a term above Term.
	RequestLeader RequestKind = 10
	// RequestCredit says how much of the answers to the watch with the same id was taken. It
	// is not answered.
	RequestCredit RequestKind = 11
	// RequestAge asks how old a member's state is: the Result has an index that it has applied
	// and, if it is known, what bounds the age of that now. It is answered at once.
	RequestAge RequestKind = 12
)

// Request is one frame from a client to a member. Exactly the field of its
// kind is set.
type Request struct {
	ID               uint64 // echoed; unique per connection among those in flight
	Kind             RequestKind
	Command          *Command
	Query            *Query
	Watch            *Watch
	MembershipChange *MembershipChange
	// At is the index of a RequestDigest: it is waited for, a little. 0: the
	// one that the member has applied.
	At Index
	// Term is that of a RequestLeader: the newest whose leader the client knows.
	Term Term
	// Taken is that of a RequestCredit: the Size of all Changes so far, in bytes. A member tells
	// no more while what it has told is protocol.WatchWindowBytes ahead of that.
	Taken uint64
	// Founding is what a member without a cluster says of itself in a RequestJoin;
	// nil for who has one, and for clients.
	Founding *Founding
	// Wait is how long the client waits for the answer; 0: it does not say. What
	// waits for something answers a little before, with what it waits for.
	Wait time.Duration

	encoded []byte // that Command was read from
}

// EncodedCommand returns the encoding of Command, the data of an EntryCommand: the bytes
// that it came in if the request was decoded, for a value has one encoding only. They are
// not copied. Whoever has decoded a request leaves its Command as it is.
func (q *Request) EncodedCommand() []byte {
	if q.encoded != nil {
		return q.encoded
	}
	return EncodeCommand(q.Command)
}

// WaitMargin is how much earlier than after wait what waits is answered, so that
// its reason is there before the client gives up.
func WaitMargin(wait time.Duration) time.Duration { return min(wait/8, 100*time.Millisecond) }

// MembershipChange moves seats, all of them in one step, or hands the leadership
// over. Only the leader takes it. It has no session: Version makes sure that it
// takes effect at most once.
type MembershipChange struct {
	// Version is the configuration that the change is meant for, the index of
	// the entry that brought it. If another one is in force nothing happens.
	Version Index
	// Promote raises each member by one seat: a passive becomes a learner, a
	// learner that has caught up a voter. Demote makes voters learners. Remove
	// takes the seat away.
	Promote, Demote, Remove []MemberID
	// Absent are members that must not be heard: if the leader hears one of them,
	// nothing happens.
	Absent []MemberID
	// Target is how many voters the policy aims at from now on; 0 leaves it.
	Target int
	// Autopilot is what the policy goes by from now on; nil leaves it.
	Autopilot *Autopilot
	// StateBytes is the limit of the state from now on, 0 for none; nil leaves it.
	StateBytes *int64
	// Transfer hands the leadership to Transferee, or, if that is zero, to the voter
	// that holds most. Nothing else may be set with it, and Version is not
	// looked at.
	Transfer   bool
	Transferee MemberID
	// Impose makes the state of that member, which has to lead, everybody's where no majority of the
	// actives has one. Nothing else may be set with it, and Version is not looked at.
	Impose MemberID
}

// Response is one frame from a member to a client.
type Response struct {
	ID   uint64
	Kind RequestKind // of the request
	// Result answers commands and queries; for the other kinds its code and
	// text say why there is nothing else.
	Result  Result
	Changes *Changes
	Status  *Status
	Join    *JoinInfo
	// Autopilot answers RequestAutopilot.
	Autopilot *AutopilotReport
	// Digest answers RequestDigest.
	Digest *DigestReport
	// Leader, if not empty, is the address at which the leader of Term takes
	// requests.
	Leader string
	Term   Term
}

// JoinInfo is what a newcomer learns before it joins.
type JoinInfo struct {
	Cluster       ClusterID
	Member        MemberID
	Name          string
	Configuration ConfigurationAt
	// Names are the labels in use, by live members and in the configuration.
	Names []NameInUse
	// Founding is what a member without a cluster answers; Cluster is zero then.
	Founding *Founding
}

// Founding is what a member that has no cluster yet says of itself, to those that
// it asks and to those that ask it (see internal/founding).
type Founding struct {
	// ID is of this attempt to start: a member knows itself by it when it asks
	// an address that turns out to be its own.
	ID MemberID
	// Name and Address are where the member is, as the list names it and as what
	// that means. Names and Addresses are its list, itself included: all that it
	// was told to ask, in order.
	Name, Address    string
	Names, Addresses []string
	// Told says that the member was told to begin a cluster, and Expect with how
	// many; 0: that was not said. Begins says that it still may: it has promised
	// nothing, and knows its list, since all on it have answered.
	Told   bool
	Expect int
	Begins bool
	// Promise, in a question, asks for the promise not to begin; in an answer it
	// is given, and lies on the disk. Why, in an answer, says why it is not.
	Promise bool
	Why     string
	// Level is the highest format level that the member knows.
	Level FormatLevel
}

// ListedFor is how long a member without a seat is listed that is not heard any more.
const ListedFor = 24 * time.Hour

// NameInUse is a label and who has it.
type NameInUse struct {
	Name    string
	Member  MemberID
	Address string // where the member was heard last, or has its seat
	Named   bool   // the configuration names it
}

// MemberStatus is one line of a member list.
type MemberStatus struct {
	ID       MemberID
	Name     string
	Address  string
	Role     string // active, passive; of a dead member the last known
	Suffrage string // voter, learner, or empty
	Alive    bool
	Leader   bool
	// Applied is what the member said of itself Said nanoseconds ago; Known is
	// false if it has not been heard. AgeNanos bounds the age of its state now, if
	// AgeKnown: it is not as long as the member is behind what it knows of.
	Known    bool
	Said     int64
	Applied  Index
	AgeKnown bool
	AgeNanos int64
	// Silence is for how long a member that is not alive has not been heard, in
	// nanoseconds, if SilenceKnown.
	SilenceKnown bool
	Silence      int64
	// Moved says that the member announces another address than the configuration
	// has, which is Configured; empty if it has none.
	Moved      bool
	Configured string
	// Other is a second address at which a run of this member answers: one of the
	// two directories is a copy. Empty if there is none.
	Other string
}

// Status is one member's view of itself and of the cluster.
type Status struct {
	Cluster  ClusterID
	ID       MemberID
	Name     string
	Address  string
	HTTP     string
	Role     string
	RaftRole string // leader, follower, candidate, learner, or none
	Term     Term
	LeaderID MemberID
	Leader   string // the leader's name
	Commit   Index
	Applied  Index
	First    Index // lowest index held
	Digest   string
	AgeKnown bool
	AgeNanos int64
	Version  string
	Uptime   int64 // nanoseconds
	Serving  bool
	Reason   string // why not serving, or what is in doubt
	Sessions int
	Keys     int
	// StateBytes is what all resources hold, as the limit of the state counts it, and
	// StateLimit that limit; 0: there is none.
	StateBytes, StateLimit int64
	// Checkpoint is the index of the newest one kept, 0 without one. Installing
	// is that of one which is coming from other members, 0 if none is; of its
	// Chunks, ChunksLeft are still to come.
	Checkpoint         Index
	Installing         Index
	Chunks, ChunksLeft int
	// Refused counts messages that were refused, since the start, because of who
	// sent them, of a term or an index that no log comes to, or because no active
	// had signed them.
	Refused uint64
	// LogLost counts the lines of the sender's log that were lost, since the start,
	// because whoever writes it was slow, or failed.
	LogLost uint64
	Members []MemberStatus
	// Ahead are the members that hold committed entries which the cluster of the
	// sender, its leader, does not have.
	Ahead []AheadStatus
	// Unknown counts, by kind, the messages that the sender or others did not know,
	// since its start, in the order of the kinds.
	Unknown []KindCount
	// Counts are what the sender has counted since its start, by names of its own.
	Counts []Count
	// Level is the format level in force, LevelKnown the highest that the sender knows,
	// and LevelReason, of a leader, why it does not raise it; empty: it has nothing to.
	Level, LevelKnown FormatLevel
	LevelReason       string
}

// Count is a number with a name: whoever has neither passes it on all the same.
type Count struct {
	Name  string
	Value uint64
}

// AheadStatus is a member that holds committed entries up to Holds, above where the
// leader's log ended when that was seen, Ends. Diverged is where their logs differ,
// if the member knows.
type AheadStatus struct {
	ID                    MemberID
	Name                  string
	Holds, Ends, Diverged Index
	Text                  string // what it means, and what to do
}

// Hello is the first frame on every connection, in both directions.
type Hello struct {
	// Versions are those that the sender speaks. They come first, and all versions of
	// the protocol read a Hello alike, so that two that have none in common can say so.
	Versions Versions
	// Cluster is zero for a client or a newcomer that does not know it yet.
	Cluster ClusterID
	// Member is zero for a client.
	Member MemberID
	Name   string
	// Starts and Sequence are the number of times that the directory was
	// opened and the durable WAL sequence number that it was opened with; Run is
	// the random number of this start. A peer that has seen a larger pair, or
	// another run of the same start, refuses; so does one to which another run has
	// streams that answer. [S] What the run has added does not count: a directory
	// that was put back fetches what it lacks, and hides what it has forgotten.
	Starts   uint64
	Run      RunID
	Sequence Sequence
	// Refused says why the receiver of the other Hello will not talk.
	Refused Code
	Text    string
	// AnswersPing: on streams of members that it has accepted; and it takes any pong on its own.
	AnswersPing bool
}

// Peer is what membership (SWIM) knows of another live member. It is a hint:
// no voter is chosen or removed because of it alone.
type Peer struct {
	// Versions are those of the protocol that the member speaks.
	Versions Versions

	ID      MemberID
	Name    string
	Address string // host:port of the member's one port, the host an IP address
	HTTP    string // host:port, or empty
	Zone    string
	// Host is what Address was resolved from, host:port, if the host is a name;
	// else empty.
	Host string
	// Role is what the member last announced. Eligible says that it has a
	// durable directory and may be active; Wishes, that it was started to be.
	Role     Role
	Eligible bool
	Wishes   bool
	// Signs says that it has a key to sign with what passives follow, when it is active.
	Signs bool
	// Level is the highest format level that it knows; 0 for the first.
	Level FormatLevel
}

// Reach is where to look for a member that is not heard at its Address any more:
// a name says more than what it meant once.
func (p *Peer) Reach() string {
	if p.Host != "" {
		return p.Host
	}
	return p.Address
}

// At reports whether an address is one that the member announces, by name or not.
func (p *Peer) At(address string) bool {
	return address != "" && (address == p.Host || address == p.Address)
}
