// Command quickstart is the program of the README.
package main

import (
	"context"
	"fmt"
	"log"

	"github.com/starlinghq/starling"
)

func main() {
	ctx := context.Background()
	cluster, err := starling.Local(ctx, 3) // three members, in this process
	if err != nil {
		log.Fatal(err)
	}
	defer cluster.Close()

	colors := starling.NewMap[string, string](cluster.Client, "colors")
	if err := colors.Put(ctx, "sky", "blue"); err != nil {
		log.Fatal(err)
	}
	color, err := colors.Get(ctx, "sky")
	fmt.Println(color, err)
}
