// Command starling starts members and clusters, and talks to them. See
// starling --help, and package cmd for building it with types of your own.
package main

import (
	"os"

	"github.com/starlinghq/starling/cmd"
)

func main() { os.Exit(cmd.Main()) }
