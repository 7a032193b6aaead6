package protocol_test

import (
	"errors"
	"fmt"

	"github.com/starlinghq/starling/protocol"
)

// The leader encodes each entry once. The log sum says whether two logs are equal up to
// an index, however the entries came to them.
func Example_logSum() {
	entries := func() []protocol.Entry {
		return []protocol.Entry{
			{Index: 1, Term: 1, Kind: protocol.EntryNoop},
			{Index: 2, Term: 1, Kind: protocol.EntryCommand, Data: []byte("put ada 36")},
			{Index: 3, Term: 2, Kind: protocol.EntryCommand, Data: []byte("put bob 41")},
		}
	}

	log := entries()
	protocol.EncodeEntries(log) // sets Raw, the bytes that go to the disk and to others
	atOnce := protocol.SumEntries(protocol.LogSum{}, log)

	other := entries()
	protocol.EncodeEntries(other)
	sum := protocol.SumEntries(protocol.LogSum{}, other[:1])
	fmt.Println("one by one:", protocol.SumEntries(sum, other[1:]) == atOnce)

	other[1].Data = []byte("put ada 37")
	protocol.EncodeEntries(other)
	fmt.Println("with another command:", protocol.SumEntries(protocol.LogSum{}, other) == atOnce)

	back, err := protocol.DecodeEntries(append(log[0].Raw, log[1].Raw...))
	fmt.Println(back[1], string(back[1].Data), err)
	// Output:
	// one by one: true
	// with another command: false
	// 2@1 command put ada 36 <nil>
}

// Errors are told apart by their code, which crosses the wire; text is for people.
func ExampleError() {
	err := protocol.ErrNoSpace.With("1 MB of free space are too few")
	fmt.Println(errors.Is(err, protocol.ErrNoSpace), errors.Is(err, protocol.ErrCorrupt))
	fmt.Println(err)
	// Output:
	// true false
	// 1 MB of free space are too few
}
