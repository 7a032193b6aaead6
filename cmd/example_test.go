package cmd_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"strings"

	"github.com/starlinghq/starling"
	"github.com/starlinghq/starling/cmd"
)

// A program may run the command itself, with types of its own.
func ExampleProgram() {
	ctx := context.Background()
	cluster, err := starling.Local(ctx, 1)
	if err != nil {
		log.Fatal(err)
	}
	defer cluster.Close()
	p := &cmd.Program{
		Args:  []string{"counter", "add", "--addr", cluster.Nodes[0].Addr(), "hits", "-5"},
		Stdin: strings.NewReader(""), Stdout: os.Stdout, Stderr: os.Stderr,
	}
	fmt.Println("exit code", p.Run(ctx))
	// Output:
	// -5
	// exit code 0
}
