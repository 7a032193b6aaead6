package client

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/starlinghq/starling/internal/attempt"
	"github.com/starlinghq/starling/internal/wire"
	"github.com/starlinghq/starling/protocol"
)

// link is the connection to one address, or the attempt to make it. What came of it belongs to
// whoever makes it until done is closed, and is not changed afterwards.
type link struct {
	began time.Time
	done  chan struct{}
	conn  Conn
	err   error

	watched watched
}

// made reports whether it is known what came of a link.
func (l *link) made() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

// connect returns the connection to an address, and makes one if there is none.
// Until it returns nothing has been sent: its errors have the codes of
// protocol.ErrUnavailable or of a refusal.
func (r *Remote) connect(ctx context.Context, address string) (Conn, error) {
	l, err := r.linked(ctx, address)
	if err != nil {
		return nil, err
	}
	return l.conn, nil
}

// linked is connect for who needs the link.
func (r *Remote) linked(ctx context.Context, address string) (*link, error) {
	l, err := r.link(address)
	if err != nil {
		return nil, err
	}
	if l.made() {
		return l, l.err
	}
	select {
	case <-l.done:
		return l, l.err
	case <-ctx.Done():
		return nil, unmade(address, ctx.Err())
	}
}

// unmade is the error of who did not wait for a connection. How that ended is in its text
// where the call's is told.
func unmade(address string, ended error) error {
	return &protocol.Error{Code: protocol.ErrUnavailable.Code, Text: address + " does not take a connection in time", Cause: ended}
}

// link returns the connection to an address, or the attempt that is under way, or begins
// one: it goes on without its caller, for whoever asks next.
func (r *Remote) link(address string) (*link, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, protocol.ErrClosed
	}
	if l := r.links[address]; l != nil && !l.made() {
		return l, nil
	} else if l != nil && l.err == nil {
		select {
		case <-l.conn.Done():
			cause := l.conn.Err()
			_ = l.conn.Close()
			delete(r.links, address)
			if silent := (*wire.SilentError)(nil); errors.As(cause, &silent) {
				// Its kernel may take a connection all the same: others first.
				r.endpoints.Unreachable(address, time.Now().Add(r.cfg.BackOff))
				return nil, protocol.ErrUnavailable.Because(cause)
			}
		default:
			return l, nil
		}
	}
	l := &link{began: time.Now(), done: make(chan struct{})}
	r.links[address] = l
	r.done.Go(func() { r.make(l, address) })
	return l, nil
}

// make makes a connection.
func (r *Remote) make(l *link, address string) {
	dialling, cancel := context.WithTimeout(r.alive, r.cfg.DialTimeout)
	defer cancel()
	conn, err := r.cfg.Dial(dialling, address, r.endpoints.Cluster())
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case err != nil:
		if r.alive.Err() == nil {
			r.endpoints.Unreachable(address, time.Now().Add(r.cfg.BackOff))
		}
		if !attempt.TurnedAway(err) {
			err = &protocol.Error{Code: protocol.ErrUnavailable.Code, Text: err.Error(), Cause: err}
		}
	case r.closed:
		_ = conn.Close()
		conn, err = nil, protocol.ErrClosed
	case r.links[address] != l:
		_ = conn.Close()
		conn, err = nil, protocol.ErrUnavailable.With(address+" is not asked any more: there is no member there")
	default:
		r.endpoints.Reached(address)
	}
	l.conn, l.err = conn, err
	close(l.done)
	close(r.madeOne)
	r.madeOne = make(chan struct{})
}

// close closes the connection, once it is made.
func (l *link) close() {
	if <-l.done; l.conn != nil {
		_ = l.conn.Close()
	}
}

// follow asks now and then who the members are, and lets go of those that are
// none any more.
func (r *Remote) follow() {
	defer r.done.Done()
	ticker := time.NewTicker(r.cfg.Follow)
	defer ticker.Stop()
	for {
		select {
		case <-r.alive.Done():
			return
		case <-ticker.C:
		}
		if _, err := r.do(r.alive, &protocol.Request{Kind: protocol.RequestStatus}, attempt.RouteAny); err == nil {
			r.prune()
		}
		if leader := r.endpoints.Missing(); leader != "" {
			_, _ = r.connect(r.alive, leader) // if it succeeds, commands go there again
		}
	}
}

// prune closes the connections to addresses that are of no member known. The
// leader may be at one that no member has announced, and commands wait there.
func (r *Remote) prune() {
	known := r.endpoints.Order(time.Now(), attempt.RouteAny)
	leader, _ := r.endpoints.Leader()
	r.mu.Lock()
	var gone []*link
	for address, l := range r.links {
		if address != leader && !slices.Contains(known, address) {
			gone = append(gone, l)
			delete(r.links, address)
		}
	}
	r.mu.Unlock()
	for _, l := range gone {
		if l.made() {
			l.close()
		}
	}
}
