package vfs

import "syscall"

// damageCodes are what reads of bad sectors and damaged file systems return.
var damageCodes = []error{syscall.EIO, syscall.EBADMSG}
