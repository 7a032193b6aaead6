package replica

import "github.com/starlinghq/starling/protocol"

// unknown counts the messages that came past each other because two members are of
// different versions: by kind, those that this member does not know, and those that
// others have answered that they do not. Neither does anything else.
type unknown struct{ skipped, unsupported [256]uint64 }

// receive takes a message if it is of that sort. One that asks is answered: whoever has
// sent it must not wait for what cannot come.
func (u *unknown) receive(from protocol.MemberID, m protocol.Message, out *outbox) bool {
	switch m := m.(type) {
	case *protocol.Unknown:
		u.skipped[m.Of]++
		if m.Of.Asks() {
			out.send(from, &protocol.Unsupported{Asked: m.Of, Request: m.Request})
		}
	case *protocol.Unsupported:
		u.unsupported[m.Asked]++
	default:
		return false
	}
	return true
}

// list returns what was counted, in the order of the kinds.
func (u *unknown) list() (list []protocol.KindCount) {
	for k := range u.skipped {
		if c := (protocol.KindCount{Kind: protocol.MessageKind(k), Skipped: u.skipped[k], Unsupported: u.unsupported[k]}); c.Skipped+c.Unsupported > 0 {
			list = append(list, c)
		}
	}
	return list
}
