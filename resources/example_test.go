package resources_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/starlinghq/starling"
	"github.com/starlinghq/starling/resources"
)

// A table has typed keys and values; an error of a type's own crosses the wire by its
// code.
var (
	stock      = resources.NewTable[string, int]("stock")
	errSoldOut = resources.NewError("shop.sold_out", "there are not so many")
)

// order is what a customer asks for.
type order struct {
	Article string
	Count   int
}

// restock adds to the stock.
var restock = resources.NewCommand("restock", func(tx *resources.Tx, o order) (int, error) {
	have, _, err := stock.Get(tx, o.Article)
	if err != nil {
		return have, err
	}
	return have + o.Count, stock.Put(tx, o.Article, have+o.Count)
})

// sell takes from it, or changes nothing.
var sell = resources.NewCommand("sell", func(tx *resources.Tx, o order) (int, error) {
	have, _, err := stock.Get(tx, o.Article)
	if err != nil {
		return have, err
	}
	if have < o.Count {
		return have, errSoldOut
	}
	return have - o.Count, stock.Put(tx, o.Article, have-o.Count)
})

// left reads.
var left = resources.NewQuery("left", func(v *resources.View, article string) (int, error) {
	have, _, err := stock.Get(v, article)
	return have, err
})

var shopType = resources.NewType("shop", 1, restock, sell, left)

// onStock tells of changes.
var onStock = resources.NewWatch(shopType, stock)

// A resource type is a few typed operations on the replicated state. A command runs once
// on every member, at its place in the log; what it reads cannot change meanwhile.
func Example() {
	ctx := context.Background()
	cluster, err := starling.Local(ctx, 3, shopType)
	if err != nil {
		log.Fatal(err)
	}
	defer cluster.Close()

	fmt.Println(restock.Do(ctx, cluster.Client, "north", order{"hat", 3}))
	fmt.Println(sell.Do(ctx, cluster.Client, "north", order{"hat", 2}))
	_, err = sell.Do(ctx, cluster.Client, "north", order{"hat", 2})
	fmt.Println(errors.Is(err, errSoldOut))
	fmt.Println(left.Do(ctx, cluster.Client, "north", "hat", resources.Linearizable))
	// Output:
	// 3 <nil>
	// 1 <nil>
	// true
	// 1 <nil>
}

// A watch is declared once, beside the operations, and begun like they are called: over any caller, for
// one instance.
func ExampleNewWatch() {
	ctx := context.Background()
	cluster, err := starling.Local(ctx, 3, shopType)
	if err != nil {
		log.Fatal(err)
	}
	defer cluster.Close()

	changes := onStock.Watch(ctx, cluster.Client, "north", resources.WatchOptions{Previous: true})
	for _, o := range []order{{"hat", 3}, {"hat", 2}} {
		if _, err := restock.Do(ctx, cluster.Client, "north", o); err != nil {
			log.Fatal(err)
		}
	}
	for e, err := range changes {
		if err != nil {
			log.Fatal(err)
		}
		if e.PreviousKind == resources.PreviousValue {
			fmt.Println(e.Kind, e.Key, e.Previous, "->", e.Value)
			break
		}
		fmt.Println(e.Kind, e.Key, e.Value)
	}
	// Output:
	// put hat 3
	// put hat 3 -> 5
}
