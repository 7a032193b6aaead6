//go:build !starling_next

package runtime

// sendNext has a member send what only the next version of the protocol knows; see
// protocol/version_next.go.
func (c *Config) sendNext() {}
