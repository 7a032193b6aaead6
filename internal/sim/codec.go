package sim

import (
	"context"
	"errors"
	"log/slog"

	"github.com/starlinghq/starling/internal/invariant"
	"github.com/starlinghq/starling/internal/machine"
	"github.com/starlinghq/starling/internal/sessionop"
	"github.com/starlinghq/starling/internal/sim/awkward"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
	"github.com/starlinghq/starling/resources/builtin"
	"github.com/starlinghq/starling/resources/counter"
	"github.com/starlinghq/starling/resources/kvmap"
	"github.com/starlinghq/starling/resources/queue"
)

func newRegistry() (*resources.Registry, error) {
	return resources.NewRegistry(append(builtin.Types(), awkward.Type)...)
}

// newMachine returns a state machine. Its clock is the member's.
func (p *process) newMachine(b behind) *machine.Machine {
	return machine.New(machine.Config{
		Registry: p.s.registry, Logger: slog.New(slog.DiscardHandler), Clock: p.now, RingChanges: b.ring, RingBytes: 64 << 10, Behind: b.file, Track: true,
	})
}

// through is a resources.Caller that carries nothing: it keeps what an
// operation asks for, and answers with a result that is already there. With it
// the typed operations encode and decode for the simulator.
type through struct {
	command protocol.Command
	query   protocol.Query
	result  protocol.Result
}

func (t *through) Command(_ context.Context, c protocol.Command) (protocol.Result, error) {
	t.command = c
	return t.result, nil
}

func (t *through) Query(_ context.Context, q protocol.Query) (protocol.Result, error) {
	t.query = q
	return t.result, nil
}

func (t *through) Watch(context.Context, protocol.Watch) (resources.WatchStream, error) {
	return nil, protocol.ErrUnknownOperation
}

// run makes the typed call of an operation.
func (o *op) run(t *through) (output, error) {
	ctx, name := context.Background(), objectName(o.object)
	var out output
	var err error
	switch o.kind {
	case opPut:
		if o.twins > 0 {
			out.version, err = kvmap.PutAll.Do(ctx, t, mapName, o.pairs())
			break
		}
		out.version, err = kvmap.Put.Do(ctx, t, mapName, kvmap.PutRequest{Key: []byte(name), Value: []byte(o.value)})
	case opDelete:
		out.version, err = kvmap.Delete.Do(ctx, t, mapName, kvmap.DeleteRequest{Key: []byte(name)})
	case opSwap:
		out.version, err = kvmap.Put.Do(ctx, t, mapName, kvmap.PutRequest{
			Key: []byte(name), Value: []byte(o.value), Condition: kvmap.IfVersion, Version: o.version,
		})
	case opGet:
		var item kvmap.Item
		item, err = kvmap.Get.Do(ctx, t, mapName, kvmap.KeyRequest(name), resources.WithLevel(o.consistency))
		out.found, out.value, out.version = err == nil, string(item.Value), item.Version
	case opAdd:
		out.number, err = counter.Add.Do(ctx, t, name, o.number)
	case opSet:
		out.number, err = counter.Set.Do(ctx, t, name, o.number)
	case opCount:
		out.number, err = counter.Get.Do(ctx, t, name, struct{}{}, resources.WithLevel(o.consistency))
	case opPush:
		var n uint64
		n, err = queue.Push.Do(ctx, t, name, []byte(o.value))
		out.number = int64(n)
	case opPop:
		var e queue.Element
		e, err = queue.Pop.Do(ctx, t, name, struct{}{})
		out.found, out.number, out.value = err == nil, int64(e.Number), string(e.Value)
	case opPeek:
		var list []queue.Element
		list, err = queue.Peek.Do(ctx, t, name, 1, resources.WithLevel(o.consistency))
		if out.found = err == nil && len(list) == 1; out.found {
			out.number, out.value = int64(list[0].Number), string(list[0].Value)
		}
	case opExchange, opRecall:
		out, err = o.runAwkward(ctx, t, name)
	}
	switch {
	case errors.Is(err, protocol.ErrConditionFailed):
		out.failed, err = true, nil
	case errors.Is(err, protocol.ErrNotFound):
		err = nil
	}
	return out, err
}

// pairs are the keys of a put that writes several.
func (o *op) pairs() kvmap.Pairs {
	list := kvmap.Pairs{{Key: []byte(objectName(o.object)), Value: []byte(o.value)}}
	for twin := range o.twins {
		list = append(list, kvmap.Pair{Key: []byte(twinName(o.object, twin+1)), Value: []byte(o.value)})
	}
	return list
}

// runAwkward is run for awkward values. One that has not come back as it was
// written says so in the place of the value, where nothing is expected.
func (o *op) runAwkward(ctx context.Context, t *through, name string) (output, error) {
	var out output
	var err, changed error
	check := func(n int64, check func() error) {
		if out.found, out.number = n != 0, n; n != 0 {
			changed = check()
		}
	}
	if isFlags(o.object) {
		var f awkward.Flags
		if o.kind == opExchange {
			f, err = awkward.Raise.Do(ctx, t, name, awkward.MakeFlags(o.number))
		} else {
			f, err = awkward.Show.Do(ctx, t, name, struct{}{}, resources.WithLevel(o.consistency))
		}
		check(f.N, f.Check)
	} else {
		var r awkward.Record
		if o.kind == opExchange {
			r, err = awkward.Exchange.Do(ctx, t, awkwardName, awkward.Put{Key: name, Record: awkward.Make(o.number)})
		} else {
			r, err = awkward.Recall.Do(ctx, t, awkwardName, name, resources.WithLevel(o.consistency))
		}
		check(r.N, r.Check)
	}
	if changed != nil {
		out.value = changed.Error()
	}
	if o.stops() && errors.Is(err, protocol.ErrInvalid) {
		out.failed, err = true, nil
	}
	return out, err
}

// decode reads the answer to an operation.
func (o *op) decode(r protocol.Result) (output, error) { return o.run(&through{result: r}) }

// query encodes a read.
func (o *op) query() protocol.Query {
	var t through
	_, err := o.run(&t) // what it makes of the empty answer does not matter
	invariant.Check(t.query.Type != "", "%s cannot be encoded: %v", o, err)
	return t.query
}

// encode encodes a command with its session, its sequence and the floor, or with the
// number that makes it a one-shot.
func (k *call) encode() protocol.Command {
	switch k.op.kind {
	case opOpen:
		return sessionop.Open(k.op.timeout)
	case opKeepAlive:
		return sessionop.KeepAlive(k.session, k.window.Floor())
	}
	var t through
	_, err := k.op.run(&t) // what it makes of the empty answer does not matter
	invariant.Check(t.command.Type != "", "%s cannot be encoded: %v", k, err)
	t.command.Session, t.command.Sequence, t.command.OneShot = k.session, k.seq, k.command.Drawn()
	if k.window != nil {
		t.command.Floor = k.window.Floor()
	}
	return t.command
}
