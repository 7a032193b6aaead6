package cmd

import (
	"strings"
	"testing"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources/kvmap"
)

// A name that nothing can have is refused before anybody is dialled, by every
// command that takes one: nobody listens at the address.
func TestNamesAreCheckedBeforeDialling(t *testing.T) {
	const nobody = "127.0.0.1:1"
	app := (&Program{}).app()
	commands := 0
	for _, group := range app.Commands {
		if group.Name != "map" && group.Name != "queue" && group.Name != "counter" {
			continue
		}
		for _, c := range group.Subcommands {
			commands++
			if !strings.HasPrefix(c.ArgsUsage, "NAME") {
				t.Errorf("%s %s takes %q: its first argument is checked as a name", group.Name, c.Name, c.ArgsUsage)
			}
			words := strings.Fields(c.ArgsUsage)
			line := func(name string) []string {
				args := []string{group.Name, c.Name, "--addr", nobody, "--timeout", "5s", "--", name}
				for _, word := range words[1:] {
					if word == "<" {
						break
					}
					if !strings.HasPrefix(word, "[") {
						args = append(args, "1")
					}
				}
				return args
			}
			fails(t, exitRefused, `the name of a resource, "bad name", has the character " "`, line("bad name")...)
			fails(t, exitRefused, "has 256 bytes, the limit is 255", line(strings.Repeat("n", protocol.NameBytesMax+1))...)
			fails(t, exitUnavailable, nobody, line(strings.Repeat("n", protocol.NameBytesMax))...)
		}
	}
	if least := 16; commands < least {
		t.Errorf("%d commands, expected at least %d: have they moved?", commands, least)
	}
	prefix := strings.Repeat("p", kvmap.KeyBytesMax)
	watch := []string{"map", "watch", "--addr", nobody, "--timeout", "5s", "m"}
	fails(t, exitRefused, "the prefix has 4097 bytes, the limit is 4096", append(watch, prefix+"p")...)
	fails(t, exitRefused, "the limit is 4096", "map", "watch", "--addr", nobody, "--list", "m", prefix+"p")
	fails(t, exitUnavailable, nobody, append(watch, prefix)...)
	for _, args := range [][]string{{"get"}, {"delete"}, {"put", "", "v"}} {
		line := append([]string{"map", args[0], "--addr", nobody, "--timeout", "5s", "m", prefix + "p"}, args[min(len(args), 2):]...)
		fails(t, exitRefused, "the key has 4097 bytes, the limit is 4096", line...)
	}
	fails(t, exitUsage, "is no whole number", "map", "get", "--addr", nobody, "--key-type", "int", "m", "x")
	fails(t, exitUsage, "--value-type int: ", "queue", "push", "--addr", nobody, "--value-type", "int", "q", "x")
}
