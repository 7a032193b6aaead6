package starling_test

import (
	"testing"

	"go.uber.org/goleak"
)

// Closing a cluster leaves no goroutine behind, but for memberlist's last probe,
// which waits for its answer until it is due.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/hashicorp/memberlist.(*Memberlist).probeNode"))
}
