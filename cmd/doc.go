// Package cmd is the command starling as a package, so that users build the
// same binary with their own types in five lines:
//
//	package main
//
//	import ("os"; "github.com/starlinghq/starling/cmd"; "example.org/auction")
//
//	func main() { os.Exit(cmd.Main(auction.Type)) }
//
// The members that such a binary starts know the given types beside the
// built-in ones.
//
// # Flags
//
// Flags stand after the command and before its arguments; an argument that
// names a flag of the command is refused. What stands after "--" is literal.
// A flag of agent, and of dev, can be given as an environment variable: --http as
// STARLING_AGENT_HTTP and STARLING_DEV_HTTP. agent reads a YAML file too: flag over
// variable over file. Commands that talk to a cluster take STARLING_ADDR for --addr,
// and nothing else from the environment. An empty variable counts as not set, and one that
// looks meant for a command and that it does not read is named on standard error. A flag that
// takes one value is refused if it stands twice.
//
// # Signals
//
// The first interrupt, termination or hang-up signal stops a command gracefully: a
// leader hands over, what is in flight ends, data is flushed. What runs until it is
// stopped (dev, agent, map watch) has exit code 0 then, all else 3. The second stops it at
// once, with exit code 1. A process that was started with hang-ups ignored, as by
// nohup, goes on ignoring them.
//
// # What a write costs
//
// A command that writes is one entry of the log, a one-shot: it needs no session, and takes
// effect once, though it is tried again when its answer was lost. map import, which has many
// writes in flight, has a session, two entries more. What writes more than 1,000 times a
// second for long does it through one Client, or map import.
//
// # Keys and values
//
// They are shown without loss and so that no two look alike; docs/export.md has
// the forms. --key-type and --value-type say what arguments are, --raw prints
// the bytes of strings as they are.
//
// # Exit codes
//
//	0  done
//	1  failure: a port in use, a damaged directory, ...
//	2  the command line cannot be understood
//	3  unavailable: no leader, no quorum, timed out, outcome unknown; or stopped by a
//	   signal before it was done
//	4  not found, or a condition was not met
//	5  refused: a limit, a wrong type, a stale version, another cluster
package cmd
