package runtime

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// nameTaken returns an error if another member has this one's name by now: its seat
// was given to one that was started in its place (see Config.Replace), or, while it
// starts, somebody without a seat runs under it. Two of one name are told apart by
// nobody who reads a list, and commands that take a name could mean either.
//
// A member that catches up meets configurations of long ago: only one that knows how far
// the others are judges by them. The membership hears of a death late: who is said to run
// is asked.
func nameTaken(m *Member) error {
	conf, p := m.configuration(), m.published.Load()
	if conf.Names(m.identity.Member) || m.cfg.Replace || p == nil || !p.Proven || p.Behind != "" {
		return nil
	}
	for _, a := range conf.Members {
		if a.Name == m.identity.Name && a.ID != m.identity.Member {
			return nameTakenBy(m, a.ID, a.Address, "which has the seat of that name, and this one (%s) has none: "+
				"if the directory of that member is lost and this one was started to take its seat over, start it again with --replace; if that member was started in the place of this one, move this directory away; ")
		}
	}
	if m.wasReady.Load() {
		return nil
	}
	for _, p := range m.swim.Peers() {
		if p.Name == m.identity.Name && p.ID != m.identity.Member && p.Address != m.advertise &&
			m.asker().runsAt(m.life, protocol.NameInUse{Member: p.ID, Address: p.Address}) {
			return nameTakenBy(m, p.ID, p.Address, "which runs, as this one (%s) was to: stop that one, or move this directory away; ")
		}
	}
	return nil
}

// nameTakenBy says who has this member's name, what it is to this one, and the way out.
func nameTakenBy(m *Member, id protocol.MemberID, address, what string) error {
	return protocol.ErrNameTaken.With(fmt.Sprintf("the name %q is in use by member %s at %s, "+what+"or start this one as another member, with an empty directory and another --name",
		m.identity.Name, id.Short(), address, m.identity.Member.Short()))
}

// ownNamePause is between two looks at a name that means nothing yet.
const ownNamePause = 500 * time.Millisecond

// checkOwnName refuses an advertised address at which nobody can be reached, or, unless
// it is early, a name that means nothing.
func checkOwnName(ctx context.Context, m *Member, early bool) error {
	host, _, err := net.SplitHostPort(m.advertise)
	if err != nil {
		return protocol.ErrInvalid.With("the advertised address " + m.advertise).Because(err)
	}
	ips := make([]netip.Addr, 1)
	if ips[0], err = netip.ParseAddr(host); err != nil {
		ips, err = m.cfg.lookUpHost(ctx, host)
	}
	if err == nil && len(ips) == 0 {
		err = errors.New("it has no address")
	}
	switch nowhere := func(ip netip.Addr) bool { return ip.IsUnspecified() || ip.IsMulticast() }; {
	case err != nil && early:
		return nil // it may mean something when others have been found
	case ctx.Err() != nil:
		return protocol.ErrUnavailable.With("looking up " + m.advertise).Because(ctx.Err())
	case err != nil:
		return protocol.ErrInvalid.With(fmt.Sprintf("the advertised address %s means nothing, so no cluster is begun or joined", m.advertise)).Because(err)
	case slices.ContainsFunc(ips, nowhere):
		return protocol.ErrInvalid.With(fmt.Sprintf("the advertised address %s is %v, at which nobody can be reached: say in --advertise (Advertise) at which host:port others reach this member; no cluster is begun or joined", m.advertise, ips))
	}
	return nil
}

// awaitOwnName waits, at a restart, until the name that this member advertises means
// something. After a power cut of a whole site the names come back when their servers
// do; a first start is told about its mistake at once.
func awaitOwnName(ctx context.Context, m *Member) error {
	if m.identity.Starts <= 1 {
		return nil
	}
	var told waitTeller
	for {
		_, err := lookUp(ctx, &m.cfg, m.advertise)
		if err == nil {
			m.cfg.waitsForOthers("")
			return nil
		}
		told.look(m, "its own name", fmt.Sprintf("the name that this member advertises, %s, means nothing so far: %v", m.advertise, err))
		select {
		case <-time.After(ownNamePause):
		case <-ctx.Done():
			return protocol.ErrUnavailable.With(told.why).Because(ctx.Err())
		}
	}
}

// unreached says why this member may not be ready: others are known, and none of
// them has sent it anything, on a stream or in a datagram. Empty: it is reached, or
// it is too early to say: who is heard is sent something in a few elections.
func unreached(m *Member) string {
	if m.reached.Load() || m.wasReady.Load() || m.clock.Now().Sub(m.started) < m.cfg.orphanAfter() || len(m.swim.Peers()) == 0 {
		return ""
	}
	return fmt.Sprintf("other members answer this one, and none of them has reached it at %s, the address that it advertises: correct --advertise, or let TCP and UDP through to it", m.advertise)
}
