// Package freeport gives tests addresses of this machine that stay theirs while nobody
// listens there: for a process that is to be started, for a member that is to come back
// where it was, for a port that is to stay silent.
//
// A port that the system has just given and taken back is no such address: the next
// connection of any process on the machine may leave from it.
package freeport

import (
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
)

// The ports lie below those that systems give to outgoing connections (from 32768 on Linux,
// from 49152 elsewhere). Each has a guard, a port that listens while it is given away, so
// that no two processes have the same one.
const (
	first  = 11000
	count  = 10000
	guards = first + count
)

// Address returns an address with a port that nobody listens at, TCP and UDP, and that is
// given to nobody else before the end of the test. Its guards end after whatever is cleaned
// up by what the test registers later.
func Address(t testing.TB) string {
	t.Helper()
	return Addresses(t, 1)[0]
}

// Addresses returns n such addresses whose ports follow one another.
func Addresses(t testing.TB, n int) []string {
	t.Helper()
	for range 1000 {
		if list := take(t, rand.IntN(count-n+1), n); list != nil {
			return list
		}
	}
	t.Fatalf("freeport: of the ports %d to %d no %d in a row are free", first, guards-1, n)
	return nil
}

// take takes the ports from the given place on, or none.
func take(t testing.TB, from, n int) (list []string) {
	var held []net.Listener
	for i := from; i < from+n; i++ {
		guard, err := net.Listen("tcp", at(guards+i))
		if err == nil {
			held = append(held, guard)
		}
		if err != nil || !free(at(first+i)) {
			release(held)
			return nil
		}
		list = append(list, at(first+i))
	}
	t.Cleanup(func() { release(held) })
	return list
}

func at(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }

func release(list []net.Listener) {
	for _, l := range list {
		_ = l.Close()
	}
}

// free reports whether nobody has the port, TCP and UDP.
func free(addr string) bool {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return false
	}
	defer l.Close()
	u, err := net.ListenPacket("udp", addr)
	if err != nil {
		return false
	}
	defer u.Close()
	return true
}
