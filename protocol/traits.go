package protocol

import "fmt"

// MessageKind tells messages between members apart on the wire.
type MessageKind uint8

// asks marks the kinds that want an answer, so that a member knows it also of a kind
// that it does not know. All numbers are below 0x80, which msgpack reads as integers.
const asks MessageKind = 0x40

const (
	KindVote              = asks | 1
	KindVoteAnswer        = MessageKind(2)
	KindAppend            = asks | 3
	KindAppendAnswer      = MessageKind(4)
	KindHeartbeat         = asks | 5
	KindHeartbeatAnswer   = MessageKind(6)
	KindReadIndex         = asks | 7
	KindReadIndexAnswer   = MessageKind(8)
	KindTimeoutNow        = MessageKind(9)
	KindForward           = asks | 10
	KindForwardAnswer     = MessageKind(11)
	KindWatermark         = MessageKind(12)
	KindInstallCheckpoint = asks | 13
	KindRepairWant        = asks | 14
	KindRepair            = MessageKind(15)
	KindTypes             = MessageKind(16)
	KindDigestQuestion    = asks | 17
	KindDigestAnswer      = MessageKind(18)
	KindActivate          = MessageKind(19)
	KindUnsupported       = MessageKind(20)
	KindFormats           = MessageKind(21)
	KindPartsQuestion     = asks | 22
	KindPartsAnswer       = MessageKind(23)
	KindPulse             = asks | 26
	KindPulseAnswer       = MessageKind(27)
	KindFrame             = MessageKind(32)
	KindHave              = MessageKind(33)
	KindWant              = asks | 34
	KindPrune             = MessageKind(35)
	KindGraft             = MessageKind(36)
	KindBusy              = MessageKind(37)
	KindSumQuestion       = asks | 38
	KindSumAnswer         = MessageKind(39)
	KindManifestWant      = asks | 40
	KindManifest          = MessageKind(41)
	KindChunkWant         = asks | 42
	KindChunk             = MessageKind(43)
	KindEcho              = asks | 44
	KindEchoAnswer        = MessageKind(45)
	KindStreamEcho        = asks | 46
	KindStreamEchoAnswer  = MessageKind(47)
	KindFramePart         = MessageKind(48)
)

// Lane says how a message queues on a stream between members.
type Lane uint8

const (
	// LaneData keeps the order.
	LaneData Lane = iota + 1
	// LaneUrgent never waits behind data: elections, leases and acknowledgements
	// depend on it.
	LaneUrgent
	// LaneBulk gives way to the others, because there may be gigabytes of its kinds and
	// nobody waits for one of them: checkpoints and repairs.
	LaneBulk
)

// Class says as what the bytes of a message are counted.
type Class uint8

const (
	// ClassRaft is what actives say to each other, with forwarded commands and reads.
	ClassRaft Class = iota + 1
	// ClassFrames is committed entries for those who follow by gossip.
	ClassFrames
	// ClassControl is what else gossip says.
	ClassControl
	// ClassCheckpoints is pieces of checkpoints and repairs, and what asks for them.
	ClassCheckpoints
)

// side says whether a kind belongs to a role, or to the flock, which has none.
type side uint8

const (
	ofRole side = iota + 1
	ofFlock
)

// carrier says what a kind travels by.
type carrier uint8

const (
	byStream carrier = iota + 1
	// byDatagram is for what is small, said again anyway, and of use at once or never.
	byDatagram
	// asCopy is for what a stream carries as well, in another form: it goes by datagram,
	// or not at all.
	asCopy
)

// aliasing says what becomes of the bytes that a message was decoded from.
type aliasing uint8

const (
	copied aliasing = iota + 1
	kept
)

// kind is all that is known of a kind of message beside what its handlers do. The
// fields of a line are not named, so that none can be forgotten.
type kind struct {
	name    string
	side    side
	lane    Lane
	carrier carrier
	class   Class
	bytes   aliasing
	decode  func(*reader) Message
}

// kinds is the one place where the traits of messages stand. A kind without a line is
// one that this code does not know.
var kinds = next([256]kind{
	KindVote:              {"vote", ofRole, LaneUrgent, byStream, ClassRaft, copied, decodeVote},
	KindVoteAnswer:        {"vote-answer", ofRole, LaneUrgent, byStream, ClassRaft, copied, decodeVoteAnswer},
	KindAppend:            {"append", ofRole, LaneData, byStream, ClassRaft, kept, decodeAppend},
	KindAppendAnswer:      {"append-answer", ofRole, LaneUrgent, byStream, ClassRaft, copied, decodeAppendAnswer},
	KindHeartbeat:         {"heartbeat", ofRole, LaneUrgent, byStream, ClassRaft, copied, decodeHeartbeat},
	KindHeartbeatAnswer:   {"heartbeat-answer", ofRole, LaneUrgent, byStream, ClassRaft, copied, decodeHeartbeatAnswer},
	KindReadIndex:         {"read-index", ofRole, LaneUrgent, byStream, ClassRaft, copied, decodeReadIndex},
	KindReadIndexAnswer:   {"read-index-answer", ofRole, LaneUrgent, byStream, ClassRaft, copied, decodeReadIndexAnswer},
	KindTimeoutNow:        {"timeout-now", ofRole, LaneUrgent, byStream, ClassRaft, copied, decodeTimeoutNow},
	KindForward:           {"forward", ofRole, LaneData, byStream, ClassRaft, kept, decodeForward},
	KindForwardAnswer:     {"forward-answer", ofRole, LaneData, byStream, ClassRaft, kept, decodeForwardAnswer},
	KindWatermark:         {"watermark", ofRole, LaneData, byStream, ClassRaft, copied, decodeWatermark},
	KindInstallCheckpoint: {"install-checkpoint", ofRole, LaneBulk, byStream, ClassCheckpoints, kept, decodeInstallCheckpoint},
	KindRepairWant:        {"repair-want", ofRole, LaneData, byStream, ClassCheckpoints, copied, decodeRepairWant},
	KindRepair:            {"repair", ofRole, LaneBulk, byStream, ClassCheckpoints, kept, decodeRepair},
	KindTypes:             {"types", ofRole, LaneData, byStream, ClassRaft, copied, decodeTypes},
	KindFormats:           {"formats", ofRole, LaneData, byStream, ClassRaft, copied, decodeFormats},
	KindPulse:             {"pulse", ofRole, LaneUrgent, asCopy, ClassRaft, copied, decodePulse},
	KindPulseAnswer:       {"pulse-answer", ofRole, LaneUrgent, asCopy, ClassRaft, copied, decodePulseAnswer},
	KindDigestQuestion:    {"digest-question", ofRole, LaneData, byStream, ClassRaft, copied, decodeDigestQuestion},
	KindDigestAnswer:      {"digest-answer", ofRole, LaneData, byStream, ClassRaft, copied, decodeDigestAnswer},
	KindPartsQuestion:     {"parts-question", ofRole, LaneData, byStream, ClassRaft, copied, decodePartsQuestion},
	KindPartsAnswer:       {"parts-answer", ofRole, LaneData, byStream, ClassRaft, copied, decodePartsAnswer},
	KindActivate:          {"activate", ofRole, LaneData, byStream, ClassRaft, copied, decodeActivate},
	KindUnsupported:       {"unsupported", ofFlock, LaneData, byDatagram, ClassControl, copied, decodeUnsupported},
	KindFrame:             {"frame", ofFlock, LaneData, byDatagram, ClassFrames, kept, decodeFrame},
	KindFramePart:         {"frame-part", ofFlock, LaneData, asCopy, ClassFrames, kept, decodeFramePart},
	KindHave:              {"have", ofFlock, LaneData, byDatagram, ClassControl, copied, decodeHave},
	KindWant:              {"want", ofFlock, LaneData, byDatagram, ClassControl, copied, decodeWant},
	KindPrune:             {"prune", ofFlock, LaneData, byDatagram, ClassControl, copied, decodePrune},
	KindGraft:             {"graft", ofFlock, LaneData, byDatagram, ClassControl, copied, decodeGraft},
	KindBusy:              {"busy", ofFlock, LaneData, byDatagram, ClassControl, copied, decodeBusy},
	KindSumQuestion:       {"sum-question", ofFlock, LaneData, byDatagram, ClassControl, copied, decodeSumQuestion},
	KindSumAnswer:         {"sum-answer", ofFlock, LaneData, byDatagram, ClassControl, copied, decodeSumAnswer},
	KindEcho:              {"echo", ofFlock, LaneData, asCopy, ClassControl, copied, decodeEcho},
	KindEchoAnswer:        {"echo-answer", ofFlock, LaneData, asCopy, ClassControl, copied, decodeEchoAnswer},
	// What these say must not come from anybody who can send a datagram.
	KindStreamEcho:       {"stream-echo", ofFlock, LaneData, byStream, ClassControl, copied, decodeStreamEcho},
	KindStreamEchoAnswer: {"stream-echo-answer", ofFlock, LaneData, byStream, ClassControl, copied, decodeStreamEchoAnswer},
	// What a checkpoint is fetched with goes over streams, however small: a lost
	// question would be asked again only after seconds.
	KindManifestWant: {"manifest-want", ofFlock, LaneData, byStream, ClassCheckpoints, copied, decodeManifestWant},
	KindManifest:     {"manifest", ofFlock, LaneBulk, byStream, ClassCheckpoints, kept, decodeManifest},
	KindChunkWant:    {"chunk-want", ofFlock, LaneData, byStream, ClassCheckpoints, copied, decodeChunkWant},
	KindChunk:        {"chunk", ofFlock, LaneBulk, byStream, ClassCheckpoints, kept, decodeChunk},
})

// Kinds are all kinds of messages that this code knows, in the order of their numbers.
func Kinds() []MessageKind {
	var list []MessageKind
	for k := range kinds {
		if MessageKind(k).Known() {
			list = append(list, MessageKind(k))
		}
	}
	return list
}

// Blank returns a message of a known kind with nothing in it, for those who fill one in
// by the types of its fields.
func (k MessageKind) Blank() Message { return kinds[k].decode(&reader{}) }

// Known reports whether this code knows the kind.
func (k MessageKind) Known() bool { return kinds[k].decode != nil }

// String returns the kind's name in lower case.
func (k MessageKind) String() string {
	if k.Known() {
		return kinds[k].name
	}
	return fmt.Sprintf("message(%d)", uint8(k))
}

// Asks reports whether a message of the kind wants an answer, also for a kind that is
// not known.
func (k MessageKind) Asks() bool { return k&asks != 0 }

// OfFlock reports whether a message of the kind is gossip: what a member says that has
// no role, and takes from anybody. Others are for a role, and a member whose directory
// was refused neither says nor takes them.
func (k MessageKind) OfFlock() bool { return kinds[k].side == ofFlock }

// Lane says how a message of the kind queues on a stream.
func (k MessageKind) Lane() Lane { return kinds[k].lane }

// Datagram reports whether a message of the kind may travel as a datagram. One that
// comes as a datagram and may not counts for nothing; of a kind that is not known nobody
// can say.
func (k MessageKind) Datagram() bool { return kinds[k].carrier != byStream }

// NeverByStream reports whether a message of the kind goes by datagram or not at all.
func (k MessageKind) NeverByStream() bool { return kinds[k].carrier == asCopy }

// Class says as what the bytes of a message of the kind are counted.
func (k MessageKind) Class() Class { return kinds[k].class }

// KeepsBytes reports whether a decoded message of the kind aliases what it was
// decoded from. The bytes of others may be written over.
func (k MessageKind) KeepsBytes() bool { return kinds[k].bytes == kept }

// HeldBytes is about what a decoded message pins of the memory that it was decoded
// from, for who keeps messages and bounds their bytes.
func HeldBytes(m Message) int {
	if !m.Kind().KeepsBytes() {
		return 0
	}
	return MessageSize(m)
}
