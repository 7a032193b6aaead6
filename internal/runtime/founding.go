package runtime

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/starlinghq/starling/internal/founding"
	"github.com/starlinghq/starling/internal/wire"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage/wal"
)

const (
	// nameEvery is how often names of members are looked up while a cluster is
	// looked for, nameTimeout how long that may take.
	nameEvery, nameTimeout = 2 * time.Second, 5 * time.Second
	// waitTold and waitToldMax are the first and the longest pause between two lines
	// of the log that say for whom a start waits; it doubles.
	waitTold, waitToldMax = 2 * time.Second, time.Minute
	// heldFor is how long a member that would begin a cluster listens for one that has
	// it as one of its own: voters call each other about once a second.
	heldFor = 3 * time.Second
)

// seeker looks for the cluster of a member that has none: it drives a
// founding.Founder, asks the others and answers them, on the member's own port.
type seeker struct {
	m *Member
	// changed wakes the goroutine that asks, after a question of another one.
	changed chan struct{}

	mu   sync.Mutex // guards what follows, and the promise on the disk
	core *founding.Founder
	// unnamed are the names that mean nothing now, with why.
	unnamed map[string]string
}

// replied is what an address has answered, or why not.
type replied struct {
	at   founding.Place
	q    *protocol.Founding
	info *protocol.JoinInfo
	err  error
}

// seek returns the cluster to join, or that this member is to begin one. lies is
// the promise in its directory; nil without.
func seek(ctx context.Context, m *Member, tcp net.Listener, lies *wal.Promise) (founding.Verdict, error) {
	id, err := protocol.NewMemberID(rand.Reader)
	if err != nil {
		return founding.Verdict{}, err
	}
	cfg := founding.Config{ID: id, Begins: m.cfg.Bootstrap || m.cfg.Expect > 0, Expect: m.cfg.Expect, Held: true, Level: protocol.FormatKnown}
	if lies != nil {
		cfg.Promise = &founding.Promise{To: lies.To, Names: lies.Names, Addresses: lies.Addresses}
	}
	s := &seeker{m: m, changed: make(chan struct{}, 1), core: founding.New(cfg), unnamed: map[string]string{}}
	if err := s.name(s.lookUp(ctx)); err != nil {
		return founding.Verdict{}, err
	}
	if v := s.core.Verdict(); v != (founding.Verdict{}) { // nobody is to be asked
		return v, v.Err
	}
	server := wire.NewServer(wire.ServerConfig{
		Hello: func() protocol.Hello { return protocol.Hello{Name: m.cfg.Name} }, Handler: s, Logger: m.logger,
	})
	var serving sync.WaitGroup
	port := &lent{Listener: tcp}
	serving.Go(func() { server.Serve(port) })
	defer func() {
		_ = server.Close()
		serving.Wait()
		port.giveBack()
		m.cfg.waitsForOthers("")
	}()
	return s.run(ctx)
}

// run asks until there is a verdict, or ctx ends.
func (s *seeker) run(ctx context.Context) (founding.Verdict, error) {
	asking, cancel := context.WithCancel(ctx)
	var askers sync.WaitGroup
	defer askers.Wait()
	defer cancel()
	answers, meanings := make(chan replied), make(chan []meaning)
	// Each place is asked once at a time, and once a tick: who is silent may take
	// many of those.
	underWay, rests := map[founding.Place]bool{}, map[founding.Place]bool{}
	var told waitTeller
	ticker := time.NewTicker(askPause)
	defer ticker.Stop()
	named, naming := time.Now(), false
	held := time.NewTimer(heldFor)
	defer held.Stop()
	for {
		places, q, v, why := s.look()
		if v != (founding.Verdict{}) {
			return v, v.Err
		}
		told.look(s.m, "its cluster", why)
		for _, at := range places {
			if underWay[at] || rests[at] {
				continue
			}
			underWay[at], rests[at] = true, true
			askers.Go(func() {
				info, err := s.ask(asking, at, q)
				select {
				case answers <- replied{at, q, info, err}:
				case <-asking.Done():
				}
			})
		}
		select {
		case h := <-answers:
			// Most will answer the same again: they are asked at the next tick,
			// unless they are asked for something else now.
			delete(underWay, h.at)
			if err := s.hear(h); err != nil {
				return founding.Verdict{}, err
			}
			if _, now, _, _ := s.look(); now.Promise != q.Promise {
				clear(rests)
			}
			continue
		case found := <-meanings:
			if err := s.name(found); err != nil {
				return founding.Verdict{}, err
			}
			named, naming = time.Now(), false
		case <-s.changed:
		case <-held.C:
			s.release()
			clear(rests)
		case <-ticker.C:
			clear(rests)
		case <-ctx.Done():
			return founding.Verdict{}, s.late(ctx, why)
		}
		if !naming && time.Since(named) > nameEvery {
			naming = true
			askers.Go(func() { s.lookUpFor(asking, meanings) }) // who answers is heard meanwhile
		}
	}
}

// lookUpFor looks all names up and delivers what they mean.
func (s *seeker) lookUpFor(ctx context.Context, to chan<- []meaning) {
	select {
	case to <- s.lookUp(ctx):
	case <-ctx.Done():
	}
}

// late is the error of a start that has ended before anything was clear.
func (s *seeker) late(ctx context.Context, why string) error {
	if s.m.cfg.Bootstrap || s.m.cfg.Expect > 0 {
		return protocol.ErrUnavailable.With("no cluster was found, and none begins: " + why).Because(ctx.Err())
	}
	return protocol.ErrUnavailable.With(fmt.Sprintf("no member answers at %s with a cluster: %s; start one there (the first with --bootstrap), or correct --join",
		strings.Join(s.m.cfg.Join, ", "), why)).Because(ctx.Err())
}

// look returns whom to ask, what, how the start goes on, and for what it waits.
func (s *seeker) look() (places []founding.Place, q *protocol.Founding, v founding.Verdict, why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.core.Peers(), s.core.Question(), s.core.Verdict(), s.core.Waits()
}

// ask asks one place.
func (s *seeker) ask(ctx context.Context, at founding.Place, q *protocol.Founding) (*protocol.JoinInfo, error) {
	if at.Address == "" {
		s.mu.Lock()
		defer s.mu.Unlock()
		return nil, errors.New(s.unnamed[at.Name])
	}
	return s.m.asker().askAs(ctx, at.Address, q)
}

// hear takes an answer. An error ends the start.
func (s *seeker) hear(h replied) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h.err != nil && final(h.err) {
		return h.err
	}
	if h.err == nil && h.info.Founding != nil {
		h.err = checkFounding(h.info.Founding)
	}
	if h.err != nil {
		s.core.Silent(h.at, h.err.Error())
		return nil
	}
	s.core.Answered(h.at, h.q, h.info)
	return nil
}

// meaning is what an address means, or why it means nothing.
type meaning struct {
	address string
	places  []founding.Place
	err     error
}

// lookUp looks up where this member is, which comes first, and whom it was told to
// ask, all at once.
func (s *seeker) lookUp(ctx context.Context) []meaning {
	found := []meaning{{address: s.m.advertise}}
	for _, address := range s.m.cfg.Join {
		found = append(found, meaning{address: address})
	}
	var group sync.WaitGroup
	for i := range found {
		group.Go(func() {
			if found[i].places, found[i].err = lookUp(ctx, &s.m.cfg, found[i].address); found[i].err != nil {
				found[i].places = []founding.Place{{Name: found[i].address}}
			}
		})
	}
	group.Wait()
	return found
}

// name takes what lookUp has found.
func (s *seeker) name(found []meaning) error {
	cfg := &s.m.cfg
	unnamed := map[string]string{}
	var named []founding.Place
	for i, at := range found {
		if at.err != nil {
			unnamed[at.address] = at.err.Error()
		}
		if i == 0 {
			continue // the member itself
		}
		list := at.places
		if len(list) > 1 && cfg.Bootstrap && cfg.Expect == 0 {
			return protocol.ErrInvalid.With(fmt.Sprintf(
				"%s, given as --join, means %d addresses (%s): with --bootstrap, say with --expect how many members begin the cluster", at.address, len(list), join(list)))
		}
		named = append(named, list...)
	}
	if len(named) >= protocol.FoundingMax {
		return protocol.ErrInvalid.With(fmt.Sprintf("--join names %d members, of %d at most", len(named), protocol.FoundingMax-1))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unnamed = unnamed
	s.core.Name(found[0].places[0], named)
	return nil
}

func join(places []founding.Place) string {
	var list []string
	for _, p := range places {
		list = append(list, p.Address)
	}
	return strings.Join(list, ", ")
}

// lookUp returns the places that an address means, at least one: itself, if it is
// one number; what its name means now, one family of addresses only, since a host
// with a number of each is one host.
func lookUp(ctx context.Context, cfg *Config, address string) ([]founding.Place, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		number := net.JoinHostPort(ip.Unmap().String(), port)
		return []founding.Place{{Name: number, Address: number}}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, nameTimeout)
	defer cancel()
	ips, err := cfg.lookUpHost(ctx, host)
	if err != nil {
		return nil, err
	}
	var four, six []founding.Place
	for _, ip := range ips {
		number := net.JoinHostPort(ip.Unmap().String(), port)
		if p := (founding.Place{Name: number, Address: number}); ip.Unmap().Is4() {
			four = append(four, p)
		} else {
			six = append(six, p)
		}
	}
	list := four
	if len(four) == 0 {
		list = six
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%s has no address", host)
	}
	slices.SortFunc(list, func(a, b founding.Place) int { return strings.Compare(a.Address, b.Address) })
	if list = slices.Compact(list); len(list) == 1 {
		list[0].Name = strings.ToLower(address)
	}
	return list, nil
}

func (c *Config) lookUpHost(ctx context.Context, host string) ([]netip.Addr, error) {
	if c.resolve != nil {
		return c.resolve(ctx, host)
	}
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

// Welcome implements wire.Handler: members are not at home here yet.
func (s *seeker) Welcome(peer protocol.Hello, _ net.Addr) error {
	if peer.Member.IsZero() {
		return nil
	}
	if !peer.Cluster.IsZero() {
		s.mu.Lock()
		s.core.Called(fmt.Sprintf("member %s (%s) of cluster %s", peer.Name, peer.Member.Short(), peer.Cluster))
		s.mu.Unlock()
		s.wake()
	}
	return protocol.ErrNotServing.With("the member here has no cluster yet")
}

// Receive implements wire.Handler.
func (s *seeker) Receive(protocol.MemberID, protocol.Message) {}

// Serve answers who asks for the cluster, and for the status.
func (s *seeker) Serve(q *protocol.Request, to *wire.Responder) {
	switch {
	case q.Kind == protocol.RequestStatus:
		_ = to.Respond(&protocol.Response{ID: q.ID, Kind: q.Kind, Status: s.status()})
	case q.Kind == protocol.RequestJoin && q.Founding != nil:
		info, err := s.answer(q.Founding)
		if err != nil {
			_ = to.Fail(err)
			return
		}
		_ = to.Respond(&protocol.Response{ID: q.ID, Kind: q.Kind, Join: info})
	default:
		_ = to.Fail(protocol.ErrNotServing.With(s.reason()))
	}
}

// answer answers a question. [S] What it promises is on the disk before.
func (s *seeker) answer(q *protocol.Founding) (*protocol.JoinInfo, error) {
	if err := checkFounding(q); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	info, write := s.core.Asked(q)
	if info == nil {
		return nil, protocol.ErrNotServing.With("the member here is about to begin or to join a cluster: ask again")
	}
	if write != nil {
		if s.m.cfg.Dir != "" { // else it lasts as long as the member
			err := wal.WritePromise(s.m.cfg.logDisk, s.m.cfg.Dir, wal.Promise{To: write.To, Names: write.Names, Addresses: write.Addresses})
			if err != nil {
				s.m.logger.Error("cannot write down a promise not to begin a cluster, which is not given", "to", write.To, "err", err)
				return nil, protocol.ErrNotServing.Because(err)
			}
		}
		s.core.Written()
		s.m.logger.Info("this member has promised not to begin a cluster", "to", write.To)
	}
	s.wake()
	return info, nil
}

func (s *seeker) reason() string {
	_, _, _, why := s.look()
	return "this member has no cluster yet: " + why
}

// status is what a member without a cluster says of itself.
func (s *seeker) status() *protocol.Status {
	m := s.m
	return &protocol.Status{
		Name: m.cfg.Name, Address: m.advertise, HTTP: m.http, Role: protocol.RoleNone.String(), RaftRole: "none",
		Version: m.cfg.Version, Uptime: int64(m.clock.Now().Sub(m.started)), Reason: s.reason(),
	}
}

// wake has the goroutine that asks look again.
func (s *seeker) wake() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// release lets a cluster begin, unless one that has this member in it has called.
func (s *seeker) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.core.Release()
}

// checkFounding refuses what no member says. What is in it is shown to people.
func checkFounding(f *protocol.Founding) error {
	for _, text := range slices.Concat([]string{f.Name, f.Address, f.Why}, f.Names, f.Addresses) {
		if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
			return protocol.ErrMalformed.With("a member without a cluster sends " + strconv.Quote(text))
		}
	}
	return nil
}

// waitTeller says in the log for whom a start waits, at once when that changes and
// then with growing pauses.
type waitTeller struct {
	why   string
	next  time.Time
	pause time.Duration
}

func (w *waitTeller) look(m *Member, what, why string) {
	now := time.Now()
	if why != w.why {
		// The first answers are under way for a moment.
		w.why, w.pause = why, waitTold
		w.next = now.Add(askPause)
	}
	m.cfg.waitsForOthers(why)
	if now.Before(w.next) {
		return
	}
	m.logger.Warn("the start waits for "+what, "why", why)
	w.next, w.pause = now.Add(w.pause), min(2*w.pause, waitToldMax)
}

// waitsForOthers tells who opened the member for what the start waits; empty: it
// goes on.
func (c *Config) waitsForOthers(why string) {
	if c.Waits != nil {
		c.Waits(why)
	}
}

// lent is a listener that is given back open: who serves on it and closes it has it
// for a while only, and nobody else can take the port in between.
type lent struct {
	net.Listener
	once sync.Once
}

// Close ends accepting.
func (l *lent) Close() error {
	l.once.Do(func() { l.deadline(time.Unix(1, 0)) })
	return nil
}

// Accept returns net.ErrClosed after Close.
func (l *lent) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	var late net.Error
	if errors.As(err, &late) && late.Timeout() {
		return nil, net.ErrClosed
	}
	return c, err
}

func (l *lent) giveBack() { l.deadline(time.Time{}) }

func (l *lent) deadline(at time.Time) {
	if d, ok := l.Listener.(interface{ SetDeadline(time.Time) error }); ok {
		_ = d.SetDeadline(at) // it fails on a closed listener only
	}
}
