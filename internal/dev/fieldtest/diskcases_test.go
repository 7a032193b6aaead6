//go:build linux

package fieldtest

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/starlinghq/starling/internal/dev/strace"
)

// diskCase is one call that fails at one member.
type diskCase struct {
	phase, who, place string
	fault             strace.Fault
	mayEnd            bool // the member: what failed is a write or a sync of the log, or the name of a pointer
}

func (x diskCase) String() string {
	return fmt.Sprintf("%s/%s/%s/%v", x.phase, x.who, x.place, x.fault)
}

// The phases: the member has run for a while, and everything is under way; it starts;
// it stops; it starts so late that it has to install a checkpoint.
const (
	running    = "running"
	starting   = "start"
	stopping   = "stop"
	installing = "install"
)

// slow stands for a call that takes a while instead of an error.
const slow = "3s"

// lasting ends an error of all such calls, for as long as the case lasts, and always
// is what their fault says of when.
const lasting, always = "+", "1+"

// diskRow is cases that differ in the error only.
type diskRow struct {
	phase, place, call string
	errors             string
	mayEnd             bool
}

var diskRows = []diskRow{
	// The log.
	{running, "segment", "pwrite64", "EIO ENOSPC EDQUOT", true},
	{running, "segment", "pwrite64", slow, false},
	{running, "segment", "fdatasync", "EIO ENOSPC", true},
	{running, "segment", "fdatasync", "EINTR " + slow, false},
	{running, "spare", "openat", "EMFILE ENOMEM EACCES EIO ENOSPC EINTR", false},
	{running, "spare", "fallocate", "EIO ENOSPC EDQUOT EINTR " + slow, false},
	{running, "spare", "pwrite64", "EIO ENOSPC EDQUOT", false},
	{running, "spare", "fdatasync", "EIO", true},
	{running, "spare", "fdatasync", slow, false},
	{running, "spare", "renameat", "EIO EACCES ENOSPC", false},
	{running, "log", "openat", "EMFILE EIO", false},
	{running, "log", "fsync", "EIO ENOSPC", true},
	{running, "spare", "openat", "EMFILE+ EACCES+", false},
	{running, "spare", "fallocate", "EIO+ ENOMEM+", false},
	{running, "spare", "renameat", "EPERM+ EIO+", false},
	{running, "log", "openat", "EMFILE+ ENOMEM+", false},
	{running, "wal", "unlinkat", "EIO+", false},
	{running, "wal", "renameat", "EACCES+", false},
	{running, "log", "fsync", slow, false},
	{running, "wal", "unlinkat", "EIO EACCES", false},
	{running, "wal", "renameat", "EIO EACCES", false},
	// What is beside it.
	{running, "data", "statfs", "EIO EINTR ENOMEM " + slow, false},
	{running, "", "openat", "EMFILE ENOMEM", false},
	// Checkpoints.
	{running, "store", "mkdirat", "ENOSPC EACCES EMLINK", false},
	{running, "store", "openat", "EMFILE EIO " + slow, false},
	{running, "store", "fsync", "EIO ENOSPC " + slow, false},
	{running, "store", "getdents64", "EIO ENOMEM", false},
	{running, "store", "unlinkat", "EIO EACCES", false},
	{running, "store/MANIFEST", "openat", "EMFILE", false},
	{running, "store/MANIFEST", "write", "EIO ENOSPC EDQUOT", false},
	{running, "store/MANIFEST", "fsync", "EIO", false},
	{running, "store/MANIFEST", "read", "EIO", false},
	{running, "store/00001.mem", "openat", "EMFILE EIO", false},
	{running, "store/00001.mem", "ftruncate", "EDQUOT", false},
	{running, "store/00001.mem", "msync", "EIO", false},
	{running, "store/00001.mem", "mmap", "ENOMEM", false},
	{running, "store/00001.mem", "unlinkat", "EIO", false},
	{running, "store/000001.vlog", "openat", "ENOMEM", false},
	{running, "store/000001.vlog", "ftruncate", "ENOSPC", false},
	{running, "store/000001.vlog", "mmap", "ENOMEM", false},
	{running, "store/tables", "openat", "EMFILE EIO", false},
	{running, "store/tables", "ftruncate", "EDQUOT", false},
	{running, "store/tables", "mmap", "ENOMEM", false},
	{running, "store/tables", "linkat", "EMFILE EACCES EIO", false},
	{running, "store/tables", "read", "EIO", false},
	{running, "store/DISCARD", "openat", "EMFILE EACCES", false},
	{running, "store/DISCARD", "ftruncate", "ENOSPC EDQUOT", false},
	{running, "store/DISCARD", "mmap", "ENOMEM", false},
	{running, "store/KEYREGISTRY", "openat", "EMFILE", false},
	{running, "store/KEYREGISTRY", "fsync", "EIO", false},
	{running, "store/sums", "openat", "EMFILE", false},
	{running, "store/sums", "write", "EIO ENOSPC", false},
	{running, "store/sums", "fsync", "EIO", false},
	{running, "store/room", "openat", "ENOSPC", false},
	{running, "store/room", "fallocate", "ENOSPC EDQUOT", false},
	{running, "store/room", "unlinkat", "EIO", false},
	{running, "pointer", "openat", "EMFILE EIO EACCES", false},
	{running, "pointer", "pwrite64", "EIO ENOSPC", false},
	{running, "pointer", "fdatasync", "EIO " + slow, false},
	{running, "pointer", "renameat", "EACCES ENOSPC", false},
	{running, "pointer", "renameat", "EIO", true},
	{running, "checkpoints", "openat", "EMFILE EIO", false},
	{running, "checkpoints", "fsync", "EIO", true},
	{running, "checkpoints", "getdents64", "EIO", false},
	{running, "checkpoints", "statfs", "EIO EINTR", false},
	{running, "spool", "unlinkat", "EIO EACCES", false},
	// A start may be refused, with a text.
	{starting, "identity", "openat", "EMFILE EACCES EIO", true},
	{starting, "identity", "pread64", "EIO EINTR", true},
	{starting, "identity", "renameat", "EIO ENOSPC", true},
	{starting, "lock", "openat", "EMFILE EACCES", true},
	{starting, "lock", "flock", "EINTR ENOLCK", true},
	{starting, "segment", "openat", "EMFILE EIO EACCES", true},
	{starting, "segment", "pread64", "EIO", true},
	{starting, "log", "getdents64", "EIO ENOMEM", true},
	{starting, "log", "fsync", "EIO", true},
	{starting, "spare", "openat", "EMFILE", true},
	{starting, "spare", "fallocate", "ENOSPC EINTR", true},
	{starting, "pointer", "openat", "EMFILE EIO", true},
	{starting, "pointer", "pread64", "EIO", true},
	{starting, "store kept", "openat", "EMFILE EIO", true},
	{starting, "store kept/MANIFEST", "read", "EIO", true},
	{starting, "store kept/sums", "openat", "EACCES ENOMEM", true},
	{starting, "store kept/tables", "mmap", "ENOMEM", true},
	{starting, "store kept/tables", "read", "EIO", true},
	{starting, "checkpoints", "getdents64", "EIO", true},
	{starting, "checkpoints", "openat", "EMFILE", true},
	{starting, "watermarks", "openat", "EMFILE EIO ENOSPC", true},
	{starting, "watermarks", "pread64", "EIO", true},
	{starting, "watermarks", "pwrite64", "EIO EDQUOT", true},
	{starting, "watermarks", "fdatasync", "EIO " + slow, true},
	{starting, "watermarks", "renameat", "EIO EACCES", true},
	{starting, "data", "openat", "EACCES", true},
	{starting, "data", "statfs", "EIO", true},
	// A stop ends, whatever fails.
	{stopping, "segment", "fdatasync", "EIO " + slow, true},
	{stopping, "segment", "pwrite64", "EIO ENOSPC", true},
	{stopping, "segment", "close", "EIO", true},
	{stopping, "watermarks", "renameat", "EIO", true},
	{stopping, "", "unlinkat", "EIO", true},
	{stopping, "", "msync", "EIO", true},
	{stopping, "", "munmap", "EINVAL", true},
	// A checkpoint of the others is installed.
	{installing, "spool", "openat", "EMFILE EIO", false},
	{installing, "spool", "pwrite64", "EIO ENOSPC EDQUOT", false},
	{installing, "spool", "pread64", "EIO", false},
	{installing, "spool", "renameat", "EIO EACCES", false},
	{installing, "spool", "unlinkat", "EIO", false},
	{installing, "store", "mkdirat", "ENOSPC", false},
	{installing, "store/MANIFEST", "fsync", "EIO", false},
	{installing, "store/tables", "openat", "EMFILE", false},
	{installing, "pointer", "renameat", "EACCES", false},
	{installing, "pointer", "fdatasync", "EIO", false},
	{installing, "checkpoints", "openat", "EMFILE", true},
}

// diskCases is the table, with the members in turn. A passive's log is not synced
// with each write, which leaves its faults for later: its turn is as good.
func diskCases() []diskCase {
	var out []diskCase
	for _, row := range diskRows {
		for _, e := range strings.Fields(row.errors) {
			x := diskCase{phase: row.phase, place: row.place, mayEnd: row.mayEnd, fault: strace.Fault{Call: row.call, Error: e, When: "1"}}
			x.who = []string{"leader", "follower", "passive"}[len(out)%3]
			if cause, ok := strings.CutSuffix(e, lasting); ok {
				x.fault.Error, x.fault.When = cause, always
			}
			if e == slow {
				x.fault.Error, x.fault.Delay = "", 3*time.Second
			}
			if row.place == "" {
				x.fault.When = "3"
			}
			out = append(out, x)
		}
	}
	return out
}

// size is how large values are meanwhile: a log that grows fast makes new segments.
func (x diskCase) size() int {
	switch x.place {
	case "spare", "wal", "log":
		return 8 << 10
	}
	return 600
}

// paths returns the files that a place stands for, in the directory as it is.
func (x diskCase) paths(data string) []string {
	in := func(folder string, names ...string) (out []string) {
		for _, name := range names {
			out = append(out, filepath.Join(data, folder, name), filepath.Join(data, folder, name+".tmp"))
		}
		return out
	}
	segments, _ := filepath.Glob(filepath.Join(data, "log", "*.wal")) // the pattern is good
	slices.Sort(segments)
	place, file, _ := strings.Cut(x.place, "/")
	switch place {
	case "":
		return nil
	case "segment":
		return segments[max(0, len(segments)-1):]
	case "wal":
		return segments
	case "spare":
		spares, _ := filepath.Glob(filepath.Join(data, "log", "spare-*"))
		for n := range 40 {
			spares = append(spares, in("log", fmt.Sprintf("spare-%08x", n+1))...)
		}
		return spares
	case "log", "checkpoints":
		return []string{filepath.Join(data, place)}
	case "data":
		return []string{data}
	case "identity":
		return in("", "identity-1", "identity-2")
	case "watermarks":
		return in("", "watermarks", "refused", "witness")
	case "lock":
		return in("", "lock")
	case "pointer":
		return in("checkpoints", "pointer-1", "pointer-2")
	case "spool":
		return in("checkpoints", "install-spool", "install")
	}
	return x.stores(data, place == "store", file)
}

// stores returns a file in each of the next stores of checkpoints, or in those that
// are there.
func (x diskCase) stores(data string, next bool, file string) (out []string) {
	stores, _ := filepath.Glob(filepath.Join(data, "checkpoints", "store-*"))
	slices.Sort(stores)
	if next {
		last := 0
		if len(stores) > 0 {
			_, _ = fmt.Sscanf(filepath.Base(stores[len(stores)-1]), "store-%d", &last)
		}
		stores = nil
		for n := range 8 {
			stores = append(stores, filepath.Join(data, "checkpoints", fmt.Sprintf("store-%08d", last+n+1)))
		}
	}
	for _, store := range stores {
		switch file {
		case "":
			out = append(out, store)
		case "tables":
			for n := range 6 {
				out = append(out, filepath.Join(store, fmt.Sprintf("%06d.sst", n+1)))
			}
		default:
			out = append(out, filepath.Join(store, file))
		}
	}
	return out
}
