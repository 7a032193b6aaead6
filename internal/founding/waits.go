package founding

import (
	"fmt"
	"strings"
)

// Waits says for whom and what the start waits.
func (f *Founder) Waits() string {
	var quiet, refusals, parts []string
	var first *peer
	if f.called != "" {
		return f.called + " calls this member at its address: its directory was lost; join that cluster (--join with the address of one of its members, and --replace for the seat), or stop it for good before another one begins here"
	}
	if f.stranger != "" {
		parts = append(parts, f.stranger)
	}
	for i := range f.peers {
		p := &f.peers[i]
		if p.standing != silent {
			if other := f.otherList(p.Place, p.said); other != "" && other != f.stranger {
				parts = append(parts, other)
			}
		}
		switch {
		case p.standing == silent:
			quiet = append(quiet, fmt.Sprintf("%s (%s)", p.Place, p.why))
		case f.first(p):
			first = p
		case p.standing == refused:
			refusals = append(refusals, fmt.Sprintf("%s: %s", p.Place, p.why))
		}
	}
	switch {
	case len(quiet) > 0:
		parts = append(parts, "no answer from "+strings.Join(quiet, ", ")+f.silenceIsNone())
	case f.promise != nil:
		parts = append(parts, fmt.Sprintf("all others answer that they have none, and this member has promised %s not to begin one and waits for its cluster", f.promise.To))
	case !f.cfg.Begins:
		parts = append(parts, "all others answer that they have none: start one of them with --bootstrap")
	case f.cfg.Expect > f.told():
		parts = append(parts, fmt.Sprintf("found %d of %d members that were told --expect", f.told(), f.cfg.Expect))
	case f.cfg.Expect > 0 && f.cfg.Expect < f.told():
		parts = append(parts, fmt.Sprintf("%d members say that they were told --expect, of %d: %s; one that has a new address counts twice until nobody answers at the old one",
			f.told(), f.cfg.Expect, f.list()))
	case first != nil:
		parts = append(parts, fmt.Sprintf("%s has the lowest address of those that were told to begin, and begins", first.Place))
	case f.cfg.Held:
		parts = append(parts, "all others answer that they have none: a cluster that has this member may still call it")
	case f.asks():
		parts = append(parts, "all others answer that they have none, and are asked to promise not to begin one")
	}
	return strings.Join(append(parts, refusals...), "; ")
}

func (f *Founder) silenceIsNone() string {
	if !f.cfg.Begins {
		return ""
	}
	return ": a cluster begins when all that are named have answered that they have none"
}
