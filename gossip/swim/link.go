package swim

import "net/netip"

// onLink gives an address that is good on one link only the zone of that link: that
// of this member's own address. What others announce goes without one, since a zone
// is the name of an interface, and theirs mean nothing here.
func (t *transport) onLink(at netip.AddrPort) netip.AddrPort {
	zone := t.advertise.Load().Zone
	if a := at.Addr(); zone != "" && a.IsLinkLocalUnicast() && a.Is6() && a.Zone() == "" {
		return netip.AddrPortFrom(a.WithZone(zone), at.Port())
	}
	return at
}

// addressOnLink is onLink of an address as a text; what is none stays.
func (t *transport) addressOnLink(address string) string {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return address
	}
	return t.onLink(at).String()
}
