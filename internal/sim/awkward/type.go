// Package awkward is a resource type of values that are hard to encode alike on
// all members, for the simulator and for tests of whole clusters: whatever such
// values leave behind in a process, the same command must have the same effect
// in another one.
package awkward

import (
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
)

var (
	records = resources.NewTable[string, Record]("records")
	plain   = resources.NewTable[string, Plain]("plain")
	flags   = resources.NewCell[Flags]("flags")
)

// Put puts the record with a number under a key, and asks for the one before.
type Put struct {
	Key    string
	Record Record
}

// Exchange sets a record and answers the one before; one of a number that stops
// in the middle (see Stops) is ErrInvalid when it is to be stored, and leaves the
// one before. Beside it, it writes a plain value.
var Exchange = resources.NewCommand("exchange", func(tx *resources.Tx, p Put) (Record, error) {
	before, _, err := records.Get(tx, p.Key)
	if err != nil {
		return Record{}, err
	}
	if Stops(p.Record.N) {
		p.Record.Part.Text = panics
	}
	if err := records.Put(tx, p.Key, p.Record); err != nil {
		return Record{}, err
	}
	return before, plain.Put(tx, p.Key, Plain{Name: "plain", Count: int(p.Record.N), On: true})
})

// Raise sets the flags of an instance and answers those before.
var Raise = resources.NewCommand("raise", func(tx *resources.Tx, f Flags) (Flags, error) {
	before, err := flags.Get(tx)
	if err != nil {
		return Flags{}, err
	}
	return before, flags.Set(tx, f)
})

// Recall answers the record under a key, ErrNotFound if there is none.
var Recall = resources.NewQuery("recall", func(v *resources.View, key string) (Record, error) {
	r, ok, err := records.Get(v, key)
	if err == nil && !ok {
		err = protocol.ErrNotFound
	}
	return r, err
})

// Show answers the flags of an instance.
var Show = resources.NewQuery("show", func(v *resources.View, _ struct{}) (Flags, error) { return flags.Get(v) })

// Type is what a member needs to have awkward values.
var Type = resources.NewType("awkward", 1, Exchange, Raise, Recall, Show)

// Spoil encodes and decodes values in this process, and only here, that leave
// behind what they can: settings, strings that the encoder remembers, half a
// value. It is what a member does that serves other people's maps, whose values
// are stored or refused. What comes of it does not matter here.
func Spoil(n int64) {
	_, _ = resources.AppendValue(nil, interning{text(n), text(n + 1)})
	_, _ = resources.AppendValue(nil, Careful{Text: fails})
	func() {
		defer func() { _ = recover() }()
		_, _ = resources.AppendValue(nil, Careful{Text: panics})
	}()
	_, _ = resources.AppendValue(nil, []Flags{MakeFlags(n)})
	_, _ = resources.AppendValue(nil, MakeFlags(n))
	b, _ := resources.AppendValue(nil, Make(n))
	_, _ = resources.ParseValue[Record](b)
	_, _ = resources.ParseValue[Flags](b)
	_, _ = resources.ParseValue[interning](b)
}
