package resources

import (
	"encoding/binary"

	"github.com/starlinghq/starling/protocol"
)

// Used reports whether a command of a type, in just that version, has had an
// effect: then all who take part can apply it, or have stopped already. It says
// nothing of commands that failed. Any goroutine may ask.
func (m *Machine) Used(x protocol.TypeVersion) bool {
	return m.current.Load().system.current(typeKey(x.Name, x.Version)) != nil
}

// note remembers that a command of a type has had an effect.
func (m *Machine) note(sp *space, t *Type) {
	if sp.used == t {
		return
	}
	sp.used = t
	if key := typeKey(t.name, t.version); m.state.system.current(key) == nil {
		m.state.set(m.state.system, key, nil)
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
