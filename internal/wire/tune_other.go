//go:build !linux && !darwin

package wire

import "net"

// tune does nothing where the kernel has no such limits.
func tune(net.Conn, Options) {}
