// Package auction keeps the highest bid for each item: a complete resource type
// of one's own.
package auction

import (
	"cmp"

	"github.com/starlinghq/starling/resources"
)

// Bid is an offer for an item.
type Bid struct {
	Item, Bidder string
	Cents        int64
}

// ErrTooLow answers a bid that is not higher than the highest.
var ErrTooLow = resources.NewError("auction.too_low", "the bid is not higher than the highest")

var bids = resources.NewTable[string, Bid]("bids")

// Place makes a bid and answers the highest one before it.
var Place = resources.NewCommand("place", func(tx *resources.Tx, b Bid) (Bid, error) {
	top, ok, err := bids.Get(tx, b.Item)
	if err != nil || ok && b.Cents <= top.Cents {
		return top, cmp.Or(err, error(ErrTooLow))
	}
	return top, bids.Put(tx, b.Item, b)
})

// Highest reads the highest bid for an item, or the zero bid.
var Highest = resources.NewQuery("highest", func(v *resources.View, item string) (Bid, error) {
	top, _, err := bids.Get(v, item)
	return top, err
})

// Type is what a member needs to take part.
var Type = resources.NewType("auction", 1, Place, Highest)

// Bids tells each highest bid as it is made, and with WatchOptions.Previous the one that it beats.
var Bids = resources.NewWatch(Type, bids)
