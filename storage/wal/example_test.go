package wal_test

import (
	"fmt"
	"log"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage/vfs"
	"github.com/starlinghq/starling/storage/wal"
)

// What Sync has answered for survives a power cut; what was only written may not. Term
// and vote are in the same record as the entries that came with them.
func Example() {
	disk := vfs.NewMemory(1) // vfs.OS() is the operating system's
	disk.SetCapacity(1 << 30)
	id := wal.Identity{Cluster: protocol.ClusterID{1}, Member: protocol.MemberID{2}, Name: "a1"}
	o := wal.Options{SegmentBytes: 1 << 20}
	if err := wal.Init(disk, "/member", id, nil, o); err != nil {
		log.Fatal(err)
	}
	l, err := wal.Open(disk, "/member", o)
	if err != nil {
		log.Fatal(err)
	}
	var sum protocol.LogSum // of all entries so far
	write := func(first, last protocol.Index) {
		var entries []protocol.Entry
		for i := first; i <= last; i++ {
			entries = append(entries, protocol.Entry{Index: i, Term: 3, Kind: protocol.EntryCommand, Data: fmt.Appendf(nil, "command %d", i)})
		}
		protocol.EncodeEntries(entries)
		sum = protocol.SumEntries(sum, entries)
		state := protocol.HardState{Term: 3, Vote: id.Member, Commit: first - 1}
		if err := l.Write(protocol.Write{State: state, First: first, Last: last}, entries); err != nil {
			log.Fatal(err)
		}
	}
	write(1, 3)
	if err := l.Sync(); err != nil {
		log.Fatal(err)
	}
	write(4, 5)
	disk.Crash()

	l, err = wal.Open(disk, "/member", o)
	if err != nil {
		log.Fatal(err)
	}
	defer l.Close()
	r := l.Opened()
	entries, err := l.Read(1, 3, 1<<20)
	fmt.Printf("term %d, voted: %t, damage: %v\n", r.State.Term, r.State.Vote == id.Member, r.Damage)
	fmt.Printf("%d entries that were synced, the last one: %s %v\n", len(entries), entries[2].Data, err)
	// Output:
	// term 3, voted: true, damage: <nil>
	// 3 entries that were synced, the last one: command 3 <nil>
}
