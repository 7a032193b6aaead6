//go:build !linux

package checkpoint

// freeBytes knows of no way to ask.
func freeBytes(string, int64) error { return nil }
