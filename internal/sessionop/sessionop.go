// Package sessionop has the operations on sessions themselves as commands, and their
// answers: what clients and leaders send, and package machine carries out.
package sessionop

import (
	"time"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
)

// Open returns the command that opens a session. Its answer is
// read by [Opened]. Timeout 0 stands for the default; another one must
// lie between protocol.SessionTimeoutMin and Max, or the answer is ErrInvalid.
func Open(timeout time.Duration) protocol.Command {
	argument, _ := resources.AppendValue(nil, int64(timeout)) // an int64 can be encoded
	return protocol.Command{Type: protocol.SessionType, Operation: protocol.SessionOpen, Argument: argument}
}

// Opened reads the answer to Open.
func Opened(r *protocol.Result) (protocol.SessionID, error) {
	if err := r.Err(); err != nil {
		return 0, err
	}
	id, err := resources.ParseValue[uint64](r.Data)
	return protocol.SessionID(id), err
}

// KeepAlive returns the command that gives a session a full
// timeout from when it is applied. Floor says that the client has all answers
// below. The answer is empty, or ErrSessionExpired.
func KeepAlive(id protocol.SessionID, floor uint64) protocol.Command {
	return protocol.Command{Session: id, Floor: floor, Type: protocol.SessionType, Operation: protocol.SessionKeepAlive}
}

// Close returns the command that ends a session at once. The
// answer is empty, or ErrSessionExpired.
func Close(id protocol.SessionID) protocol.Command {
	return protocol.Command{Session: id, Type: protocol.SessionType, Operation: protocol.SessionClose}
}
