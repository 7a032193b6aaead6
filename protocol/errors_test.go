package protocol

import (
	"errors"
	"testing"
)

// What a cause says already is not said twice, and what an error says of its own is
// not lost for a cause that has its code.
func TestBecauseSaysEachThingOnce(t *testing.T) {
	cause := ErrDiskFailed.Because(errors.New("write: broken"))
	if got, want := ErrDiskFailed.Because(cause).Error(), ErrDiskFailed.Text+": write: broken"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := ErrDiskFailed.With("while it stopped").Because(cause).Error(), "while it stopped: "+cause.Error(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
