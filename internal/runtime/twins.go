package runtime

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/starlinghq/starling/internal/handshake"
	"github.com/starlinghq/starling/internal/wire"
	"github.com/starlinghq/starling/protocol"
)

const (
	// claimsMax bounds of how many members' ids it is looked whether two hold them.
	claimsMax = 16
	// claimsEvery is between two looks.
	claimsEvery = 5 * time.Second
)

// twins are the members whose ids the membership has heard of at two addresses. Most
// of them are restarts that were not noticed yet: only where both addresses answer,
// with that id and two runs, are there two holders. Any goroutine may use it.
type twins struct {
	mu      sync.Mutex
	claims  map[protocol.MemberID]claim
	looking bool
	next    protocol.Instant
}

// claim is an id at two addresses; held says that both were found to answer.
type claim struct {
	address, other string
	held           bool
}

// claimed hears of an id at a second address; it does not wait.
func (t *twins) claimed(existing protocol.Peer, other string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.claims == nil {
		t.claims = map[protocol.MemberID]claim{}
	}
	last, known := t.claims[existing.ID]
	if !known && len(t.claims) >= claimsMax || known && last.held {
		return
	}
	t.claims[existing.ID] = claim{address: existing.Address, other: other}
	if !known {
		t.next = 0
	}
}

// other returns the second address of a member whose id is held twice, or empty.
func (t *twins) other(id protocol.MemberID) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c := t.claims[id]; c.held {
		return c.other
	}
	return ""
}

// due returns what is to be looked at now, if nobody looks yet.
func (t *twins) due(now protocol.Instant) map[protocol.MemberID]claim {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.looking || len(t.claims) == 0 || now < t.next {
		return nil
	}
	t.looking, t.next = true, now.Add(claimsEvery)
	list := make(map[protocol.MemberID]claim, len(t.claims))
	for id, c := range t.claims {
		list[id] = c
	}
	return list
}

// found keeps what is held twice, and drops the rest: the membership says it again.
func (t *twins) found(id protocol.MemberID, c claim) (news bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	news = c.held && !t.claims[id].held
	if c.held {
		t.claims[id] = c
	} else {
		delete(t.claims, id)
	}
	return news
}

func (t *twins) looked() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.looking = false
}

// lookForTwins looks, now and then and beside everything, at ids that may be held
// twice.
func (d *directories) lookForTwins() {
	list := d.twins.due(d.m.clock.Now())
	if list == nil {
		return
	}
	d.m.workers.Go(func() {
		defer d.twins.looked()
		for id, c := range list { // order does not matter: each by itself
			ctx, cancel := context.WithTimeout(d.m.life, claimsEvery)
			d.lookForTwin(ctx, id, c)
			cancel()
		}
	})
}

// lookForTwin asks at both addresses of an id who answers.
func (d *directories) lookForTwin(ctx context.Context, id protocol.MemberID, c claim) {
	run, here := d.m.run, true
	if id != d.m.identity.Member {
		first, _, err := d.m.asker().whoIs(ctx, c.address, false)
		run, here = first.Run, err == nil && first.Member == id
	}
	second, uptime, err := d.m.asker().whoIs(ctx, c.other, id == d.m.identity.Member)
	c.held = here && err == nil && second.Member == id && second.Run != run
	if d.twins.found(id, c) {
		d.m.logger.Error("two hold one member's id: one of their directories is a copy of the other's",
			"member", id.Short(), "name", second.Name, "address", c.address, "other", c.other)
	}
	if c.held && id == d.m.identity.Member && d.m.clock.Now().Sub(d.m.started) < uptime {
		d.m.mailbox.complete(func(protocol.Instant) { d.yieldTo(second, c.other) })
	}
}

// yieldTo ends a member that is no active, because another run of it, which answers
// at another address, has run for longer. Nothing is written down: a copy finds its
// original again at its next start, and a stranger's claim, which anybody can make
// before ids are proven, must not cost a member its directory. An active goes by its
// streams with the others: what answers anywhere must not end it. Only the loop calls
// it.
func (d *directories) yieldTo(other protocol.Hello, address string) {
	conf := d.m.configured.Load()
	if conf == nil || conf.Names(d.m.identity.Member) || d.barred.Load() != nil {
		return // not known yet: it is asked again while both are there
	}
	twin := handshake.Twin(other, address)
	why := fmt.Sprintf("the member at %s has this member's id, and has run for longer: %v", address, twin)
	d.m.fail(&protocol.Error{Code: protocol.ErrTwin.Code, Text: why, Cause: twin})
}

// whoIs asks who answers at an address, and for how long it has run if that is
// wanted.
func (a asker) whoIs(ctx context.Context, address string, wantUptime bool) (who protocol.Hello, uptime time.Duration, err error) {
	conn, err := wire.DialClient(ctx, address, wire.ClientConfig{Dial: a.dial, Options: wire.Options{HandshakeTimeout: askTimeout}})
	if err != nil {
		return who, 0, err
	}
	defer conn.Close()
	if !wantUptime {
		return conn.Peer(), 0, nil
	}
	r, err := conn.Do(ctx, &protocol.Request{Kind: protocol.RequestStatus})
	if err == nil {
		err = r.Result.Err()
	}
	if err == nil && r.Status == nil {
		err = protocol.ErrMalformed.With(address + " did not say how it is")
	}
	if err != nil {
		return who, 0, err
	}
	return conn.Peer(), time.Duration(r.Status.Uptime), nil
}
