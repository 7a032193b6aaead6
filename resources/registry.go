package resources

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/starlinghq/starling/protocol"
)

// Type is a kind of resource: a name, a version and operations. One value
// serves all instances.
type Type struct {
	name    string
	version uint32
	ops     map[string]*operation
	order   []Operation
	faults  []error
}

// NewType returns a type for a package variable. The version, from 1, grows
// when the behaviour of a command changes; entries name it, and a member that
// lacks it stops. An operation belongs to one type. What is wrong with names and
// operations, and with what they take and answer, is said by [NewRegistry].
func NewType(name string, version uint32, ops ...Operation) *Type {
	t := newType(name, version, ops...)
	if name == protocol.CatalogueType {
		t.fault("the name of a type: %q is taken by the system", name)
	}
	return t
}

func newType(name string, version uint32, ops ...Operation) *Type {
	t := &Type{name: name, version: version, ops: map[string]*operation{}}
	for i, o := range ops {
		var op *operation
		if o != nil {
			op = o.operation()
		}
		if op == nil {
			t.fault("operation %d of %d is nil", i+1, len(ops))
			continue
		}
		t.order = append(t.order, o)
		t.add(op)
	}
	return t
}

func (t *Type) add(op *operation) {
	if err := protocol.CheckName("the name of an operation", op.Name); err != nil {
		t.fault("%v", err)
	}
	if op.run == nil && op.ask == nil {
		t.fault("the operation %q has no function to run", op.Name)
	}
	for _, fault := range op.faults {
		t.fault("the operation %q: %v", op.Name, fault)
	}
	if t.ops[op.Name] != nil {
		t.fault("two operations are called %q", op.Name)
	}
	if op.owner != nil && op.owner != t {
		t.fault("the operation %q belongs to %s version %d already", op.Name, op.owner.name, op.owner.version)
		return
	}
	t.ops[op.Name] = op
	op.owner = t
}

func (t *Type) fault(format string, args ...any) {
	t.faults = append(t.faults, protocol.ErrInvalid.With(fmt.Sprintf("type %s: ", protocol.Quoted(t.name))+fmt.Sprintf(format, args...)))
}

// check returns all that is wrong with a type.
func (t *Type) check() []error {
	if t == nil {
		return []error{protocol.ErrInvalid.With("a type is nil")}
	}
	if t.ops == nil {
		return []error{protocol.ErrInvalid.With("a type is the zero value: make it with NewType")}
	}
	own := Type{name: t.name}
	if err := protocol.CheckName("the name of a type", t.name); err != nil {
		own.fault("%v", err)
	}
	if t.name == protocol.SessionType {
		own.fault("the name is taken by the system")
	}
	if t.version == 0 {
		own.fault("versions begin at 1")
	}
	return append(own.faults, t.faults...)
}

// Name returns the type's name. A nil type has none, no version and no
// operations; NewRegistry refuses it.
func (t *Type) Name() string {
	if t == nil {
		return ""
	}
	return t.name
}

// Version returns the type's version.
func (t *Type) Version() uint32 {
	if t == nil {
		return 0
	}
	return t.version
}

// Operations returns the operations in the order given to NewType.
func (t *Type) Operations() []Operation {
	if t == nil {
		return nil
	}
	return slices.Clone(t.order)
}

// Registry is the set of types that a program knows. It is a value without
// hidden copies: pass it where it is needed. It does not change.
type Registry struct {
	types  []*Type // by name, then by version
	latest map[string]*Type
}

// NewRegistry returns a registry of the given types. Several versions of a
// type may stand side by side, so that a cluster can be upgraded member by
// member; queries go to the highest. The error, an ErrInvalid, names everything
// that is wrong.
func NewRegistry(types ...*Type) (*Registry, error) {
	r := &Registry{latest: map[string]*Type{}}
	var faults []error
	for _, t := range types {
		if wrong := t.check(); len(wrong) > 0 {
			faults = append(faults, wrong...)
			continue
		}
		r.types = append(r.types, t)
	}
	slices.SortStableFunc(r.types, func(a, b *Type) int {
		return cmpTypes(a.name, a.version, b)
	})
	for i, t := range r.types {
		if i > 0 && cmpTypes(t.name, t.version, r.types[i-1]) == 0 {
			faults = append(faults, protocol.ErrInvalid.With(fmt.Sprintf("type %q version %d is registered twice", t.name, t.version)))
		}
		r.latest[t.name] = t
	}
	if len(types) > protocol.TypesMax {
		faults = append(faults, protocol.ErrInvalid.With(fmt.Sprintf(
			"a member knows at most %d types, each version counted, not %d", protocol.TypesMax, len(types))))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return r, nil
}

func cmpTypes(name string, version uint32, t *Type) int {
	if c := strings.Compare(name, t.name); c != 0 {
		return c
	}
	return int(int64(version) - int64(t.version))
}

// Types returns the types, by name and version.
func (r *Registry) Types() []*Type { return slices.Clone(r.types) }

// Type returns the highest version of a type.
func (r *Registry) Type(name string) (*Type, bool) {
	t, ok := r.latest[name]
	return t, ok
}

func (r *Registry) find(name string, version uint32) *Type {
	if name == catalogue.name && version == catalogue.version {
		return catalogue
	}
	if t := r.latest[name]; t == nil || t.version == version {
		return t
	}
	i, ok := slices.BinarySearchFunc(r.types, 0, func(t *Type, _ int) int { return -cmpTypes(name, version, t) })
	if !ok {
		return nil
	}
	return r.types[i]
}

// Check reports whether a machine with this registry could apply a command.
// Whoever lets commands into the log asks it first, because a machine that
// meets one which it cannot apply has to stop. ErrUnknownType,
// ErrUnknownOperation, ErrInvalid, ErrTooLarge.
func (r *Registry) Check(c *protocol.Command) error {
	if err := c.Validate(); err != nil {
		return err
	}
	if c.Type == protocol.SessionType {
		return checkSessionOperation(c)
	}
	_, err := r.command(c)
	return err
}

// Frees reports whether a command frees space, as its type's author has declared. Commands
// on sessions count as such: they take next to none, and who is to free some needs one.
func (r *Registry) Frees(c *protocol.Command) bool {
	if c.Type == protocol.SessionType {
		return true
	}
	op, err := r.command(c)
	return err == nil && op.Frees
}

// command finds what a command names.
func (r *Registry) command(c *protocol.Command) (*operation, error) {
	t := r.find(c.Type, c.Version)
	if t == nil {
		return nil, r.unknownType(c.Type, c.Version)
	}
	op := t.ops[c.Operation]
	if op == nil || op.run == nil {
		return nil, t.unknownOperation(c.Operation, "command")
	}
	return op, nil
}

// query finds what a query names.
func (r *Registry) query(q *protocol.Query) (*operation, error) {
	t := r.latest[q.Type]
	if q.Type == catalogue.name {
		t = catalogue
	}
	if t == nil {
		return nil, r.unknownType(q.Type, 0)
	}
	op := t.ops[q.Operation]
	if op == nil || op.ask == nil {
		return nil, t.unknownOperation(q.Operation, "query")
	}
	return op, nil
}

func (r *Registry) unknownType(name string, version uint32) error {
	known := make([]string, len(r.types))
	for i, t := range r.types {
		known[i] = fmt.Sprintf("%s %d", t.name, t.version)
	}
	what := fmt.Sprintf("type %q", name)
	if version > 0 {
		what += fmt.Sprintf(" version %d", version)
	}
	return protocol.ErrUnknownType.With(fmt.Sprintf("%s is not known here; known are: %s", what, strings.Join(known, ", ")))
}

func (t *Type) unknownOperation(name, kind string) error {
	return protocol.ErrUnknownOperation.With(fmt.Sprintf("type %q version %d has no %s %q", t.name, t.version, kind, name))
}

func checkSessionOperation(c *protocol.Command) error {
	switch c.Operation {
	case protocol.SessionOpen, protocol.SessionKeepAlive, protocol.SessionKeepAliveMany, protocol.SessionClose:
		return nil
	}
	return protocol.ErrUnknownOperation.With(fmt.Sprintf("sessions have no operation %q", c.Operation))
}
