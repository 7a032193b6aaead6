package runtime

import (
	"cmp"
	"fmt"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// voterWatch says once in the log that a voter is not heard any more, and once that it
// is again. It goes by the membership, which takes some seconds to be sure.
type voterWatch struct {
	began  time.Time
	voters map[protocol.MemberID]voterSeen
}

// voterSeen is what the log has been told of a voter.
type voterSeen struct {
	heard bool      // once, at least
	lost  time.Time // since when it is not, and the log says so; zero: it is
}

// look compares who has a vote with who is heard. A voter that was never heard counts
// as lost after patience: it may be on its way.
func (w *voterWatch) look(m *Member, now time.Time, patience time.Duration) {
	conf := m.configured.Load()
	if conf == nil || m.cfg.Role == protocol.RoleReserve || m.leaving.Load() {
		return
	}
	if w.began.IsZero() {
		w.began = now
	}
	alive := map[protocol.MemberID]bool{m.identity.Member: true}
	for _, p := range m.swim.Peers() {
		alive[p.ID] = true
	}
	voters, heard := conf.Voters(), 0
	for _, id := range voters {
		if alive[id] {
			heard++
		}
	}
	next := make(map[protocol.MemberID]voterSeen, len(voters))
	for _, id := range voters {
		line, _ := conf.Find(id)
		seen, name := w.voters[id], cmp.Or(line.Name, id.Short())
		switch {
		case alive[id] && !seen.lost.IsZero():
			m.logger.Info("a voter is heard again", "voter", name, "address", line.Address,
				"after", now.Sub(seen.lost).Round(time.Second), "heard", fmt.Sprintf("%d of %d voters", heard, len(voters)))
			seen = voterSeen{heard: true}
		case alive[id]:
			seen.heard = true
		case seen.lost.IsZero() && (seen.heard || now.Sub(w.began) >= patience):
			seen.lost = now
			text := "a voter is not heard any more"
			if 2*heard <= len(voters) {
				text += ", and without it there is no quorum: nobody can write"
			}
			m.logger.Warn(text, "voter", name, "address", line.Address, "heard", fmt.Sprintf("%d of %d voters", heard, len(voters)))
		}
		next[id] = seen
	}
	w.voters = next
}
