package starling_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/starlinghq/starling"
)

// Whatever member answers, a session reads its own writes.
func ExampleOwnWrites() {
	ctx, cluster := context.Background(), single()
	defer cluster.Close()
	hits := starling.NewCounter(cluster.Client, "hits")
	if _, err := hits.Add(ctx, 1); err != nil {
		log.Fatal(err)
	}
	fmt.Println(hits.Get(ctx, starling.OwnWrites))

	// Somebody else goes on from there, with the index.
	there := starling.NewCounter(cluster.Nodes[0], "hits")
	fmt.Println(there.Get(ctx, starling.AtLeast(cluster.Client.Seen())))
	// Output:
	// 1 <nil>
	// 1 <nil>
}

// A read that may be a minute old is answered by any member that can prove that
// it is not older.
func ExampleMaxStale() {
	ctx, cluster := context.Background(), single()
	defer cluster.Close()
	hits := starling.NewCounter(cluster.Client, "hits")
	if _, err := hits.Add(ctx, 1); err != nil {
		log.Fatal(err)
	}
	var info starling.Info
	_, err := hits.Get(ctx, starling.MaxStale(time.Minute), starling.WithInfo(&info))
	fmt.Println(err, info.AgeKnown, info.Age <= time.Minute)
	// Output:
	// <nil> true true
}

// A copy of a map, kept up to date.
func ExampleMap_Follow() {
	ctx, cluster := context.Background(), single()
	defer cluster.Close()
	colors := starling.NewMap[string, string](cluster.Client, "colors")
	if err := colors.Put(ctx, "sky", "blue"); err != nil {
		log.Fatal(err)
	}
	copied := map[string]string{}
	for e, err := range colors.Follow(ctx, starling.FollowOptions{}) {
		if err != nil {
			log.Fatal(err)
		}
		switch e.Kind {
		case starling.FollowReset:
			clear(copied)
		case starling.FollowPut:
			copied[e.Key] = e.Value
		case starling.FollowDelete:
			delete(copied, e.Key)
		case starling.FollowListed:
			fmt.Println("listed:", copied)
			if err := colors.Put(ctx, "grass", "green"); err != nil {
				log.Fatal(err)
			}
		}
		if len(copied) == 2 {
			break
		}
	}
	fmt.Println(copied)
	// Output:
	// listed: map[sky:blue]
	// map[grass:green sky:blue]
}
