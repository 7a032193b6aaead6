// Command hello is a cluster of three members, in this process, with a
// resource type of its own: a guest book that counts visits.
package main

import (
	"context"
	"fmt"
	"log"

	"github.com/starlinghq/starling"
	"github.com/starlinghq/starling/resources"
)

var visits = resources.NewTable[string, int]("visits")

// greet counts a visit and answers how many there were. It runs on every
// member, in the same order.
var greet = resources.NewCommand("greet", func(tx *resources.Tx, who string) (int, error) {
	n, _, err := visits.Get(tx, who)
	if err != nil {
		return 0, err
	}
	return n + 1, visits.Put(tx, who, n+1)
})

var guestBook = resources.NewType("guest-book", 1, greet)

func main() {
	ctx := context.Background()
	cluster, err := starling.Local(ctx, 3, guestBook)
	if err != nil {
		log.Fatal(err)
	}
	defer cluster.Close()
	for _, member := range cluster.Nodes {
		n, err := greet.Do(ctx, member, "lobby", "world")
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%s: hello, world (visit %d)\n", member.Name(), n)
	}
}
