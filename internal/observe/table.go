package observe

import (
	"log/slog"

	"github.com/starlinghq/starling/protocol"
)

// Levels of the log, as the table says them.
const (
	debug = slog.LevelDebug
	info  = slog.LevelInfo
	warns = slog.LevelWarn
	grave = slog.LevelError
)

// Events are all kinds of events.
var Events = []Event{
	{protocol.EventBecameFollower, debug, None},
	{protocol.EventBecamePreCand, debug, ElectionsAsked},
	{protocol.EventBecameCandidate, debug, ElectionsCalled},
	{protocol.EventBecameLeader, info, ElectionsWon},
	{protocol.EventSteppedDown, info, SteppedDown},
	{protocol.EventVoted, debug, Votes},
	{protocol.EventVoteRefused, debug, None},
	{protocol.EventAppended, debug, None},
	{protocol.EventRejected, debug, Rejected},
	{protocol.EventTruncated, debug, Truncated},
	{protocol.EventCommitted, debug, None},
	{protocol.EventConfiguration, info, Configurations},
	{protocol.EventTransfer, debug, None},
	{protocol.EventCaughtUp, debug, None},
	{protocol.EventBecamePassive, info, Roles},
	{protocol.EventBecameActive, info, Roles},
	{protocol.EventDiverged, grave, Diverged},
	{protocol.EventPutBack, grave, PutBack},
	{protocol.EventPolicy, info, Policy},
	{protocol.EventRefused, debug, Refusals},
	{protocol.EventGaveUp, debug, GivenUp},
	{protocol.EventCheckpoint, info, None},
	{protocol.EventInstalled, info, Installed},
	{protocol.EventRepaired, info, Repaired},
	{protocol.EventBarred, warns, None},
	{protocol.EventForged, warns, Forged},
	{protocol.EventBehind, info, None},
	{protocol.EventPressed, warns, None},
	{protocol.EventWithheld, info, Withheld},
	{protocol.EventCramped, warns, Cramped},
	{protocol.EventRoom, info, None},
	{protocol.EventSlow, warns, Slow},
	{protocol.EventUnreadable, warns, Unreadable},
	{protocol.EventReadable, info, None},
	{protocol.EventLevel, info, None},
	{protocol.EventBeyond, grave, None},
	{protocol.EventAhead, grave, None},
	{protocol.EventDatagramsLost, warns, DatagramsLost},
	{protocol.EventDatagramsBack, info, None},
}

// The counters.
const (
	None Counter = iota
	ElectionsAsked
	ElectionsCalled
	ElectionsWon
	SteppedDown
	Votes
	Rejected
	Truncated
	Configurations
	Roles
	Diverged
	PutBack
	Policy
	Refusals
	GivenUp
	Unheard
	Installed
	Repaired
	Forged
	Withheld
	Cramped
	Slow
	Unreadable
	DatagramsLost
	LogLost
	SentRaft
	SentFrames
	SentCopies
	SentControl
	SentCheckpoints
	SentMembership
	DroppedHandshakes
	DroppedMembers
	DroppedClients
	DroppedFrames
	end
)

// Counters are the rows of all counters but None, in the order in which status has them.
// docs/counters.md has the same.
var Counters = []Row{
	{ElectionsAsked, "elections_asked", "times that this member asked whether it might win an election"},
	{ElectionsCalled, "elections_called", "elections that this member has called"},
	{ElectionsWon, "elections_won", "elections that this member has won"},
	{SteppedDown, "stepped_down", "times that this member, a leader, has stepped down"},
	{Votes, "votes", "votes that this member has given to others"},
	{Rejected, "rejected", "appends and runs of entries that did not fit a log, here or at a follower of this member"},
	{Truncated, "truncated", "times that the uncommitted end of the log was given up for another leader's"},
	{Configurations, "configurations", "changes of the configuration that this member has heard of"},
	{Roles, "roles", "times that this member became active or passive"},
	{Diverged, "diverged", "states and logs that were found to be of another history, this member's or another's"},
	{PutBack, "put_back", "directories of others that their answers prove to be old copies"},
	{Policy, "policy", "decisions of the autopilot, by this member as the leader"},
	{Refusals, "refusals", "messages and checkpoints of others that this member did not take: they were wrong, or came when they counted no more"},
	{GivenUp, "given_up", "installations of checkpoints, and reads and repairs of this member's log, that have failed; most are tried again"},
	{Unheard, "unheard", "refusals of this member's directory that did not count, because of who said so"},
	{Installed, "installed", "checkpoints of others that this member has installed"},
	{Repaired, "repaired", "times that the log or the state was repaired with what others have"},
	{Forged, "forged", "times that the log has warned of signatures that were missing or false"},
	{Withheld, "withheld", "times that a member said it had entries, and did not give them"},
	{Cramped, "cramped", "times that the disks of a majority had too little room for writes"},
	{Slow, "slow", "times that this member, a leader, handed over because others were clearly faster"},
	{Unreadable, "unreadable", "places of this member's log that could not be read"},
	{DatagramsLost, "datagrams_lost", "times that the log has warned of members to which datagrams (UDP) do not get through while streams do"},
	{LogLost, "log_lost", "lines of this member's log that were lost, because whoever writes it was slow or failed"},
	{SentRaft, "sent_raft_bytes", "bytes sent to other actives: entries, heartbeats, answers, forwarded commands"},
	{SentFrames, "sent_frames_bytes", "bytes of committed entries sent to members that follow by gossip"},
	{SentCopies, "sent_copies", "entries in those"},
	{SentControl, "sent_control_bytes", "bytes of what else gossip says: digests, links, pulls"},
	{SentCheckpoints, "sent_checkpoints_bytes", "bytes of checkpoints and repairs, and of what asks for them"},
	{SentMembership, "sent_membership_bytes", "bytes that it takes to know who is alive"},
	{DroppedHandshakes, "dropped_handshakes", "connections that gave way to newer ones before they said what they are"},
	{DroppedMembers, "dropped_members", "streams of members that gave way to newer ones"},
	{DroppedClients, "dropped_clients", "idle clients that gave way to newer ones"},
	{DroppedFrames, "dropped_frames", "streams that were given up because of what others had begun to send"},
}
