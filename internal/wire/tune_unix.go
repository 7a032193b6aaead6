//go:build linux || darwin

package wire

import (
	"net"
	"syscall"
)

// tune has the kernel take no more than about one write beyond what it has
// sent. Otherwise its buffer grows to megabytes of bulk, and what is urgent here
// waits behind them there. What is on its way is not limited, so long and fast
// links lose nothing.
//
// And it has the kernel give the connection up when nothing of what was sent on it
// is acknowledged for Options.Silence. By itself it tries for a quarter of an hour,
// with pauses that double: a connection that is older than a cut goes on after it
// when as much time has passed again.
//
// These are wishes: a connection that cannot goes on as it is.
func tune(nc net.Conn, opt Options) {
	conn, ok := underlying(nc).(syscall.Conn)
	if !ok {
		return
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) {
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpSilence, int(opt.Silence/tcpSilenceUnit))
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpNotSentLowat, writeBytes)
	})
}
