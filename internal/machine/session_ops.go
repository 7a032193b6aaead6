package machine

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/starlinghq/starling/internal/sessionop"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
)

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
	timeout, err := resources.ParseValue[int64](c.Argument)
	if err != nil {
		return nil, err
	}
	one, err := s.open(now, time.Duration(timeout))
	if err != nil {
		return nil, err
	}
	return resources.AppendValue(nil, uint64(one.id))
}

func (s *sessions) operateMany(now protocol.ClusterTime, c *protocol.Command) (answer []byte, err error) {
	list, err := sessionop.ParseKeepAlives(c.Argument)
	if err != nil {
		return nil, err
	}
	last := -1
	for k, one := range list {
		if found := s.all[one.Session]; found != nil {
			s.keepAlive(found, now, one.Floor)
			continue
		}
		answer = binary.AppendUvarint(answer, uint64(k-last))
		last = k
	}
	return answer, nil
}
