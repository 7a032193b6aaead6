package cmd

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/urfave/cli/v2"

	"github.com/starlinghq/starling/internal/naming"
)

// namer knows how whoever started a command names what it was told: by flags, where
// a variable said it, by that, or, where a file of --config did, by the key and its line.
type namer struct {
	c     *cli.Context
	file  string
	lines map[string]int // of the keys that the file has set
	// unread says that nobody knows which keys the file has.
	unread bool
}

// namerOf returns the one of a command without such a file.
func namerOf(c *cli.Context) namer { return namer{c: c} }

// flag returns the name of a flag.
func (n namer) flag(name string) string {
	if line, ok := n.lines[name]; ok {
		return fmt.Sprintf("%s (line %d of %s)", name, line, n.file)
	}
	if variable := variableOf(n.c, name); variable != "" {
		return variable
	}
	return "--" + name
}

// say is the text of an error, with the names of flags in the places of fields.
func (n namer) say(err error) string {
	return naming.Say(err, func(f naming.Field) string { return n.flag(flagOf(f)) })
}

// flagOf returns the name of the flag that fills a field in: DiskHigh is disk-high.
func flagOf(f naming.Field) string {
	switch f {
	case "SigningKey":
		return "sign-key"
	case "Addresses":
		return "addr"
	}
	var b strings.Builder
	upper := true // the one before
	for i, r := range string(f) {
		if unicode.IsUpper(r) && !upper && i > 0 {
			b.WriteByte('-')
		}
		upper = unicode.IsUpper(r)
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}
