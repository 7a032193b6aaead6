package replica

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/starlinghq/starling/protocol"
)

// Differing is the resources whose states differ, while no majority of the actives agrees. It
// does not change; nil is none.
type Differing struct {
	named map[string]bool
	whole [protocol.DigestBuckets]bool
	text  string
	asked bool // the actives are being asked whether a majority of them agrees
}

// Refuses is why a resource must not be read, nor commanded, or nil; "" is what the system
// holds itself: the catalogue.
func (d *Differing) Refuses(resource string) error {
	if d == nil || !d.named[resource] && !d.whole[protocol.DigestBucket(resource)] {
		return nil
	}
	if d.asked { // mostly known within milliseconds: who retries is served then, here or elsewhere
		return &protocol.Error{Code: protocol.ErrUnavailable.Code, Cause: protocol.ErrDisputed, Text: fmt.Sprintf(
			"the actives do not have the same in %s, and are being asked whether a majority of them agrees", nameOf(resource))}
	}
	return protocol.ErrDisputed.With(fmt.Sprintf(
		"the actives do not have the same in %s, and no majority of them agrees: it is served again when one does; delete it, or have those that are wrong fetch the state of one that is right (`starling impose`, docs/recover.md)", nameOf(resource)))
}

// RefusesCommand is why a command must not be proposed, or nil. Whoever deletes a resource
// ends the difference.
func (d *Differing) RefusesCommand(c *protocol.Command) error {
	if c.Type == protocol.SessionType || c.Type == protocol.CatalogueType {
		return nil
	}
	return d.Refuses(c.Resource)
}

func byName(x protocol.ResourceDigest, name string) int { return strings.Compare(x.Name, name) }

// merge notes what two lists by name do not have alike.
func (c *comparison) merge(mine, theirs []protocol.ResourceDigest) {
	for len(mine) > 0 || len(theirs) > 0 {
		switch {
		case len(theirs) == 0 || len(mine) > 0 && mine[0].Name < theirs[0].Name:
			c.name(mine[0])
			mine = mine[1:]
		case len(mine) == 0 || theirs[0].Name < mine[0].Name:
			c.name(theirs[0])
			theirs = theirs[1:]
		default:
			if mine[0] != theirs[0] {
				c.name(mine[0])
			}
			mine, theirs = mine[1:], theirs[1:]
		}
	}
}

// name notes a resource that differs, and one more than can be named.
func (c *comparison) name(x protocol.ResourceDigest) {
	if len(c.named) <= differNamedMax {
		c.named = append(c.named, x)
	}
}

func nameOf(resource string) string {
	if resource == "" {
		return "what the system holds of sessions and resources"
	}
	return strconv.Quote(resource)
}

// String says what differs.
func (c *comparison) String() string {
	list := make([]string, 0, differNamedMax)
	for _, x := range c.named {
		list = append(list, strings.TrimSpace(x.Type+" "+nameOf(x.Name)))
	}
	if len(c.whole) > 0 {
		list = append(list, fmt.Sprintf("what else is in %d of %d buckets of resources", len(c.whole), protocol.DigestBuckets))
	}
	return strings.Join(list, ", ")
}

// found tells people what differs.
func (p *differences) found(c *comparison) {
	p.out.Events = append(p.out.Events, protocol.Event{Kind: protocol.EventDiverged, Term: p.log.role.HardState().Term, Index: c.index, Member: c.with,
		Text: fmt.Sprintf("the state at %d differs from that of this active in %s", c.index, c)})
	// What differed from it before does no more, or still does.
	last := *c
	p.list = slices.DeleteFunc(p.list, func(x comparison) bool {
		return x.with == last.with && (x.index < last.index || x.index == last.index && (x.mine != last.mine || x.theirs != last.theirs))
	})
}

// says is what differed from any active at a checkpoint entry, as far as it is known.
func (p *differences) says(i protocol.Index) string {
	for k := range p.list {
		if c := &p.list[k]; c.index == i && c.summed {
			return c.String()
		}
	}
	return ""
}

// agrees notes that an active has the digest at a checkpoint entry that this member has.
func (p *differences) agrees(i protocol.Index, with protocol.MemberID) {
	p.list = slices.DeleteFunc(p.list, func(c comparison) bool { return c.with == with && c.index <= i })
	p.refuse()
}

// settle notes that it is known who was right up to an index.
func (p *differences) settle(i protocol.Index) {
	p.settled = max(p.settled, i)
	for k := range p.list {
		c := &p.list[k]
		c.moot = c.moot || c.index <= i
	}
	p.refuse()
}

// surrender notes that the state is given up: whatever differs is of that one.
func (p *differences) surrender() {
	for k := range p.list {
		p.list[k].moot = true
	}
	p.refuse()
}

// differing is what differs while nobody knows who is right, or nil.
func (p *differences) differing() *Differing { return p.refused }

// newest is the newest checkpoint entry for which something is refused, or 0.
func (p *differences) newest() (i protocol.Index) {
	for k := range p.list {
		if c := &p.list[k]; c.summed && !c.moot {
			i = max(i, c.index)
		}
	}
	return i
}

// refuse puts together what is refused.
func (p *differences) refuse() {
	next := &Differing{named: map[string]bool{}, asked: !p.audit.isDisputed()}
	var texts []string
	for k := range p.list {
		c := &p.list[k]
		if c.moot || !c.summed {
			continue
		}
		for _, x := range c.named {
			next.named[x.Name] = true
		}
		for _, b := range c.whole {
			next.whole[b] = true
		}
		texts = append(texts, fmt.Sprintf("%s differs between this member and %s at %d", c, p.flock.labelOf(c.with), c.index))
	}
	if len(texts) == 0 {
		p.refused = nil
		return
	}
	if next.text = strings.Join(texts, "; "); p.refused == nil || p.refused.text != next.text || p.refused.asked != next.asked || p.refused.whole != next.whole {
		p.refused = next
	}
}
