package vfs

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// damageCodes are what reads of bad sectors and damaged file systems return; the last is
// what UFS and ZFS say of a sum that is wrong.
var damageCodes = []error{syscall.EIO, syscall.EBADMSG, unix.EINTEGRITY}
