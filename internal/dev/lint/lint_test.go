package lint

import (
	"sync"
	"testing"
)

// house is this repository, read once: that takes seconds.
var house = sync.OnceValues(func() (*Tree, error) { return Load("../../..") })

// TestHouse runs all rules on this repository.
func TestHouse(t *testing.T) {
	tree, err := house()
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range tree.Check(Rules()...) {
		t.Error(v)
	}
	if tree.byDir["internal/dev/lint"] == nil || tree.byDir["protocol"] == nil {
		t.Error("the rules have looked at another tree than this repository's")
	}
}
