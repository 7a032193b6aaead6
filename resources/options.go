package resources

import (
	"fmt"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// ReadOption changes one read: its level ([Linearizable], the default, [OwnWrites],
// [MaxStale] or [Local]), and what goes with that. A read has one level: two are refused with
// protocol.ErrInvalid.
type ReadOption interface{ read(o *options) }

// WriteOption changes one write.
type WriteOption interface{ write(o *options) }

// CallOption changes a read or a write.
type CallOption interface {
	ReadOption
	WriteOption
}

// options are what the options of a call amount to.
type options struct {
	level        level
	given        bool // somebody has chosen the level
	otherwise    level
	other        *level // another one than that was chosen, too
	least        bool
	seen         Index // of a protocol.Query
	noForwarding bool
	info         *Info
}

// level is a level, and the age that goes with MaxStale.
type level struct {
	kind protocol.Consistency
	age  time.Duration
}

// String returns the name of the level's option.
func (l level) String() string {
	switch l.kind {
	case protocol.Linearizable:
		return "Linearizable"
	case protocol.Session:
		return "OwnWrites"
	case protocol.MaxStale:
		return fmt.Sprintf("MaxStale(%v)", l.age)
	}
	return "Local"
}

func (l level) read(o *options) {
	if o.given && o.level != l {
		o.other = &l
	}
	o.level, o.given = l, true
}

// readOption is any other option of a read.
type readOption func(o *options)

func (f readOption) read(o *options) { f(o) }

// Linearizable makes a query see every write acknowledged before it began. It
// is the default.
var Linearizable ReadOption = level{kind: protocol.Linearizable}

// Local makes a query read what the member at hand has.
var Local ReadOption = level{kind: protocol.Local}

// OwnWrites makes a query read what the member at hand has, once that is no older
// than what its caller has seen: a caller reads its own writes and never reads
// backwards, whichever member answers.
var OwnWrites ReadOption = level{kind: protocol.Session}

// AtLeast makes a query wait for a state that has reached an index, of whatever
// caller. It is OwnWrites with that index seen too; with [MaxStale] both hold.
func AtLeast(index Index) ReadOption {
	return readOption(func(o *options) { o.seen, o.least = max(o.seen, index), true })
}

// MaxStale makes a query see every write that was acknowledged d or longer
// before it began. The member at hand answers if it can prove that of its
// state. Otherwise it waits a little, then asks the leader as [Linearizable]
// does, and if that fails too, it fails with protocol.ErrTooStale.
func MaxStale(d time.Duration) ReadOption { return level{kind: protocol.MaxStale, age: d} }

// WithLevel is the option of a level.
func WithLevel(kind protocol.Consistency) ReadOption { return level{kind: kind} }

// NoForwarding keeps a query at [MaxStale] from asking the leader.
var NoForwarding ReadOption = readOption(func(o *options) { o.noForwarding = true })

// Otherwise gives a query a level if no other option does: what calls a query for somebody
// else has a default of its own in this way.
func Otherwise(kind protocol.Consistency) ReadOption {
	return readOption(func(o *options) { o.otherwise = level{kind: kind} })
}

// WithInfo has the call fill in info, also when the operation itself answers an
// error.
func WithInfo(info *Info) CallOption { return withInfo{info} }

type withInfo struct{ info *Info }

func (w withInfo) read(o *options)  { o.info = w.info }
func (w withInfo) write(o *options) { o.info = w.info }

// readOptions returns what options amount to.
func readOptions(opts []ReadOption) (options, error) {
	if len(opts) == 0 {
		return options{}, nil // which costs no memory
	}
	return evaluated(opts)
}

func evaluated(opts []ReadOption) (options, error) {
	var o options
	for _, opt := range opts {
		if opt != nil {
			opt.read(&o)
		}
	}
	if !o.given {
		o.level = o.otherwise
		if o.least && o.level.kind != protocol.MaxStale {
			o.level = level{kind: protocol.Session}
		}
	}
	switch {
	case o.other != nil:
		return o, protocol.ErrInvalid.With(fmt.Sprintf("a read has one level, and %v was asked for beside another one", *o.other))
	case o.least && o.level.kind != protocol.Session && o.level.kind != protocol.MaxStale:
		return o, protocol.ErrInvalid.With(fmt.Sprintf("AtLeast goes with OwnWrites, which it is without another level, and with MaxStale, not with %v", o.level))
	}
	return o, nil
}

func writeOptions(opts []WriteOption) *Info {
	var o options
	for _, opt := range opts {
		if opt != nil {
			opt.write(&o)
		}
	}
	return o.info
}
