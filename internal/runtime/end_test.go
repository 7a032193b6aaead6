package runtime

import (
	"testing"
	"testing/synctest"
	"time"
)

// A disk that does not answer holds the end of a member for ten seconds, not for as
// long as its syncs take.
func TestEndIsNotHeldByADiskThatDoesNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answer := make(chan struct{})
		began := time.Now()
		if within(endTimeout, func() { <-answer }) {
			t.Error("it has ended")
		}
		if took := time.Since(began); took != endTimeout {
			t.Errorf("it took %v, want %v", took, endTimeout)
		}
		close(answer)
		began = time.Now()
		if !within(endTimeout, func() { time.Sleep(time.Second) }) || time.Since(began) != time.Second {
			t.Errorf("what ends in a second took %v", time.Since(began))
		}
	})
}
