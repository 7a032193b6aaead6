package runtime

import (
	"context"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// strangerPause and strangerPauseMax are the first and the longest pause between two
// attempts to ask an address of --join which cluster it belongs to; it doubles.
const strangerPause, strangerPauseMax = time.Second, time.Minute

// lookForStrangers asks each address of --join, until it answers, whether it belongs
// to this member's cluster. If it does not, that is said and nothing else happens: the
// directory decides where a member belongs. But somebody has meant the two to be one.
func lookForStrangers(m *Member) {
	left, answered := m.cfg.Join, map[string]bool{}
	for pause := strangerPause; len(left) > 0; pause = min(2*pause, strangerPauseMax) {
		var silent []string
		for _, address := range left {
			if m.life.Err() != nil {
				return
			}
			if !looksLikeOurs(m, address, answered) {
				silent = append(silent, address)
			}
		}
		left = silent
		select {
		case <-time.After(pause):
		case <-m.life.Done():
			return
		}
	}
}

// looksLikeOurs asks all that an address means and that have not answered before, and
// reports whether all have.
func looksLikeOurs(m *Member, address string, answered map[string]bool) bool {
	places, err := lookUp(m.life, &m.cfg, address)
	if err != nil {
		return false
	}
	all := true
	for _, at := range places {
		if at.Address == m.advertise || answered[at.Address] {
			continue
		}
		ctx, cancel := context.WithTimeout(m.life, askTimeout)
		info, err := m.asker().ask(ctx, at.Address)
		cancel()
		switch {
		case err != nil:
			all = false
			continue
		case info.Cluster != m.identity.Cluster:
			m.logger.Warn("another cluster answers at an address of --join; this member stays in its own: correct --join, or start it with an empty directory to join the other one",
				"address", address, "their cluster", info.Cluster.String(), "cluster", m.identity.Cluster.String(), "err", protocol.ErrWrongCluster)
		}
		answered[at.Address] = true
	}
	return all
}
