package wire

import "time"

// Options are the limits of connections. A zero field means its default.
type Options struct {
	// HandshakeTimeout bounds the time from the first byte to the end of the
	// handshake. Default 5 s.
	HandshakeTimeout time.Duration
	// FrameTimeout bounds the time in which a frame that has begun must be
	// there as a whole. Default 30 s.
	FrameTimeout time.Duration
	// IdleTimeout closes an accepted stream on which nothing comes or goes but signs
	// of life, and no request is in flight. Default 10 min.
	IdleTimeout time.Duration
	// WriteTimeout closes a connection whose peer takes nothing for so long.
	// Default 10 s.
	WriteTimeout time.Duration
	// DialTimeout bounds an attempt until there is a connection, within
	// HandshakeTimeout. Default: HandshakeTimeout alone; 1 s for a Peer, whose links
	// that work again are used again about as soon as this and Silence say.
	DialTimeout time.Duration
	// Silence is how long a connection is kept while the kernel of the other side
	// acknowledges nothing of what was sent. Default 15 s; 2 s for a Peer. The pings
	// of a client notice far earlier. Where the system has no such bound, it has its
	// own.
	Silence time.Duration
	// SignTimeout is how long a link to another member may leave a ping without any
	// sign of life before it ends, and is made anew; and four times in as long an accepted stream says
	// that its side is at work while it hands a message over, which may have to wait. Longer than a member
	// that is well stands still. Members of releases that do not answer pings are
	// sent none. Default: none are sent.
	SignTimeout time.Duration
	// QueueBytes and QueueFrames bound what waits to be written, per lane
	// (urgent, data, bulk).
	// Defaults 4 MiB and 1,024; a server's streams to clients take four times
	// as much, because their overflow closes the connection.
	QueueBytes  int
	QueueFrames int
}

// Defaults of Options.
const (
	handshakeTimeoutDefault = 5 * time.Second
	frameTimeoutDefault     = 30 * time.Second
	idleTimeoutDefault      = 10 * time.Minute
	writeTimeoutDefault     = 10 * time.Second
	silenceDefault          = 15 * time.Second
	queueBytesDefault       = 4 << 20
	queueFramesDefault      = 1024
)

func (o Options) withDefaults() Options {
	setDefault(&o.HandshakeTimeout, handshakeTimeoutDefault)
	setDefault(&o.FrameTimeout, frameTimeoutDefault)
	setDefault(&o.IdleTimeout, idleTimeoutDefault)
	setDefault(&o.WriteTimeout, writeTimeoutDefault)
	setDefault(&o.DialTimeout, o.HandshakeTimeout)
	setDefault(&o.Silence, silenceDefault)
	setDefault(&o.QueueBytes, queueBytesDefault)
	setDefault(&o.QueueFrames, queueFramesDefault)
	return o
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
