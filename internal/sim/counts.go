package sim

import (
	"fmt"
	"strings"
)

// tally names one kind of happening that runs count.
type tally int

const (
	countMessages tally = iota
	countLost
	countDuplicates
	countBroken
	countCuts
	countOneWay
	countClogs
	countElections
	countLeaders
	countLeaderChanges
	countPreVotesRefused
	countVotesRefused
	countRejected
	countTruncations
	countStepDowns
	countConfigurations
	countLearners
	countVoters
	countJoins
	countRestarts
	countMoved
	countProcessCrashes
	countPowerCuts
	countTotalPowerCuts
	countFailedSyncs
	countStalls
	countOpenings
	countTornTails
	countUnsyncedLost
	countPauses
	countPausedLeaders
	countSuspicions
	countRefuted
	countForgotten
	countFoundAgain
	countHalfAway
	countHalfGone
	countUnheard
	countJoint
	countChangesAsked
	countPromotions
	countDemotions
	countRemovals
	countSeveral
	countLeaderRemoved
	countLeft
	countActivated
	countMembershipChangesRefused
	countTransfersAsked
	countTransfers
	countFullHandOvers
	countDragged
	countStarved
	countSlowHandOvers
	countNamedTransfers
	countCheckpoints
	countCheckpointEntriesSkipped
	countHeads
	countInstalls
	countInstallsResumed
	countChunks
	countResets
	countFromCheckpoint
	countWiped
	countBitsFlipped
	countMisdirected
	countDamageFound
	countDamageHarmless
	countDamagedTogether
	countDamagedAll
	countRepaired
	countRepairedCheckpoint
	countRepairsCut
	countRolledBack
	countRolledBackFound
	countCopies
	countCopiesWelcomed
	countCopiesRefused
	countOriginalsBack
	countCondemned
	countFull
	countNoSpace
	countStartsWithoutRoom
	countRoomAgain
	countNotesLater
	countVotesAhead
	countVotesWait
	countElectedAhead
	countSlowSyncs
	countSluggishSyncs
	countSluggishWrites
	countReadsAfterPause
	countReadsAtLeader
	countLeaseReads
	countWild
	countWallsSet
	countStateFull
	countHiddenPauses
	countRepairs
	countFrames
	countAcknowledged
	countRetries
	countDeduplicated
	countOneShots
	countOneShotsAgain
	countSessionsExpired
	countAnotherSession
	countUnknown
	countLinearizable
	countForwardedReads
	countLocal
	countAges
	countApplied
	countSettled
	countStuck
	countSessionReads
	countStaleReads
	countLevelWaits
	countTooStale
	countNotServed
	countStatesFlipped
	countMisapplied
	countLeadersDiverged
	countPassivesDiverged
	countRecounted
	countDisputedRefused
	countQuarantined
	countHealed
	countQuarantineResumed
	countDivergedUnseen
	countTakenOver
	countConfirmed
	countUnconfirmed
	countWrongKept
	countBeyond
	countManyChunks
	countPins
	countFarBehind
	countFailedCalls
	countEndedByACall
	countStartsRefused
	countCheckpointsGivenUp
	countUnreadable
	countLogReads
	countRepairedRunning
	countDatagramBlocks
	countStreamBlocks
	countClosed
	countDatagramsLost
	countDatagramsBack
	countWatchesJudged
	countWatchEvents
	countWatchAges
	countWatchParts
	countWatchesMoved
	countWatchSearches
	countWatchesLeft
	countWatchesAhead
	countWatchesSlow
	countWatchesCompacted
	countWatchesDoubted
	countCopiesListed
	countWatchesBeginInFile
	countWatchesFallBack
	countWatchesRejoin
	countWatchesBeforeFile
	countWatchesDamaged
	countChangesGivenUp
	countChangesWithoutRoom
	countChangesDamaged
	countBoundary
	tallies = countBoundary + tally(boundaries)
)

var tallyNames = [tallies]string{
	countMessages: "messages", countLost: "messages lost", countDuplicates: "datagrams doubled", countBroken: "streams broken",
	countCuts: "links cut both ways", countOneWay: "links cut one way", countClogs: "links clogged",
	countElections: "elections", countLeaders: "leaders elected", countLeaderChanges: "leader changes",
	countPreVotesRefused: "pre-votes refused", countVotesRefused: "votes refused", countRejected: "appends rejected",
	countTruncations: "truncations", countStepDowns: "leaders stepped down", countConfigurations: "configurations committed",
	countLearners: "learners made", countVoters: "voters made", countJoins: "members joined late", countRestarts: "restarts", countMoved: "restarts elsewhere",
	countProcessCrashes: "process crashes", countPowerCuts: "power cuts of one", countTotalPowerCuts: "power cuts of all",
	countFailedSyncs: "failed syncs", countStalls: "disks stalled", countOpenings: "crashes while opening the log", countTornTails: "torn tails dropped",
	countUnsyncedLost: "unsynced writes lost", countPauses: "members paused", countPausedLeaders: "leaders paused",
	countJoint: "joint configurations", countChangesAsked: "membership changes asked for", countPromotions: "promotions by hand", countDemotions: "demotions by hand",
	countRemovals: "removals by hand", countSeveral: "changes of several seats", countLeaderRemoved: "leaders removed or demoted", countLeft: "members sent away", countActivated: "reserves called",
	countMembershipChangesRefused: "changes and transfers refused", countTransfersAsked: "transfers asked for", countTransfers: "transfers to anybody", countFullHandOvers: "transfers by leaders without room", countDragged: "leaders whose syncs got slow", countStarved: "leaders that ran a fifth of the time", countSlowHandOvers: "transfers by leaders that were slow", countNamedTransfers: "transfers to a named transferee",
	countCheckpoints: "checkpoints taken", countCheckpointEntriesSkipped: "checkpoint entries skipped", countHeads: "heads of logs dropped", countInstalls: "checkpoints installed",
	countInstallsResumed: "installations resumed", countChunks: "chunks added", countResets: "logs begun anew", countFromCheckpoint: "starts from a checkpoint",
	countWiped: "disks wiped", countBitsFlipped: "bits flipped", countMisdirected: "pages misdirected", countDamageFound: "damage found at the start", countDamageHarmless: "damage that hit nothing",
	countDamagedTogether: "several logs damaged at once", countDamagedAll: "all voters' logs damaged at once",
	countRepaired: "logs repaired", countRepairedCheckpoint: "logs repaired from a checkpoint", countRepairsCut: "crashes while a log was repaired",
	countRolledBack: "directories put back", countRolledBackFound: "restored directories refused",
	countCopies: "copies of directories started", countCopiesWelcomed: "streams of copies let in", countCopiesRefused: "copies and their originals refused", countOriginalsBack: "originals started beside a copy", countCondemned: "directories put back that a leader has proof of",
	countFull: "disks full", countNoSpace: "writes without room", countStartsWithoutRoom: "starts without room", countRoomAgain: "writes made when there was room again", countNotesLater: "notes in the log without room",
	countVotesAhead: "votes ahead of writes without room", countVotesWait: "votes without room", countElectedAhead: "leaders elected by such votes",
	countSlowSyncs: "slow syncs", countSluggishSyncs: "syncs of disks that are slow for good", countSluggishWrites: "writes acknowledged while a majority has such disks", countReadsAfterPause: "reads at a leader that stood still", countReadsAtLeader: "linearizable reads at the leader", countLeaseReads: "reads under a lease", countWild: "seeds with wild clocks", countWallsSet: "wall clocks set", countStateFull: "writes refused because the state was full", countHiddenPauses: "pauses hidden from boot time",
	countSuspicions: "false suspicions", countRefuted: "suspicions refuted", countForgotten: "dead members forgotten", countFoundAgain: "forgotten members found again",
	countHalfAway: "halves of the flock not heard", countHalfGone: "halves of the flock forgotten", countUnheard: "members that hear and are not heard",
	countRepairs: "gossip pulls", countFrames: "gossip frames", countAcknowledged: "writes acknowledged",
	countRetries: "commands retried", countDeduplicated: "retries not executed again", countSessionsExpired: "sessions expired", countAnotherSession: "writes made in another session",
	countOneShots: "one-shots acknowledged", countOneShotsAgain: "one-shots that came again and were not executed again",
	countUnknown: "outcomes left open", countLinearizable: "linearizable reads", countForwardedReads: "reads asked of a leader elsewhere",
	countLocal: "local reads", countAges: "ages checked", countApplied: "entries applied", countSettled: "seeds settled", countStuck: "quorums lost by a change",
	countSessionReads: "reads of a session", countStaleReads: "reads that may be stale", countLevelWaits: "reads that waited for their level",
	countTooStale: "reads refused as too stale", countNotServed: "reads refused in quarantine",
	countStatesFlipped: "states with a flipped bit", countMisapplied: "entries applied wrongly", countLeadersDiverged: "leaders with a wrong state",
	countPassivesDiverged: "passives with a wrong state", countRecounted: "digests counted anew that differ", countDisputedRefused: "reads refused because states differ", countQuarantined: "states given up", countHealed: "states healed",
	countQuarantineResumed: "quarantines gone on with after a start",
	countDivergedUnseen:    "wrong states that were overwritten or lost", countTakenOver: "starts from a wrong state", countBeyond: "seeds ended by several wrong states at once",
	countConfirmed: "checkpoints confirmed in the log", countUnconfirmed: "installations that waited for a confirmation", countWrongKept: "wrong checkpoints kept, and given to nobody",
	countManyChunks: "installations of several chunks", countPins: "checkpoints pinned for others", countFarBehind: "members far behind",
	countFailedCalls: "calls that failed once", countEndedByACall: "members ended by a failed call", countStartsRefused: "starts refused by a failed call",
	countCheckpointsGivenUp: "checkpoints given up for a failed call", countUnreadable: "places that could not be read",
	countLogReads: "reads of logs from disk", countRepairedRunning: "places of running logs repaired",
	countDatagramBlocks: "times that datagrams were blocked", countStreamBlocks: "times that streams were blocked", countClosed: "links closed to datagrams for good",
	countDatagramsLost: "times that members said that datagrams are lost", countDatagramsBack: "times that members said that they come back",
	countWatchesJudged: "watches judged", countWatchEvents: "changes told by watches", countWatchAges: "ages of watches checked", countWatchParts: "parts of entries told by watches",
	countWatchesMoved: "watches that went on elsewhere", countWatchSearches: "searches for members younger than a watch's", countWatchesLeft: "watches that left an old member for a younger one", countWatchesAhead: "watches that went on at a member that was behind", countWatchesSlow: "watches that were too slow",
	countWatchesCompacted: "watches whose changes were gone", countWatchesDoubted: "watches ended because of doubt", countCopiesListed: "listings of copies",
	countWatchesBeginInFile: "watches that began in a file of changes", countWatchesFallBack: "watches that fell back on one", countWatchesRejoin: "watches that read one to its end",
	countWatchesBeforeFile: "watches that would have begun before one", countWatchesDamaged: "watches ended because one was damaged", countChangesGivenUp: "files of changes given up for a failed write",
	countChangesWithoutRoom: "files of changes without room", countChangesDamaged: "bits of files of changes flipped",
}

// Counts says how often each kind of rare event occurred. Add up those of many
// runs.
type Counts [tallies]uint64

func (c *Counts) add(k tally, n uint64) { c[k] += n }

// Add adds the counts of another run.
func (c *Counts) Add(other *Counts) {
	for i := range c {
		c[i] += other[i]
	}
}

// name returns what a tally counts.
func (k tally) name() string {
	if k >= countBoundary {
		return "crashes " + boundaryNames[k-countBoundary]
	}
	return tallyNames[k]
}

// minimum returns how often a kind must occur in a thousand seeds.
func (k tally) minimum() uint64 {
	switch k {
	case countElections:
		return 2000
	case countAges: // all members are asked all the time
		return 1_000_000
	case countPausedLeaders, countReadsAfterPause, countWatchSearches, countWatchesLeft:
		return 500
	case countWatchEvents, countWatchAges: // there are hundreds a seed
		return 100_000
	case countWatchesJudged, countWatchesMoved, countWatchParts:
		return 5000
	case countSessionReads, countStaleReads, countTooStale, countOneShots: // there are hundreds a seed
		return 10_000
	case countDamagedAll, countRepairedCheckpoint: // several rare things have to come together
		return 40
	case countWrongKept: // a wrong state has to last until a checkpoint of it is written: there are about 140
		return 40
	case countDisputedRefused: // three states have to differ, each from each, while somebody reads: there are about 65
		return 20
	case countSlowHandOvers: // it takes five seconds without another fault: there are about a hundred
		return 40
	case countTakenOver: // a member has to end while it does not know that it is wrong
		return 0
	case countVotesAhead, countElectedAhead, countVotesWait: // no seed draws profileRoom: see TestLeadersAreElectedWhileAppendsWait
		return 0
	case countNotesLater: // a disk has to fill up within the last 104 bytes of a segment
		return 0
	case countOriginalsBack: // somebody has to move a member at a quiet time, and all others to be there when it ends
		return 20
	case countCondemned: // all others have to have forgotten what they saw: see TestALeaderHasProofOfADirectoryPutBack
		return 0
	case countRepairedRunning, countBoundary + tally(amidRepairing): // no seed draws profileSectors: see TestRunningLeaderRepairsWhatAFollowerNeeds
		return 0
	case countBoundary + tally(amidCheckpoint): // most are over in a moment: there are about a hundred
		return 70
	case countQuarantineResumed: // a member has to die in quarantine, which few do: see TestAQuarantineOutlivesItsProcess
		return 0
	case countStuck: // a disk has to be lost in the very moment of a change
		return 0
	case countActivated: // there are none unless somebody asks for some
		return 0
	case countBeyond: // the fewer the better
		return 0
	}
	return 100
}

// Missing names the kinds of which a number of seeds had too few, in
// proportion to the minimums for a thousand seeds of 60 seconds: 2,000
// elections, 500 leaders that stood still and as many reads at them, 10,000 reads
// at each level, a million ages, and 100 of every other kind; 40 of those that take several rare
// things together, or some time without a fault, 20 originals that come back beside their copies, 20 reads refused where no two states
// are the same. Some need such luck that nothing is asked of them, and of one
// none would be best.
func (c *Counts) Missing(seeds int) []string {
	var list []string
	for k := range tallies {
		if want := k.minimum() * uint64(seeds) / 1000; c[k] < want {
			list = append(list, fmt.Sprintf("%s: %d of at least %d", k.name(), c[k], want))
		}
	}
	return list
}

// String returns a table, one kind a line.
func (c *Counts) String() string {
	var b strings.Builder
	for k := range tallies {
		fmt.Fprintf(&b, "%12d  %s\n", c[k], k.name())
	}
	return b.String()
}
