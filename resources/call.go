package resources

import (
	"context"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// Caller carries operations to a cluster: a member embedded in this process, or
// a remote client. It is safe for use by many goroutines.
type Caller interface {
	// Command runs a command at most once, however often it is sent. The
	// caller fills in session, sequence and floor, and retries what can be
	// retried until ctx ends. The error is about reaching the cluster; what
	// the command itself answered is in the result.
	Command(ctx context.Context, c protocol.Command) (protocol.Result, error)
	// Query runs a query at the level that it names.
	Query(ctx context.Context, q protocol.Query) (protocol.Result, error)
	// Watch follows the changes of a resource.
	Watch(ctx context.Context, w protocol.Watch) (WatchStream, error)
}

// WatchStream yields what a watch asked for: in order, without gaps or
// duplicates, all changes of one entry together. An item without changes says up to which
// index everything was told: the first where the stream begins, and others, about
// once a second, how far it is while nothing that it tells is written.
type WatchStream interface {
	// Next waits for the next changes. ErrSlowWatcher: the stream was not
	// read fast enough and has ended. The result must not be changed.
	Next(ctx context.Context) (protocol.Changes, error)
	// Close ends the stream; a Next that waits returns ErrClosed.
	Close()
}

// Option changes one call of an operation.
type Option func(*Options)

// Options are what the options of a call amount to.
type Options struct {
	Consistency protocol.Consistency
	// Seen, MaxAge and NoForwarding are those of a protocol.Query.
	Seen         protocol.Index
	MaxAge       time.Duration
	NoForwarding bool
	Info         *Info
}

// Info is what a call tells besides its answer.
type Info struct {
	// Index is where the command was applied, or the query read.
	Index uint64
	// Age, if AgeKnown, is an upper bound on how old the state is that a
	// query read, when its answer is here: no write acknowledged longer ago is
	// missing from it. What the answer took on its way is in it.
	Age      time.Duration
	AgeKnown bool
}

// Local makes a query read what the member at hand has.
func Local(o *Options) { o.Consistency = protocol.Local }

// Linearizable makes a query see every write acknowledged before it began. It
// is the default.
func Linearizable(o *Options) { o.Consistency = protocol.Linearizable }

// OwnWrites makes a query read what the member at hand has, once that is no older
// than what its caller has seen: a caller reads its own writes and never reads
// backwards, whichever member answers.
func OwnWrites(o *Options) { o.Consistency = protocol.Session }

// AtLeast makes a query wait for a state that has reached an index, of whatever
// caller. It is OwnWrites with that index seen too; with [MaxStale] both hold.
func AtLeast(index uint64) Option {
	return func(o *Options) {
		o.Seen = max(o.Seen, protocol.Index(index))
		if o.Consistency != protocol.MaxStale {
			o.Consistency = protocol.Session
		}
	}
}

// MaxStale makes a query see every write that was acknowledged d or longer
// before it began. The member at hand answers if it can prove that of its
// state. Otherwise it waits a little, then asks the leader as [Linearizable]
// does, and if that fails too, it fails with protocol.ErrTooStale.
func MaxStale(d time.Duration) Option {
	return func(o *Options) { o.Consistency, o.MaxAge = protocol.MaxStale, d }
}

// NoForwarding keeps a query at [MaxStale] from asking the leader.
func NoForwarding(o *Options) { o.NoForwarding = true }

// WithLevel sets the level of a query.
func WithLevel(level protocol.Consistency) Option { return func(o *Options) { o.Consistency = level } }

// WithInfo has the call fill in info, also when the operation itself answers an
// error.
func WithInfo(info *Info) Option { return func(o *Options) { o.Info = info } }

// OptionsOf returns what options amount to.
func OptionsOf(opts []Option) Options {
	if len(opts) == 0 {
		return Options{} // which costs no memory
	}
	return optionsOf(opts)
}

func optionsOf(opts []Option) Options {
	var o Options
	for _, opt := range opts {
		if opt != nil {
			opt(&o)
		}
	}
	return o
}

// query returns the query of a call.
func (o *Options) query(resource, typ, operation string, argument []byte) protocol.Query {
	return protocol.Query{
		Resource: resource, Type: typ, Operation: operation, Argument: argument,
		Consistency: o.Consistency, Seen: o.Seen, MaxAge: int64(o.MaxAge), NoForwarding: o.NoForwarding,
	}
}

func (o *Options) tell(r *protocol.Result) {
	if o.Info != nil {
		*o.Info = Info{Index: uint64(r.Index), Age: time.Duration(r.Age), AgeKnown: r.AgeKnown}
	}
}

// answerTo decodes a result. An answer that comes with an error is decoded too.
// malformed is why an answer that comes without one cannot be.
func answerTo[R any](o *Options, result protocol.Result, err error) (value R, failed, malformed error) {
	if err != nil {
		return value, err, nil
	}
	o.tell(&result)
	failed = result.Err()
	if len(result.Data) == 0 {
		return value, failed, nil
	}
	value, err = ParseValue[R](result.Data)
	if failed == nil {
		malformed = err
	}
	return value, failed, malformed
}
