package resources

import (
	"context"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// Index is a position in the replicated log. What was written is at the index of its entry,
// and so is the version of a value; 0 is none.
type Index = protocol.Index

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

// Info is what a call tells besides its answer.
type Info struct {
	// Index is where the command was applied, or the query read.
	Index Index
	// Age, if AgeKnown, is an upper bound on how old the state is that a
	// query read, when its answer is here: no write acknowledged longer ago is
	// missing from it. What the answer took on its way is in it.
	Age      time.Duration
	AgeKnown bool
}

// query returns the query of a call.
func (o *options) query(resource, typ, operation string, argument []byte) protocol.Query {
	return protocol.Query{
		Resource: resource, Type: typ, Operation: operation, Argument: argument,
		Consistency: o.level.kind, Seen: o.seen, MaxAge: int64(o.level.age), NoForwarding: o.noForwarding,
	}
}

func (o *options) tell(r *protocol.Result) {
	if o.info != nil {
		*o.info = Info{Index: r.Index, Age: time.Duration(r.Age), AgeKnown: r.AgeKnown}
	}
}

// answerTo decodes a result. An answer that comes with an error is decoded too.
// malformed is why an answer that comes without one cannot be.
func answerTo[R any](o *options, result protocol.Result, err error) (value R, failed, malformed error) {
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
