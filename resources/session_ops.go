package resources

import (
	"fmt"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// SessionOpenCommand returns the command that opens a session. Its answer is
// read by [SessionOpened]. Timeout 0 stands for the default; another one must
// lie between protocol.SessionTimeoutMin and Max, or the answer is ErrInvalid.
func SessionOpenCommand(timeout time.Duration) protocol.Command {
	argument, _ := AppendValue(nil, int64(timeout)) // an int64 can be encoded
	return protocol.Command{Type: protocol.SessionType, Operation: protocol.SessionOpen, Argument: argument}
}

// SessionOpened reads the answer to SessionOpenCommand.
func SessionOpened(r *protocol.Result) (protocol.SessionID, error) {
	if err := r.Err(); err != nil {
		return 0, err
	}
	id, err := ParseValue[uint64](r.Data)
	return protocol.SessionID(id), err
}

// SessionKeepAliveCommand returns the command that gives a session a full
// timeout from when it is applied. Floor says that the client has all answers
// below. The answer is empty, or ErrSessionExpired.
func SessionKeepAliveCommand(id protocol.SessionID, floor uint64) protocol.Command {
	return protocol.Command{Session: id, Floor: floor, Type: protocol.SessionType, Operation: protocol.SessionKeepAlive}
}

// SessionCloseCommand returns the command that ends a session at once. The
// answer is empty, or ErrSessionExpired.
func SessionCloseCommand(id protocol.SessionID) protocol.Command {
	return protocol.Command{Session: id, Type: protocol.SessionType, Operation: protocol.SessionClose}
}

func checkSessionOperation(c *protocol.Command) error {
	switch c.Operation {
	case protocol.SessionOpen, protocol.SessionKeepAlive, protocol.SessionKeepAliveMany, protocol.SessionClose:
		return nil
	}
	return protocol.ErrUnknownOperation.With(fmt.Sprintf("sessions have no operation %q", c.Operation))
}

// operate runs an operation on sessions themselves. None of them is remembered
// as executed: a keep-alive or a close can be repeated, and a session that was
// opened twice ends once by its deadline.
func (s *sessions) operate(now protocol.ClusterTime, c *protocol.Command) ([]byte, error) {
	switch c.Operation {
	case protocol.SessionOpen:
		return s.operateOpen(now, c)
	case protocol.SessionKeepAliveMany:
		return s.operateMany(now, c)
	}
	one := s.all[c.Session]
	if one == nil {
		return nil, protocol.ErrSessionExpired
	}
	if c.Operation == protocol.SessionClose {
		s.end(one)
		return nil, nil
	}
	if c.Floor > protocol.SequenceMax {
		return nil, protocol.ErrInvalid.With(fmt.Sprintf("the floor %d is over the limit %d", c.Floor, uint64(protocol.SequenceMax)))
	}
	s.keepAlive(one, now, c.Floor)
	return nil, nil
}

func (s *sessions) operateOpen(now protocol.ClusterTime, c *protocol.Command) ([]byte, error) {
	timeout, err := ParseValue[int64](c.Argument)
	if err != nil {
		return nil, err
	}
	one, err := s.open(now, time.Duration(timeout))
	if err != nil {
		return nil, err
	}
	return AppendValue(nil, uint64(one.id))
}
