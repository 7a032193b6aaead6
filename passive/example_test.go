package passive_test

import (
	"fmt"

	"github.com/starlinghq/starling/passive"
	"github.com/starlinghq/starling/protocol"
)

// A passive takes what continues its log, and says why it does not take the rest. It
// tells its owner what to write; nobody waits for the disk, since nobody counts it.
func Example() {
	log := make([]protocol.Entry, 6)
	for i := range log {
		log[i] = protocol.Entry{Index: protocol.Index(i + 1), Term: 1, Kind: protocol.EntryCommand, Data: fmt.Appendf(nil, "command %d", i+1)}
	}
	protocol.EncodeEntries(log)
	protocol.SumEntries(protocol.LogSum{}, log)
	leader := protocol.MemberID{1}
	// run is what somebody sends: entries first to last of a log that is committed
	// up to 5.
	run := func(first, last int) passive.Run {
		r := passive.Run{From: leader, Origin: leader, Entries: log[first-1 : last : last], Commit: 5}
		if first > 1 {
			r.Before = log[first-2].Sum
		}
		return r
	}

	m := passive.New(0, passive.Config{ID: protocol.MemberID{2}}, passive.Start{})
	fmt.Println("1 to 3:", m.Take(0, run(1, 3)))
	fmt.Println("2 to 3:", m.Take(0, run(2, 3)))
	fmt.Println("5 to 5:", m.Take(0, run(5, 5)))
	fmt.Println("4 to 6:", m.Take(0, run(4, 6))) // 6 is not committed and not taken

	r := m.Ready()
	fmt.Printf("write %d to %d, synced: %t; committed up to %d\n", r.Write.First, r.Write.Last, r.Write.Sync, r.Commit)

	lie := run(4, 5)
	lie.Before = protocol.LogSum{7}
	lie.Commit = 9
	lie.Entries = []protocol.Entry{{Index: 6, Term: 1, Kind: protocol.EntryNoop}}
	protocol.EncodeEntries(lie.Entries)
	fmt.Println("6 after another 5:", m.Take(0, lie))
	// Output:
	// 1 to 3: taken
	// 2 to 3: old
	// 5 to 5: gap
	// 4 to 6: taken
	// write 1 to 5, synced: false; committed up to 5
	// 6 after another 5: mismatch
}
