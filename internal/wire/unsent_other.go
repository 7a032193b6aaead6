//go:build !linux && !darwin

package wire

import "net"

// limitUnsent does nothing where the kernel has no such limit.
func limitUnsent(net.Conn) {}
