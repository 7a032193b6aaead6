package swim

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"github.com/hashicorp/memberlist"

	"github.com/starlinghq/starling/protocol"
)

const (
	// ownNameEvery is how many TryIntervals are between two looks at what the own
	// name means, and ownNameTwice in how many of them in a row it must mean the
	// same, for a change to count.
	ownNameEvery, ownNameTwice = 10, 2
	// resolveTimeout bounds a look at the start.
	resolveTimeout = 10 * time.Second
)

// lookUp resolves an address, anew each time: the answer may change. An address
// without a name is its own answer.
func (c *Config) lookUp(ctx context.Context, address string) ([]netip.AddrPort, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, err
	}
	ips := make([]netip.Addr, 1)
	if ips[0], err = netip.ParseAddr(host); err != nil {
		ips, err = c.Resolve(ctx, host)
	}
	list := make([]netip.AddrPort, 0, len(ips))
	for _, ip := range ips {
		list = append(list, netip.AddrPortFrom(ip.Unmap(), uint16(n)))
	}
	slices.SortStableFunc(list, func(a, b netip.AddrPort) int { return a.Addr().BitLen() - b.Addr().BitLen() }) // IPv4 first
	return list, err
}

// lookUp is the Config's, for as long as a try may take.
func (s *Swim) lookUp(address string) ([]netip.AddrPort, error) {
	ctx, cancel := context.WithTimeout(s.ctx, 2*s.cfg.Timing.TryInterval)
	defer cancel()
	return s.cfg.lookUp(ctx, address)
}

// resolve returns the address that others are told.
func (c *Config) resolve() (*net.TCPAddr, error) {
	ctx, cancel := context.WithTimeout(context.Background(), resolveTimeout)
	defer cancel()
	list, err := c.lookUp(ctx, c.Advertise)
	if err != nil {
		return nil, protocol.ErrInvalid.With("the advertised address " + c.Advertise).Because(err)
	}
	if len(list) == 0 || list[0].Addr().IsUnspecified() || list[0].Port() == 0 {
		return nil, protocol.ErrInvalid.With(fmt.Sprintf(
			"the advertised address %q must be one that other members reach: a host and a port", c.Advertise))
	}
	return net.TCPAddrFromAddrPort(list[0]), nil
}

// followName looks, now and then, whether the own name means another address
// than the one that was announced.
func (s *Swim) followName() {
	ticker := time.NewTicker(ownNameEvery * s.cfg.Timing.TryInterval)
	defer ticker.Stop()
	var last netip.AddrPort
	seen := 0
	for {
		select {
		case <-ticker.C:
		case <-s.ctx.Done():
			return
		}
		list, err := s.lookUp(s.cfg.Advertise)
		if err != nil || len(list) == 0 || slices.Contains(list, s.transport.advertise.Load().AddrPort()) {
			seen = 0
			continue
		}
		if seen == 0 || list[0] != last {
			last, seen = list[0], 0
		}
		if seen++; seen == ownNameTwice {
			seen = 0
			s.move(net.TCPAddrFromAddrPort(last))
		}
	}
}

// move announces another address. memberlist cannot change its own, so another
// one begins, with nobody; all who were heard are looked for. Whoever still hears
// the old one is told that it has left, and takes the new one in at once.
func (s *Swim) move(to *net.TCPAddr) {
	s.moving.Lock()
	defer s.moving.Unlock()
	s.mu.Lock()
	if s.left || s.down {
		s.mu.Unlock()
		return
	}
	s.lists++ // from here on nobody hears the old one, and the new one is heard
	number, before := s.lists, s.flock.Moved(s.now())
	routes := s.routes
	s.routes = make(map[protocol.MemberID]netip.AddrPort)
	s.release()
	from := s.transport.advertise.Swap(to)
	list, err := memberlist.Create(s.configure(number))
	if err != nil {
		s.transport.advertise.Store(from)
		s.mu.Lock()
		s.lists--
		s.routes = routes
		for _, peer := range before {
			s.flock.Heard(peer)
		}
		s.release()
		s.cfg.Logger.Warn("this member's name means another address, which cannot be announced", "name", s.cfg.Advertise, "address", to, "err", err)
		return
	}
	old := s.list.Swap(list)
	if err := old.Leave(announceTimeout); err != nil {
		s.cfg.Logger.Debug("nobody heard that the address has changed", "err", err)
	}
	_ = old.Shutdown()
	s.cfg.Logger.Info("this member's name means another address now", "name", s.cfg.Advertise, "from", from, "to", to)
	poke(s.changed)
	s.tick()
}

// lease is a transport that outlives the memberlist that uses it.
type lease struct{ *transport }

// Shutdown does nothing.
func (lease) Shutdown() error { return nil }
