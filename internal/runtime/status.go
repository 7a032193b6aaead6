package runtime

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/starlinghq/starling/internal/observe"
	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/protocol"
)

// status gathers what this member knows of itself and of the others. Only the
// loop calls it.
func (m *Member) status() *protocol.Status {
	now := m.clock.Now()
	r := m.replica.Status(now)
	m.sample()
	stats := m.machine.Stats()
	s := &protocol.Status{
		Cluster: m.identity.Cluster, ID: m.identity.Member, Name: m.identity.Name,
		Address: m.advertise, HTTP: m.http,
		Role: r.Role.String(), RaftRole: r.RaftRole, Term: r.Term, LeaderID: r.Leader,
		Commit: r.Commit, Applied: stats.Applied, First: r.First, Digest: stats.Digest.String(),
		AgeKnown: r.Fresh.Known, AgeNanos: int64(r.Fresh.Age),
		Version: m.cfg.Version, Uptime: int64(now.Sub(m.started)),
		Sessions: stats.Sessions, Keys: stats.Keys, StateBytes: stats.Held, StateLimit: stats.Limit,
		Checkpoint: r.Checkpoint, Installing: r.Installing, Chunks: r.Chunks, ChunksLeft: r.ChunksLeft,
		Refused: r.Refusals + r.Unheeded + m.observer.Get(observe.Unheard), LogLost: m.observer.Get(observe.LogLost), Unknown: r.Unknown,
		Counts: m.observer.List(),
		Level:  r.Level, LevelKnown: protocol.FormatKnown, LevelReason: r.LevelReason,
	}
	s.Serving, s.Reason = true, cmp.Or(r.Disputed, r.Unreadable, r.Cramped, m.guard.note(m, r.Leads), r.Slow, r.DatagramsLost)
	if err := m.readyNow(&r.Situation, &r.Position); err != nil {
		s.Serving, s.Reason = false, err.Error()
	}
	conf, _ := m.replica.Configurations().Latest()
	all := roster{
		now: now, wall: time.Now(), conf: conf.Configuration, leader: r.Leader,
		peers: m.replica.Peers(), heard: m.replica.Heard(), unheard: m.swim.Unheard(), twin: m.dirs.twins.other,
	}
	s.Members = all.list(s)
	for _, x := range s.Members {
		if x.ID == r.Leader {
			s.Leader = x.Name
		}
	}
	for _, a := range r.Ahead {
		line := protocol.AheadStatus{ID: a.Member, Holds: a.Holds, Ends: a.Ends, Diverged: a.Diverged, Text: a.String()}
		if i := slices.IndexFunc(s.Members, func(x protocol.MemberStatus) bool { return x.ID == a.Member }); i >= 0 {
			line.Name = s.Members[i].Name
		}
		s.Ahead = append(s.Ahead, line)
	}
	return s
}

// sample fetches the counters that others keep.
func (m *Member) sample() {
	drops, o := m.server.Drops(), &m.observer
	o.Sampled(observe.LogLost, m.cfg.logLost())
	o.Sampled(observe.SentMembership, m.swim.Sent())
	o.Sampled(observe.DroppedHandshakes, drops.Handshakes)
	o.Sampled(observe.DroppedMembers, drops.Members)
	o.Sampled(observe.DroppedClients, drops.Clients)
	o.Sampled(observe.DroppedFrames, drops.Frames)
}

// Count returns one of this member's counters.
func (m *Member) Count(what observe.Counter) uint64 {
	m.sample()
	return m.observer.Get(what)
}

// joinInfo answers a newcomer, or says why not.
func (m *Member) joinInfo(answer func(*protocol.JoinInfo), failed func(protocol.Result)) {
	m.inTurn(func() {
		info := &protocol.JoinInfo{Cluster: m.identity.Cluster, Member: m.identity.Member, Name: m.identity.Name}
		info.Configuration, _ = m.replica.Configurations().Latest()
		info.Names = namesIn(m.status())
		answer(info)
	}, failed)
}

// readyNow says why this member should get no traffic, or nil: it knows a
// leader, has applied what was committed when it started, has known since then how
// old its state is, and is not far behind (replica.Situation.Behind). A full disk is no
// reason, also at the last byte: where all are full nobody would serve reads.
func (m *Member) readyNow(s *replica.Situation, at *replica.Position) error {
	if err := m.Err(); err != nil {
		return err
	}
	if m.stopping.Load() {
		return protocol.ErrClosed.With("the member has stopped")
	}
	if p := m.suspended.Load(); p != nil {
		return *p
	}
	if why, room := m.guard.waiting(); why != "" && !room {
		return protocol.ErrNoSpace.With("this member stores nothing now: " + why)
	}
	if why := m.syncs.hangs(m); why != "" {
		return protocol.ErrNotServing.With(why)
	}
	if err := m.server.Accepting(); err != nil {
		return protocol.ErrNotServing.With("this member takes no new connections: " + err.Error())
	}
	if err := m.applier.why(); err != nil {
		return err
	}
	silent := m.clock.Now().Sub(protocol.Instant(m.source.led.Load()))
	orphan := !votes(s) && silent > wordAfter(m)
	switch {
	case s.Stuck != "":
		return protocol.ErrNotServing.With("this member " + s.Stuck)
	case s.Leader.IsZero() && (!orphan || !m.source.followed.Load() || m.dirs.elsewhere.Load() != nil):
		err := m.dirs.noLeader(s.Leaderless)
		if why, _ := m.guard.waiting(); why != "" { // its own vote does, too
			return protocol.ErrNoLeader.With(err.Error() + "; this member stores nothing now: " + why)
		}
		return err
	case orphan:
		return protocol.ErrNotServing.With(fmt.Sprintf(
			"this member follows nobody: none that it hears has told it of a leader for %v, and its state grows old", silent.Round(100*time.Millisecond)))
	case s.Behind != "":
		return protocol.ErrNotServing.With("still catching up: " + s.Behind)
	case !s.Proven:
		return protocol.ErrNotServing.With(fmt.Sprintf("still catching up: applied %d, and nothing says yet how far the others are", at.Applied))
	case at.Applied == 0 || at.Applied < at.Fresh.CaughtUp:
		return protocol.ErrNotServing.With(fmt.Sprintf("still catching up: applied %d of %d", at.Applied, at.Fresh.CaughtUp))
	}
	return nil
}

// noLeader is why this member knows no leader, as far as it knows, or its replica.
func (d *directories) noLeader(why string) error {
	if address := d.elsewhere.Load(); address != nil {
		return protocol.ErrNoLeader.With("no leader is known, and the member at " + *address +
			" belongs to another cluster now: if a new one was begun (`starling recover`), move this directory away and join that one with an empty directory")
	}
	return protocol.ErrNoLeader.With(cmp.Or(why, protocol.ErrNoLeader.Text))
}

// Status returns this member's view of itself and of the cluster. Any
// goroutine may call it; it waits for the loop.
func (m *Member) Status() protocol.Status {
	got := make(chan protocol.Status, 1)
	m.call(func(s *protocol.Status) { got <- *s }, func(protocol.Result) {
		got <- protocol.Status{ID: m.identity.Member, Name: m.identity.Name, Address: m.advertise, Reason: m.stopped().Error()}
	})
	select {
	case s := <-got:
		return s
	case <-m.loopDone:
		return protocol.Status{ID: m.identity.Member, Name: m.identity.Name, Address: m.advertise, Reason: m.stopped().Error()}
	}
}

// Note says what those should know who rely on this member although it is ready: that
// writes are refused, it is slow, or datagrams are lost, and why. Empty: nothing.
func (m *Member) Note() string {
	if p := m.published.Load(); p != nil {
		return cmp.Or(m.guard.note(m, p.Leads), p.Cramped, p.Slow, p.DatagramsLost)
	}
	return ""
}

// Ready returns nil if this member serves: it knows a leader, has caught up with
// what was committed when it started, and is not far behind now.
func (m *Member) Ready() error {
	p := m.published.Load()
	if p == nil {
		return protocol.ErrNotServing.With("starting")
	}
	return m.readyNow(&p.Situation, &p.Position)
}
