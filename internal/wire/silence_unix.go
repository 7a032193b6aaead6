//go:build linux || darwin

package wire

import (
	"net"
	"syscall"
	"time"
)

// boundSilence has the kernel give a connection up when nothing of what was sent
// on it is acknowledged for so long. By itself it tries for a quarter of an hour,
// with pauses that double: a connection that is older than a cut goes on after it
// when as much time has passed again. It is a wish: a connection that cannot goes
// on as it is.
func boundSilence(nc net.Conn, d time.Duration) {
	conn, ok := underlying(nc).(syscall.Conn)
	if !ok {
		return
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpSilence, int(d/tcpSilenceUnit))
	})
}
