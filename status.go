package starling

import (
	"fmt"
	"slices"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// Status is what one member says of itself and of the cluster. As JSON it is
// what `starling status -o json` and /v1/status print; fields are added, never
// renamed.
type Status struct {
	Name    string `json:"name"`
	ID      string `json:"id"`
	Cluster string `json:"cluster"`
	Address string `json:"address"`
	HTTP    string `json:"http,omitempty"`
	// Role is active, passive, reserve or none; RaftRole is leader, follower,
	// candidate, learner or none.
	Role     string `json:"role"`
	RaftRole string `json:"raft_role"`
	Term     uint64 `json:"term"`
	// Leader is the leader's name, empty if none is known.
	Leader  string `json:"leader"`
	First   Index  `json:"first"`
	Commit  Index  `json:"commit"`
	Applied Index  `json:"applied"`
	// Digest is over the state at Applied. Members with the same Applied have
	// the same Digest.
	Digest string `json:"digest"`
	// AgeMS is an upper bound on the age of this member's state, in whole
	// milliseconds; null if it knows none.
	AgeMS *int64 `json:"age_ms"`
	// Actives are the names of the members in the configuration, Reserves of
	// those that stand by and hold nothing, Passives of the live others, all
	// sorted.
	Actives  []string       `json:"actives"`
	Passives []string       `json:"passives"`
	Reserves []string       `json:"reserves"`
	Members  []MemberStatus `json:"members"`
	// Serving says whether the member answers reads; Reason why not, or why it
	// is in doubt whether it should.
	Serving  bool   `json:"serving"`
	Reason   string `json:"reason,omitempty"`
	Sessions int    `json:"sessions"`
	// Keys counts all keys of the state: those of resources, of sessions and of the
	// catalogue, which has one for each resource.
	Keys int `json:"keys"`
	// StateBytes is what all resources hold, as the limit of the state counts it (see
	// Config.StateBytes); StateLimit that limit, 0 if there is none.
	StateBytes uint64 `json:"state_bytes"`
	StateLimit uint64 `json:"state_limit"`
	// Checkpoint is the index of the newest checkpoint that is kept, 0 without
	// one: a restart reads that and the log above it.
	Checkpoint Index `json:"checkpoint"`
	// Installing says how far a checkpoint is that comes from other members;
	// absent if none does.
	Installing *Installing `json:"installing,omitempty"`
	// Refused counts messages that this member has refused, since its start,
	// because of who sent them, of a term or an index that no log comes to, or,
	// where signatures are checked, because no active had signed them.
	Refused uint64 `json:"refused"`
	// LogLost counts the lines of this member's log that were lost since its start,
	// because whoever writes it, a handler or a pipe, was slow or failed.
	LogLost uint64 `json:"log_lost"`
	// Counters are what this member has counted since its start, by name; those of a
	// member of another version may be others. docs/counters.md says what each means.
	Counters map[string]uint64 `json:"counters"`
	// Unknown counts, since this member's start, messages of kinds that only one of two
	// members knows, because they are of different versions. It is no fault.
	Unknown []UnknownKind `json:"unknown,omitempty"`
	// FormatLevel is the level of what is stored and applied, FormatLevelKnown the highest
	// that this member's release knows. While it is the higher one, members can be put back
	// to a release that knows FormatLevel only; from the moment the level rises they cannot.
	// FormatLevelReason is, of a leader, why it does not rise.
	FormatLevel       int    `json:"format_level"`
	FormatLevelKnown  int    `json:"format_level_known"`
	FormatLevelReason string `json:"format_level_reason,omitempty"`
	UptimeMS          int64  `json:"uptime_ms"`
	Version           string `json:"version"`
	// Ahead are the members that hold committed entries which this cluster does
	// not have, as after a restore of all actives from an old copy. Only the
	// leader lists them, after some seconds; it is their word.
	Ahead []Ahead `json:"ahead,omitempty"`
}

// Ahead is a member that holds more than the cluster that it belongs to.
type Ahead struct {
	Name string `json:"name"`
	ID   string `json:"id"`
	// Holds is the index up to which it holds committed entries, Ends where the
	// leader's log ended when that was seen. Diverged is where the two differ, 0 if
	// the member does not know.
	Holds    Index `json:"holds"`
	Ends     Index `json:"ends"`
	Diverged Index `json:"diverged"`
	// Text says what it means, and what to do.
	Text string `json:"text"`
}

// Installing is a checkpoint that comes from other members, because the log of
// this one ends below the beginning of theirs.
type Installing struct {
	// Index is that of the checkpoint. Of its Chunks, which are about 200 KiB
	// each, Left are still to come; then the state is built from them.
	Index  Index `json:"index"`
	Chunks int   `json:"chunks"`
	Left   int   `json:"left"`
}

// MemberStatus is one line of the member list, as the answering member sees it.
type MemberStatus struct {
	Name    string `json:"name"`
	ID      string `json:"id"`
	Address string `json:"address"`
	// Role is active, passive or reserve; Suffrage is voter or learner, empty for members
	// that the configuration does not name.
	Role     string `json:"role"`
	Suffrage string `json:"suffrage,omitempty"`
	// Alive says that the member is heard. One that is not is listed if it has a
	// seat, or was heard in the last 24 hours and has neither left by its own will
	// nor been removed.
	Alive  bool `json:"alive"`
	Leader bool `json:"leader"`
	// Applied is what the member said of itself SaidMS milliseconds ago; null if it
	// has not been heard. A member that has died is still alive as long as the others
	// have not found out, but says nothing.
	Applied *Index `json:"applied"`
	SaidMS  *int64 `json:"said_ms"`
	// AgeMS is an upper bound on the age of its state now; null if none is known, as
	// for one that has yet to catch up with what it knows of.
	AgeMS *int64 `json:"age_ms"`
	// SilentMS is for how many milliseconds a member that is not alive has not
	// been heard; absent if it never was, or is alive.
	SilentMS *int64 `json:"silent_ms,omitempty"`
	// Note is what people should know of the member, a sentence without a full
	// stop; absent if there is nothing. It says where rollback is not watched: as
	// long as a member is not at its address in the configuration, which the leader
	// enters by itself when the member has answered it at another one for a while,
	// nobody listens to it if it says that another one's directory was put back.
	Note string `json:"note,omitempty"`
	// ConfiguredAddress is where the configuration says that the member is, if that
	// is not where it is; absent otherwise.
	ConfiguredAddress string `json:"configured_address,omitempty"`
	// Other is a second address at which this member's id is held, beside Address:
	// one of the two runs from a copy of the other's directory. Empty if nobody
	// does.
	Other string `json:"other_address,omitempty"`
}

// UnknownKind is how many messages of a kind a member has passed over because it does
// not know the kind, and how many of its own others have answered that they do not.
type UnknownKind struct {
	Kind        uint8  `json:"kind"`
	Skipped     uint64 `json:"skipped"`
	Unsupported uint64 `json:"unsupported"`
}

func statusOf(s protocol.Status) Status {
	out := Status{
		Name: s.Name, ID: s.ID.String(), Cluster: s.Cluster.String(), Address: s.Address, HTTP: s.HTTP,
		Role: s.Role, RaftRole: s.RaftRole, Term: uint64(s.Term), Leader: s.Leader,
		First: s.First, Commit: s.Commit, Applied: s.Applied, Digest: s.Digest,
		AgeMS: ageMS(s.AgeNanos, s.AgeKnown), Actives: []string{}, Passives: []string{}, Reserves: []string{}, Members: []MemberStatus{}, Counters: map[string]uint64{},
		Serving: s.Serving, Reason: s.Reason, Sessions: s.Sessions, Keys: s.Keys, StateBytes: uint64(s.StateBytes), StateLimit: uint64(s.StateLimit),
		UptimeMS: s.Uptime / int64(time.Millisecond), Version: s.Version, Checkpoint: s.Checkpoint, Refused: s.Refused, LogLost: s.LogLost,
		FormatLevel: s.Level.Number(), FormatLevelKnown: s.LevelKnown.Number(), FormatLevelReason: s.LevelReason,
	}
	if s.Installing != 0 {
		out.Installing = &Installing{Index: s.Installing, Chunks: s.Chunks, Left: s.ChunksLeft}
	}
	for _, c := range s.Counts {
		out.Counters[c.Name] = c.Value
	}
	for _, k := range s.Unknown {
		out.Unknown = append(out.Unknown, UnknownKind{Kind: uint8(k.Kind), Skipped: k.Skipped, Unsupported: k.Unsupported})
	}
	for _, a := range s.Ahead {
		out.Ahead = append(out.Ahead, Ahead{
			Name: a.Name, ID: a.ID.String(), Holds: a.Holds, Ends: a.Ends, Diverged: a.Diverged, Text: a.Text,
		})
	}
	for _, m := range s.Members {
		line := MemberStatus{
			Name: m.Name, ID: m.ID.String(), Address: m.Address, Role: m.Role, Suffrage: m.Suffrage,
			Alive: m.Alive, Leader: m.Leader, AgeMS: ageMS(m.AgeNanos, m.AgeKnown), SaidMS: ageMS(m.Said, m.Known),
			SilentMS: ageMS(m.Silence, m.SilenceKnown && !m.Alive), Other: m.Other, Note: goneNote(&m),
		}
		if m.Moved {
			line.Note, line.ConfiguredAddress = unwatched(&m), m.Configured
		}
		if m.Known {
			applied := m.Applied
			line.Applied = &applied
		}
		out.Members = append(out.Members, line)
		switch {
		case m.Suffrage != "":
			out.Actives = append(out.Actives, m.Name)
		case m.Alive && m.Role == Reserve.String():
			out.Reserves = append(out.Reserves, m.Name)
		case m.Alive:
			out.Passives = append(out.Passives, m.Name)
		}
	}
	slices.Sort(out.Actives)
	slices.Sort(out.Passives)
	slices.Sort(out.Reserves)
	slices.SortFunc(out.Members, compareMembers)
	return out
}

// unwatched says of a member that it is not where the configuration says.
func unwatched(m *protocol.MemberStatus) string {
	if m.Configured == "" {
		return fmt.Sprintf("rollback is not watched at %s: it is at %s, and the configuration has no address of it", m.Name, m.Address)
	}
	return fmt.Sprintf("rollback is not watched at %s: it is at %s, the configuration says %s", m.Name, m.Address, m.Configured)
}

// compareMembers puts actives first, then goes by name.
func compareMembers(a, b MemberStatus) int {
	if (a.Suffrage != "") != (b.Suffrage != "") {
		if a.Suffrage != "" {
			return -1
		}
		return 1
	}
	return slices.Compare([]string{a.Name, a.ID}, []string{b.Name, b.ID})
}

// ageMS rounds up: an age is an upper bound.
func ageMS(nanos int64, known bool) *int64 {
	if !known {
		return nil
	}
	ms := (nanos + int64(time.Millisecond) - 1) / int64(time.Millisecond)
	return &ms
}
