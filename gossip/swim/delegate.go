package swim

import (
	"fmt"

	"github.com/hashicorp/memberlist"

	"github.com/starlinghq/starling/protocol"
)

// delegate is the Swim as a memberlist sees it. memberlist calls it while it
// holds its own lock: nothing here waits or calls back.
type delegate struct {
	*Swim
	of uint64 // the list's number: see Swim.lists
}

var (
	_ memberlist.Delegate         = (*delegate)(nil)
	_ memberlist.EventDelegate    = (*delegate)(nil)
	_ memberlist.ConflictDelegate = (*delegate)(nil)
	_ memberlist.AliveDelegate    = (*delegate)(nil)
	_ memberlist.MergeDelegate    = (*delegate)(nil)
)

// NodeMeta returns the own announcement.
func (d *delegate) NodeMeta(int) []byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.meta
}

// NotifyMsg takes nothing: our datagrams go past memberlist.
func (d *delegate) NotifyMsg([]byte) {}

// GetBroadcasts, LocalState and MergeRemoteState are the ways that carry
// nothing of ours.
func (d *delegate) GetBroadcasts(int, int) [][]byte { return nil }

// LocalState is empty.
func (d *delegate) LocalState(bool) []byte { return nil }

// MergeRemoteState has nothing to merge.
func (d *delegate) MergeRemoteState([]byte, bool) {}

// NotifyAlive keeps out who announces what we cannot read, another id than its name, or
// no version of the protocol that is spoken here.
func (d *delegate) NotifyAlive(n *memberlist.Node) error {
	peer, err := peerOf(n)
	if err == nil {
		err = d.understands(&peer)
	}
	return err
}

// strangeMax limits the members of no common version that are remembered.
const strangeMax = 64

// understands reports why a member cannot be talked to, and says so once.
func (d *delegate) understands(peer *protocol.Peer) error {
	_, err := d.cfg.Versions.Agree(peer.Versions, "member "+peer.Name)
	d.mu.Lock()
	before, told := d.strange[peer.ID]
	news := err != nil && before != peer.Versions && (told || len(d.strange) < strangeMax)
	if news {
		d.strange[peer.ID] = peer.Versions
	} else if err == nil {
		delete(d.strange, peer.ID)
	}
	d.mu.Unlock()
	if news {
		d.cfg.Logger.Warn("a member speaks no version of the protocol that this one does", "member", peer.ID.Short(), "name", peer.Name, "address", peer.Address, "err", err)
	}
	return err
}

// NotifyJoin learns of a member.
func (d *delegate) NotifyJoin(n *memberlist.Node) { d.learn(n) }

// NotifyUpdate learns what a member announces now.
func (d *delegate) NotifyUpdate(n *memberlist.Node) { d.learn(n) }

// NotifyLeave forgets a member that has died or left.
func (d *delegate) NotifyLeave(n *memberlist.Node) {
	id, err := protocol.ParseMemberID(n.Name)
	if err != nil {
		return
	}
	d.mu.Lock()
	if d.of != d.lists {
		d.mu.Unlock()
		return
	}
	delete(d.routes, id)
	died, freed := d.flock.Died(d.now(), id)
	d.release()
	if died {
		poke(d.died)
	}
	if freed {
		poke(d.returned)
	}
	poke(d.changed)
}

// NotifyConflict hears of a second member with the name of a first.
func (d *delegate) NotifyConflict(existing, other *memberlist.Node) {
	peer, err := peerOf(existing)
	if err != nil {
		return
	}
	address := d.transport.addressOnLink(other.Address())
	d.mu.Lock()
	news := d.flock.Claimed(peer.ID, address)
	d.mu.Unlock()
	if news {
		d.cfg.Logger.Warn("a member's id is claimed at another address: a copied directory, or a restart that was not noticed yet",
			"member", peer.ID.Short(), "name", peer.Name, "address", peer.Address, "other", address)
	}
	if d.cfg.OnConflict != nil {
		d.cfg.OnConflict(peer, address)
	}
}

// NotifyMerge forgets who has left by its own will, as the other side of an
// exchange knows, and sees whether it thinks this member dead.
func (d *delegate) NotifyMerge(nodes []*memberlist.Node) error {
	d.mu.Lock()
	defer d.release()
	own := d.cfg.ID.String()
	for _, n := range nodes {
		if n.Name == own && n.State != memberlist.StateAlive {
			d.flock.HeldDead()
		}
		if n.State != memberlist.StateLeft {
			continue
		}
		if id, err := protocol.ParseMemberID(n.Name); err == nil {
			d.flock.Left(id)
		}
	}
	return nil
}

func (d *delegate) learn(n *memberlist.Node) {
	peer, err := peerOf(n)
	if err != nil || peer.ID == d.cfg.ID {
		return
	}
	d.mu.Lock()
	if d.of != d.lists {
		d.mu.Unlock()
		return
	}
	peer.Address = d.transport.addressOnLink(peer.Address)
	d.renumbered = false
	d.routes[peer.ID] = d.transport.onLink(addressOf(n.Addr, n.Port))
	was := d.flock.Heard(peer)
	d.release()
	if was != "" && was != peer.Address {
		d.cfg.Logger.Info("a member is heard again, at another address", "member", peer.ID.Short(), "name", peer.Name, "was", was, "address", peer.Reach(), "means", peer.Address)
	}
	poke(d.changed)
}

// peerOf reads a member's announcement.
func peerOf(n *memberlist.Node) (protocol.Peer, error) {
	peer, err := protocol.DecodePeer(n.Meta)
	if err != nil {
		return protocol.Peer{}, fmt.Errorf("the announcement of %s at %s: %w", n.Name, n.Address(), err)
	}
	if peer.ID.String() != n.Name {
		return protocol.Peer{}, fmt.Errorf("%s at %s announces the id %s", n.Name, n.Address(), peer.ID)
	}
	peer.Address = n.Address()
	return peer, nil
}
