package starling_test

import (
	"testing"

	"github.com/starlinghq/starling"
)

// What a program has seen grows with each of its writes and reads, and no caller reads anything older
// with it, at whichever member.
func TestSeenIsHandedOn(t *testing.T) {
	cluster := single()
	defer cluster.Close()
	ctx := t.Context()
	before := cluster.Client.Seen()
	m := starling.NewMap[string, int](cluster.Client, "m")
	for i := range 5 {
		if err := m.Put(ctx, "k", i); err != nil {
			t.Fatal(err)
		}
		seen := cluster.Client.Seen()
		if seen <= before {
			t.Fatalf("seen up to %d after a write, and up to %d before it", seen, before)
		}
		there := starling.NewMap[string, int](cluster.Nodes[0], "m")
		if got, err := there.Get(ctx, "k", starling.AtLeast(seen)); got != i || err != nil {
			t.Fatalf("got %d, %v, want %d", got, err, i)
		}
		if node := cluster.Nodes[0].Seen(); node < seen {
			t.Fatalf("the node has read at %d or above, and has seen %d", seen, node)
		}
		before = seen
	}
	if n, c := (&starling.Node{}).Seen(), (*starling.Client)(nil).Seen(); n != 0 || c != 0 {
		t.Errorf("zero values have seen %d and %d", n, c)
	}
}
