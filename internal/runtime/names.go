package runtime

import (
	"fmt"

	"github.com/starlinghq/starling/protocol"
)

// nameTaken returns an error if another member has this one's name by now: its seat
// was given to one that was started in its place (see Config.Replace), or, while it
// starts, somebody without a seat runs under it. Two of one name are told apart by
// nobody who reads a list, and commands that take a name could mean either.
func nameTaken(m *Member) error {
	conf := m.configuration()
	if conf.Names(m.identity.Member) || m.cfg.Replace {
		return nil
	}
	for _, a := range conf.Members {
		if a.Name == m.identity.Name && a.ID != m.identity.Member {
			return nameTakenBy(m, a.ID, a.Address)
		}
	}
	if m.wasReady.Load() {
		return nil
	}
	for _, p := range m.swim.Peers() {
		if p.Name == m.identity.Name && p.ID != m.identity.Member {
			return nameTakenBy(m, p.ID, p.Address)
		}
	}
	return nil
}

func nameTakenBy(m *Member, id protocol.MemberID, address string) error {
	return protocol.ErrNameTaken.With(fmt.Sprintf(
		"the name %q is in use by member %s at %s, which has taken the place of this one (%s): move this directory away, or start it as another member, with an empty directory and another --name",
		m.identity.Name, id.Short(), address, m.identity.Member.Short()))
}
