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
	words   = resources.NewTable[string, Words]("words")
	plain   = resources.NewTable[string, Plain]("plain")
)

// Put puts the record with a number under a key, and asks for the one before.
type Put struct {
	Key    string
	Record Record
}

// PutWords is Put for words.
type PutWords struct {
	Key   string
	Words Words
}

// Exchange sets a record and answers the one before; one of a number that stops
// in the middle (see Stops) panics when it is to be stored, and leaves the one
// before. Beside it, it writes a plain value.
var Exchange = resources.NewCommand("exchange", func(tx *resources.Tx, p Put) (Record, error) {
	before, _, err := records.Get(tx, p.Key)
	if err != nil {
		return Record{}, err
	}
	if Stops(p.Record.N) {
		p.Record.Flags.Text = panics
	}
	if err := records.Put(tx, p.Key, p.Record); err != nil {
		return Record{}, err
	}
	return before, plain.Put(tx, p.Key, Plain{Name: "plain", Count: int(p.Record.N), On: true})
})

// Rename sets words and answers those before.
var Rename = resources.NewCommand("rename", func(tx *resources.Tx, p PutWords) (Words, error) {
	before, _, err := words.Get(tx, p.Key)
	if err != nil {
		return Words{}, err
	}
	return before, words.Put(tx, p.Key, p.Words)
})

// Recall answers the record under a key, ErrNotFound if there is none.
var Recall = resources.NewQuery("recall", func(v *resources.View, key string) (Record, error) {
	r, ok, err := records.Get(v, key)
	if err == nil && !ok {
		err = protocol.ErrNotFound
	}
	return r, err
})

// Spell answers the words under a key, ErrNotFound if there are none.
var Spell = resources.NewQuery("spell", func(v *resources.View, key string) (Words, error) {
	w, ok, err := words.Get(v, key)
	if err == nil && !ok {
		err = protocol.ErrNotFound
	}
	return w, err
})

// Type is what a member needs to have awkward values.
var Type = resources.NewType("awkward", 1, Exchange, Rename, Recall, Spell)

// Spoil encodes and decodes values in this process, and only here, that leave
// behind what they can: settings, names that stand for strings, half a value.
// It is what a member does that serves other people's maps.
func Spoil(n int64) {
	for k := range int64(2) {
		_, _ = resources.AppendValue(nil, MakeWords(n+k))
		_, _ = resources.AppendValue(nil, Flags{Text: text(n + k)})
	}
	_, _ = resources.AppendValue(nil, Flags{Text: fails})
	func() {
		defer func() { _ = recover() }() // that is what it does
		_, _ = resources.AppendValue(nil, Flags{Text: panics})
	}()
	b, _ := resources.AppendValue(nil, Make(n))
	_, _ = resources.ParseValue[Record](b)
	_, _ = resources.ParseValue[Flags](b) // fails in the middle
}
