package founding

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/starlinghq/starling/protocol"
)

// Place is where a member is: host:port as it was given, and as what that means,
// an IP address and a port; empty as long as the name cannot be resolved.
type Place struct{ Name, Address string }

// String returns the name, and what it means if that is something else.
func (p Place) String() string {
	if p.Address == "" || p.Address == p.Name {
		return p.Name
	}
	return p.Name + " (" + p.Address + ")"
}

// is reports whether two places are one.
func (p Place) is(o Place) bool { return p.Name == o.Name || p.Address != "" && p.Address == o.Address }

// list is a set of places, in order.
type list struct{ names, addresses []string }

func listOf(places []Place) (l list) {
	for _, p := range places {
		l.names = append(l.names, p.Name)
		if p.Address != "" {
			l.addresses = append(l.addresses, p.Address)
		}
	}
	slices.Sort(l.names)
	slices.Sort(l.addresses)
	l.names, l.addresses = slices.Compact(l.names), slices.Compact(l.addresses)
	return l
}

// known reports whether all names are resolved.
func (l list) known() bool { return len(l.addresses) == len(l.names) }

// same reports whether two lists name the same members, and whether they do so by
// name.
func (l list) same(o list) (same, byName bool) {
	if slices.Equal(l.names, o.names) {
		return true, true
	}
	return l.known() && o.known() && slices.Equal(l.addresses, o.addresses), false
}

// String is the list for people.
func (l list) String() string {
	if slices.Equal(l.names, l.addresses) || !l.known() {
		return "{" + strings.Join(l.names, ", ") + "}"
	}
	return fmt.Sprintf("{%s} at {%s}", strings.Join(l.names, ", "), strings.Join(l.addresses, ", "))
}

// listIn is the list that a member says it has.
func listIn(f *protocol.Founding) list { return list{f.Names, f.Addresses} }

// compare compares the lists of two members, and, if they are the same, the
// places of the two: below 0 if that of a is the lower. It is the same seen from
// both sides, so that of two members at most one finds itself the lower.
func compare(a, b *protocol.Founding) (same bool, order int) {
	same, byName := listIn(a).same(listIn(b))
	if !same {
		return false, 0
	}
	if byName {
		return true, compareAddresses(a.Name, b.Name)
	}
	return true, compareAddresses(a.Address, b.Address)
}

// compareAddresses orders addresses by their numbers, and names after them by
// their letters.
func compareAddresses(a, b string) int {
	x, errX := netip.ParseAddrPort(a)
	y, errY := netip.ParseAddrPort(b)
	switch {
	case errX == nil && errY == nil:
		return cmp.Or(x.Compare(y), cmp.Compare(a, b))
	case errX == nil:
		return -1
	case errY == nil:
		return 1
	}
	return cmp.Compare(a, b)
}

// Promise is a promise not to begin a cluster: to whom it was given, for people,
// and the list for which it holds.
type Promise struct {
	To               string
	Names, Addresses []string
}

func (p *Promise) list() list { return list{p.Names, p.Addresses} }
