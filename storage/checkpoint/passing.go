package checkpoint

import (
	"context"
	"errors"
	"strings"
	"syscall"
	"time"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage/vfs"
)

// passingCauses are what Badger, which makes texts of most of its causes, may say of
// an error of the operating system.
var passingCauses = []syscall.Errno{
	syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.EINTR, syscall.EAGAIN, syscall.EIO, syscall.ENOSPC,
	syscall.EDQUOT, syscall.EACCES, syscall.EPERM, syscall.EROFS, syscall.EBUSY, syscall.ENXIO, syscall.ENODEV,
	syscall.ESTALE, syscall.ETIMEDOUT,
}

// passing reports whether an error may pass: it is one of the operating system, want
// of something or a disk that does not answer, and says nothing about what is on the
// disk. Only what was read and is wrong is damage.
func passing(err error) bool {
	var no syscall.Errno
	switch {
	case err == nil:
		return false
	case errors.As(err, &no):
		return true
	}
	for _, cause := range passingCauses {
		if errors.Is(err, cause) || strings.Contains(err.Error(), cause.Error()) {
			return true
		}
	}
	return false
}

const (
	// viewTries is how often a store is opened before that is refused, and
	// viewPause is the first of the pauses, each twice as long as the last.
	viewTries = 6
	viewPause = 100 * time.Millisecond
)

// pauseOf returns what waits, unless the context ends: a file system with a time of
// its own lets it pass.
func pauseOf(fsys vfs.FS) func(context.Context, time.Duration) error {
	sleeper, own := fsys.(vfs.Sleeper)
	if !own {
		return pause
	}
	return func(ctx context.Context, d time.Duration) error {
		sleeper.Sleep(d)
		return ctx.Err()
	}
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// unusable is the error of what cannot be done now and says nothing about the
// data: no checkpoint is taken, or none is read, and the next time may be better.
func unusable(what string, err error) error {
	var p *protocol.Error
	if errors.As(err, &p) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if errors.Is(err, vfs.ErrNoSpace) || errors.Is(err, syscall.EDQUOT) {
		return &protocol.Error{Code: protocol.ErrNoSpace.Code, Text: what + ": " + err.Error(), Cause: err}
	}
	return &protocol.Error{Code: protocol.ErrDirectory.Code, Text: what + ": " + err.Error(), Cause: err}
}
