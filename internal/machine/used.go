package machine

import (
	"encoding/binary"

	"github.com/starlinghq/starling/protocol"
)

// Used reports whether a command of a type, in just that version, has had an
// effect: then all who take part can apply it, or have stopped already. It says
// nothing of commands that failed. Any goroutine may ask.
func (m *Machine) Used(x protocol.TypeVersion) bool {
	return m.current.Load().System().Get(typeKey(x.Name, x.Version)) != nil
}

// note remembers that a command of a type has had an effect.
func (m *Machine) note(x protocol.TypeVersion) {
	if _, noted := m.used[x]; noted {
		return
	}
	m.used[x] = struct{}{}
	if key, system := typeKey(x.Name, x.Version), m.state.System(); system.Get(key) == nil {
		m.state.Set(system, key, nil)
	}
}

// typeKey is 't', the name and four bytes of the version.
func typeKey(name string, version uint32) []byte {
	key := make([]byte, 0, 1+len(name)+4)
	key = append(append(key, keyType), name...)
	return binary.BigEndian.AppendUint32(key, version)
}

// checkTypeKey returns what is wrong with a 't' key and its value.
func checkTypeKey(key, value []byte) string {
	if len(value) > 0 || len(key) < 1+1+4 {
		return "malformed"
	}
	return nameFault("the name of a type", key[1:len(key)-4])
}
