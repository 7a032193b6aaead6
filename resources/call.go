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
// duplicates, all changes of one entry together. The first item has no changes
// and says from which index on the stream tells everything.
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
	Level protocol.Level
	Info  *Info
}

// Info is what a call tells besides its answer.
type Info struct {
	// Index is where the command was applied, or the query read.
	Index protocol.Index
	// Age, if AgeKnown, is an upper bound on how old the state was that a
	// local query read: no write acknowledged longer ago is missing from it.
	Age      time.Duration
	AgeKnown bool
}

// Local makes a query read what the member at hand has.
func Local(o *Options) { o.Level = protocol.Local }

// Linearizable makes a query see every write acknowledged before it began. It
// is the default.
func Linearizable(o *Options) { o.Level = protocol.Linearizable }

// WithLevel sets the level of a query.
func WithLevel(level protocol.Level) Option { return func(o *Options) { o.Level = level } }

// WithInfo has the call fill in info, also when the operation itself answers an
// error.
func WithInfo(info *Info) Option { return func(o *Options) { o.Info = info } }

// OptionsOf returns what options amount to.
func OptionsOf(opts []Option) Options {
	var o Options
	for _, opt := range opts {
		opt(&o)
	}
	return o
}

func (o *Options) tell(r *protocol.Result) {
	if o.Info != nil {
		*o.Info = Info{Index: r.Index, Age: time.Duration(r.Age), AgeKnown: r.AgeKnown}
	}
}

// answer decodes a result. An answer that comes with an error is decoded too.
func answer[R any](result protocol.Result, err error, opts []Option) (R, error) {
	var zero R
	if err != nil {
		return zero, err
	}
	o := OptionsOf(opts)
	o.tell(&result)
	failed := result.Err()
	if len(result.Data) == 0 {
		return zero, failed
	}
	value, err := ParseValue[R](result.Data)
	if failed != nil {
		return value, failed
	}
	return value, err
}
