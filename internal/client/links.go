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

// link is the connection to one address. Whoever holds the turn may dial.
type link struct {
	turn chan struct{}
	conn Conn // guarded by turn; nil or broken: dial
}

// connect returns the connection to an address, and makes one if there is none.
// Until it returns nothing has been sent: its errors have the codes of
// protocol.ErrUnavailable or of a refusal.
func (r *Remote) connect(ctx context.Context, address string) (Conn, error) {
	l, err := r.link(address)
	if err != nil {
		return nil, err
	}
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-ctx.Done():
		return nil, protocol.ErrUnavailable.With("another call is connecting to " + address).Because(ctx.Err())
	}
	if l.conn != nil {
		select {
		case <-l.conn.Done():
			cause := l.conn.Err()
			_ = l.conn.Close()
			l.conn = nil
			if silent := (*wire.SilentError)(nil); errors.As(cause, &silent) {
				// Its kernel may take a connection all the same: others first.
				r.endpoints.Unreachable(address, time.Now().Add(r.cfg.BackOff))
				return nil, protocol.ErrUnavailable.Because(cause)
			}
		default:
			return l.conn, nil
		}
	}
	dialling, cancel := context.WithTimeout(ctx, r.cfg.DialTimeout)
	defer cancel()
	defer context.AfterFunc(r.alive, cancel)()
	conn, err := r.cfg.Dial(dialling, address, r.endpoints.Cluster())
	if err != nil {
		if ctx.Err() == nil {
			r.endpoints.Unreachable(address, time.Now().Add(r.cfg.BackOff))
		}
		if !attempt.TurnedAway(err) {
			err = &protocol.Error{Code: protocol.ErrUnavailable.Code, Text: err.Error(), Cause: err}
		}
		return nil, err
	}
	if r.isClosed() {
		_ = conn.Close()
		return nil, protocol.ErrClosed
	}
	l.conn = conn
	r.endpoints.Reached(address)
	return conn, nil
}

func (r *Remote) link(address string) (*link, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, protocol.ErrClosed
	}
	l := r.links[address]
	if l == nil {
		l = &link{turn: make(chan struct{}, 1)}
		r.links[address] = l
	}
	return l, nil
}

func (l *link) close() {
	l.turn <- struct{}{}
	defer func() { <-l.turn }()
	if l.conn != nil {
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
		l.close()
	}
}
