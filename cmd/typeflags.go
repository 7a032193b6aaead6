package cmd

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/starlinghq/starling"
	"github.com/starlinghq/starling/internal/notation"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
	"github.com/starlinghq/starling/resources/kvmap"
)

// keyTypeHelp is what commands that take keys say of them.
const keyTypeHelp = "KEY is a string, or what --key-type says: int, uint, or bytes, which are given and shown in base64. "

// keyTypeRaw is the --key-type of keys that are given as the map holds them, as
// a malformed key must be.
const keyTypeRaw = "raw"

func keyTypeFlag() cli.Flag {
	f := stringFlag("key-type", kvmap.KindString.String(),
		"`TYPE` of the key: string, int, uint, bytes (in base64), or raw (as it is stored, in base64: for malformed keys)")
	f.Action = func(c *cli.Context, _ string) error {
		_, err := keyKindOf(c)
		return err
	}
	return f
}

// keyKindOf reads --key-type: 0 for raw.
func keyKindOf(c *cli.Context) (starling.KeyKind, error) {
	text := c.String("key-type")
	if text == keyTypeRaw {
		return 0, nil
	}
	for _, k := range kvmap.Kinds() {
		if k.String() == text {
			return k, nil
		}
	}
	return 0, &usageError{fmt.Sprintf("%s: --key-type takes string, int, uint, bytes or raw, not %q", c.Command.HelpName, text)}
}

// keyOf reads a key from the command line.
func keyOf(c *cli.Context, text string) (starling.RawKey, error) {
	kind, err := keyKindOf(c)
	if err != nil {
		return nil, err
	}
	wrong := func(what string) error {
		return &usageError{fmt.Sprintf("%s: --key-type %s: %q is no %s", c.Command.HelpName, c.String("key-type"), text, what)}
	}
	switch kind {
	case starling.KindInt:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, wrong("whole number of 64 bits")
		}
		return starling.RawKeyOf(n), nil
	case starling.KindUint:
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return nil, wrong("whole number from 0 to 18446744073709551615")
		}
		return starling.RawKeyOf(n), nil
	case starling.KindString:
		return starling.RawKeyOf(text), nil
	}
	b, err := base64.StdEncoding.Strict().DecodeString(text)
	switch {
	case err != nil:
		return nil, wrong("base64 with padding")
	case kind == starling.KindBytes:
		return starling.RawKeyOf(b), nil
	}
	return b, nil
}

// keysOf returns the first key of a kind and the first one behind all of them;
// of no kind, of all there are.
func keysOf(kind starling.KeyKind) (from, to starling.RawKey) {
	if kind == 0 {
		return starling.RawKey{}, bytes.Repeat([]byte{0xff}, protocol.KeyBytesMax+1)
	}
	return starling.RawKey{byte(kind)}, starling.RawKey{byte(kind) + 1}
}

// prefixOf reads what keys begin with, from an optional argument: nothing if all
// keys are meant, of whatever type.
func prefixOf(c *cli.Context, args []string) (starling.RawKey, error) {
	kind, err := keyKindOf(c)
	switch {
	case err != nil:
		return nil, err
	case len(args) == 0 && (kind == 0 || !c.IsSet("key-type")):
		return nil, nil
	case len(args) == 0:
		return starling.RawKey{byte(kind)}, nil
	case kind == starling.KindInt || kind == starling.KindUint:
		return nil, &usageError{fmt.Sprintf("%s: a PREFIX is what string and bytes keys begin with; there is none with --key-type %v", c.Command.HelpName, kind)}
	}
	return keyOf(c, args[0])
}

// kindsIn returns the kinds of keys that a map has.
func (s *session) kindsIn(ctx context.Context, name string, opts ...starling.ReadOption) (found []starling.KeyKind, err error) {
	for _, kind := range kvmap.Kinds() {
		from, to := keysOf(kind)
		page, err := kvmap.Scan.Do(ctx, s.Client, name, kvmap.ScanRequest{From: from, To: to, Limit: 1, KeysOnly: true}, opts...)
		if err != nil {
			return nil, err
		}
		if len(page.Items) > 0 {
			found = append(found, kind)
		}
	}
	return found, nil
}

// noKey says of a key that is not there how its map has keys of another type, if
// it does.
func (s *session) noKey(name string, key starling.RawKey) error {
	text := fmt.Sprintf("no key %s in map %q", key, name)
	if kinds, err := s.kindsIn(s.ctx, name, s.read...); err == nil {
		if has := otherKinds(kinds, key.Kind()); has != "" {
			text += "; it " + has
		}
	}
	return starling.ErrNotFound.With(text)
}

// otherKinds says which keys a map has that are not of the kind that was asked
// for, or nothing if there are none.
func otherKinds(kinds []starling.KeyKind, asked starling.KeyKind) string {
	others := without(kinds, asked)
	switch {
	case len(others) == 0:
		return ""
	case len(others) < len(kinds):
		return "also has keys of type " + joinKinds(others)
	}
	return fmt.Sprintf("has keys of type %s: --key-type %v", joinKinds(others), others[0])
}

// askedKind returns the kind of the keys that a scan or a watch was asked for; 0
// if it was for all keys.
func askedKind(c *cli.Context, args []string) starling.KeyKind {
	kind, err := keyKindOf(c)
	if err != nil || len(args) == 0 && !c.IsSet("key-type") && !c.IsSet("from") && !c.IsSet("to") {
		return 0
	}
	return kind
}

// hint tells people who see nothing that the map has keys of another type than
// they have asked for, if need be only if it has none of that one.
func (s *session) hint(ctx context.Context, w io.Writer, name string, asked starling.KeyKind, onlyIfNone bool, opts ...starling.ReadOption) {
	if asked == 0 {
		return
	}
	kinds, err := s.kindsIn(ctx, name, opts...)
	if err != nil || onlyIfNone && slices.Contains(kinds, asked) {
		return // whoever asked is told what is wrong by the command itself
	}
	if has := otherKinds(kinds, asked); has != "" {
		fmt.Fprintf(w, "starling: no such key of type %v; map %q %s\n", asked, name, has)
	}
}

// checkKind keeps a put from making a map whose keys are of two types, which no
// typed handle could scan, unless --key-type is said. It is for people who
// forget; whoever puts at the same time is not held up.
func (s *session) checkKind(c *cli.Context, name string, kind starling.KeyKind) error {
	if c.IsSet("key-type") {
		return nil
	}
	kinds, err := s.kindsIn(s.ctx, name, starling.Locally)
	if err != nil || len(kinds) == 0 || slices.Contains(kinds, kind) {
		return nil // the put says what is wrong
	}
	return starling.ErrWrongType.With(fmt.Sprintf("map %q has keys of type %s: --key-type %v, or --key-type %v to have both in it",
		name, joinKinds(kinds), kinds[0], kind))
}

func without(kinds []starling.KeyKind, kind starling.KeyKind) []starling.KeyKind {
	return slices.DeleteFunc(slices.Clone(kinds), func(k starling.KeyKind) bool { return k == kind })
}

func joinKinds(kinds []starling.KeyKind) string {
	var names []string
	for _, k := range kinds {
		names = append(names, k.String())
	}
	if n := len(names) - 1; n > 0 {
		return strings.Join(names[:n], ", ") + " or " + names[n]
	}
	return strings.Join(names, "")
}

func valueTypeFlag() cli.Flag {
	return stringFlag("value-type", "string",
		"`TYPE` of the value: string, int, float, float32, bool, bytes (in base64), time (RFC 3339) or json; what the programs that read it use")
}

// valueOf reads a value from the command line, and encodes it as a handle with
// values of that type would.
func valueOf(c *cli.Context, text string) (starling.Raw, error) {
	typ := c.String("value-type")
	v, err := encodeText(typ, text)
	if errors.Is(err, errNoSuchType) {
		return nil, &usageError{fmt.Sprintf("%s: --value-type takes string, int, float, float32, bool, bytes, time or json, not %q", c.Command.HelpName, typ)}
	}
	if err != nil {
		return nil, &usageError{fmt.Sprintf("%s: --value-type %s: %v", c.Command.HelpName, typ, err)}
	}
	return v, nil
}

var errNoSuchType = errors.New("no such type")

func encodeText(typ, text string) ([]byte, error) {
	switch typ {
	case "string":
		return resources.AppendValue(nil, text)
	case "int":
		if n, err := strconv.ParseUint(text, 10, 64); err == nil {
			return resources.AppendValue(nil, n)
		}
		n, err := strconv.ParseInt(text, 10, 64)
		return encoded(n, err, text, "whole number of 64 bits")
	case "float":
		x, err := strconv.ParseFloat(text, 64)
		return encoded(x, err, text, "number")
	case "float32":
		x, err := strconv.ParseFloat(text, 32)
		return encoded(float32(x), err, text, "number of 32 bits")
	case "bool":
		b, err := strconv.ParseBool(text)
		return encoded(b, err, text, "true or false")
	case "bytes":
		b, err := base64.StdEncoding.Strict().DecodeString(text)
		return encoded(append([]byte{}, b...), err, text, "base64 with padding")
	case "time":
		return notation.AppendTime(nil, text)
	case "json":
		return notation.ParseValue([]byte(text))
	}
	return nil, errNoSuchType
}

func encoded[V any](v V, err error, text, what string) ([]byte, error) {
	switch {
	case errors.Is(err, strconv.ErrRange):
		return nil, fmt.Errorf("%q is out of the range of %T", text, v)
	case err != nil:
		return nil, fmt.Errorf("%q is no %s", text, what)
	}
	return resources.AppendValue(nil, v)
}
