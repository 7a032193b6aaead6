package starling_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/starlinghq/starling"
)

// Others change the configuration all the time: each change is made all the same, and
// once.
func TestSeatsChangeAlthoughOthersChangeThem(t *testing.T) {
	ctx, cluster := open(t, starling.LocalConfig{Actives: 3})
	others, stop := context.WithCancel(ctx)
	var all sync.WaitGroup
	defer all.Wait()
	defer stop()
	for i := range 2 {
		all.Go(func() {
			for n := 1; others.Err() == nil; n++ {
				a, err := cluster.Client.Autopilot(others)
				if err == nil {
					a.Off, a.Passives = true, 2*n+i
					_ = cluster.Client.SetAutopilot(others, a.Autopilot)
				}
			}
		})
	}
	for range 5 {
		seats, err := cluster.Client.Demote(ctx, "a3")
		for errors.Is(err, starling.ErrWouldLoseQuorum) && ctx.Err() == nil { // a voter that is slow to answer counts as none
			seats, err = cluster.Client.Demote(ctx, "a3")
		}
		if want := []string{"a1", "a2"}; err != nil || !slices.Equal(seats.Voters, want) || seats.Actives != 2 {
			t.Fatalf("demoted: got %v, %v, want the voters %v", seats, err, want)
		}
		seats, err = cluster.Client.Promote(ctx, "a3")
		if want := []string{"a1", "a2", "a3"}; err != nil || !slices.Equal(seats.Voters, want) || seats.Actives != 3 {
			t.Fatalf("promoted: got %v, %v, want the voters %v", seats, err, want)
		}
		seats, err = cluster.Client.Transfer(ctx, "a2")
		for errors.Is(err, starling.ErrNoTransferee) && ctx.Err() == nil { // so it is with a transferee
			seats, err = cluster.Client.Transfer(ctx, "a2")
		}
		if err != nil || seats.Leader != "a2" {
			t.Fatalf("transferred: got %v, %v, want a2", seats, err)
		}
		before := seats.Leader
		seats, err = cluster.Client.Transfer(ctx, "")
		for errors.Is(err, starling.ErrNoTransferee) && ctx.Err() == nil {
			seats, err = cluster.Client.Transfer(ctx, "")
		}
		if err != nil || seats.Leader == before {
			t.Fatalf("transferred: got %v, %v, want another leader than %s", seats, err, before)
		}
	}
}
