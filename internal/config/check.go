package config

import (
	"cmp"
	"net"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/starlinghq/starling/internal/keys"
	"github.com/starlinghq/starling/internal/naming"
	"github.com/starlinghq/starling/protocol"
)

// Validate reports all mistakes at once, each with its way out.
func (c Config) Validate() error {
	c = c.Filled()
	var wrong naming.Faults
	checkName(&wrong, "Name", c.Name)
	checkListen(&wrong, "Bind", c.Bind, c.Insecure)
	if c.HTTP != "" {
		checkListen(&wrong, "HTTP", c.HTTP, c.Insecure)
	}
	if c.Zone != "" {
		checkName(&wrong, "Zone", c.Zone)
	}
	for _, a := range c.Join {
		checkReach(&wrong, "Join", a)
	}
	c.checkAdvertise(&wrong)
	c.checkStart(&wrong)
	for _, f := range Fields {
		wrong.Add(f.check(&c))
	}
	if c.GossipMode != "hybrid" && c.GossipMode != "flood" {
		wrong.Addf("%s is hybrid or flood, not %q", naming.Field("GossipMode"), c.GossipMode)
	}
	c.checkTiming(&wrong)
	if mark, of := cmp.Or(c.DiskLow, DiskLowDefault), ""; c.DiskHigh != 0 && c.DiskHigh < mark {
		if c.DiskLow == 0 {
			of = "the default of "
		}
		wrong.Addf("%s is %d, below %s%s, %d", naming.Field("DiskHigh"), c.DiskHigh, of, naming.Field("DiskLow"), mark)
	}
	wrong.Add(keys.Check(c.SigningKey, c.TrustedKeys, c.Role == protocol.RoleActive || c.Eligible))
	if _, err := Registry(c.Types); err != nil {
		wrong.Add(err)
	}
	return Invalid(wrong)
}

// check is what is wrong with the number in a field, nil for nothing.
func (f Field) check(c *Config) error {
	in := f.In(c)
	if f.Least == nil || reflect.ValueOf(in).Elem().IsZero() {
		return nil // 0 is the default
	}
	switch v := in.(type) {
	case *int:
		return within(f, *v)
	case *uint64:
		return within(f, *v)
	case *float64:
		return within(f, *v)
	case *time.Duration:
		return within(f, *v)
	}
	return naming.Faultf("%s is no number, and has bounds", f.Name)
}

func within[T int | uint64 | float64 | time.Duration](f Field, v T) error {
	least, most := f.Least.(T), f.Most.(T)
	if v >= least && v <= most || v < 0 && f.Negative != "" { // which NaN is not
		return nil
	}
	return f.Beyond(v)
}

// Beyond says that a number is not within the bounds of a field.
func (f Field) Beyond(v any) error {
	also := ""
	if f.Negative != "" {
		also = ", or negative for " + f.Negative
	}
	if f.Zero != "" {
		also += ", or 0 for " + f.Zero
	}
	return naming.Faultf("%s is %v, not from %v to %v%s", f.Name, v, f.Least, f.Most, also)
}

// Invalid is ErrInvalid with all that is wrong, nil without anything.
func Invalid(wrong naming.Faults) error {
	if len(wrong) == 0 {
		return nil
	}
	return &protocol.Error{Code: protocol.ErrInvalid.Code, Text: wrong.Error(), Cause: wrong}
}

func (c Config) checkStart(wrong *naming.Faults) {
	const role, bootstrap, join, expect, replace = naming.Field("Role"), naming.Field("Bootstrap"), naming.Field("Join"), naming.Field("Expect"), naming.Field("Replace")
	if c.Role != protocol.RoleActive && c.Role != protocol.RolePassive && c.Role != protocol.RoleReserve {
		wrong.Addf("%s is Active, Passive or Reserve, not %d", role, c.Role)
	}
	if (c.Bootstrap || c.Expect != 0) && (c.Role == protocol.RolePassive || c.Role == protocol.RoleReserve) {
		wrong.Addf("a %s member cannot begin a cluster (%s, %s): begin it with an active one", c.Role, bootstrap, expect)
	}
	if c.Replace && !c.Eligible && c.Role != protocol.RoleActive {
		wrong.Addf("a %s member takes no seat over: %s is for one that may be active", c.Role, replace)
	}
	if c.Expect > 0 && len(c.Join) == 0 {
		wrong.Addf("with %s, members find one another through %s: give it an address of one of them, or a name that means all", expect, join)
	}
	if c.Dir == "" && !c.Bootstrap && len(c.Join) == 0 {
		wrong.Addf("a member without a directory begins a cluster (%s) or joins one (%s)", bootstrap, join)
	}
	CheckDir(wrong, c.Dir)
}

func (c Config) checkAdvertise(wrong *naming.Faults) {
	const advertise = naming.Field("Advertise")
	if c.Advertise != "" {
		before := len(*wrong)
		if checkReach(wrong, advertise, c.Advertise); len(*wrong) == before {
			checkBeyond(wrong, advertise, c.Advertise, c.Insecure)
		}
		return
	}
	host, _, err := net.SplitHostPort(c.Bind)
	if err != nil {
		return // Bind is reported already
	}
	if host == "" || isNowhere(host) {
		wrong.Addf("%s, given as %s, names no single address: say in %s at which host:port others reach this member", c.Bind, naming.Field("Bind"), advertise)
	}
}

func (c Config) checkTiming(wrong *naming.Faults) {
	if _, known := timing(c.Timing); !known {
		wrong.Addf("%s is fast, lan or wan, not %q", naming.Field("Timing"), c.Timing)
	}
	if c.Election >= 3*heartbeatMin && c.Heartbeat <= electionMax/3 && c.Election < 3*c.Heartbeat {
		wrong.Addf("%s is %v, less than three heartbeats of %v: one late packet would depose a leader; change %s, or %s",
			naming.Field("Election"), c.Election, c.Heartbeat, naming.Field("Election"), naming.Field("Heartbeat"))
	}
}

func checkName(wrong *naming.Faults, what naming.Field, name string) {
	switch {
	case name == "":
		wrong.Addf("%s is empty", what)
	case len(name) > protocol.NameBytesMax:
		wrong.Addf("%s has %d bytes, the limit is %d", what, len(name), protocol.NameBytesMax)
	case !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return r == ',' || r == ' ' || !unicode.IsPrint(r) }):
		wrong.Addf("%s %q contains a space, a comma, or a character that cannot be seen", what, name)
	}
}

// CheckAddress checks host:port without asking a resolver. Only where a member listens
// the port may be 0, and is picked.
func CheckAddress(what naming.Field, addr string, picked bool) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return naming.Faultf("%s is host:port, not %q", what, Shortened(addr))
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || (n == 0 && !picked) {
		return naming.Faultf("%s %q has no port between 1 and 65535", what, Shortened(addr))
	}
	odd := strings.ContainsFunc(host, func(r rune) bool { return r == '/' || r == ',' || unicode.IsSpace(r) || !unicode.IsPrint(r) })
	if odd || len(addr) > protocol.NameBytesMax || host == "" && !picked {
		return naming.Faultf("%s is host:port, not %q", what, Shortened(addr))
	}
	return nil
}

// Shortened is what a text says that quotes what was given.
func Shortened(s string) string {
	if len(s) <= protocol.NameBytesMax {
		return s
	}
	return s[:protocol.NameBytesMax] + "..."
}

// checkReach checks an address at which a member is to be reached.
func checkReach(wrong *naming.Faults, what naming.Field, addr string) {
	if err := CheckAddress(what, addr, false); err != nil {
		wrong.Add(err)
		return
	}
	if host, _, _ := net.SplitHostPort(addr); isNowhere(host) {
		wrong.Addf("%s %q names no single address at which a member can be reached", what, addr)
	}
}

// isNowhere reports whether a host is a number that is nobody's own.
func isNowhere(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && (ip.IsUnspecified() || ip.IsMulticast() || ip.Unmap() == netip.AddrFrom4([4]byte{255, 255, 255, 255}))
}

func checkListen(wrong *naming.Faults, what naming.Field, addr string, insecure bool) {
	if err := CheckAddress(what, addr, true); err != nil {
		wrong.Add(err)
		return
	}
	checkBeyond(wrong, what, addr, insecure)
}

// checkBeyond refuses addresses that other machines can reach, unless that was
// asked for.
func checkBeyond(wrong *naming.Faults, what naming.Field, addr string, insecure bool) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil || insecure || isLoopback(host) {
		return
	}
	wrong.Addf("%s %s is beyond this machine, and nothing on the network is encrypted or authenticated yet: bind to 127.0.0.1, or say %s if the network is trusted",
		what, addr, naming.Field("Insecure"))
}

// CheckDir refuses what no system takes for a path, or nobody means for one.
func CheckDir(wrong *naming.Faults, dir string) {
	if strings.ContainsRune(dir, 0) || dir != "" && strings.TrimSpace(dir) == "" {
		wrong.Addf("%s is %q, which is no path", naming.Field("Dir"), dir)
	}
}

// CheckTime checks a time of which 0 is the default.
func CheckTime(wrong *naming.Faults, what naming.Field, d, least, most time.Duration) {
	if d != 0 && (d < least || d > most) {
		wrong.Addf("%s is %v, not from %v to %v, or 0 for the default", what, d, least, most)
	}
}

// CheckCount checks a number of members.
func CheckCount(wrong *naming.Faults, what naming.Field, n, least, most int) {
	if n < least || n > most {
		wrong.Add(naming.Faultf("%s is %d, not from %d to %d", what, n, least, most))
	}
}

// Loopback reports whether an address, host:port, can be reached from this machine only.
func Loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	return err == nil && isLoopback(host)
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}
