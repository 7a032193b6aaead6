package resources

import (
	"cmp"
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
// with what operations take and answer is said by [NewRegistry].
func NewType(name string, version uint32, ops ...Operation) *Type {
	t := &Type{name: name, version: version, ops: map[string]*operation{}, order: slices.Clone(ops)}
	if fault := checkName(name); fault != "" || name == protocol.SessionType {
		t.fault("the name of a type: %s", cmp.Or(fault, fmt.Sprintf("%q is taken by the system", name)))
	}
	if version == 0 {
		t.fault("versions begin at 1")
	}
	for _, o := range ops {
		t.add(o.operation())
	}
	return t
}

func (t *Type) add(op *operation) {
	if fault := checkName(op.Name); fault != "" {
		t.fault("the name of an operation: %s", fault)
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
	t.faults = append(t.faults, protocol.ErrInvalid.With(fmt.Sprintf("type %q: ", t.name)+fmt.Sprintf(format, args...)))
}

// checkName returns what is wrong with a name: it has 1 to NameBytesMax of
// a-z, A-Z, 0-9, "-", "_" and ".", so that it can stand in a path and on a
// command line.
func checkName(name string) string {
	if name == "" {
		return "it is empty"
	}
	if len(name) > protocol.NameBytesMax {
		return fmt.Sprintf("it has %d bytes, the limit is %d", len(name), protocol.NameBytesMax)
	}
	bad := strings.IndexFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_' && r != '.'
	})
	if bad >= 0 {
		return fmt.Sprintf("%q has a character other than letters, digits, '-', '_' and '.'", name)
	}
	return ""
}

// Name returns the type's name.
func (t *Type) Name() string { return t.name }

// Version returns the type's version.
func (t *Type) Version() uint32 { return t.version }

// Operations returns the operations in the order given to NewType.
func (t *Type) Operations() []Operation { return slices.Clone(t.order) }

// Registry is the set of types that a program knows. It is a value without
// hidden copies: pass it where it is needed. It does not change.
type Registry struct {
	types  []*Type // by name, then by version
	latest map[string]*Type
}

// NewRegistry returns a registry of the given types. Several versions of a
// type may stand side by side, so that a cluster can be upgraded member by
// member; queries go to the highest. The error names everything that is wrong.
func NewRegistry(types ...*Type) (*Registry, error) {
	r := &Registry{types: slices.Clone(types), latest: map[string]*Type{}}
	slices.SortStableFunc(r.types, func(a, b *Type) int {
		return cmpTypes(a.name, a.version, b)
	})
	var faults []error
	for i, t := range r.types {
		faults = append(faults, t.faults...)
		if i > 0 && cmpTypes(t.name, t.version, r.types[i-1]) == 0 {
			faults = append(faults, protocol.ErrInvalid.With(fmt.Sprintf("type %q version %d is registered twice", t.name, t.version)))
		}
		r.latest[t.name] = t
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
	if fault := checkName(c.Resource); fault != "" {
		return protocol.ErrInvalid.With("the name of a resource: " + fault)
	}
	_, err := r.command(c)
	return err
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
