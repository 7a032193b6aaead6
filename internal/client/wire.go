package client

import (
	"context"
	"errors"

	"github.com/starlinghq/starling/internal/attempt"
	"github.com/starlinghq/starling/internal/wire"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
)

// wireDial returns the Dial of a Remote over its Security.
func wireDial(cfg *RemoteConfig) func(context.Context, string, protocol.ClusterID) (Conn, error) {
	name, pingTimeout, dialTimeout, secure := cfg.Name, cfg.PingTimeout, cfg.DialTimeout, cfg.Security
	return func(ctx context.Context, address string, cluster protocol.ClusterID) (Conn, error) {
		conn, err := wire.DialClient(ctx, address, wire.ClientConfig{
			Hello: protocol.Hello{Cluster: cluster, Name: name}, PingTimeout: pingTimeout, Dial: secure.Dial,
			Options: wire.Options{HandshakeTimeout: dialTimeout},
		})
		if err != nil {
			return nil, err
		}
		return wireConn{conn}, nil
	}
}

// wireConn is a Conn over a framed connection.
type wireConn struct{ *wire.ClientConn }

// Do says of a lost request by its code whether it may have been received.
func (c wireConn) Do(ctx context.Context, q *protocol.Request) (*protocol.Response, error) {
	response, err := c.ClientConn.Do(ctx, q)
	var lost *wire.LostError
	if !errors.As(err, &lost) {
		return response, err
	}
	code := protocol.ErrUnavailable.Code
	switch {
	case lost.Written && attempt.Dismissed(err) && !attempt.IsCommand(q):
		code = attempt.CodeIn(lost.Cause)
	case lost.Written:
		code = protocol.ErrUnknownOutcome.Code
	}
	return nil, &protocol.Error{Code: code, Text: lost.Error(), Cause: lost.Cause}
}

func (c wireConn) Watch(ctx context.Context, w *protocol.Watch) (resources.WatchStream, error) {
	stream, err := c.ClientConn.Watch(ctx, w)
	if err != nil {
		return nil, err
	}
	return wireStream{stream}, nil
}

// wireStream is a WatchStream over a framed connection.
type wireStream struct{ *wire.WatchStream }

// Close ends the stream. That the member could not be told does not matter:
// then it knows by the loss of the connection.
func (s wireStream) Close() { _ = s.WatchStream.Close() }
