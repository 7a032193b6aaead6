package protocol

// Echo goes as a datagram, and comes back as one: it asks whether datagrams get to
// another member and back. Who sends it sends a StreamEcho beside it.
type Echo struct {
	Number uint64 // at random, so that nobody answers what it has not seen
}

// EchoAnswer answers an Echo, as a datagram.
type EchoAnswer struct {
	Number uint64
}

// StreamEcho goes over a stream, and so does its answer. It asks whether the other member
// is at work, and says how the sender sends to it what fits into a datagram.
type StreamEcho struct {
	Number uint64
	State  CarrierState
}

// StreamEchoAnswer answers a StreamEcho.
type StreamEchoAnswer struct {
	Number uint64
}

// CarrierState is what a member has found out of the datagrams between it and another one.
type CarrierState uint8

const (
	// DatagramsWork is the state at first: what fits into a datagram goes as one.
	DatagramsWork CarrierState = iota
	// DatagramsDoubted says that several were not answered: all goes over the stream.
	DatagramsDoubted
	// DatagramsLost says that they do not come back while the stream does.
	DatagramsLost
)

// Kind implements Message.
func (*Echo) Kind() MessageKind             { return KindEcho }
func (*EchoAnswer) Kind() MessageKind       { return KindEchoAnswer }
func (*StreamEcho) Kind() MessageKind       { return KindStreamEcho }
func (*StreamEchoAnswer) Kind() MessageKind { return KindStreamEchoAnswer }

func (*Echo) highest() Index             { return 0 }
func (*EchoAnswer) highest() Index       { return 0 }
func (*StreamEcho) highest() Index       { return 0 }
func (*StreamEchoAnswer) highest() Index { return 0 }

func appendNumber(dst []byte, number uint64) []byte { return appendUint(appendArray(dst, 1), number) }

func (r *reader) number() uint64 {
	r.message(1)
	return r.uint()
}

func (m *Echo) append(dst []byte) []byte { return appendNumber(dst, m.Number) }

func decodeEcho(r *reader) Message { return &Echo{Number: r.number()} }

func (m *EchoAnswer) append(dst []byte) []byte { return appendNumber(dst, m.Number) }

func decodeEchoAnswer(r *reader) Message { return &EchoAnswer{Number: r.number()} }

func (m *StreamEcho) append(dst []byte) []byte {
	return appendUint(appendUint(appendArray(dst, 2), m.Number), uint64(m.State))
}

func decodeStreamEcho(r *reader) Message {
	r.message(2)
	return &StreamEcho{Number: r.uint(), State: CarrierState(r.uintTo(uint64(DatagramsLost)))}
}

func (m *StreamEchoAnswer) append(dst []byte) []byte { return appendNumber(dst, m.Number) }

func decodeStreamEchoAnswer(r *reader) Message { return &StreamEchoAnswer{Number: r.number()} }
