package resources

import (
	"context"
	"reflect"

	"github.com/starlinghq/starling/internal/state"
	"github.com/starlinghq/starling/protocol"
)

// Engine is how the machine of a member (internal/machine) runs the operations of a
// registry on a state. It is not for authors of types, and of no use to them: nobody
// outside of this module has a state. One goroutine has commands run, any number ask
// queries.
type Engine struct {
	registry *Registry
	encoded  encodedFunc
	tx       Tx // of the command that runs
}

// encodedFunc is told of every value that an operation encodes; see machine.EncodedFunc.
type encodedFunc = func(t reflect.Type, data []byte, err error, again func() ([]byte, error))

// NewEngine returns the engine for a registry's types. encoded may be nil.
func NewEngine(r *Registry, encoded encodedFunc) *Engine {
	return &Engine{registry: r, encoded: encoded}
}

// Command finds the operation that a command names; nil, without an error, is one on
// sessions themselves.
func (e *Engine) Command(c *protocol.Command) (Operation, error) {
	if c.Type == protocol.SessionType {
		return nil, checkSessionOperation(c)
	}
	op, err := e.registry.command(c)
	if err != nil {
		return nil, err
	}
	return op, nil
}

// Query finds the operation that a query names.
func (e *Engine) Query(q *protocol.Query) (Operation, error) {
	op, err := e.registry.query(q)
	if err != nil {
		return nil, err
	}
	return op, nil
}

// Run runs a command within the current entry of a state. An error, and a panic, which
// goes on to the caller, leave what was written to be taken back.
func (e *Engine) Run(op Operation, s *state.State, sp *state.Space, now protocol.ClusterTime, c *protocol.Command) ([]byte, error) {
	e.tx = Tx{state: s, space: sp, now: now, session: c.Session, encoded: e.encoded}
	defer func() { e.tx = Tx{} }()
	data, err := op.operation().run(&e.tx, c.Argument)
	if err == nil && e.tx.over != nil {
		return nil, e.tx.over
	}
	return data, err
}

// Open opens a view of an instance, of the type that it is asked for, at the published
// index of a state; it must be closed. An instance that does not exist is empty. No
// name at all opens the system's keys, as queries of the catalogue read them.
// ErrWrongType, ErrUnknownType.
func (e *Engine) Open(s *state.State, v *View, resource, kind string) error {
	// The view first: from then on no space that has keys at the index is dropped.
	*v = View{at: s.Open()}
	if resource == "" {
		v.space = s.System()
		return nil
	}
	v.space = v.at.Space(resource)
	var err error
	if _, ok := e.registry.Type(kind); !ok {
		err = e.registry.unknownType(kind, 0)
	} else if keys, bound := v.space.At(v.Index()); keys > 0 && bound.String() != kind {
		err = state.WrongType(resource, bound.String(), kind)
	}
	if err != nil {
		v.Close()
	}
	return err
}

// Ask runs a query on a view that Open has opened. Its reads fail when ctx ends.
func (e *Engine) Ask(ctx context.Context, op Operation, v *View, argument []byte) ([]byte, error) {
	v.encoded = e.encoded
	if ctx.Done() != nil {
		v.ctx = ctx
	}
	return op.operation().ask(v, argument)
}
