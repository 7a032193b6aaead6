package protocol

import (
	"time"
	"unicode/utf8"
)

// appendNil stands for a part that is not there.
func appendNil(dst []byte) []byte { return append(dst, codeNil) }

// isNil takes a nil off the front, if there is one.
func (r *reader) isNil() bool {
	if len(r.src) > 0 && r.src[0] == codeNil {
		r.src = r.src[1:]
		return true
	}
	return false
}

// appendText writes a text for people, cut to TextBytesMax.
func appendText(dst []byte, text string) []byte { return appendString(dst, cutText(text)) }

func cutText(text string) string {
	if len(text) <= TextBytesMax {
		return text
	}
	n := TextBytesMax
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}

func (r *reader) text() string { return r.string(TextBytesMax) }

// AppendRequest appends the encoding of a request. The field of its kind must
// be set.
func AppendRequest(dst []byte, q *Request) []byte {
	dst = appendArray(dst, 4)
	dst = appendUint(dst, q.ID)
	dst = appendUint(dst, uint64(q.Kind))
	dst = appendUint(dst, uint64(max(q.Wait, 0)))
	switch q.Kind {
	case RequestCommand:
		return AppendCommand(dst, q.Command)
	case RequestQuery:
		return q.Query.append(dst)
	case RequestWatch:
		return q.Watch.append(dst)
	case RequestMembershipChange:
		return q.MembershipChange.append(dst)
	case RequestDigest:
		return appendUint(dst, uint64(q.At))
	case RequestLeader:
		return appendUint(dst, uint64(q.Term))
	case RequestCredit:
		return appendUint(dst, q.Taken)
	case RequestJoin:
		if q.Founding != nil {
			return q.Founding.append(dst)
		}
	}
	return appendNil(dst)
}

// RequestHeadBytesMax is how many bytes of a request DecodeRequestHead needs, at
// most.
const RequestHeadBytesMax = 1 + 9 + 2

// DecodeRequestHead reads the id and the kind from the beginning of a request,
// so that one whose rest is not wanted can be answered.
func DecodeRequestHead(src []byte) (*Request, error) {
	r := reader{src: src}
	q := r.requestHead()
	if r.err != nil {
		return nil, r.err
	}
	return q, nil
}

// DecodeRequest reads what AppendRequest wrote. Arguments and prefixes, and what
// EncodedCommand returns, alias src. It does not say whether the request may be: that is its Validate.
//
// An error with a request, of which only id and kind are set, is about its body:
// ErrMalformed, or ErrUnsupported for a kind that is not known. It is for that
// request's sender, and nothing else on the stream is hurt. An error without one
// says that there is no request to answer.
func DecodeRequest(src []byte) (*Request, error) {
	r := reader{src: src}
	q := r.requestHead()
	if r.err != nil {
		return nil, r.err
	}
	head := *q
	q.Wait = time.Duration(r.nanos())
	switch q.Kind {
	case RequestCommand:
		rest := r.src
		c := r.command(FrameBytesMax, FrameBytesMax, new(namesRead))
		q.Command, q.encoded = &c, rest[:len(rest)-len(r.src):len(rest)-len(r.src)]
	case RequestQuery:
		q.Query = r.query()
	case RequestWatch:
		q.Watch = r.watch()
	case RequestMembershipChange:
		q.MembershipChange = r.membershipChange()
	case RequestDigest:
		q.At = r.index()
	case RequestLeader:
		q.Term = r.term()
	case RequestCredit:
		q.Taken = r.uint()
	case RequestJoin:
		if !r.isNil() {
			q.Founding = readFounding(&r)
		}
	case RequestCancel, RequestStatus, RequestAutopilot, RequestAge:
		if !r.isNil() {
			r.fail("a request with a body that its kind has not")
		}
	default:
		return &head, unsupported(q.Kind)
	}
	if err := r.end(); err != nil {
		return &head, err
	}
	return q, nil
}

func (r *reader) requestHead() *Request {
	r.message(4)
	return &Request{ID: r.uint(), Kind: RequestKind(r.uintTo(0xff))}
}

// autopilotBytesMax is what the settings of a policy take at most.
const autopilotBytesMax = 1 + 2 + 4*9

// RequestSize returns how many bytes AppendRequest adds, or a few more.
func RequestSize(q *Request) int {
	n := 1 + 2*9 + 1 + 9
	switch {
	case q.Command != nil:
		c := q.Command
		n += 1 + 3*9 + 5 + 3*3 + 5 + len(c.Resource) + len(c.Type) + len(c.Operation) + len(c.Argument)
	case q.Query != nil:
		n += 2 + 3*3 + 5 + 2*9 + 1 + len(q.Query.Resource) + len(q.Query.Type) + len(q.Query.Operation) + len(q.Query.Argument)
	case q.MembershipChange != nil:
		n += 1 + 9 + 4*5 + 18*(len(q.MembershipChange.Promote)+len(q.MembershipChange.Demote)+len(q.MembershipChange.Remove)+len(q.MembershipChange.Absent)) + 9 + autopilotBytesMax + 9 + 1 + 18
	case q.Watch != nil:
		n += 1 + 2*3 + 5 + 9 + 1 + len(q.Watch.Resource) + len(q.Watch.Type) + len(q.Watch.Prefix)
	}
	return n + q.Founding.size()
}

// queryParts is how many parts a query has: those levels that need no more
// than the state at hand, or the leader, are written as they always were.
func queryParts(l Consistency) int {
	if l < Session {
		return 5
	}
	return 8
}

func (q *Query) append(dst []byte) []byte {
	dst = appendArray(dst, queryParts(q.Consistency))
	dst = append(dst, byte(q.Consistency))
	dst = appendString(dst, q.Resource)
	dst = appendString(dst, q.Type)
	dst = appendString(dst, q.Operation)
	dst = appendBin(dst, q.Argument)
	if q.Consistency < Session {
		return dst
	}
	dst = appendUint(dst, uint64(q.Seen))
	dst = appendUint(dst, uint64(q.MaxAge))
	return appendBool(dst, q.NoForwarding)
}

func (r *reader) query() *Query {
	parts := r.arrayTo(queryParts(MaxStale), 1)
	q := &Query{Consistency: Consistency(r.uintTo(fixIntMax))}
	if parts != queryParts(q.Consistency) {
		r.fail("a query whose level and length do not fit")
	}
	q.Resource, q.Type, q.Operation = r.names(FrameBytesMax, new(namesRead))
	q.Argument = r.bin(FrameBytesMax)
	if q.Consistency >= Session {
		q.Seen, q.MaxAge, q.NoForwarding = r.index(), int64(r.uint()), r.bool()
	}
	return q
}

// Bits of how a watch is told.
const (
	watchLatest   = 1
	watchPrevious = 2
)

func (w *Watch) append(dst []byte) []byte {
	how := uint64(0)
	if w.Latest {
		how |= watchLatest
	}
	if w.Previous {
		how |= watchPrevious
	}
	if how != 0 { // an earlier release refuses it, and takes all others
		dst = appendArray(dst, 5)
	} else {
		dst = appendArray(dst, 4)
	}
	dst = appendString(dst, w.Resource)
	dst = appendString(dst, w.Type)
	dst = appendBin(dst, w.Prefix)
	dst = appendUint(dst, uint64(w.From))
	if how != 0 {
		dst = appendUint(dst, how)
	}
	return dst
}

func (r *reader) watch() *Watch {
	fields := r.arrayTo(5, 1)
	if fields < 4 {
		r.fail("an array of another length")
	}
	w := &Watch{Resource: r.string(FrameBytesMax), Type: r.string(FrameBytesMax), Prefix: r.bin(FrameBytesMax), From: r.index()}
	if fields > 4 {
		how := r.uintTo(watchLatest | watchPrevious)
		if w.Latest, w.Previous = how&watchLatest != 0, how&watchPrevious != 0; how == 0 {
			r.fail("a watch that is told in no way of its own")
		}
	}
	return w
}

func (s *MembershipChange) append(dst []byte) []byte {
	imposes := !s.Impose.IsZero()
	if imposes { // an earlier release refuses it, and takes all others
		dst = appendArray(dst, 11)
	} else {
		dst = appendArray(dst, 10)
	}
	dst = appendUint(dst, uint64(s.Version))
	for _, ids := range [][]MemberID{s.Promote, s.Demote, s.Remove, s.Absent} {
		dst = appendIDs(dst, ids)
	}
	dst = appendUint(dst, uint64(s.Target))
	if s.Autopilot == nil {
		dst = appendNil(dst)
	} else {
		dst = s.Autopilot.append(dst)
	}
	if s.StateBytes == nil {
		dst = appendNil(dst)
	} else {
		dst = appendUint(dst, uint64(*s.StateBytes))
	}
	dst = appendID(appendBool(dst, s.Transfer), s.Transferee)
	if imposes {
		dst = appendID(dst, s.Impose)
	}
	return dst
}

func (r *reader) membershipChange() *MembershipChange {
	fields := r.arrayTo(11, 1)
	if fields < 10 {
		r.fail("an array of another length")
	}
	s := &MembershipChange{Version: r.index(), Promote: r.memberIDs(), Demote: r.memberIDs(), Remove: r.memberIDs(), Absent: r.memberIDs()}
	s.Target = int(r.uintTo(ActivesMax))
	if !r.isNil() {
		a := r.autopilot()
		s.Autopilot = &a
	}
	if !r.isNil() {
		n := int64(r.uintTo(StateBytesMax))
		s.StateBytes = &n
	}
	s.Transfer, s.Transferee = r.bool(), r.member()
	if fields > 10 {
		if s.Impose = r.member(); s.Impose.IsZero() {
			r.fail("nobody whose state is to be imposed")
		}
	}
	return s
}

// memberIDs reads the members of one part of a change; nil if there are none.
func (r *reader) memberIDs() []MemberID {
	return readAll(r, 2*ActivesMax, 2, (*reader).member)
}

// AppendHello appends the encoding of a Hello.
func AppendHello(dst []byte, h *Hello) []byte {
	dst = h.Versions.append(appendArray(dst, 11))
	dst = appendID(dst, h.Cluster)
	dst = appendID(dst, h.Member)
	dst = appendString(dst, h.Name)
	dst = appendUint(dst, h.Starts)
	dst = appendUint(dst, uint64(h.Run))
	dst = appendUint(dst, uint64(h.Sequence))
	dst = appendText(appendString(dst, string(h.Refused)), h.Text)
	return appendBool(dst, h.AnswersPing)
}

// DecodeHello reads what AppendHello wrote.
func DecodeHello(src []byte) (Hello, error) {
	r := reader{src: src}
	r.message(10)
	h := Hello{
		Versions: r.versions(), Cluster: r.id(), Member: r.member(), Name: r.name(), Starts: r.uint(), Run: RunID(r.uint()), Sequence: Sequence(r.uint()),
		Refused: r.code(), Text: r.text(),
	}
	if r.more > 0 {
		r.more--
		h.AnswersPing = r.bool()
	}
	if err := r.end(); err != nil {
		return Hello{}, err
	}
	return h, nil
}
