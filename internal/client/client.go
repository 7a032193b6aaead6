package client

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/starlinghq/starling/internal/attempt"
	"github.com/starlinghq/starling/internal/sessionop"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
)

// Transport carries single requests to a member. It may be used from any
// number of goroutines.
type Transport interface {
	// Do returns the response, or an error if there is none. An error with the
	// code of ErrUnavailable, ErrNoLeader, ErrNotLeader, ErrOverloaded or
	// ErrClosed says that the request has not been received; anything else
	// that it may have been. Do returns soon after ctx has ended, and does not
	// keep the request.
	Do(ctx context.Context, q *protocol.Request) (*protocol.Response, error)
	// Watch returns a stream of changes; ctx bounds its opening only.
	Watch(ctx context.Context, w *protocol.Watch) (resources.WatchStream, error)
	// Close ends what is in flight with an error.
	Close() error
}

// Config tunes a Client. A zero field means its default.
type Config struct {
	// SessionTimeout is how long the cluster remembers the session of a client
	// that it does not hear. Default protocol.SessionTimeoutDefault. The client
	// sends a keep-alive every third of it.
	SessionTimeout time.Duration
	// RetryMin and RetryMax bound the pause before a request is sent again. It
	// doubles from one to the other, less up to half of it at random. Defaults
	// 5 ms and 500 ms.
	RetryMin, RetryMax time.Duration
}

// Bounds and defaults of a Config.
const (
	RetryMinDefault = 5 * time.Millisecond
	RetryMaxDefault = 500 * time.Millisecond
	// closePatience bounds how long Close tries to end the session. A session
	// that is not ended expires.
	closePatience = time.Second
)

func (cfg *Config) setDefaults() error {
	if cfg.SessionTimeout == 0 {
		cfg.SessionTimeout = protocol.SessionTimeoutDefault
	}
	if cfg.RetryMin == 0 {
		cfg.RetryMin = RetryMinDefault
	}
	if cfg.RetryMax == 0 {
		cfg.RetryMax = max(RetryMaxDefault, cfg.RetryMin)
	}
	var wrong []error
	if cfg.SessionTimeout < protocol.SessionTimeoutMin || cfg.SessionTimeout > protocol.SessionTimeoutMax {
		wrong = append(wrong, fmt.Errorf("a session's timeout is from %v to %v, not %v",
			protocol.SessionTimeoutMin, protocol.SessionTimeoutMax, cfg.SessionTimeout))
	}
	if cfg.RetryMin < 0 || cfg.RetryMax < cfg.RetryMin {
		wrong = append(wrong, fmt.Errorf("pauses between attempts are from %v to %v", cfg.RetryMin, cfg.RetryMax))
	}
	if len(wrong) > 0 {
		return protocol.ErrInvalid.Because(errors.Join(wrong...))
	}
	return nil
}

// errNone is what a nil Client says: the Node or Client over it is a zero value.
var errNone = protocol.ErrInvalid.With("there is no member to ask: the Node did not come from Open, or the Client not from Dial")

// Client sends commands and queries. Its session is opened by the first
// command and kept alive by one goroutine until Close. It may be used from any
// number of goroutines. A nil one answers everything with ErrInvalid.
type Client struct {
	transport Transport
	cfg       Config

	opening    chan struct{} // holds a token while somebody opens a session
	closing    chan struct{} // closed by Close
	keepAlives sync.WaitGroup
	alive      context.Context // ends with closing; for the requests that keep sessions alive
	end        context.CancelFunc

	waiting waiting      // for a place in the session's window
	watches atomic.Int64 // that are not closed
	shared  sharedStreams

	seen seen // goes into each read at the level Session
	// noSession is why the session that is being opened is not there yet.
	noSession atomic.Pointer[error]

	mu      sync.Mutex
	session *session // nil before the first command and after an expiry
	closed  bool
}

// New returns a client over a transport, which Close will close.
func New(transport Transport, cfg Config) (*Client, error) {
	if err := cfg.setDefaults(); err != nil {
		return nil, err
	}
	c := &Client{transport: transport, cfg: cfg, opening: make(chan struct{}, 1), closing: make(chan struct{})}
	c.alive, c.end = context.WithCancel(context.Background())
	c.meet()
	return c, nil
}

// meet takes what the transport has seen without being asked for anything.
func (c *Client) meet() {
	if met, ok := c.transport.(interface{ Seen() protocol.Index }); ok {
		c.seen.raise(met.Seen())
	}
}

// Seen returns the highest index that the client has seen; 0 of one that is nil.
func (c *Client) Seen() protocol.Index {
	if c == nil {
		return 0
	}
	c.meet()
	return c.seen.index()
}

// Command executes a command at most once. Session, Sequence and Floor are
// filled in; the argument must not be changed any more.
//
// It is retried until ctx ends if it has not happened and may work later, or
// if it may have happened: it takes effect once all the same. What the command
// itself answers, an error too (a condition that was not met), is in the
// result. A command that no member would take is not sent at all: the error is
// what its Validate says. The others: ErrUnknownOutcome if the command may or may not have happened,
// ErrSessionExpired, which wraps that, if the session is gone and the command may have
// been received before (one that was not is sent in a new session),
// ErrClosed, ErrOverloaded at once if too many wait already, and when ctx ends, an
// error that wraps the last refusal and the context's; ErrUnavailable if it had ended
// before.
func (c *Client) Command(ctx context.Context, command protocol.Command) (protocol.Result, error) {
	if err := c.enter(ctx, &command); err != nil {
		return protocol.Result{}, err
	}
	for pause := c.pause(); ; {
		s, sequence, err := c.place(ctx)
		c.waiting.leave(len(command.Argument))
		if err != nil {
			return protocol.Result{}, err
		}
		news := c.news()
		result, anew, err := c.send(ctx, s, sequence, command)
		s.release(sequence)
		if !anew {
			return result, err
		}
		// Sessions may be ended as fast as they are opened, where there are too many.
		if c.waitFor(ctx, pause, news, err) != nil {
			return protocol.Result{}, attempt.GaveUp(ctx.Err(), err)
		}
		if err := c.waiting.enter(len(command.Argument)); err != nil {
			return protocol.Result{}, err
		}
	}
}

// enter refuses a command that is not to be sent, and counts the others among those that
// wait.
func (c *Client) enter(ctx context.Context, command *protocol.Command) error {
	if c == nil {
		return errNone
	}
	if err := command.Validate(); err != nil {
		return err
	}
	if command.Type == protocol.SessionType || !command.OneShot.IsZero() {
		return protocol.ErrInvalid.With("sessions are opened, kept and closed by the client itself, and it draws the numbers of what belongs to none")
	}
	if err := tooLate(ctx); err != nil {
		return err
	}
	return c.waiting.enter(len(command.Argument))
}

// place waits for a place in the window of the client's session.
func (c *Client) place(ctx context.Context) (*session, uint64, error) {
	for {
		s, err := c.current(ctx)
		if err != nil {
			return nil, 0, err
		}
		sequence, err := s.acquire(ctx)
		if errors.Is(err, errSessionGone) {
			continue // nothing was sent, so a new session will do
		}
		if err != nil {
			err = attempt.GaveUp(ctx.Err(), errFull)
		}
		return s, sequence, err
	}
}

// send makes attempts at one command of a session until there is an answer, or the session
// is gone and the command is to be sent in another one.
func (c *Client) send(ctx context.Context, s *session, sequence uint64, command protocol.Command) (_ protocol.Result, anew bool, _ error) {
	command.Session, command.Sequence = s.id, sequence
	pause := c.pause()
	var attempts attempt.Command
	for {
		news := c.news()
		command.Floor = s.floor()
		result, err := c.try(ctx, command)
		verdict, result, err := attempts.Took(result, err, ctx.Err())
		switch {
		case verdict == attempt.Expired || verdict == attempt.Anew:
			c.drop(s)
			return result, verdict == attempt.Anew, err
		case verdict == attempt.Done:
			return result, false, err
		case c.waitFor(ctx, pause, news, err) != nil:
			return protocol.Result{}, false, attempts.GaveUp(ctx.Err())
		}
	}
}

// try makes one attempt at a command. It sends a copy: an earlier one may still be on its
// way out.
func (c *Client) try(ctx context.Context, command protocol.Command) (protocol.Result, error) {
	out := &struct {
		protocol.Request
		command protocol.Command
	}{protocol.Request{Kind: protocol.RequestCommand}, command}
	out.Command = &out.command
	response, err := c.transport.Do(ctx, &out.Request)
	if err != nil {
		return protocol.Result{}, err
	}
	c.seen.raise(response.Result.Index)
	return response.Result, nil
}

// Query reads. It is retried until ctx ends if it may work later; then the
// error wraps the last refusal and the context's. What the query itself
// answers, an error too, is in the result. A query that no member would take is
// not sent at all: the error is what its Validate says. While a member is at work
// on it, it is waited for as long as ctx lasts, and stopped there when ctx ends.
//
// At the level Session it reads no state older than the client has seen in the
// answers and watches before, and is retried while members are behind that. At
// the level MaxStale it is not retried for its age: protocol.ErrTooStale is in
// the result.
func (c *Client) Query(ctx context.Context, query protocol.Query) (protocol.Result, error) {
	if c == nil {
		return protocol.Result{}, errNone
	}
	if err := query.Validate(); err != nil {
		return protocol.Result{}, err
	}
	seen := c.seen.index()
	if query.Consistency == protocol.Session {
		query.Seen = max(query.Seen, seen)
	}
	response, err := c.ask(ctx, protocol.Request{Kind: protocol.RequestQuery, Query: &query})
	if err != nil {
		return protocol.Result{}, attempt.NeverReached(ctx.Err(), &query, seen, err)
	}
	c.seen.raise(response.Result.Index)
	return response.Result, nil
}

// Status asks the member at the other end what it knows.
func (c *Client) Status(ctx context.Context) (*protocol.Status, error) {
	response, err := c.ask(ctx, protocol.Request{Kind: protocol.RequestStatus})
	if err == nil {
		err = response.Result.Err()
	}
	if err != nil {
		return nil, err
	}
	if response.Status == nil {
		return nil, protocol.ErrMalformed.With("a status was asked for and not given")
	}
	c.seen.raise(response.Status.Applied)
	return response.Status, nil
}

// ask makes attempts at a request that may be executed any number of times. A
// response may say an error in its result, but none that is worth a retry.
func (c *Client) ask(ctx context.Context, q protocol.Request) (*protocol.Response, error) {
	if c == nil {
		return nil, errNone
	}
	if err := tooLate(ctx); err != nil {
		return nil, err
	}
	pause, lacks := c.pause(), attempt.QuorumLack{}
	attempts := attempt.Question{Request: q}
	for {
		if c.isClosed() {
			return nil, protocol.ErrClosed
		}
		news, began, copied := c.news(), time.Now(), q
		response, err := c.transport.Do(ctx, &copied)
		verdict, err := attempts.Took(response, err, until(ctx, began))
		if verdict == attempt.Done {
			if err != nil {
				return nil, err
			}
			return response, nil
		}
		if q.Kind == protocol.RequestCommand {
			c.noSession.Store(&err)
		}
		if lacks.Lasts(err, time.Now()) {
			return nil, err
		}
		if ctx.Err() != nil || c.waitFor(ctx, pause, news, err) != nil {
			return nil, attempt.GaveUp(ctx.Err(), err)
		}
	}
}

// until says how long the caller of an attempt that began then still waits.
func until(ctx context.Context, began time.Time) attempt.Until {
	deadline, limited := ctx.Deadline()
	return attempt.Until{Ended: ctx.Err(), Limited: limited, Left: time.Until(deadline), All: deadline.Sub(began)}
}

// Close ends the session, if there is one and a leader can be reached within a
// second, and closes the transport. Commands in flight end with an error.
func (c *Client) Close() error {
	if c == nil {
		return errNone
	}
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return nil
	}
	c.closed = true
	s := c.session
	c.session = nil
	c.mu.Unlock()

	close(c.closing)
	c.end()
	c.keepAlives.Wait()
	if s != nil {
		c.endSession(s.id)
		s.end()
	}
	return c.transport.Close()
}

// current returns the session, and opens one if there is none.
func (c *Client) current(ctx context.Context) (*session, error) {
	if s, err := c.live(); s != nil || err != nil {
		return s, err
	}
	select { // one at a time; who waited finds the other's session
	case c.opening <- struct{}{}:
		defer func() { <-c.opening }()
	case <-ctx.Done():
		text := "another call opens the session, and has no answer so far"
		if why := c.noSession.Load(); why != nil {
			text = "another call opens the session, so far in vain: " + (*why).Error()
		}
		return nil, attempt.GaveUp(ctx.Err(), protocol.ErrUnavailable.With(text))
	case <-c.closing:
		return nil, protocol.ErrClosed
	}
	if s, err := c.live(); s != nil || err != nil {
		return s, err
	}
	s, err := c.open(ctx)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, protocol.ErrClosed // the session just opened will expire
	}
	c.session = s
	c.noSession.Store(nil)
	c.keepAlives.Add(1)
	go c.keepAlive(s)
	return s, nil
}

func (c *Client) live() (*session, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, protocol.ErrClosed
	}
	return c.session, nil
}

// open makes attempts to open a session. One that was opened without our
// hearing of it expires by itself, so it does not matter how many were.
func (c *Client) open(ctx context.Context) (*session, error) {
	command := sessionop.Open(c.cfg.SessionTimeout)
	response, err := c.ask(ctx, protocol.Request{Kind: protocol.RequestCommand, Command: &command})
	var id protocol.SessionID
	if err == nil {
		id, err = sessionop.Opened(&response.Result)
	}
	if err != nil {
		return nil, fmt.Errorf("opening a session: %w", err)
	}
	return newSession(id), nil
}

// drop forgets a session that the cluster does not know any more.
func (c *Client) drop(s *session) {
	c.mu.Lock()
	if c.session == s {
		c.session = nil
	}
	c.mu.Unlock()
	s.end()
}

// keepAlive tells the cluster that the session is still wanted, until it ends:
// more often while it is not known to have carried a command.
func (c *Client) keepAlive(s *session) {
	defer c.keepAlives.Done()
	every := min(c.cfg.SessionTimeout, protocol.SessionUnusedMax) / 3
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-s.gone:
			return
		case <-c.closing:
			return
		}
		if whole := c.cfg.SessionTimeout / 3; every < whole && s.floor() > 1 {
			every = whole // it has carried a command: it lasts from its opening
			ticker.Reset(every)
			continue
		}
		command := sessionop.KeepAlive(s.id, s.floor())
		ctx, cancel := context.WithTimeout(c.alive, every)
		response, err := c.ask(ctx, protocol.Request{Kind: protocol.RequestCommand, Command: &command})
		cancel()
		// Any other failure is not told to anybody: the next tick is another
		// chance.
		if err == nil && errors.Is(response.Result.Err(), protocol.ErrSessionExpired) {
			c.drop(s)
			return
		}
	}
}

// endSession tells the cluster, in one attempt, that the session is not wanted
// any more.
func (c *Client) endSession(id protocol.SessionID) {
	ctx, cancel := context.WithTimeout(context.Background(), closePatience)
	defer cancel()
	command := sessionop.Close(id)
	_, _ = c.transport.Do(ctx, &protocol.Request{Kind: protocol.RequestCommand, Command: &command})
}

func (c *Client) isClosed() bool {
	select {
	case <-c.closing:
		return true
	default:
		return false
	}
}
