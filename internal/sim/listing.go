package sim

import (
	"bytes"
	"context"

	"github.com/starlinghq/starling/internal/sim/told"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
	"github.com/starlinghq/starling/resources/kvmap"
)

// pageItems is how many keys a page of a listing has at most.
const pageItems = 3

// listing is what a copy that is kept by the rule of Map.Follow knows of its listing.
type listing struct {
	pages  []page
	listed bool
}

// page is a piece of the key space, from the one before on, and where it was read.
type page struct {
	next  []byte // the first key of the next one; empty: there is none
	index protocol.Index
}

// list lists the map, and watches on from there.
func (o *onlooker) list() {
	o.listing, o.asked = listing{}, o.s.schedule.now
	o.yield(told.Event{Kind: told.Reset})
	o.watches(0)
	o.page([]byte(o.prefix))
}

// page reads a page at some member.
func (o *onlooker) page(from []byte) {
	m := o.reads()
	if m == nil {
		o.later(readAgain, func() { o.page(from) })
		return
	}
	request := kvmap.ScanRequest{From: from, To: resources.PrefixEnd([]byte(o.prefix)), Limit: pageItems}
	var t through
	ask := func() (kvmap.Page, error) {
		return kvmap.Scan.Do(context.Background(), &t, mapName, request, resources.WithLevel(protocol.Local))
	}
	_, _ = ask() // what it makes of the empty answer does not matter
	t.result = m.machine.Query(context.Background(), &t.query)
	read, err := ask()
	if err != nil {
		o.s.fail(violated(RuleWatch, "%s cannot read a page at %s: %v", o.stream().Name, m.name, err))
		return
	}
	at, items := t.result.Index, make([]told.Event, 0, len(read.Items))
	for _, item := range read.Items {
		items = append(items, told.Event{Kind: told.Put, Index: uint64(item.Version), Key: string(item.Key), Value: string(item.Value)})
	}
	next := bytes.Clone(read.Next)
	o.later(o.s.onlookerWay(), func() {
		o.seen = max(o.seen, at)
		o.pages = append(o.pages, page{next, at})
		o.asked = o.s.schedule.now
		for _, e := range items {
			o.yield(e)
		}
		if len(next) > 0 {
			o.page(next)
			return
		}
		least, _ := o.span()
		o.watches(least)
		o.open()
	})
}

// span is the lowest and the highest index at which a page was read.
func (l *listing) span() (least, most protocol.Index) {
	least = l.pages[0].index
	for _, p := range l.pages {
		least, most = min(least, p.index), max(most, p.index)
	}
	return least, most
}

// readAt returns where the listing has read a key.
func (l *listing) readAt(key string) protocol.Index {
	for _, p := range l.pages {
		if len(p.next) == 0 || key < string(p.next) {
			return p.index
		}
	}
	return 0
}

// copy takes what the watch behind a listing tells.
func (o *onlooker) copy(c protocol.Changes) {
	_, most := o.span()
	complete := func() {
		o.listed = true
		o.s.counts.add(countCopiesListed, 1)
		o.yield(told.Event{Kind: told.Listed, Index: uint64(most)})
	}
	if !o.listed && c.Index > most {
		complete()
	}
	for i := range c.Changes {
		if e := eventOf(&c, i); c.Index > o.readAt(e.Key) {
			e.Last = e.Last && o.listed
			o.yield(e)
		}
	}
	if !o.listed && c.Index == most {
		complete()
	}
	if o.listed && len(c.Changes) == 0 {
		o.yield(told.Event{Kind: told.Bookmark, Index: uint64(max(c.Index, most)), Last: true})
	}
}
