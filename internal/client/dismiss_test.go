package client

import (
	"bytes"
	"context"
	"encoding/binary"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/starlinghq/starling/internal/security"
	"github.com/starlinghq/starling/internal/wire"
	"github.com/starlinghq/starling/protocol"
)

// spoiling is a connection that announces a frame longer than any before it
// writes what has the word "spoil" in it.
type spoiling struct {
	net.Conn
	times *atomic.Int32
}

func (c spoiling) Write(b []byte) (int, error) {
	if bytes.Contains(b, []byte("spoil")) {
		c.times.Add(1)
		head := binary.BigEndian.AppendUint32(nil, 16<<20)
		if _, err := c.Conn.Write(append(head, protocol.Version, byte(wire.FrameRequest))); err != nil {
			return 0, err
		}
	}
	return c.Conn.Write(b)
}

// A frame that cannot be passed over ends the connection. Its sender is told why,
// and does not send it again: it would end the next connection, too, and with each
// what others have in flight there.
func TestWhatEndsAConnectionIsNotSentAgain(t *testing.T) {
	s := newServer(t)
	address, _ := listen(t, s, protocol.ClusterID{7})
	var times atomic.Int32
	c := newClient(t, newRemote(t, RemoteConfig{Security: security.Plaintext(), Addresses: []string{address},
		Dial: func(ctx context.Context, address string, cluster protocol.ClusterID) (Conn, error) {
			conn, err := wire.DialClient(ctx, address, wire.ClientConfig{
				Hello: protocol.Hello{Cluster: cluster},
				Dial: func(ctx context.Context, address string) (net.Conn, error) {
					conn, err := security.Plaintext().Dial(ctx, address)
					return spoiling{conn, &times}, err
				},
			})
			if err != nil {
				return nil, err
			}
			return wireConn{conn}, nil
		}}), Config{})
	mustCommand(t, c, "a session")
	for name, one := range map[string]struct {
		call func(ctx context.Context) error
		want error
	}{
		"command": {func(ctx context.Context) error { _, err := c.Command(ctx, count("spoil")); return err }, protocol.ErrUnknownOutcome},
		"query": {func(ctx context.Context) error {
			q := read()
			q.Resource = "spoil"
			_, err := c.Query(ctx, q)
			return err
		}, protocol.ErrTooLarge},
		"watch": {func(ctx context.Context) error {
			w := watching(1)
			w.Resource = "spoil"
			stream, err := c.Watch(ctx, w)
			if err != nil {
				return err
			}
			defer stream.Close()
			_, err = stream.Next(ctx)
			return err
		}, protocol.ErrTooLarge},
	} {
		times.Store(0)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		err := one.call(ctx)
		cancel()
		wantIs(t, err, []error{one.want}, []error{context.DeadlineExceeded})
		if got := times.Load(); got != 1 {
			t.Errorf("%s: it was sent %d times, want once", name, got)
		}
		if err != nil && !strings.Contains(err.Error(), "16777216 bytes announced, the limit is 4194304") {
			t.Errorf("%s: got %v, want the reason in it", name, err)
		}
		mustCommand(t, c, "after it")
	}
}
