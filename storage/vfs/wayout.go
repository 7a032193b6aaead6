package vfs

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/starlinghq/starling/protocol"
)

// wayOut is what whoever runs a member can do about an error of the operating system.
// An error that says nothing about the disk says so.
type wayOut struct {
	causes []syscall.Errno
	disk   bool // the disk, or what it is attached by, has failed
	text   string
}

var waysOut = []wayOut{
	{[]syscall.Errno{syscall.EMFILE, syscall.ENFILE}, false, "the disk is sound: raise the limit of open files (ulimit -n, LimitNOFILE)"},
	{[]syscall.Errno{syscall.ENOMEM}, false, "the disk is sound: the system has no memory left, give it more or end something"},
	{[]syscall.Errno{syscall.EACCES, syscall.EPERM}, false, "the user that runs the member may not do that: give it the directory with all that is in it (chown -R)"},
	{[]syscall.Errno{syscall.EFBIG}, false, "the disk is sound: raise the limit of the size of a file (ulimit -f, LimitFSIZE)"},
	{[]syscall.Errno{syscall.ENOSPC, syscall.EDQUOT}, false, "make room on it, or raise the quota"},
	{[]syscall.Errno{syscall.EINTR, syscall.EAGAIN, syscall.EBUSY, syscall.ETIMEDOUT}, false, "that passes by itself"},
	{[]syscall.Errno{syscall.ENOLCK}, false, "the file system gives no locks: use a local one"},
	{[]syscall.Errno{syscall.EROFS}, true, "a file system that has met an error is mounted read only: the kernel's log says more, check it and mount it anew"},
	{[]syscall.Errno{syscall.EIO, syscall.ENXIO, syscall.ENODEV}, true,
		"the kernel's log says more; on another disk the member is begun anew with an empty directory, and `starling remove` takes away the seat that it had"},
}

func wayOutOf(err error) wayOut {
	for _, w := range waysOut {
		for _, cause := range w.causes {
			if errors.Is(err, cause) {
				return w
			}
		}
	}
	return wayOut{disk: true}
}

// said joins what failed and what can be done about it.
func said(what string, err error, way, then string) string {
	text := what + ": " + err.Error()
	for _, more := range []string{way, then} {
		if more != "" {
			text += "; " + more
		}
	}
	return text
}

// hasCode reports whether an error says already what it means.
func hasCode(err error) bool {
	var p *protocol.Error
	return errors.As(err, &p)
}

// Failed is protocol.ErrDiskFailed for a write or a sync that failed: the member
// stops, whatever the reason, and says whose fault it is.
func Failed(err error) *protocol.Error {
	if errors.Is(err, protocol.ErrDiskFailed) {
		return &protocol.Error{Code: protocol.ErrDiskFailed.Code, Text: err.Error(), Cause: err}
	}
	what, way := protocol.ErrDiskFailed.Text, wayOutOf(err)
	if !way.disk {
		what = "a write to the member's directory failed; the member has stopped"
	}
	return &protocol.Error{Code: protocol.ErrDiskFailed.Code, Text: said(what, err, way.text, "then start the member again"), Cause: err}
}

// Refused is the error of a start that what is on the disk is not to blame for:
// protocol.ErrDirectory, or protocol.ErrNoSpace.
func Refused(err error) error {
	if hasCode(err) {
		return err
	}
	code, what := protocol.ErrDirectory.Code, protocol.ErrDirectory.Text
	if errors.Is(err, ErrNoSpace) {
		code, what = protocol.ErrNoSpace.Code, "the disk of the data directory is full"
	}
	return &protocol.Error{Code: code, Text: said(what, err, wayOutOf(err).text, "then start again: nothing was changed"), Cause: err}
}

// Full is protocol.ErrNoSpace for a disk that is full now.
func Full(err error) error {
	if hasCode(err) {
		return err
	}
	return &protocol.Error{Code: protocol.ErrNoSpace.Code, Text: said("the disk of this member is full", err, wayOutOf(err).text, "it goes on by itself"), Cause: err}
}

// Waits is the error of a log that cannot go on in a new file now, and will by itself:
// it has the code of protocol.ErrNoSpace, since whoever wants to write is to do the
// same, and says what is lacking.
func Waits(err error) error {
	if hasCode(err) || errors.Is(err, ErrNoSpace) {
		return Full(err)
	}
	return &protocol.Error{Code: protocol.ErrNoSpace.Code, Text: said("the log cannot go on in a new file", err, wayOutOf(err).text, "it goes on by itself"), Cause: err}
}

// refusals are the errors by which a system says that it has not begun with a change of
// a name.
var refusals = []error{
	syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM, syscall.EACCES, syscall.EPERM, syscall.ENOSPC, syscall.EDQUOT,
	syscall.EROFS, syscall.EMLINK, syscall.EBUSY, ErrNoSpace, fs.ErrNotExist, fs.ErrExist,
}

// Undone reports whether an error of a change of a name says that it was not made. What
// a disk, or a server of files, answers in the midst of it leaves that open.
func Undone(err error) bool {
	return slices.ContainsFunc(refusals, func(known error) bool { return errors.Is(err, known) })
}

// Passes reports whether what failed with an error may go well later, without anybody
// starting anything again: something was lacking, or the disk did not answer this time.
// It says nothing about a sync, which is never made again.
func Passes(err error) bool {
	return errors.Is(err, syscall.EIO) || !wayOutOf(err).disk || errors.Is(err, ErrNoSpace)
}

// OfSystem reports whether an error is one of the operating system, and not of who
// calls it.
func OfSystem(err error) bool {
	var no syscall.Errno
	return errors.As(err, &no) || errors.Is(err, ErrNoSpace)
}

// Later is the error of what cannot be done now, although nothing is wrong with what
// is on the disk: protocol.ErrDirectory, or protocol.ErrNoSpace.
func Later(what string, err error) error {
	code := protocol.ErrDirectory.Code
	if errors.Is(err, ErrNoSpace) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		code = protocol.ErrNoSpace.Code
	}
	return &protocol.Error{Code: code, Text: said(what, err, wayOutOf(err).text, ""), Cause: err}
}

// Explained adds to the error of a start what can be done about it, if it is one of
// the operating system.
func Explained(err error) error {
	var p *protocol.Error
	var file *fs.PathError
	var no syscall.Errno
	switch {
	case !errors.As(err, &no):
		return err
	case !errors.As(err, &p) && errors.As(err, &file):
		return Refused(err)
	case p == nil:
		return err
	}
	switch p.Code {
	case protocol.ErrDirectory.Code, protocol.ErrNoSpace.Code, protocol.ErrDiskFailed.Code, protocol.ErrCorrupt.Code:
	default:
		return err
	}
	text, way := err.Error(), wayOutOf(err).text
	if way == "" || strings.Contains(text, way) || strings.Contains(text, "start again") {
		return err
	}
	return &protocol.Error{Code: p.Code, Text: text + "; " + way + "; then start again", Cause: err}
}

// renamed has an error name a file by the name that it has, or is to have, and not by
// one under which nobody will find it.
func renamed(err error, name string) error {
	name = strings.TrimSuffix(name, TemporarySuffix)
	var p *fs.PathError
	var l *os.LinkError
	switch {
	case errors.As(err, &p):
		p.Path = name
	case errors.As(err, &l) && strings.HasSuffix(l.Old, TemporarySuffix):
		return &fs.PathError{Op: l.Op, Path: name, Err: l.Err}
	}
	return err
}
