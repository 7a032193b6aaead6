package starling_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"os"

	"github.com/starlinghq/starling"
)

func ExampleLocal() {
	ctx := context.Background()
	cluster, err := starling.Local(ctx, 3)
	if err != nil {
		log.Fatal(err)
	}
	defer cluster.Close()
	for _, n := range cluster.Nodes {
		fmt.Println(n.Name(), n.Status().Role)
	}
	// Output:
	// a1 active
	// a2 active
	// a3 active
}

// A local cluster with a log, a passive member, and something that only one member has.
func ExampleOpenLocal() {
	ctx := context.Background()
	logger := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	cluster, err := starling.OpenLocal(ctx, starling.LocalConfig{
		Actives: 3, Passives: 1, Logger: logger,
		Member: func(cfg *starling.Config) {
			if cfg.Name == "p1" {
				cfg.HTTP = "127.0.0.1:0"
			}
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer cluster.Close()
	for _, n := range cluster.Nodes {
		fmt.Println(n.Name(), n.Status().Role, "serves HTTP:", n.HTTPAddr() != "")
	}
	// Output:
	// a1 active serves HTTP: false
	// a2 active serves HTTP: false
	// a3 active serves HTTP: false
	// p1 passive serves HTTP: true
}

// single is a cluster of one member, for the examples below.
func single() *starling.Cluster {
	cluster, err := starling.Local(context.Background(), 1)
	if err != nil {
		log.Fatal(err)
	}
	return cluster
}

func ExampleMap() {
	ctx, cluster := context.Background(), single()
	defer cluster.Close()
	type user struct{ Name, Mail string }
	users := starling.NewMap[int, user](cluster.Client, "users")

	for id, u := range []user{{"ada", "ada@example.org"}, {"bob", "bob@example.org"}, {"cat", "cat@example.org"}} {
		if err := users.Put(ctx, id, u); err != nil {
			log.Fatal(err)
		}
	}
	for e, err := range users.Scan(ctx, starling.From(1)) {
		fmt.Println(e.Key, e.Value.Name, err)
	}
	_, err := users.Get(ctx, 99)
	fmt.Println(errors.Is(err, starling.ErrNotFound))
	// Output:
	// 1 bob <nil>
	// 2 cat <nil>
	// true
}

// A version makes read, change, write safe without a lock.
func ExampleMap_PutIf() {
	ctx, cluster := context.Background(), single()
	defer cluster.Close()
	stock := starling.NewMap[string, int](cluster.Client, "stock")

	first, err := stock.PutIf(ctx, "apples", 3, 0) // version 0: there is none
	if err != nil {
		log.Fatal(err)
	}
	if _, err := stock.PutIf(ctx, "apples", 2, first); err != nil {
		log.Fatal(err)
	}
	_, err = stock.PutIf(ctx, "apples", 1, first)
	fmt.Println(errors.Is(err, starling.ErrConditionFailed))
	// Output: true
}

// Read the state with its index, and watch what was written after it: nothing
// is missed and nothing comes twice.
func ExampleMap_Watch() {
	ctx, cluster := context.Background(), single()
	defer cluster.Close()
	colors := starling.NewMap[string, string](cluster.Client, "colors")
	if err := colors.Put(ctx, "sky", "blue"); err != nil {
		log.Fatal(err)
	}

	var info starling.Info
	sky, err := colors.Get(ctx, "sky", starling.WithInfo(&info))
	fmt.Println(sky, err)

	if err := colors.Put(ctx, "sky", "grey"); err != nil {
		log.Fatal(err)
	}
	for e, err := range colors.Watch(ctx, starling.WatchOptions{After: info.Index}) {
		fmt.Println(e.Key, e.Value, err)
		break
	}
	// Output:
	// blue <nil>
	// sky grey <nil>
}

// A local read costs no network, and says how old it can be.
func ExampleLocally() {
	ctx, cluster := context.Background(), single()
	defer cluster.Close()
	hits := starling.NewCounter(cluster.Nodes[0], "hits")
	if _, err := hits.Add(ctx, 5); err != nil {
		log.Fatal(err)
	}
	var info starling.Info
	n, err := hits.Get(ctx, starling.Locally, starling.WithInfo(&info))
	fmt.Println(n, err, info.Index > 0)
	// Output: 5 <nil> true
}

func ExampleQueue() {
	ctx, cluster := context.Background(), single()
	defer cluster.Close()
	jobs := starling.NewQueue[string](cluster.Client, "jobs")
	for _, job := range []string{"wash", "dry"} {
		if err := jobs.Push(ctx, job); err != nil {
			log.Fatal(err)
		}
	}
	for {
		job, err := jobs.Pop(ctx)
		if errors.Is(err, starling.ErrEmpty) {
			fmt.Println("done")
			return
		}
		fmt.Println(job, err)
	}
	// Output:
	// wash <nil>
	// dry <nil>
	// done
}

func ExampleCounter() {
	ctx, cluster := context.Background(), single()
	defer cluster.Close()
	hits := starling.NewCounter(cluster.Client, "hits")
	fmt.Println(hits.Add(ctx, 2))
	fmt.Println(hits.Add(ctx, -5))
	// Output:
	// 2 <nil>
	// -3 <nil>
}

// A service that is a member: its writes go through the log, its reads come
// from its own memory.
func ExampleOpen() {
	ctx := context.Background()
	node, err := starling.Open(ctx, starling.Config{Name: "a1", Bind: "127.0.0.1:0", Bootstrap: true, Actives: 1})
	if err != nil {
		log.Fatal(err)
	}
	defer node.Close()
	colors := starling.NewMap[string, string](node, "colors")
	fmt.Println(colors.Put(ctx, "sky", "blue"))

	client, err := starling.Dial(ctx, starling.ClientConfig{Addresses: []string{node.Addr()}})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	fmt.Println(starling.NewMap[string, string](client, "colors").Get(ctx, "sky"))
	// Output:
	// <nil>
	// blue <nil>
}
