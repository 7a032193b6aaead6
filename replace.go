package starling

import (
	"context"
	"errors"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// replacePauseMax is the longest pause between two attempts to take over a seat, and
// replaceTimeout bounds one.
const replacePauseMax, replaceTimeout = 5 * time.Second, 10 * time.Second

// replace takes over the seat of the member that had this one's name, until that is
// done or ctx ends. Nothing of it is remembered: a restart goes on where it was,
// because the configuration says it.
func (n *Node) replace(ctx context.Context) {
	said := ""
	for pause := membershipPause; ; pause = min(2*pause, replacePauseMax) {
		done, err := n.takeOver(ctx)
		if done || ctx.Err() != nil {
			return
		}
		if err != nil && err.Error() != said {
			said = err.Error()
			n.logger.Warn("the seat under this member's name is not taken over yet", "member", n.Name(), "err", err)
		}
		if errors.Is(err, protocol.ErrNotLearner) || err == nil {
			pause = membershipPause // it goes on
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return
		}
	}
}

// takeOver makes the next step: this member a learner, then, in one joint change, a
// voter in the place of the other one. It reports whether there is nothing to do any
// more.
func (n *Node) takeOver(ctx context.Context) (done bool, err error) {
	info, err := n.half().Join(ctx)
	if err != nil {
		return false, err
	}
	conf, self := info.Configuration, n.member.ID()
	old, taken := heldBy(conf.Configuration, n.Name(), self)
	mine, seated := conf.Configuration.Find(self)
	switch {
	case !taken:
		return true, nil
	case conf.Configuration.Joint():
		return false, nil
	}
	change := protocol.MembershipChange{Version: conf.Index, Absent: []protocol.MemberID{old.ID}}
	switch {
	case !seated:
		change.Promote = []protocol.MemberID{self}
	case old.Suffrage == protocol.SuffrageVoter && mine.Suffrage != protocol.SuffrageVoter:
		change.Promote, change.Remove = []protocol.MemberID{self}, []protocol.MemberID{old.ID}
	default:
		change.Remove = []protocol.MemberID{old.ID}
	}
	ctx, cancel := context.WithTimeout(ctx, replaceTimeout)
	defer cancel()
	client, err := Dial(ctx, ClientConfig{Addresses: n.otherAddresses(), Cluster: info.Cluster.String()})
	if err != nil {
		return false, err
	}
	defer client.Close()
	if _, err := client.half().ChangeMembership(ctx, change); err != nil {
		return false, err
	}
	n.logger.Info("taking over the seat under this member's name", "member", n.Name(), "from", old.ID.Short(), "a learner first", !seated)
	return false, nil
}

// heldBy returns the line of another member with a name.
func heldBy(conf protocol.Configuration, name string, self protocol.MemberID) (protocol.ActiveMember, bool) {
	for _, line := range conf.Members {
		if line.Name == name && line.ID != self {
			return line, true
		}
	}
	return protocol.ActiveMember{}, false
}

// otherAddresses are those of the members that this one hears, and its own.
func (n *Node) otherAddresses() []string {
	list := []string{n.Addr()}
	for _, m := range n.Status().Members {
		if m.Alive && m.Address != "" && m.Address != n.Addr() {
			list = append(list, m.Address)
		}
	}
	return list
}
