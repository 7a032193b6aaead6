package protocol

import (
	"fmt"
	"time"
)

// AppendMessage appends the encoding of a message: one byte for its kind, then
// its fields. Lists must be within their limits. A Frame's Body is used as it
// is, if there is one.
func AppendMessage(dst []byte, m Message) []byte {
	return nextFields(m.append(append(dst, byte(m.Kind()))), len(dst))
}

// DecodeMessage reads what AppendMessage wrote, all of src. Entries, commands,
// results' data and bodies alias src. Of what a later version has added it passes over
// fields at the end, and a message of a kind that is not known is an Unknown.
func DecodeMessage(src []byte) (Message, error) {
	if len(src) == 0 {
		return nil, ErrMalformed.With("malformed message: empty")
	}
	r := reader{src: src[1:]}
	kind := MessageKind(src[0])
	decode := kinds[kind].decode
	if decode == nil {
		decode = func(r *reader) Message { return r.unknown(kind) }
	}
	m := decode(&r)
	r.readNext(kind)
	if err := r.end(); err != nil {
		return nil, err
	}
	return m, nil
}

func (r *reader) run() RunID { return RunID(r.uint()) }

func (m *Heartbeat) append(dst []byte) []byte {
	dst = appendArray(dst, 4)
	dst = appendUint(dst, uint64(m.Term))
	dst = appendUint(dst, uint64(m.Commit))
	return appendToken(appendUint(dst, m.Round), m.Token)
}

func decodeHeartbeat(r *reader) Message {
	r.message(3)
	return &Heartbeat{Term: r.term(), Commit: r.index(), Round: r.uint(), Token: addedToken(r)}
}

func (m *HeartbeatAnswer) append(dst []byte) []byte {
	dst = appendArray(dst, 6)
	dst = appendUint(dst, uint64(m.Term))
	dst = appendUint(dst, m.Round)
	dst = appendToken(appendBool(appendBool(dst, m.Room), m.Unfit), m.Token)
	return appendUint(dst, uint64(max(m.Takes, 0)))
}

func decodeHeartbeatAnswer(r *reader) Message {
	r.message(4)
	m := &HeartbeatAnswer{Term: r.term(), Round: r.uint(), Room: r.bool(), Unfit: r.bool(), Token: addedToken(r)}
	if r.more > 0 {
		r.more--
		m.Takes = time.Duration(r.nanos())
	}
	return m
}

func (m *VoteAnswer) append(dst []byte) []byte {
	dst = appendArray(dst, 4)
	dst = appendUint(dst, uint64(m.Term))
	dst = appendFlags(dst, m.Pre, m.Granted)
	return appendToken(appendUint(dst, uint64(max(m.Write, 0))), m.Token)
}

func decodeVoteAnswer(r *reader) Message {
	r.message(3)
	m := &VoteAnswer{Term: r.term()}
	m.Pre, m.Granted = r.flags()
	m.Write, m.Token = time.Duration(r.nanos()), addedToken(r)
	return m
}

func (m *TimeoutNow) append(dst []byte) []byte {
	return appendUint(appendArray(dst, 1), uint64(m.Term))
}

func decodeTimeoutNow(r *reader) Message {
	r.message(1)
	return &TimeoutNow{Term: r.term()}
}

func (*Activate) append(dst []byte) []byte { return appendArray(dst, 0) }

func decodeActivate(r *reader) Message {
	r.message(0)
	return &Activate{}
}

func (m *Watermark) append(dst []byte) []byte {
	dst = appendArray(dst, 3)
	dst = appendUint(dst, m.Starts)
	dst = appendUint(dst, uint64(m.Run))
	return appendUint(dst, uint64(m.Sequence))
}

func decodeWatermark(r *reader) Message {
	r.message(3)
	return &Watermark{Starts: r.uint(), Run: r.run(), Sequence: Sequence(r.uint())}
}

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
	dst = appendArray(dst, 6)
	dst = appendUint(dst, uint64(m.Term))
	dst = appendFlags(dst, m.Pre, m.Transfer)
	dst = appendUint(dst, uint64(m.LastIndex))
	dst = appendUint(dst, uint64(m.LastTerm))
	return appendToken(appendUint(dst, uint64(max(m.Wait, 0))), m.Token)
}

func decodeVote(r *reader) Message {
	r.message(5)
	m := &Vote{Term: r.term()}
	m.Pre, m.Transfer = r.flags()
	m.LastIndex, m.LastTerm = r.index(), r.term()
	m.Wait, m.Token = time.Duration(r.nanos()), addedToken(r)
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

func decodeAppend(r *reader) Message {
	r.message(5)
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

func decodeAppendAnswer(r *reader) Message {
	r.message(6)
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

func decodeReadIndex(r *reader) Message {
	r.message(4)
	return &ReadIndex{Origin: r.member(), Run: r.run(), Request: r.uint(), Held: r.index()}
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

func decodeReadIndexAnswer(r *reader) Message {
	r.message(7)
	return &ReadIndexAnswer{Run: r.run(), Request: r.uint(), Index: r.index(), Sum: r.sum(), Code: r.code(), Leader: r.member(), Term: r.term()}
}

func (m *Forward) append(dst []byte) []byte {
	dst = appendArray(dst, 3)
	dst = appendUint(dst, uint64(m.Run))
	dst = appendUint(dst, m.Request)
	return appendBin(dst, m.Command)
}

func decodeForward(r *reader) Message {
	r.message(3)
	return &Forward{Run: r.run(), Request: r.uint(), Command: r.bin(EntryBytesMax)}
}

func (m *ForwardAnswer) append(dst []byte) []byte {
	dst = appendArray(dst, 5)
	dst = appendUint(dst, uint64(m.Run))
	dst = appendUint(dst, m.Request)
	dst = appendID(dst, m.Leader)
	dst = appendUint(dst, uint64(m.Term))
	return m.Result.append(dst)
}

func decodeForwardAnswer(r *reader) Message {
	r.message(5)
	return &ForwardAnswer{Run: r.run(), Request: r.uint(), Leader: r.member(), Term: r.term(), Result: r.result()}
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
	if s, ok := m.(interface{ size() int }); ok {
		return s.size()
	}
	return messageBytesMax
}

func (m *Append) size() int { return 1 + 1 + 4*9 + 5 + RawSize(m.Entries) }

func (m *Forward) size() int { return 1 + 1 + 2*9 + 5 + len(m.Command) }

func (m *ForwardAnswer) size() int { return 1 + 1 + 3*9 + 18 + m.Result.size() }

func (m *ReadIndexAnswer) size() int { return 1 + 1 + 4*9 + sumBytes + 2 + len(m.Code) + 18 }

// sumBytes is what a log sum takes.
const sumBytes = 2 + 16

// messageBytesMax bounds the messages that have no variable part.
const messageBytesMax = 64
