package starling_test

import (
	"testing"

	"github.com/starlinghq/starling"
)

// OpenLocal returns when the change that made all actives voters is over for all of
// them: until then the first one, which voted alone before, could not be spared.
func TestLocalClusterOutlivesItsFirstMemberAtOnce(t *testing.T) {
	ctx, cluster := open(t, starling.LocalConfig{Actives: 3})
	if err := cluster.Nodes[0].Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := starling.NewCounter(cluster.Nodes[1], "c").Add(ctx, 1); err != nil {
		t.Error(err)
	}
}
