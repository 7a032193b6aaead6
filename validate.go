package starling

import (
	"cmp"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/starlinghq/starling/internal/keys"
	"github.com/starlinghq/starling/internal/naming"
	"github.com/starlinghq/starling/internal/runtime"
	"github.com/starlinghq/starling/protocol"
)

// Bounds of Config. Beyond them a member would be of no use, or its arithmetic would
// overflow.
const (
	heartbeatMin       = 5 * time.Millisecond
	electionMax        = time.Minute
	checkpointEveryMin = 100 * time.Millisecond
	checkpointBytesMin = 4 << 10
	logBytesMax        = 1 << 40
	diskMarkMax        = 1 << 62
	startTimeoutMin    = 100 * time.Millisecond
	waitMax            = 365 * 24 * time.Hour
	// Less would spread frames to nobody.
	probabilityMin = 0.01
)

// Validate reports all mistakes at once, each with its way out.
func (c Config) Validate() error {
	c = c.withDefaults()
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
	c.checkGossip(&wrong)
	checkTiming(&wrong, c.Timing, c.Heartbeat, c.Election)
	checkLog(&wrong, c.CheckpointBytes, c.RetainBytes, c.CheckpointEvery)
	checkMarks(&wrong, c.DiskLow, c.DiskHigh)
	wrong.Add(keys.Check(c.SigningKey, c.TrustedKeys, c.Role == Active || c.Eligible))
	if _, err := newRegistry(c.Types); err != nil {
		wrong.Add(err)
	}
	return invalid(wrong)
}

// invalid is ErrInvalid with all that is wrong, nil without anything.
func invalid(wrong naming.Faults) error {
	if len(wrong) == 0 {
		return nil
	}
	return &protocol.Error{Code: protocol.ErrInvalid.Code, Text: wrong.Error(), Cause: wrong}
}

func (c Config) checkStart(wrong *naming.Faults) {
	const role, bootstrap, join, expect, replace = naming.Field("Role"), naming.Field("Bootstrap"), naming.Field("Join"), naming.Field("Expect"), naming.Field("Replace")
	if c.Role != Active && c.Role != Passive && c.Role != Reserve {
		wrong.Addf("%s is Active, Passive or Reserve, not %d", role, c.Role)
	}
	if (c.Bootstrap || c.Expect != 0) && (c.Role == Passive || c.Role == Reserve) {
		wrong.Addf("a %s member cannot begin a cluster (%s, %s): begin it with an active one", c.Role, bootstrap, expect)
	}
	if c.Replace && !c.Eligible && c.Role != Active {
		wrong.Addf("a %s member takes no seat over: %s is for one that may be active", c.Role, replace)
	}
	if c.Expect < 0 || c.Expect > protocol.FoundingMax {
		wrong.Addf("%s is %d members, not between 1 and %d, or 0", expect, c.Expect, protocol.FoundingMax)
	}
	if c.Expect > 0 && len(c.Join) == 0 {
		wrong.Addf("with %s, members find one another through %s: give it an address of one of them, or a name that means all", expect, join)
	}
	if c.Actives < 1 || c.Actives > protocol.ActivesMax {
		wrong.Addf("%s is %d, not between 1 and %d", naming.Field("Actives"), c.Actives, protocol.ActivesMax)
	}
	if c.Dir == "" && !c.Bootstrap && len(c.Join) == 0 {
		wrong.Addf("a member without a directory begins a cluster (%s) or joins one (%s)", bootstrap, join)
	}
	checkDir(wrong, c.Dir)
	if c.StartTimeout != 0 && (c.StartTimeout < startTimeoutMin || c.StartTimeout > waitMax) {
		wrong.Addf("%s is %v, not from %v to %v, or 0 for as long as it takes", naming.Field("StartTimeout"), c.StartTimeout, startTimeoutMin, waitMax)
	}
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

func (c Config) checkGossip(wrong *naming.Faults) {
	if c.GossipMode != "hybrid" && c.GossipMode != "flood" {
		wrong.Addf("%s is hybrid or flood, not %q", naming.Field("GossipMode"), c.GossipMode)
	}
	if c.GossipFanout < 1 || c.GossipFanout > 64 {
		wrong.Addf("%s is %d, not between 1 and 64", naming.Field("GossipFanout"), c.GossipFanout)
	}
	if !(c.GossipProbability >= probabilityMin && c.GossipProbability <= 1) { // nor NaN
		wrong.Addf("%s is %g, not from %g to 1", naming.Field("GossipProbability"), c.GossipProbability, probabilityMin)
	}
}

func checkTiming(wrong *naming.Faults, timing string, heartbeat, election time.Duration) {
	const preset, beat, timeout = naming.Field("Timing"), naming.Field("Heartbeat"), naming.Field("Election")
	_, known := runtime.Timing(timing)
	switch {
	case !known:
		wrong.Addf("%s is fast, lan or wan, not %q", preset, timing)
	case heartbeat < heartbeatMin || heartbeat > electionMax/3:
		wrong.Addf("%s is %v, not from %v to %v, or 0 for that of %s", beat, heartbeat, heartbeatMin, electionMax/3, preset)
	case election < 3*heartbeatMin || election > electionMax:
		wrong.Addf("%s is %v, not from %v to %v, or 0 for that of %s", timeout, election, 3*heartbeatMin, electionMax, preset)
	case election < 3*heartbeat:
		wrong.Addf("%s is %v, less than three heartbeats of %v: one late packet would depose a leader; set %s, too", timeout, election, heartbeat, beat)
	}
}

// checkLog checks when checkpoints are taken, and what stays of the log.
func checkLog(wrong *naming.Faults, bytes, retain int, every time.Duration) {
	if bytes < checkpointBytesMin || bytes > logBytesMax {
		wrong.Addf("%s is %d, not from %d to %d", naming.Field("CheckpointBytes"), bytes, checkpointBytesMin, logBytesMax)
	}
	if every > 0 && every < checkpointEveryMin || every > waitMax {
		wrong.Addf("%s is %v, not from %v to %v, or negative for never", naming.Field("CheckpointEvery"), every, checkpointEveryMin, waitMax)
	}
	if retain > logBytesMax {
		wrong.Addf("%s is %d, not at most %d, or negative for none", naming.Field("RetainBytes"), retain, logBytesMax)
	}
}

// checkMarks checks marks of free space, of which 0 is the default.
func checkMarks(wrong *naming.Faults, low, high uint64) {
	const lowField, highField = naming.Field("DiskLow"), naming.Field("DiskHigh")
	if low > diskMarkMax {
		wrong.Addf("%s is %d, not at most %d", lowField, low, uint64(diskMarkMax))
	}
	if high > diskMarkMax {
		wrong.Addf("%s is %d, not at most %d", highField, high, uint64(diskMarkMax))
	}
	if mark := cmp.Or(low, DiskLowDefault); high != 0 && high < mark {
		wrong.Addf("%s is %d, below %s, %d", highField, high, lowField, mark)
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

// checkAddress checks host:port without asking a resolver. Only where a member listens
// the port may be 0, and is picked.
func checkAddress(what naming.Field, addr string, picked bool) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return naming.Faultf("%s is host:port, not %q", what, shortened(addr))
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || (n == 0 && !picked) {
		return naming.Faultf("%s %q has no port between 1 and 65535", what, shortened(addr))
	}
	odd := strings.ContainsFunc(host, func(r rune) bool { return r == '/' || r == ',' || unicode.IsSpace(r) || !unicode.IsPrint(r) })
	if odd || len(addr) > protocol.NameBytesMax || host == "" && !picked {
		return naming.Faultf("%s is host:port, not %q", what, shortened(addr))
	}
	return nil
}

// shortened is what a text says that quotes what was given.
func shortened(s string) string {
	if len(s) <= protocol.NameBytesMax {
		return s
	}
	return s[:protocol.NameBytesMax] + "..."
}

// checkReach checks an address at which a member is to be reached.
func checkReach(wrong *naming.Faults, what naming.Field, addr string) {
	if err := checkAddress(what, addr, false); err != nil {
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
	if err := checkAddress(what, addr, true); err != nil {
		wrong.Add(err)
		return
	}
	checkBeyond(wrong, what, addr, insecure)
}

// checkBeyond refuses addresses that other machines can reach, unless that was
// asked for.
func checkBeyond(wrong *naming.Faults, what naming.Field, addr string, insecure bool) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil || insecure || host == "localhost" {
		return
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.IsLoopback() {
		return
	}
	wrong.Addf("%s %s is beyond this machine, and nothing on the network is encrypted or authenticated yet: bind to 127.0.0.1, or say %s if the network is trusted",
		what, addr, naming.Field("Insecure"))
}

// checkDir refuses what no system takes for a path, or nobody means for one.
func checkDir(wrong *naming.Faults, dir string) {
	if strings.ContainsRune(dir, 0) || dir != "" && strings.TrimSpace(dir) == "" {
		wrong.Addf("%s is %q, which is no path", naming.Field("Dir"), dir)
	}
}

// checkTime checks a time of which 0 is the default.
func checkTime(wrong *naming.Faults, what naming.Field, d, least, most time.Duration) {
	if d != 0 && (d < least || d > most) {
		wrong.Addf("%s is %v, not from %v to %v, or 0 for the default", what, d, least, most)
	}
}

// checkCount checks a number of members.
func checkCount(wrong *naming.Faults, what naming.Field, n, least, most int) {
	if n < least || n > most {
		wrong.Add(naming.Faultf("%s is %d, not from %d to %d", what, n, least, most))
	}
}
