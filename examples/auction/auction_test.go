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

func TestReplicates(t *testing.T) { resourcetest.Run(t, auction.Type, resourcetest.Options{}) }
