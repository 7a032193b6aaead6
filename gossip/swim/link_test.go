package swim

import (
	"net"
	"net/netip"
	"testing"
)

// TestAddressesOfALinkKeepTheirZone has a member on a link: what memberlist says of
// itself and of others goes without the zone, and cannot be dialled.
func TestAddressesOfALinkKeepTheirZone(t *testing.T) {
	var tr transport
	tr.advertise.Store(net.TCPAddrFromAddrPort(netip.MustParseAddrPort("[fe80::1%eth0]:7600")))
	for given, want := range map[string]string{
		"[fe80::2]:7600":      "[fe80::2%eth0]:7600",
		"[fe80::2%eth1]:7600": "[fe80::2%eth1]:7600",
		"[fe80::1]:7600":      tr.address(),
		"[2001:db8::2]:7600":  "[2001:db8::2]:7600",
		"10.0.0.2:7600":       "10.0.0.2:7600",
		"169.254.0.2:7600":    "169.254.0.2:7600",
		"name:7600":           "name:7600",
	} {
		if got := tr.addressOnLink(given); got != want {
			t.Errorf("%s: got %s, want %s", given, got, want)
		}
	}
	tr.advertise.Store(net.TCPAddrFromAddrPort(netip.MustParseAddrPort("[2001:db8::1]:7600")))
	if got, want := tr.addressOnLink("[fe80::2]:7600"), "[fe80::2]:7600"; got != want {
		t.Errorf("elsewhere: got %s, want %s", got, want)
	}
	if got := named("[fe80::1%eth0]:7600"); got != "" {
		t.Errorf("an address with a zone counts as the name %s", got)
	}
}
