package auction_test

import (
	"context"
	"errors"
	"testing"

	"github.com/starlinghq/starling/examples/auction"
	"github.com/starlinghq/starling/resources"
	"github.com/starlinghq/starling/resources/resourcetest"
)

func TestHighestBidWins(t *testing.T) {
	ctx, c := context.Background(), resourcetest.NewCaller(t, auction.Type)
	first := auction.Bid{Item: "hat", Bidder: "ann", Cents: 500}
	if _, err := auction.Place.Do(ctx, c, "spring", first); err != nil {
		t.Fatal(err)
	}
	top, err := auction.Place.Do(ctx, c, "spring", auction.Bid{Item: "hat", Bidder: "bob", Cents: 500})
	if !errors.Is(err, auction.ErrTooLow) || top != first {
		t.Errorf("got %v, %v, want %v, %v", top, err, first, auction.ErrTooLow)
	}
	got, err := auction.Highest.Do(ctx, c, "spring", "hat", resources.Local)
	if err != nil || got != first {
		t.Errorf("got %v, %v, want %v", got, err, first)
	}
}

func TestBidsAreTold(t *testing.T) {
	ctx, c := context.Background(), resourcetest.NewCaller(t, auction.Type)
	bids := auction.Bids.Watch(ctx, c, "spring", resources.WatchOptions{Previous: true})
	ann, bob := auction.Bid{Item: "hat", Bidder: "ann", Cents: 500}, auction.Bid{Item: "hat", Bidder: "bob", Cents: 700}
	for _, b := range []auction.Bid{ann, bob} {
		if _, err := auction.Place.Do(ctx, c, "spring", b); err != nil {
			t.Fatal(err)
		}
	}
	for e, err := range bids {
		if err != nil {
			t.Fatal(err)
		}
		if e.Value == bob {
			if e.Key != "hat" || e.PreviousKind != resources.PreviousValue || e.Previous != ann {
				t.Errorf("got %+v, want that it beats %v", e, ann)
			}
			break
		}
	}
}

func TestReplicates(t *testing.T) { resourcetest.Run(t, auction.Type, resourcetest.Options{}) }
