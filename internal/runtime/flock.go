package runtime

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/starlinghq/starling/gossip/swim"
	"github.com/starlinghq/starling/internal/config"
	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage/vfs"
)

const (
	// addressesFile remembers the other members, so that --join is for the first
	// start only. It is a hint: nothing is lost without it.
	addressesFile     = "addresses"
	addressesBytesMax = 2 << 20
	givenWord         = "join" // begins a line with an address that was given
	numberWord        = "at"   // begins a line with the number at which a member was heard
	// rememberEvery is how often it is written although nothing has changed but
	// when members were heard.
	rememberEvery = 10 * time.Minute
	// orphanElections is for how many election timeouts a passive may hear nothing
	// of a leader before it says in its log that it follows nobody. An election takes
	// about one, and its outcome a few heartbeats.
	orphanElections = 10
	// A member that follows nobody says so at once, then after orphanFirst, and
	// after twice as long each time, up to orphanLast.
	orphanFirst, orphanLast = time.Minute, time.Hour
	// namesMax is how many members a line of the log names.
	namesMax = 8
)

// lookAround is the slow pulse of a member: it tells the others and the log how it is,
// and has written down what it knows of them. It waits for no disk.
func (m *Member) lookAround() {
	ticker := time.NewTicker(touchEvery)
	defer ticker.Stop()
	var alarm orphanAlarm
	var crowd crowd
	var voters voterWatch
	unreachedSaid := false
	for {
		m.books.open()
		m.syncs.look(m)
		alarm.look(m, time.Now())
		crowd.look(m, time.Now())
		voters.look(m, time.Now(), m.orphanAfter())
		m.dirs.lookForTwins()
		if why := unreached(m); (why != "") != unreachedSaid {
			if unreachedSaid = why != ""; unreachedSaid {
				m.logger.Warn("this member is not reached", "why", why)
			}
			m.waitsForOthers(why)
		}
		if err := nameTaken(m); err != nil {
			m.fail(err)
		}
		m.mailbox.put(func(in *mail) {
			in.calls = append(in.calls, m.dirs.keepInTouch, m.dirs.greetOnce)
		})
		select {
		case <-m.announcing:
			if p := m.published.Load(); p != nil {
				if err := m.swim.Update(m.meta(p.status.Role)); err != nil {
					m.logger.Debug("telling the membership", "err", err)
				}
			}
		case <-ticker.C:
		case <-m.stop:
			return
		}
	}
}

// noteSource finds out when this member last knew of a leader. Voters know by themselves
// who leads; the others are told, and would go by that for ever if they did not look at
// how old it is. Only the loop calls it.
func (m *Member) noteSource(now protocol.Instant, s replica.Status) {
	at := protocol.Instant(m.led.Load())
	switch {
	case s.Role == protocol.RoleReserve || votes(&s) && !s.Leader.IsZero():
		at = now
	case !votes(&s) && s.SourceKnown: // and not now: what is told is as old as it says
		at = max(at, now.Add(-s.Source))
	}
	m.led.Store(int64(at))
	m.orphan.Store(now.Sub(at) > m.orphanAfter())
}

// votes reports whether a member finds out by itself whether anybody leads: by an
// election.
func votes(s *replica.Status) bool {
	return s.Role == protocol.RoleActive && s.RaftRole != "learner"
}

// wordSlack is what news of a leader takes to come from one member to the next until all
// have them, where datagrams get lost and machines are busy.
const wordSlack = 500 * time.Millisecond

// wordAfter is how long a member that does not vote may be without news of a leader and
// be ready: as long as the last voter takes to find out that nobody leads, which is not
// ready from then on either, and wordSlack.
func wordAfter(m *Member) time.Duration { return 2*m.cfg.activeConfig().Election + wordSlack }

// orphanAfter is how long a member may be without news of a leader.
func (m *Member) orphanAfter() time.Duration { return orphanElections * m.cfg.activeConfig().Election }

// orphanAlarm says once, and again after a while, that this member follows
// nobody.
type orphanAlarm struct {
	since time.Time // zero: it follows
	next  time.Time
	pause time.Duration
}

func (a *orphanAlarm) look(m *Member, now time.Time) {
	orphan := m.orphan.Load()
	switch {
	case !orphan && !a.since.IsZero():
		m.logger.Info("this member follows again", "after", now.Sub(a.since).Round(time.Millisecond))
		*a = orphanAlarm{}
	case !orphan:
	case a.since.IsZero():
		a.since, a.next, a.pause = now, now, orphanFirst
		fallthrough
	case !now.Before(a.next):
		a.next, a.pause = now.Add(a.pause), min(2*a.pause, orphanLast)
		var hears, misses []string
		for _, peer := range m.swim.Peers() {
			hears = append(hears, peer.Name)
		}
		for _, k := range m.swim.Unheard() {
			misses = append(misses, k.Name+" at "+k.Address)
		}
		m.logger.Warn("this member follows nobody: none that it hears tells it of a leader, and its state grows old",
			"for", now.Sub(a.since).Round(time.Second), "hears", namesOf(hears), "does_not_hear", namesOf(misses))
	}
}

// namesOf is a list for a line of the log.
func namesOf(list []string) string {
	switch n := len(list); {
	case n == 0:
		return "nobody"
	case n > namesMax:
		return fmt.Sprintf("%s and %d more", strings.Join(list[:namesMax], ", "), n-namesMax)
	}
	return strings.Join(list, ", ")
}

// seat tells the membership whom the configuration names, at the start that of
// the log. A member whose seat was taken away, and given to nobody, was removed:
// it is not missed. Only the loop calls it, and the
// start before the loop.
func (m *Member) seat(next *protocol.Configuration) {
	if next == nil {
		rec := m.log.Recovered()
		at, _ := rec.Configurations.Latest()
		next = &at.Configuration
	}
	list := make([]swim.Known, 0, len(next.Members))
	for _, a := range next.Members {
		list = append(list, swim.Known{ID: a.ID, Name: a.Name, Role: protocol.RoleActive, Address: a.Address})
	}
	m.swim.Seat(list)
	last := m.seated
	m.seated = next
	if last == nil {
		return
	}
	for _, id := range removed(last, next) {
		m.swim.Forget(id)
	}
}

// removed returns whose seats were taken away between two configurations, unless
// another got a vote in the same change: then the policy has replaced somebody
// who had failed, and is still expected back.
func removed(last, next *protocol.Configuration) (ids []protocol.MemberID) {
	if slices.ContainsFunc(next.Members, func(a protocol.ActiveMember) bool {
		before, _ := last.Find(a.ID)
		return a.Seat == protocol.SeatVoter && !before.Outgoing && (last.Joint() || before.Seat != protocol.SeatVoter)
	}) {
		return nil
	}
	for _, a := range last.Members {
		if !next.Names(a.ID) {
			ids = append(ids, a.ID)
		}
	}
	return ids
}

// addressBook is what is in the file of addresses.
type addressBook struct {
	written string // without the times
	at      time.Time
}

// remember writes down whom this member knows, when that has changed, and now
// and then when it hears them still.
func (m *Member) remember(book *addressBook) {
	if m.cfg.Dir == "" {
		return
	}
	list := m.swim.Remembered()
	var stable strings.Builder
	fmt.Fprintln(&stable, m.given)
	for _, k := range list {
		fmt.Fprintf(&stable, "%s %s %s %s %s\n", k.ID, k.Address, k.Number, k.Role, k.Name)
	}
	if len(list) == 0 || stable.String() == book.written && time.Since(book.at) < rememberEvery {
		return
	}
	if err := vfs.WriteFile(m.cfg.logDisk, filepath.Join(m.cfg.Dir, addressesFile), encodeMembers(list, m.given)); err != nil {
		m.logger.Warn("cannot remember the addresses of the others", "err", err)
		return
	}
	book.written, book.at = stable.String(), time.Now()
}

// recallMembers reads what an earlier run remembered: whom it knew, and where it
// was told to look.
func (m *Member) recallMembers() (list []swim.Known, given []string) {
	if m.cfg.Dir == "" {
		return nil, nil
	}
	b, err := vfs.ReadFile(vfs.OS(), filepath.Join(m.cfg.Dir, addressesFile), addressesBytesMax)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			m.logger.Warn("cannot read the addresses of the others", "err", err)
		}
		return nil, nil
	}
	list, given = decodeMembers(b)
	return slices.DeleteFunc(list, func(k swim.Known) bool { return k.ID == m.identity.Member }), given
}

// recall takes what an earlier run remembered. The addresses of --join are those
// that were given last.
func (m *Member) recall() {
	m.known, m.given = m.recallMembers()
	if len(m.cfg.Join) > 0 {
		m.given = m.cfg.Join
	}
	m.given = slices.DeleteFunc(slices.Clone(m.given), func(a string) bool { return a == m.advertise })
}

// encodeMembers writes a line for each address that was given, and for each
// member: when it was heard, in seconds, its id, address, role and, quoted, its
// name; and one with its id and the number at which it was heard, which a release that
// does not know it passes over.
func encodeMembers(list []swim.Known, given []string) []byte {
	var b bytes.Buffer
	for _, a := range given {
		fmt.Fprintf(&b, "%s %s\n", givenWord, a)
	}
	for _, k := range list {
		var heard int64
		if !k.Heard.IsZero() {
			heard = k.Heard.Unix()
		}
		fmt.Fprintf(&b, "%d %s %s %d %q\n", heard, k.ID, k.Address, k.Role, k.Name)
		if k.Number != "" {
			fmt.Fprintf(&b, "%s %s %s\n", numberWord, k.ID, k.Number)
		}
	}
	return b.Bytes()
}

// numberLine reads where a member was heard.
func numberLine(line string) (id protocol.MemberID, number string, ok bool) {
	fields := strings.Fields(line)
	if len(fields) != 3 || fields[0] != numberWord || config.CheckAddress("Address", fields[2], true) != nil {
		return id, "", false
	}
	id, err := protocol.ParseMemberID(fields[1])
	return id, fields[2], err == nil
}

// decodeMembers reads what encodeMembers wrote, and passes over what it did not.
func decodeMembers(b []byte) (list []swim.Known, given []string) {
	lines := bufio.NewScanner(bytes.NewReader(b))
	for lines.Scan() {
		if a, ok := strings.CutPrefix(lines.Text(), givenWord+" "); ok && config.CheckAddress("Address", a, true) == nil {
			given = append(given, a)
			continue
		}
		if id, number, ok := numberLine(lines.Text()); ok && len(list) > 0 && list[len(list)-1].ID == id {
			list[len(list)-1].Number = number
			continue
		}
		fields := strings.SplitN(lines.Text(), " ", 5)
		if len(fields) != 5 {
			continue
		}
		heard, err1 := strconv.ParseInt(fields[0], 10, 64)
		id, err2 := protocol.ParseMemberID(fields[1])
		role, err3 := strconv.ParseUint(fields[3], 10, 8)
		name, err4 := strconv.Unquote(fields[4])
		if errors.Join(err1, err2, err3, err4, config.CheckAddress("Address", fields[2], true)) != nil || role > uint64(protocol.RoleReserve) {
			continue
		}
		k := swim.Known{ID: id, Name: name, Role: protocol.Role(role), Address: fields[2]}
		if heard > 0 {
			k.Heard = time.Unix(heard, 0)
		}
		list = append(list, k)
	}
	return list, given
}
