package active

import (
	"errors"
	"strings"
	"testing"

	"github.com/starlinghq/starling/protocol"
)

// [S] Counterexample 62 (simulated seed 361): a is the only voter for a while, and its directory is put back to
// before that. All others have moved, so that nobody whom its log knows can tell it. On its way to
// where it was it comes to the configuration in which it is alone, and elects itself beside the leader of that term.
func TestOnlyVoterOfAnOldConfigurationDoesNotLeadWhatItHasForgotten(t *testing.T) {
	alone, two, three := configurationOf("a"), configurationOf("a", "b"), configurationOf("a", "b", "c")
	for name, test := range map[string]struct {
		before, conf protocol.Configuration
		held         bool // the configuration is in its log
		commit       protocol.Index
		stops        bool
	}{
		"alone":                          {three, alone, false, 3, true},
		"one of two":                     {three, two, false, 3, true},
		"one of three":                   {three, three, false, 3, false},
		"not a voter":                    {three, configurationOf("b"), false, 3, false},
		"alone on the way out":           {alone, alone.Toward(three), false, 3, true},
		"alone on the way in":            {three, three.Toward(alone), false, 3, true},
		"alone, and it holds that":       {three, alone, true, 3, false},
		"alone, and that is not decided": {three, alone, false, 1, false},
	} {
		log := logOf(1, 1, 1)
		log[1].Kind, log[1].Data = protocol.EntryConfiguration, protocol.EncodeConfiguration(test.conf)
		protocol.EncodeEntries(log)
		for way, take := range map[string]func(h *hub){
			"by the flock":    func(h *hub) { h.n.m.CatchUp(h.now, Run{From: idOf("c"), Entries: log[1:], Commit: test.commit}) },
			"by a leader":     func(h *hub) { h.says("b", appendOf(1, 1, 1, test.commit, log)) },
			"by a later term": func(h *hub) { h.says("b", appendOf(4, 1, 1, test.commit, log)) },
		} {
			c := newCluster()
			c.solo, c.base.Configuration = true, test.before
			held := logOf(1)
			if test.held {
				held = log[:2]
			}
			h := &hub{t: t, cluster: c, n: c.add("a", image{state: protocol.HardState{Term: 1, Commit: 1}, log: held})}
			take(h)
			if h.n.m != nil { // it has a seat
				rd := h.n.m.Ready()
				c.histories(h.n, &rd)
			}
			if stops := errors.Is(h.n.stop, protocol.ErrRolledBack); stops != test.stops {
				t.Errorf("%s, %s: got %v, want that it stops: %v", name, way, h.n.stop, test.stops)
			}
			if !test.stops {
				continue
			}
			if text := h.n.stop.Error(); !strings.Contains(text, "the configuration at 2") || !strings.Contains(text, "starling recover") {
				t.Errorf("%s, %s: %s", name, way, text)
			}
			h.n.m.Tick(h.now.Add(10 * LAN.Election))
			if rd := h.n.m.Ready(); rd.Write != nil || len(rd.Messages) > 0 || h.n.m.State() != StateFollower || h.n.m.logTerms.LastIndex() != 1 {
				t.Errorf("%s, %s: it goes on as a %s with %+v", name, way, h.n.m.State(), rd)
			}
		}
	}
}
