package starling_test

import (
	"testing"

	"go.uber.org/goleak"
)

// Closing a cluster leaves no goroutine behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
