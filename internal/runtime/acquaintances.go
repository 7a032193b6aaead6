package runtime

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/starlinghq/starling/gossip/swim"
	"github.com/starlinghq/starling/internal/config"
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
)

// acquaintances are the others, as this member remembers them over its starts. Known and
// given are read only once recall has returned.
type acquaintances struct {
	known []swim.Known // from an earlier start
	given []string     // addresses to look at

	written string // what is in the file, without the times; the writer's
	at      time.Time
}

// remember writes down whom this member knows, when that has changed, and now
// and then when it hears them still; tried hears how a writing went.
func (a *acquaintances) remember(list []swim.Known, disk vfs.FS, dir string, tried func(error)) {
	var stable strings.Builder
	fmt.Fprintln(&stable, a.given)
	for _, k := range list {
		fmt.Fprintf(&stable, "%s %s %s %s %s\n", k.ID, k.Address, k.Number, k.Role, k.Name)
	}
	if dir == "" || len(list) == 0 || stable.String() == a.written && time.Since(a.at) < rememberEvery {
		return
	}
	err := vfs.WriteFile(disk, filepath.Join(dir, addressesFile), encodeMembers(list, a.given))
	if tried(err); err == nil {
		a.written, a.at = stable.String(), time.Now()
	}
}

// recallMembers reads what an earlier run remembered: whom it knew, and where it
// was told to look.
func recallMembers(self protocol.MemberID, dir string, logger *slog.Logger) (list []swim.Known, given []string) {
	if dir == "" {
		return nil, nil
	}
	b, err := vfs.ReadFile(vfs.OS(), filepath.Join(dir, addressesFile), addressesBytesMax)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			logger.Warn("cannot read the addresses of the others", "err", err)
		}
		return nil, nil
	}
	list, given = decodeMembers(b)
	return slices.DeleteFunc(list, func(k swim.Known) bool { return k.ID == self }), given
}

// recall takes what an earlier run remembered. The addresses of --join are those
// that were given last.
func (a *acquaintances) recall(self protocol.MemberID, own string, join []string, dir string, logger *slog.Logger) {
	a.known, a.given = recallMembers(self, dir, logger)
	if len(join) > 0 {
		a.given = join
	}
	a.given = slices.DeleteFunc(slices.Clone(a.given), func(address string) bool { return address == own })
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
