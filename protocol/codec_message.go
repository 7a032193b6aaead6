package protocol

import (
	"fmt"
	"time"
)

// AppendMessage appends the encoding of a message: one byte for its kind, then
// its fields. Lists must be within their limits. A Frame's Body is used as it
// is, if there is one.
func AppendMessage(dst []byte, m Message) []byte {
	dst = append(dst, byte(m.Kind()))
	switch m := m.(type) {
	case *Append:
		return m.append(dst)
	case *Frame:
		return m.append(dst)
	case *Heartbeat:
		dst = appendArray(dst, 3)
		dst = appendUint(dst, uint64(m.Term))
		dst = appendUint(dst, uint64(m.Commit))
		return appendUint(dst, m.Round)
	case *HeartbeatAnswer:
		dst = appendArray(dst, 4)
		dst = appendUint(dst, uint64(m.Term))
		dst = appendUint(dst, m.Round)
		return appendBool(appendBool(dst, m.Room), m.Unfit)
	case *AppendAnswer:
		return m.append(dst)
	case *Vote:
		return m.append(dst)
	case *VoteAnswer:
		dst = appendArray(dst, 3)
		dst = appendUint(dst, uint64(m.Term))
		dst = appendFlags(dst, m.Pre, m.Granted)
		return appendUint(dst, uint64(max(m.Write, 0)))
	case *ReadIndex:
		return m.append(dst)
	case *ReadIndexAnswer:
		return m.append(dst)
	case *TimeoutNow:
		dst = appendArray(dst, 1)
		return appendUint(dst, uint64(m.Term))
	case *Follow:
		return appendArray(dst, 0)
	case *Standing:
		dst = appendArray(dst, 3)
		dst = appendUint(dst, m.Starts)
		dst = appendUint(dst, uint64(m.Run))
		return appendUint(dst, uint64(m.Sequence))
	case *Forward:
		return m.append(dst)
	case *ForwardAnswer:
		return m.append(dst)
	}
	return appendGossip(dst, m)
}

// KeepsBytes reports whether a decoded message of the kind aliases what it was
// decoded from. The bytes of others may be written over.
func (k MessageKind) KeepsBytes() bool {
	switch k {
	case KindAppend, KindFrame, KindForward, KindForwardAnswer, KindCheckpoint, KindDescription, KindChunk, KindRepair:
		return true
	}
	return false
}

// DecodeMessage reads what AppendMessage wrote, all of src. Entries, commands,
// results' data and bodies alias src.
func DecodeMessage(src []byte) (Message, error) {
	if len(src) == 0 {
		return nil, ErrMalformed.With("malformed message: empty")
	}
	r := reader{src: src[1:]}
	m := r.message(MessageKind(src[0]))
	if err := r.end(); err != nil {
		return nil, err
	}
	return m, nil
}

func (r *reader) message(kind MessageKind) Message {
	switch kind {
	case KindAppend:
		return r.append()
	case KindFrame:
		return r.frame()
	case KindHeartbeat:
		r.array(3)
		return &Heartbeat{Term: r.term(), Commit: r.index(), Round: r.uint()}
	case KindHeartbeatAnswer:
		r.array(4)
		return &HeartbeatAnswer{Term: r.term(), Round: r.uint(), Room: r.bool(), Unfit: r.bool()}
	case KindAppendAnswer:
		return r.appendAnswer()
	case KindVote:
		return r.vote()
	case KindVoteAnswer:
		r.array(3)
		m := &VoteAnswer{Term: r.term()}
		m.Pre, m.Granted = r.flags()
		m.Write = time.Duration(r.nanos())
		return m
	case KindReadIndex:
		r.array(4)
		return &ReadIndex{Origin: r.member(), Run: r.run(), Request: r.uint(), Held: r.index()}
	case KindReadIndexAnswer:
		r.array(7)
		return &ReadIndexAnswer{Run: r.run(), Request: r.uint(), Index: r.index(), Sum: r.sum(), Code: r.code(), Leader: r.member(), Term: r.term()}
	case KindTimeoutNow:
		r.array(1)
		return &TimeoutNow{Term: r.term()}
	case KindFollow:
		r.array(0)
		return &Follow{}
	case KindStanding:
		r.array(3)
		return &Standing{Starts: r.uint(), Run: r.run(), Sequence: Sequence(r.uint())}
	case KindForward:
		r.array(3)
		return &Forward{Run: r.run(), Request: r.uint(), Command: r.bin(EntryBytesMax)}
	case KindForwardAnswer:
		r.array(5)
		return &ForwardAnswer{Run: r.run(), Request: r.uint(), Leader: r.member(), Term: r.term(), Result: r.result()}
	}
	return r.gossip(kind)
}

func (r *reader) run() RunID { return RunID(r.uint()) }

// appendFlags writes two booleans in one byte.
func appendFlags(dst []byte, a, b bool) []byte {
	var v byte
	if a {
		v |= 1
	}
	if b {
		v |= 2
	}
	return append(dst, v)
}

func (r *reader) flags() (a, b bool) {
	v := r.uintTo(3)
	return v&1 != 0, v&2 != 0
}

func (m *Vote) append(dst []byte) []byte {
	dst = appendArray(dst, 5)
	dst = appendUint(dst, uint64(m.Term))
	dst = appendFlags(dst, m.Pre, m.Transfer)
	dst = appendUint(dst, uint64(m.LastIndex))
	dst = appendUint(dst, uint64(m.LastTerm))
	return appendUint(dst, uint64(max(m.Wait, 0)))
}

func (r *reader) vote() *Vote {
	r.array(5)
	m := &Vote{Term: r.term()}
	m.Pre, m.Transfer = r.flags()
	m.LastIndex, m.LastTerm = r.index(), r.term()
	m.Wait = time.Duration(r.nanos())
	return m
}

func (m *Append) append(dst []byte) []byte {
	dst = appendArray(dst, 5)
	dst = appendUint(dst, uint64(m.Term))
	dst = appendUint(dst, uint64(m.PrevIndex))
	dst = appendUint(dst, uint64(m.PrevTerm))
	dst = appendUint(dst, uint64(m.Commit))
	return appendEntries(dst, m.Entries)
}

func (r *reader) append() *Append {
	r.array(5)
	m := &Append{Term: r.term(), PrevIndex: r.index(), PrevTerm: r.term(), Commit: r.index()}
	m.Entries = r.entries()
	m.Last = m.PrevIndex + Index(len(m.Entries))
	if len(m.Entries) > 0 && (m.Entries[0].Index != m.PrevIndex+1 || m.Entries[0].Term < m.PrevTerm) {
		r.fail(fmt.Sprintf("an append after %d@%d begins with %s", m.PrevIndex, m.PrevTerm, m.Entries[0]))
	}
	return m
}

func (m *AppendAnswer) append(dst []byte) []byte {
	dst = appendArray(dst, 6)
	dst = appendUint(dst, uint64(m.Term))
	dst = appendFlags(dst, m.Reject, m.Passive)
	dst = appendUint(dst, uint64(m.Index))
	dst = appendUint(dst, uint64(m.HintIndex))
	dst = appendUint(dst, uint64(m.HintTerm))
	return appendUint(dst, uint64(m.Run))
}

func (r *reader) appendAnswer() *AppendAnswer {
	r.array(6)
	m := &AppendAnswer{Term: r.term()}
	m.Reject, m.Passive = r.flags()
	m.Index, m.HintIndex, m.HintTerm, m.Run = r.index(), r.index(), r.term(), r.run()
	return m
}

func (m *ReadIndex) append(dst []byte) []byte {
	dst = appendArray(dst, 4)
	dst = appendID(dst, m.Origin)
	dst = appendUint(dst, uint64(m.Run))
	dst = appendUint(dst, m.Request)
	return appendUint(dst, uint64(m.Held))
}

func (m *ReadIndexAnswer) append(dst []byte) []byte {
	dst = appendArray(dst, 7)
	dst = appendUint(dst, uint64(m.Run))
	dst = appendUint(dst, m.Request)
	dst = appendUint(dst, uint64(m.Index))
	dst = appendSum(dst, m.Sum)
	dst = appendString(dst, string(m.Code))
	dst = appendID(dst, m.Leader)
	return appendUint(dst, uint64(m.Term))
}

func (m *Forward) append(dst []byte) []byte {
	dst = appendArray(dst, 3)
	dst = appendUint(dst, uint64(m.Run))
	dst = appendUint(dst, m.Request)
	return appendBin(dst, m.Command)
}

func (m *ForwardAnswer) append(dst []byte) []byte {
	dst = appendArray(dst, 5)
	dst = appendUint(dst, uint64(m.Run))
	dst = appendUint(dst, m.Request)
	dst = appendID(dst, m.Leader)
	dst = appendUint(dst, uint64(m.Term))
	return m.Result.append(dst)
}

// appendEntries writes a run as an array of entries, from their Raw.
func appendEntries(dst []byte, entries []Entry) []byte {
	dst = appendArray(dst, len(entries))
	for i := range entries {
		dst = append(dst, entries[i].Raw...)
	}
	return dst
}

// entries reads a run that a message carries, with the limits of one message.
func (r *reader) entries() []Entry {
	n := r.arrayTo(AppendEntriesMax, entryBytesMin)
	if n == 0 {
		return nil
	}
	before := len(r.src)
	out := make([]Entry, n)
	for i := range out {
		size := decodeEntry(&out[i], r.src)
		if size == 0 {
			r.err = entryFault(r.src)
			r.src = nil
			return nil
		}
		if i > 0 && !out[i].follows(&out[i-1]) {
			r.fail(fmt.Sprintf("%s follows %s", out[i], out[i-1]))
			return nil
		}
		r.src = r.src[size:]
	}
	if total := before - len(r.src); total > AppendBytesMax && n > 1 {
		r.fail("more bytes of entries than one message carries")
		return nil
	}
	return out
}

// MessageSize returns how many bytes AppendMessage adds, or a few more. It
// costs little, so that a sender can decide between datagram and stream and
// get a buffer of the right size before it encodes.
func MessageSize(m Message) int {
	switch m := m.(type) {
	case *Append:
		return 1 + 1 + 4*9 + 5 + RawSize(m.Entries)
	case *Frame:
		if m.Body != nil {
			return 1 + 1 + 2 + len(m.Body)
		}
		return FrameOverheadMax + FrameSealBytesMax + RawSize(m.Entries)
	case *Forward:
		return 1 + 1 + 2*9 + 5 + len(m.Command)
	case *ForwardAnswer:
		return 1 + 1 + 3*9 + 18 + m.Result.size()
	case *Have:
		return 1 + 1 + 4*9 + 5 + len(m.Holes)*18 + 9 + 18 + 1 + len(m.Checkpoints)*9 + 2 + 2*9 + 4*9 + behindBytesMax + sealSize(&m.Seal)
	case *Want:
		return 1 + 1 + 5 + len(m.Ranges)*18 + 9 + 1
	case *Busy:
		return 1 + 1 + 9 + 5 + len(m.Others)*18
	case *ReadIndexAnswer:
		return 1 + 1 + 4*9 + sumBytes + 2 + len(m.Code) + 18
	case *SumAnswer:
		return 1 + 1 + 9 + 1 + 18 + sealSize(&m.Seal)
	}
	return checkpointingSize(m)
}

// behindBytesMax bounds what Behind takes in a Have.
const behindBytesMax = 1 + 2*9 + 5 + 1

// sumBytes is what a log sum takes.
const sumBytes = 2 + 16

// messageBytesMax bounds the messages that have no variable part.
const messageBytesMax = 64
