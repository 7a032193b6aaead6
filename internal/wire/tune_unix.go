//go:build linux || darwin

package wire

import (
	"net"
	"syscall"
)

// tune has the kernel take no more than about one write beyond what it has
// sent. Otherwise its buffer grows to megabytes of bulk, and what is urgent here
// waits behind them there. What is on its way is not limited, so long and fast
// links lose nothing. And it has the kernel give the connection up after silentMax
// in which nothing was acknowledged: it would try for a quarter of an hour. These
// are wishes: a connection that cannot goes on as it is.
func tune(nc net.Conn) {
	conn, ok := underlying(nc).(syscall.Conn)
	if !ok {
		return
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpNotSentLowat, writeBytes)
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpSilent, int(silentMax/tcpSilentUnit))
	})
}
