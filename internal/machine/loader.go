package machine

import (
	"fmt"

	"github.com/starlinghq/starling/internal/invariant"
	"github.com/starlinghq/starling/internal/state"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
)

// Loader builds a whole state out of the items of a checkpoint, beside the one
// in force; see [Machine.Install]. It belongs to one goroutine, any one. After
// the first error it is of no use.
//
// It takes no item on trust: ErrMalformed is one that no state can have,
// ErrCorrupt one that does not fit the others. What fits together and is wrong
// all the same shows in the digest, which the caller compares.
type Loader struct {
	engine   *resources.Engine
	state    *state.State
	sessions *sessions
	oneShots *oneShots
	now      protocol.ClusterTime
	// newest is the highest index of an item, and whose it is.
	newest      protocol.Index
	newestPlace string
	missing     error // a type that is in use and not in the registry
	finished    bool
}

// NewLoader returns an empty loader. Any goroutine may call it.
func (m *Machine) NewLoader() *Loader {
	s := state.New(m.track)
	return &Loader{engine: m.engine, state: s, sessions: newSessions(s), oneShots: newOneShots(s)}
}

// Add adds a key; its bytes are copied. A checkpoint may be given in layers,
// what Changed yielded on top of its base: a key added again must be newer than
// before, and one that is Deleted goes, if it is there.
func (l *Loader) Add(item state.Item) error {
	invariant.Check(!l.finished, "nothing is added to a state that is finished")
	if err := checkPlace(&item); err != nil {
		return err
	}
	if item.Deleted {
		if sp := l.find(item.Space); sp != nil {
			l.state.Unload(sp, item.Key)
		}
		return nil
	}
	if err := checkContent(&item); err != nil {
		return err
	}
	there, ok, err := l.put(&item)
	if err != nil {
		return err
	}
	if !ok {
		return protocol.ErrCorrupt.With(fmt.Sprintf("%s comes twice, at %d and at %d", placeOf(&item), there, item.Index))
	}
	if item.Index > l.newest {
		l.newest, l.newestPlace = item.Index, placeOf(&item)
	}
	return nil
}

// put writes a key that has been checked, but for what a session has executed.
func (l *Loader) put(item *state.Item) (there protocol.Index, ok bool, err error) {
	if item.Space == "" && item.Key[0] == keyExecuted {
		w, ok := parseWindow(item.Key, item.Value, item.Index)
		if !ok {
			return 0, false, protocol.ErrMalformed.With(placeOf(item) + ": malformed")
		}
		there, ok = l.state.LoadMutable(l.state.System(), item.Key, w)
		return there, ok, nil
	}
	there, ok = l.state.Load(l.space(item.Space), item.Key, item.Value, item.Index)
	return there, ok, nil
}

// find returns a space, nil if there is none.
func (l *Loader) find(name string) *state.Space {
	if name == "" {
		return l.state.System()
	}
	return l.state.Find(name)
}

// space returns a space, made if need be.
func (l *Loader) space(name string) *state.Space {
	if sp := l.find(name); sp != nil {
		return sp
	}
	return l.state.Add(name)
}

// Finish ends the state at an index and returns its digest. It takes what
// follows from the keys: sessions, catalogue, deadlines and cluster time.
func (l *Loader) Finish(i protocol.Index) (Digest, error) {
	invariant.Check(!l.finished, "a state is finished once")
	if i == 0 {
		return Digest{}, protocol.ErrMalformed.With("a checkpoint is of an index above 0")
	}
	if l.newest > i {
		return Digest{}, protocol.ErrCorrupt.With(fmt.Sprintf("%s is of index %d, the checkpoint of %d", l.newestPlace, l.newest, i))
	}
	if err := l.load(); err != nil {
		return Digest{}, err
	}
	l.state.Loaded(i)
	l.finished = true
	return l.state.Digest(), nil
}

// Time returns the cluster time of the state, once it is finished: exactly that
// of its entry if it was a checkpoint's, and otherwise the latest that the
// state tells of.
func (l *Loader) Time() protocol.ClusterTime { return l.now }

// Missing returns, once the state is finished, what this program lacks to go on
// from it: an ErrUnknownType that names a type in use, or nil.
func (l *Loader) Missing() error { return l.missing }

// placeOf names an item in an error.
func placeOf(item *state.Item) string {
	key := item.Key
	if len(key) > 40 {
		return fmt.Sprintf("the key %q... of %q", key[:40], item.Space)
	}
	if item.Space == "" {
		return fmt.Sprintf("the system's key %q", key)
	}
	return fmt.Sprintf("the key %q of %q", key, item.Space)
}

// checkPlace reports a name that no key can have.
func checkPlace(item *state.Item) error {
	if item.Space != "" {
		if err := protocol.CheckName("the name of a resource in a checkpoint", item.Space); err != nil {
			return protocol.ErrMalformed.With(err.Error())
		}
	}
	switch n := len(item.Key); {
	case n == 0:
		return protocol.ErrMalformed.With(fmt.Sprintf("an empty key of %q in a checkpoint", item.Space))
	case n > protocol.KeyBytesMax:
		return protocol.ErrMalformed.With(fmt.Sprintf("%s has %d bytes, the limit is %d", placeOf(item), n, protocol.KeyBytesMax))
	}
	return nil
}

// checkContent reports an index or a value that no key can have.
func checkContent(item *state.Item) error {
	if item.Index == 0 {
		return protocol.ErrMalformed.With(placeOf(item) + " was set at index 0")
	}
	if n := len(item.Value); n > protocol.ValueBytesMax {
		return protocol.ErrMalformed.With(fmt.Sprintf("the value of %s has %d bytes, the limit is %d", placeOf(item), n, protocol.ValueBytesMax))
	}
	if item.Space != "" {
		return nil
	}
	if fault := checkSystemRecord(item.Key, item.Value, item.Index); fault != "" {
		return protocol.ErrMalformed.With(placeOf(item) + ": " + fault)
	}
	return nil
}
