//go:build linux

package fieldtest

import (
	"context"
	"fmt"

	"github.com/starlinghq/starling/internal/client"
	"github.com/starlinghq/starling/internal/security"
	"github.com/starlinghq/starling/internal/wire"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
)

// pinned returns a client that asks one member and goes nowhere else, so that
// what it is answered is that member's word. Whoever calls it closes it.
func (c *cluster) pinned(m *member) (*client.Client, error) {
	remote, err := client.NewRemote(c.t.Context(), client.RemoteConfig{
		Security:  security.Plaintext(),
		Addresses: []string{m.addr},
		Dial: func(ctx context.Context, address string, of protocol.ClusterID) (client.Conn, error) {
			if address != m.addr {
				return nil, protocol.ErrUnavailable.With("this client asks " + m.name + " alone")
			}
			conn, err := wire.DialClient(ctx, address, wire.ClientConfig{Dial: security.Plaintext().Dial, Hello: protocol.Hello{Cluster: of}})
			if err != nil {
				return nil, err
			}
			return unwatched{conn}, nil
		},
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", m.name, err)
	}
	return client.New(remote, client.Config{})
}

// unwatched is a connection without watches.
type unwatched struct{ *wire.ClientConn }

func (unwatched) Watch(context.Context, *protocol.Watch) (resources.WatchStream, error) {
	return nil, protocol.ErrInvalid.With("a pinned client watches nothing")
}
