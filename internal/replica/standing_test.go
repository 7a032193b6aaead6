package replica

import (
	"testing"

	"github.com/starlinghq/starling/gossip"
	"github.com/starlinghq/starling/passive"
	"github.com/starlinghq/starling/protocol"
)

// [S] What a member may do in each state, and in two at once: a dash is what it may not.
func TestStandingSaysWhatAMemberMayDo(t *testing.T) {
	acts := []act{mayApply, mayAnswer, mayLead, mayVouch, mayGive, mayFeed, mayTrim, mayChange, mayInstall, mayKeep}
	for _, x := range []struct {
		in                                                                        []trouble
		apply, answer, lead, vouch, give, feed, trim, change, install, keep, lost bool
	}{
		{in: nil, apply: true, answer: true, lead: true, vouch: true, give: true, feed: true, trim: true, change: true, install: true, keep: true},
		{lost: true, answer: true, lead: true, vouch: true, give: true, trim: true, change: true, install: true, keep: true},
		{in: []trouble{discarded}, change: true, install: true},
		{in: []trouble{replaying}, apply: true, change: true, install: true, keep: true},
		{in: []trouble{renewing}, apply: true, answer: true, lead: true, vouch: true, give: true, feed: true, trim: true, install: true, keep: true},
		{in: []trouble{otherHistory}, apply: true, lead: true, vouch: true, give: true, feed: true, keep: true},
		{in: []trouble{halted}, apply: true, answer: true, vouch: true, give: true, feed: true, trim: true, change: true, install: true, keep: true},
		{in: []trouble{outgrown}, apply: true, answer: true, vouch: true, give: true, feed: true, trim: true, change: true, install: true, keep: true},
		{in: []trouble{outgrown, beyond}, apply: true, vouch: true, feed: true, trim: true, change: true, install: true, keep: true},
		{in: []trouble{otherHistory, discarded}},
		{in: []trouble{halted, replaying}, lost: true, change: true, install: true, keep: true},
	} {
		l := log{role: &passiveRole{Member: passive.New(0, passive.Config{}, passive.Start{})}}
		s := standing{log: &l, halt: "it has stopped", older: "it knows level 1"}
		if x.lost {
			l.role.LogTerms().PrevIndex = 7
		}
		for _, in := range x.in {
			s.set(in, true)
		}
		want := []bool{x.apply, x.answer, x.lead, x.vouch, x.give, x.feed, x.trim, x.change, x.install, x.keep}
		for k, a := range acts {
			if got := s.may(a); got != want[k] {
				t.Errorf("in %v, lost %t: act %d: got %t, want %t", x.in, x.lost, k, got, want[k])
			}
		}
		if got := s.unfit() == ""; got != x.lead {
			t.Errorf("in %v: fit to lead is %t, want %t", x.in, got, x.lead)
		}
		for _, in := range x.in {
			s.set(in, false)
		}
		if l.handed = 7; !s.may(mayAll) {
			t.Errorf("%v are over, and it may not do all", x.in)
		}
	}
	s := standing{log: &log{}, quarantine: quarantine{text: "the state has diverged"}}
	s.set(discarded, true)
	s.stray(&gossip.Divergence{Index: 5}) // keeps the log first: that may be the only one
	if got, want := s.notServing(), protocol.ErrNotServing.With(s.diverged.String()); got.Error() != want.Error() {
		t.Errorf("got %q, want %q", got, want)
	}
}
