package value

import (
	"errors"
	"fmt"
	"runtime"

	"github.com/starlinghq/starling/protocol"
)

// sink is what an encoder writes to. It ends an encoding that has no end.
type sink struct {
	b       []byte
	guarded bool // methods of the type write, too
	writes  uint
}

// Limits of one encoding. Nothing that is longer can travel in a frame. So many
// calls on the stack are more than any nesting that can be read back needs; the
// stack is looked at once in so many writes.
const (
	sinkBytesMax = protocol.FrameBytesMax
	sinkCallsMax = 10_000
	sinkLook     = 1024
)

var errSinkFull = fmt.Errorf("it has more than %d bytes", sinkBytesMax)

// errBottomless goes up as a panic, because methods that call each other for
// ever may not look at the error of a write.
var errBottomless = errors.New("its methods call each other for ever: does it contain itself?")

// Write takes bytes in.
func (s *sink) Write(b []byte) (int, error) {
	if err := s.room(len(b)); err != nil {
		return 0, err
	}
	s.b = append(s.b, b...)
	return len(b), nil
}

// WriteByte takes a byte in.
func (s *sink) WriteByte(c byte) error {
	if err := s.room(1); err != nil {
		return err
	}
	s.b = append(s.b, c)
	return nil
}

func (s *sink) room(n int) error {
	if len(s.b)+n > sinkBytesMax {
		return errSinkFull
	}
	if s.writes++; s.guarded && s.writes%sinkLook == 0 {
		var caller [1]uintptr
		if runtime.Callers(sinkCallsMax, caller[:]) > 0 {
			panic(errBottomless)
		}
	}
	return nil
}
