package starling_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/starlinghq/starling"
)

// One-shots work at a node's own member, whether it leads or not, and say what is wrong
// with a zero value: each is one entry more.
func TestOneShotsOfNodes(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cluster, err := starling.OpenLocal(ctx, starling.LocalConfig{Actives: 1, Passives: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	var want int64
	for range 3 {
		for _, node := range cluster.Nodes {
			want++
			if got, err := starling.NewCounter(node.OneShots(), "hits").Add(ctx, 1); err != nil || got != want {
				t.Fatalf("%s: got %d, %v, want %d", node.Name(), got, err, want)
			}
		}
	}
	for what, caller := range map[string]starling.Caller{"node": (*starling.Node)(nil).OneShots(), "client": (&starling.Client{}).OneShots()} {
		if _, err := starling.NewCounter(caller, "hits").Add(ctx, 1); !errors.Is(err, starling.ErrInvalid) {
			t.Errorf("zero %s: got %v, want %v", what, err, starling.ErrInvalid)
		}
		if _, err := starling.NewCounter(caller, "hits").Get(ctx); !errors.Is(err, starling.ErrInvalid) {
			t.Errorf("zero %s: a read: got %v, want %v", what, err, starling.ErrInvalid)
		}
	}
}
