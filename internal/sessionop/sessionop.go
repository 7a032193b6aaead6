// Package sessionop has the operations on sessions themselves as commands, and their
// answers: what clients and leaders send, and package machine carries out.
package sessionop

import (
	"encoding/binary"
	"fmt"
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

// Kept is one session to be kept alive, and its floor: its client
// has all answers below it.
type Kept struct {
	Session protocol.SessionID
	Floor   uint64
}

// KeepAliveMany returns the command that gives each of the
// sessions a full timeout from when it is applied, in this order, as single
// keep-alives one after the other would. With it a leader brings those that
// arrive within an interval into one entry. Its answer, read by
// [Expired], says which sessions are not there any more; the others are
// kept alive.
//
// It belongs to no session. There must be at least one keep-alive, at most
// protocol.SessionKeepAlivesMax, and no floor above protocol.SequenceMax, or
// all of them are refused with ErrInvalid.
func KeepAliveMany(list []Kept) protocol.Command {
	return protocol.Command{
		Type: protocol.SessionType, Operation: protocol.SessionKeepAliveMany,
		Argument: appendKeepAlives(nil, list),
	}
}

// Expired reads the answer to KeepAliveMany: the places in
// its list, in order, of the sessions that have expired or were closed.
func Expired(r *protocol.Result) ([]int, error) {
	if err := r.Err(); err != nil {
		return nil, err
	}
	return parsePlaces(r.Data)
}

// A list of keep-alives is encoded as session and floor of each, as varints.
// The places in an answer too, each as its distance from the one before, the
// first from -1.

func appendKeepAlives(dst []byte, list []Kept) []byte {
	for _, k := range list {
		dst = binary.AppendUvarint(dst, uint64(k.Session))
		dst = binary.AppendUvarint(dst, k.Floor)
	}
	return dst
}

// ParseKeepAlives withstands any input. ErrMalformed, ErrInvalid.
func ParseKeepAlives(src []byte) ([]Kept, error) {
	if len(src) == 0 {
		return nil, protocol.ErrInvalid.With("a list of keep-alives is not empty")
	}
	list := make([]Kept, 0, min(len(src)/2, protocol.SessionKeepAlivesMax))
	for len(src) > 0 {
		id, rest, ok1 := TakeUint(src)
		floor, rest, ok2 := TakeUint(rest)
		switch {
		case !ok1 || !ok2:
			return nil, protocol.ErrMalformed.With("malformed list of keep-alives")
		case floor > protocol.SequenceMax:
			return nil, protocol.ErrInvalid.With(fmt.Sprintf("the floor %d of session %d is over the limit %d", floor, id, uint64(protocol.SequenceMax)))
		case len(list) == protocol.SessionKeepAlivesMax:
			return nil, protocol.ErrInvalid.With(fmt.Sprintf("one entry keeps at most %d sessions alive", protocol.SessionKeepAlivesMax))
		}
		list = append(list, Kept{protocol.SessionID(id), floor})
		src = rest
	}
	return list, nil
}

// parsePlaces withstands any input. ErrMalformed.
func parsePlaces(src []byte) (places []int, err error) {
	last := -1
	for len(src) > 0 {
		distance, rest, ok := TakeUint(src)
		if !ok || distance == 0 || distance > uint64(protocol.SessionKeepAlivesMax-1-last) {
			return nil, protocol.ErrMalformed.With("malformed answer to a list of keep-alives")
		}
		last += int(distance)
		places, src = append(places, last), rest
	}
	return places, nil
}

// TakeUint takes a number off the front.
func TakeUint(src []byte) (n uint64, rest []byte, ok bool) {
	n, size := binary.Uvarint(src)
	if size <= 0 {
		return 0, nil, false
	}
	return n, src[size:], true
}
