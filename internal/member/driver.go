package member

import (
	"context"

	"github.com/starlinghq/starling/gossip"
	"github.com/starlinghq/starling/internal/machine"
	"github.com/starlinghq/starling/internal/repair"
	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/internal/snapshotter"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
)

// Hands are what a Driver acts with. No method waits. All but Work are called by the
// owner of the replica.
type Hands interface {
	// Alive reports whether the member goes on. It is asked after each effect: in a
	// simulation the process may have died of it.
	Alive() bool

	// Persist brings a change to the LogWriter: at most one is under way, and one vote.
	// They come to it in this order.
	Persist(p *replica.Persist)
	// Send sends, or drops what there is no room for. The list may be empty.
	Send(list []replica.Send)
	Apply(list []replica.Apply)
	Repair(step *repair.Step)
	// Work adds a step to a lane. Any goroutine may call it.
	Work(l Lane, step func() Done)

	// Tell tells people what has happened.
	Tell(list []protocol.Event)

	// SuspendServing ends all serving of the state: the log is of another history.
	SuspendServing(d *gossip.Divergence)
	// Expel ends the streams of a run whose directory was put back, and has it refused.
	Expel(back protocol.RunOf)
	// Stop ends the member; so does DiskFailed, which says that of a disk.
	Stop(why error)
	DiskFailed(err error)
}

// Lane is where steps wait for each other.
type Lane uint8

// The lanes.
const (
	// LogReads reads entries that are no longer in memory, beside the log's writer.
	LogReads Lane = iota
	// Store is the one caller of the store of checkpoints that may change it.
	Store
	// Chunks reads the store for other members, and pins what they fetch, so that
	// nobody who catches up waits for a checkpoint that is being taken.
	Chunks
	// Notes puts on disk that the member is in quarantine: a checkpoint of the bad state may
	// be being taken.
	Notes
	Lanes // how many there are
)

// Done is what has come of a step.
type Done struct {
	// Tell, if not nil, tells the replica, by its owner.
	Tell func(r *replica.Replica, now protocol.Instant)
	// Failed, if not nil, says that a disk is not fit for use any more: the member
	// stops, after its replica was told, and has said what it still has to say.
	Failed error
	// Note is for people, and for whoever counts.
	Note Note
}

// Config is what a Driver works with.
type Config struct {
	// Context ends with the member: what it is at then is as if it had never begun.
	Context context.Context
	Replica *replica.Replica
	Machine *machine.Machine
	Log     storage.Log
	Store   storage.CheckpointStore
	Hands   Hands
	Answers *Answers
	// Quarantine puts one on disk, beside the log and durably, or takes it from there. Nil: there
	// is no disk, and no state after the end of the process.
	Quarantine func(storage.Quarantine) error
	// Watch, if not nil, sees all effects before the first is served.
	Watch func(fx *replica.Effects)
	// Progress, if not nil, is told how far the building of an installed state has
	// come: it is called when that begins.
	Progress func() func(snapshotter.Progress)
}

// Driver carries out the effects of one replica. It belongs to the replica's owner,
// but for what says otherwise.
type Driver struct {
	c           Config
	gate        uint64 // as it was set last
	checkpoints checkpoints
}

// New returns a driver of a replica whose effects nobody has taken yet.
func New(c Config) *Driver {
	d := &Driver{c: c}
	d.checkpoints.Config = &d.c
	return d
}

// Complete tells the replica what has come of a step, and serves what follows. It
// reports whether the member goes on.
func (d *Driver) Complete(now protocol.Instant, done Done) bool {
	if done.Tell != nil {
		done.Tell(d.c.Replica, now)
	}
	if done.Tell != nil || done.Failed != nil {
		d.Serve()
	}
	if done.Failed != nil && d.c.Hands.Alive() {
		d.c.Hands.DiskFailed(done.Failed)
	}
	return done.Failed == nil && d.c.Hands.Alive()
}

// Serve begins the effects that have gathered, in the order of safety: see package
// replica.
func (d *Driver) Serve() {
	fx := d.c.Replica.Effects()
	if d.c.Watch != nil {
		seen := fx // of which a copy goes to the heap, only where somebody watches
		d.c.Watch(&seen)
	}
	d.serve(&fx)
}

// serve begins effects. The gate before the answers comes first, then what the replica
// says of histories. [S] A member
// that must stop because there are two of them neither stores nor says anything more,
// and one that doubts its own answers no read that it has found good before.
func (d *Driver) serve(fx *replica.Effects) {
	h := d.c.Hands
	if fx.Gate != d.gate {
		d.gate = fx.Gate
		d.c.Answers.gate.set(fx.Gate)
	}
	for _, back := range fx.PutBack {
		h.Expel(back)
	}
	if fx.Diverged != nil {
		h.SuspendServing(fx.Diverged)
	}
	if fx.Stop != nil {
		d.c.Answers.Shut()
		h.Tell(fx.Events)
		h.Stop(fx.Stop)
		return
	}
	if q := fx.Quarantine; q != nil && d.c.Quarantine != nil {
		h.Work(Notes, func() Done { return d.note(*q) })
	}
	if fx.Ahead != nil && h.Alive() {
		h.Persist(fx.Ahead)
	}
	if fx.Persist != nil && h.Alive() {
		h.Persist(fx.Persist)
	}
	for i := range fx.Await {
		d.c.Answers.await(&fx.Await[i])
	}
	if h.Alive() {
		h.Send(fx.Send)
	}
	if len(fx.Apply) > 0 && h.Alive() {
		h.Apply(fx.Apply)
	}
	if h.Alive() {
		d.work(fx)
	}
	if h.Alive() {
		d.answer(fx)
	}
}

// work hands out what goes to lanes, and to whoever repairs.
func (d *Driver) work(fx *replica.Effects) {
	h, c := d.c.Hands, &d.checkpoints
	for _, r := range fx.ReadLog {
		h.Work(LogReads, func() Done { return d.readLog(r) })
	}
	if fx.Repair != nil {
		h.Repair(fx.Repair)
	}
	for i := range fx.Install {
		step := &fx.Install[i]
		h.Work(Store, func() Done { return c.install(step) })
	}
	if p := fx.Pin; p != nil {
		h.Work(Chunks, func() Done { return c.pin(*p) })
	}
	for _, x := range fx.ReadChunk {
		h.Work(Chunks, func() Done { return c.readChunk(x) })
	}
}

// answer answers clients, and tells people.
func (d *Driver) answer(fx *replica.Effects) {
	h := d.c.Hands
	for _, a := range fx.Answers {
		d.c.Answers.Answer(a.Request, a.Result)
	}
	for _, a := range fx.Reads {
		d.c.Answers.readAnswer(a)
	}
	if len(fx.Events) > 0 {
		h.Tell(fx.Events)
	}
}

// note puts a quarantine, or its end, on disk, beside all else: see ADR 50.
func (d *Driver) note(q storage.Quarantine) Done {
	err := d.c.Quarantine(q)
	return d.checkpoints.done(Note{Doing: Noting, Index: q.At}, err, func(r *replica.Replica, now protocol.Instant) { replica.QuarantineKept(r, now, err) })
}

// readLog reads entries from the disk. What waits is bounded by what the cores have in
// flight.
func (d *Driver) readLog(r replica.ReadLog) Done {
	entries, err := d.c.Log.Read(r.First, r.Last, r.Bytes)
	return Done{Tell: func(to *replica.Replica, now protocol.Instant) { to.LogRead(now, r.ID, entries, err) }}
}
