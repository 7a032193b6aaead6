//go:build !linux

package checkpoint

// giveBack does nothing: it is not known what is mapped.
func giveBack(string) error { return nil }
