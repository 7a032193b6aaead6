package vfs

import "os"

// syncData is F_FULLFSYNC there, which also empties the drive's cache.
func syncData(f *os.File) error { return f.Sync() }

// allocate leaves it to writing zeros.
func allocate(*os.File, int64, int64) (bool, error) { return false, nil }
