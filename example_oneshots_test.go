package starling_test

import (
	"context"
	"fmt"
	"log"

	"github.com/starlinghq/starling"
)

// A program that writes once and goes: its write is one entry of the log, and takes effect
// once, though it opens no session.
func ExampleClient_OneShots() {
	ctx := context.Background()
	cluster, err := starling.OpenLocal(ctx, starling.LocalConfig{Actives: 1})
	if err != nil {
		log.Fatal(err)
	}
	defer cluster.Close()
	client, err := starling.Dial(ctx, starling.ClientConfig{Addresses: []string{cluster.Nodes[0].Addr()}})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	n, err := starling.NewCounter(client.OneShots(), "deployments").Add(ctx, 1)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(n)
	// Output: 1
}
