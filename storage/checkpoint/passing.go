package checkpoint

import (
	"cmp"
	"context"
	"errors"
	"regexp"
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
	syscall.ESTALE, syscall.ETIMEDOUT, syscall.EFBIG,
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
	return vfs.Later(what, plainly(err))
}

// plain is an error with another text.
type plain struct {
	text  string
	cause error
}

func (p *plain) Error() string { return p.text }
func (p *plain) Unwrap() error { return p.cause }

// plainly makes one line of what Badger says, which knows no other error than a text:
// with ends of lines in it, and with a date where it was to be its last word.
func plainly(err error) error {
	var parts []string
	for line := range strings.Lines(err.Error()) {
		if line = strings.TrimSpace(badgerDate.ReplaceAllString(line, "")); line != "" {
			parts = append(parts, line)
		}
	}
	return &plain{strings.Join(parts, "; "), cmp.Or(errnoIn(err), err)}
}

var badgerDate = regexp.MustCompile(`\d{4}/\d\d/\d\d \d\d:\d\d:\d\d +`)

// errnoIn returns the error of the operating system that a text names, if the error
// itself does not wrap one.
func errnoIn(err error) error {
	var no syscall.Errno
	if errors.As(err, &no) {
		return nil
	}
	for _, cause := range passingCauses {
		if strings.Contains(err.Error(), cause.Error()) {
			return cause
		}
	}
	return nil
}
