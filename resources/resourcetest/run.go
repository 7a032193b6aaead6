package resourcetest

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/starlinghq/starling/internal/machine"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
)

// Options change a run. The zero value is fine.
type Options struct {
	// Seed replays a run; 0 draws one, and the test prints it.
	Seed uint64
	// Steps is the number of commands; 0: 400.
	Steps int
	// Instances is the number of instances they go to; 0: 2.
	Instances int
	// Argument, if not nil, draws the argument of an operation in place of
	// what the kit makes up from its type. A nil result leaves it to the kit.
	Argument func(r *rand.Rand, d resources.Description) any
}

// Run drives random histories of a type's operations through two machines that
// take them in different batches and at different times, and checks that
//   - both answer the same and have the same digest after every step, whatever
//     other values do to what is used again for their encoding,
//   - that holds when instances are deleted in between,
//   - every value has one encoding,
//   - a command that fails leaves no trace,
//   - queries write nothing, and both machines answer them alike,
//   - no operation panics,
//   - the second machine, which before every step is written to a checkpoint
//     and made anew out of it, is none the wiser,
//   - a third machine that replays the history ends with the same digest.
//
// It finds what differs from run to run, such as the order of a map, the time
// of day, and variables that outlive a command; and what a member keeps outside
// of the state, which is gone after a restart. When two machines differ it says
// whether that is the encoding of a value or the command itself.
func Run(t *testing.T, typ *resources.Type, opts Options) {
	t.Helper()
	if opts.Seed == 0 {
		opts.Seed = rand.Uint64()
	}
	t.Logf("resourcetest: seed %d", opts.Seed)
	if err := run(typ, opts); err != nil {
		t.Errorf("type %q: %v (replay with Options{Seed: %d})", typ.Name(), err, opts.Seed)
	}
}

func run(typ *resources.Type, opts Options) error {
	if opts.Steps == 0 {
		opts.Steps = 400
	}
	if opts.Instances == 0 {
		opts.Instances = 2
	}
	registry, err := resources.NewRegistry(typ)
	if err != nil {
		return err
	}
	h := &harness{opts: opts, typ: typ, random: rand.New(rand.NewPCG(opts.Seed, 1))}
	for i := range h.callers {
		h.callers[i] = newCaller(registry, slog.New(slog.DiscardHandler), h.encoded)
	}
	defer func() {
		for _, c := range h.callers {
			c.machine.Close()
		}
	}()
	for _, op := range typ.Operations() {
		if d := op.Describe(); d.Writes {
			h.commands = append(h.commands, d)
		} else {
			h.queries = append(h.queries, d)
		}
	}
	for step := range opts.Steps {
		if err := h.step(); err != nil {
			return fmt.Errorf("step %d: %w", step, err)
		}
	}
	return h.replay(registry)
}

type harness struct {
	opts              Options
	typ               *resources.Type
	random            *rand.Rand
	callers           [2]*Caller
	kept              checkpoint // of the second caller
	commands, queries []resources.Description
	unsteady          error // a value that has two encodings
}

func (h *harness) step() error {
	h.callers[0].now += protocol.ClusterTime(h.random.IntN(int(time.Second)))
	h.callers[1].now = h.callers[0].now
	if err := h.kept.restart(h.callers[1]); err != nil {
		return err
	}
	if h.random.IntN(deleteEvery) == 0 {
		if err := h.delete(); err != nil {
			return err
		}
	}
	if len(h.commands) > 0 {
		if err := h.command(h.commands[h.random.IntN(len(h.commands))]); err != nil {
			return err
		}
	}
	if len(h.queries) > 0 {
		return h.query(h.queries[h.random.IntN(len(h.queries))])
	}
	return nil
}

func (h *harness) resource() string { return fmt.Sprintf("r%d", h.random.IntN(h.opts.Instances)) }

// drawsMax limits how often the kit draws an argument until one can be stored:
// it does not know what the methods of a type accept.
const drawsMax = 100

func (h *harness) argument(d resources.Description) (any, []byte, error) {
	var argument any
	if h.opts.Argument != nil {
		argument = h.opts.Argument(h.random, d)
	}
	given := argument != nil
	var data []byte
	var err error
	for draw := 0; draw < drawsMax && (draw == 0 || err != nil && !given); draw++ {
		if !given {
			argument = generate(h.random, d.Argument, 0).Interface()
		}
		data, err = d.Encode(argument)
	}
	h.encoded(d.Argument, data, err, func() ([]byte, error) { return d.Encode(argument) })
	if h.unsteady != nil {
		return nil, nil, fmt.Errorf("%s: its argument: %w", d.Name, h.unsteady)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%s: the argument %#v cannot be encoded: %w", d.Name, argument, err)
	}
	return argument, data, nil
}

// deleteEvery is after how many steps, on average, an instance is deleted.
const deleteEvery = 60

// delete deletes an instance, as anybody can whatever the type.
func (h *harness) delete() error {
	name := h.resource()
	there := len(contents(h.callers[0], name, h.typ)) > 0
	for _, c := range h.callers {
		got, err := resources.Delete(context.Background(), c, name, h.typ.Name())
		if err != nil {
			return fmt.Errorf("deleting %s: %w", name, err)
		}
		if left := contents(c, name, h.typ); got != there || len(left) > 0 {
			return fmt.Errorf("deleting %s: it was there: %v, want %v, and %d bytes are left", name, got, there, len(left))
		}
	}
	return h.digests("deleting " + name)
}

func (h *harness) command(d resources.Description) error {
	argument, data, err := h.argument(d)
	if err != nil {
		return err
	}
	command := protocol.Command{
		Resource: h.resource(), Type: h.typ.Name(), Version: h.typ.Version(), Operation: d.Name, Argument: data,
	}
	what := fmt.Sprintf("%s %s %#v", d.Name, command.Resource, argument)
	before := contents(h.callers[0], command.Resource, h.typ)
	var results [2]protocol.Result
	for i, c := range h.callers {
		amidSoil(func() { results[i], err = c.Command(context.Background(), command) })
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	if h.unsteady != nil {
		return fmt.Errorf("%s: %w", what, h.unsteady)
	}
	if err := compare(what, results); err != nil {
		return err
	}
	if results[0].Code != protocol.OK && !bytes.Equal(before, contents(h.callers[0], command.Resource, h.typ)) {
		return fmt.Errorf("%s: the command failed (%s) and left a trace", what, results[0].Code)
	}
	return h.digests(what)
}

func (h *harness) query(d resources.Description) error {
	argument, data, err := h.argument(d)
	if err != nil {
		return err
	}
	query := protocol.Query{Resource: h.resource(), Type: h.typ.Name(), Operation: d.Name, Argument: data}
	what := fmt.Sprintf("%s %s %#v", d.Name, query.Resource, argument)
	_, before := h.callers[0].machine.Digest()
	var results [2]protocol.Result
	for i, c := range h.callers {
		amidSoil(func() { results[i] = c.machine.Query(context.Background(), &query) })
	}
	if h.unsteady != nil {
		return fmt.Errorf("%s: %w", what, h.unsteady)
	}
	if err := compare(what, results); err != nil {
		return err
	}
	if got, _ := h.callers[0].machine.Verify(); got != before {
		return fmt.Errorf("%s: the query changed the state", what)
	}
	return nil
}

// encoded demands that a value is encoded alike every time, whatever others have
// done to what is used again.
func (h *harness) encoded(t reflect.Type, data []byte, failed error, again func() ([]byte, error)) {
	for kind := 0; kind < soilKinds && h.unsteady == nil; kind++ {
		soil(kind)
		got, err := again()
		if !bytes.Equal(got, data) || (err == nil) != (failed == nil) {
			h.unsteady = fmt.Errorf("the encoding of a %v, not the operation, depends on more than the value: it was % x (%v), and then % x (%v) "+
				"(map order in its methods? a variable? an encoder that they use again without a reset?)", t, data, failed, got, err)
		}
	}
}

// compare demands equal answers, and no panic.
func compare(what string, r [2]protocol.Result) error {
	if r[0].Code == protocol.ErrPanicked.Code {
		return fmt.Errorf("%s: panicked", what)
	}
	if r[0].Code != r[1].Code || !bytes.Equal(r[0].Data, r[1].Data) {
		return fmt.Errorf("%s: two members answer differently: %q % x, and %q % x: "+
			"the operation itself, not the encoding of its values, depends on more than the state and its argument (map order? time? a variable? one of them was just restarted from a checkpoint)",
			what, r[0].Code, r[0].Data, r[1].Code, r[1].Data)
	}
	return nil
}

// digests demands equal digests, and that what the machines hold is what their
// digests stand for: bytes handed out by the state and then changed show here.
func (h *harness) digests(what string) error {
	var digests [2]machine.Digest
	for i, c := range h.callers {
		counted, kept := c.machine.Verify()
		if counted != kept {
			return fmt.Errorf("%s: the state was changed behind its back: bytes that it handed out were written to", what)
		}
		digests[i] = kept
	}
	if digests[0] != digests[1] {
		return fmt.Errorf("%s: two members have different states: "+
			"the command itself, not the encoding of its values, depends on more than the state and its argument (map order? time? a variable? one of them was just restarted from a checkpoint)", what)
	}
	return nil
}

// replay applies the history to a third machine in batches of other sizes.
func (h *harness) replay(registry *resources.Registry) error {
	third := newCaller(registry, slog.New(slog.DiscardHandler), nil)
	defer third.machine.Close()
	for rest := h.callers[0].history; len(rest) > 0; {
		n := min(1+h.random.IntN(16), len(rest))
		amidSoil(func() { third.machine.Apply(rest[:n], nil) })
		rest = rest[n:]
	}
	index, want := h.callers[0].machine.Digest()
	if at, got := third.machine.Digest(); at != index || got != want {
		return fmt.Errorf("the history replayed gives %v at %d, want %v at %d", got, at, want, index)
	}
	return nil
}

// contents returns everything that an instance holds, versions included.
func contents(c *Caller, resource string, typ *resources.Type) []byte {
	v, err := c.machine.View(resource, typ.Name())
	if err != nil {
		return nil
	}
	defer v.Close()
	var out []byte
	for item := range v.Scan(nil, nil) {
		out = fmt.Appendf(out, "%q=%q@%d\n", item.Key, item.Value, item.Version)
	}
	return out
}
