package replica

import (
	"errors"
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
)

// described is a checkpoint of a log that found made, with so many chunks.
func described(rec storage.Opened, i protocol.Index, chunks int) storage.Manifest {
	at, _ := rec.Configurations.At(i)
	d := storage.Manifest{Index: i, Term: 2, Configuration: at, Digest: [16]byte{byte(i)}}
	for k := range rec.Tail {
		if rec.Tail[k].Index == i {
			d.Term, d.LogSum = rec.Tail[k].Term, rec.Tail[k].Sum
		}
	}
	if chunks > 0 {
		d.Items, d.Bytes, d.Chunks = uint64(chunks), uint64(chunks)*storage.ChunkBytesMin, make([]storage.ChunkSum, chunks)
	}
	return d
}

// begun is a log that found made and that has lost everything up to i.
func begun(rec storage.Opened, i protocol.Index) storage.Opened {
	sum := rec.Tail[i-1].Sum
	rec.LogTerms = rec.LogTerms.Clone()
	rec.LogTerms.DropHead(i, sum)
	rec.Tail = rec.Tail[i:]
	return rec
}

func openOn(t *testing.T, self byte, cfg Config, rec storage.Opened, restored OpenedState) *Replica {
	t.Helper()
	cfg.ID, cfg.Run, cfg.Seed = id(self), 1, 1
	r, err := New(0, cfg, rec, restored)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestJoin(t *testing.T) {
	rec := found(2, 20, 20, map[protocol.Index]protocol.Configuration{1: conf(1, []byte{1})})
	cutAt10 := begun(rec, 10)
	sums := func(i protocol.Index) (protocol.LogSum, bool) { return rec.Tail[i-1].Sum, true }
	other := func(d storage.Manifest) storage.Manifest { d.LogSum[0]++; return d }
	term := func(d storage.Manifest, t protocol.Term) storage.Manifest { d.Term = t; return d }
	far := described(rec, 20, 0)
	far.Index = 40
	for name, c := range map[string]struct {
		rec  storage.Opened
		d    storage.Manifest
		want Joining
	}{
		"in the log":                   {rec, described(rec, 15, 0), JoinKeep},
		"at its end":                   {rec, described(rec, 20, 0), JoinKeep},
		"just before its first entry":  {cutAt10, described(rec, 10, 0), JoinKeep},
		"below its begin":              {cutAt10, described(rec, 9, 0), JoinFetch},
		"above its end":                {rec, far, JoinReset},
		"of an empty log":              {storage.Opened{}, described(rec, 15, 0), JoinReset},
		"of another term there":        {rec, term(described(rec, 15, 0), 3), JoinReset},
		"with another log sum there":   {rec, other(described(rec, 15, 0)), JoinReset},
		"another one just before it":   {cutAt10, other(described(rec, 10, 0)), JoinReset},
		"below its begin, and another": {cutAt10, other(described(rec, 5, 0)), JoinFetch},
	} {
		if got := Join(&c.rec.LogTerms, sums, &c.d); got != c.want {
			t.Errorf("%s: got %d, want %d", name, got, c.want)
		}
	}
}

// leading returns a leader of one that takes a checkpoint every so many bytes.
func leading(t *testing.T, cfg Config, rec storage.Opened, restored OpenedState) (*Replica, *protocol.Instant) {
	t.Helper()
	r := openOn(t, 1, cfg, rec, restored)
	now := new(protocol.Instant)
	for range 20 {
		*now = max(now.Add(time.Millisecond), r.Deadline())
		r.Tick(*now)
		serve(t, r)
	}
	if !r.log.leads() {
		t.Fatal("does not lead")
	}
	return r, now
}

// submit makes the leader append one command of about so many bytes.
func submit(r *Replica, now protocol.Instant, bytes int) {
	r.Submit(now, Submission{Request: 1, Command: protocol.EncodeCommand(&protocol.Command{
		Session: 1, Sequence: 1, Resource: "r", Type: "t", Operation: "o", Argument: make([]byte, bytes),
	})})
}

// drive answers everything for a while and returns what was to be taken.
func drive(t *testing.T, r *Replica, now *protocol.Instant, digest byte) (taken []storage.Manifest) {
	t.Helper()
	for range 50 {
		*now = now.Add(20 * time.Millisecond)
		r.Tick(*now)
		e := r.Effects()
		if e.Persist != nil {
			r.Persisted(*now, e.Persist.ID, nil)
		}
		for _, a := range e.Apply {
			last := &a.Entries[len(a.Entries)-1]
			for i := range a.Entries[:len(a.Entries)-1] {
				if a.Entries[i].Kind == protocol.EntryCheckpoint {
					t.Errorf("the checkpoint entry %s is in the middle of a batch", a.Entries[i])
				}
			}
			if (a.Take != nil) != (last.Kind == protocol.EntryCheckpoint) {
				t.Errorf("batch that ends with %s, taken: %t", last, a.Take != nil)
			}
			if a.Take != nil {
				taken = append(taken, *a.Take)
			}
			r.Applied(*now, Applied{Last: last.Index, Results: make([]protocol.Result, len(a.Entries)), Digest: [16]byte{digest}})
		}
	}
	return taken
}

func TestLeaderAsksForACheckpointWhenTheLogHasGrown(t *testing.T) {
	rec := found(1, 1, 1, map[protocol.Index]protocol.Configuration{1: conf(1, []byte{1})})
	r, now := leading(t, Config{CheckpointBytes: 10_000, CheckpointEvery: -1}, rec, OpenedState{})
	submit(r, *now, 5_000)
	if taken := drive(t, r, now, 1); len(taken) != 0 {
		t.Fatalf("took %v after 5,000 bytes, want none before 10,000", taken)
	}
	submit(r, *now, 6_000)
	taken := drive(t, r, now, 7)
	if len(taken) != 1 {
		t.Fatalf("took %d checkpoints, want one", len(taken))
	}
	d := taken[0]
	sum, _ := r.SumAt(d.Index)
	if d.Term != raft(r).Term() || d.LogSum != sum || d.Configuration.Index != 1 || len(d.Configuration.Configuration.Members) != 1 {
		t.Errorf("described as %+v", d)
	}
	submit(r, *now, 11_000)
	again := drive(t, r, now, 8)
	if len(again) != 1 {
		t.Fatalf("took %d checkpoints more, want one", len(again))
	}
	m, err := protocol.DecodeCheckpointEntry(r.log.tail.slice(again[0].Index, again[0].Index)[0].Data)
	if err != nil || m.Previous != d.Index || m.Digest != [16]byte{7} {
		t.Errorf("the second checkpoint entry says %+v, %v, want the digest at %d", m, err, d.Index)
	}
}

func TestLeaderAsksForACheckpointAfterAWhile(t *testing.T) {
	rec := found(1, 1, 1, map[protocol.Index]protocol.Configuration{1: conf(1, []byte{1})})
	r, now := leading(t, Config{CheckpointEvery: time.Hour}, rec, OpenedState{})
	submit(r, *now, 10)
	if taken := drive(t, r, now, 1); len(taken) != 0 {
		t.Fatalf("took %v at once", taken)
	}
	*now = now.Add(time.Hour)
	if taken := drive(t, r, now, 1); len(taken) != 1 {
		t.Fatalf("took %d checkpoints after an hour, want one", len(taken))
	}
	*now = now.Add(time.Hour)
	if taken := drive(t, r, now, 1); len(taken) != 0 {
		t.Errorf("took %d checkpoints although nothing was written", len(taken))
	}
}

// Counterexample: a leader lost all its checkpoints, and nobody has one that its
// log reaches down to. It has no state, so it never counts up to a checkpoint entry, so nobody
// makes one for it, and it answers nobody for ever.
func TestLeaderWithoutAStateAsksForACheckpoint(t *testing.T) {
	rec := found(1, 20, 20, map[protocol.Index]protocol.Configuration{1: conf(1, []byte{1})})
	r, now := leading(t, Config{CheckpointBytes: 10_000, CheckpointEvery: -1}, begun(rec, 10), OpenedState{})
	marks := func() (n int) {
		for _, e := range r.log.tail.slice(r.log.logTerms().PrevIndex+1, r.log.logTerms().LastIndex()) {
			if e.Kind == protocol.EntryCheckpoint {
				n++
			}
		}
		return n
	}
	drive(t, r, now, 1)
	if n := marks(); n != 0 {
		t.Fatalf("%d checkpoint entries before anybody could have offered a checkpoint", n)
	}
	for want := range 2 {
		*now = now.Add(checkpointEntryPause * r.cfg.Active.Election)
		drive(t, r, now, 1)
		if n := marks(); n != want+1 {
			t.Errorf("%d checkpoint entries, want %d", n, want+1)
		}
	}
}

// An active that has lost its state fetches a checkpoint. While nobody has one, the leader
// does not wait for the next checkpoint entry, which may be hours away: it proposes one.
func TestCheckpointIsMadeForWhoHasLostItsState(t *testing.T) {
	for _, kept := range []bool{false, true} {
		rec := found(1, 20, 20, map[protocol.Index]protocol.Configuration{1: conf(1, []byte{1}, 2)})
		restored := OpenedState{}
		if kept {
			restored = OpenedState{Applied: 10, Kept: []storage.Manifest{described(rec, 10, 0)}}
		}
		r, now := leading(t, Config{CheckpointBytes: 10_000, CheckpointEvery: -1}, rec, restored)
		drive(t, r, now, 1)
		marks := func(pauses int) (n int) {
			for range pauses {
				*now = now.Add(checkpointEntryPause * r.cfg.Active.Election)
				r.Receive(*now, id(2), &protocol.HeartbeatAnswer{Term: raft(r).Term(), Round: 1, Unfit: true})
				drive(t, r, now, 1)
			}
			for _, e := range r.log.tail.slice(r.log.logTerms().PrevIndex+1, r.log.logTerms().LastIndex()) {
				if e.Kind == protocol.EntryCheckpoint {
					n++
				}
			}
			return n
		}
		if want := map[bool]int{false: 1}[kept]; marks(3) != want {
			t.Errorf("a checkpoint is kept: %t: got %d checkpoint entries, want %d", kept, marks(0), want)
		}
	}
}

func TestAnotherDigestAtACheckpointEntryIsToldLoudly(t *testing.T) {
	rec := found(2, 20, 20, map[protocol.Index]protocol.Configuration{1: conf(1, []byte{1})})
	r := openOn(t, 9, Config{}, rec, OpenedState{Applied: 20, Kept: []storage.Manifest{described(rec, 20, 0)}})
	e := []protocol.Entry{{Index: 21, Term: 2, Kind: protocol.EntryCheckpoint, Data: protocol.EncodeCheckpointEntry(protocol.CheckpointEntry{Previous: 20, Digest: [16]byte{99}})}}
	protocol.EncodeEntries(e)
	serve(t, r)
	r.Receive(1, id(1), &protocol.Append{Term: 2, PrevIndex: 20, PrevTerm: 2, Commit: 21, Last: 21, Entries: e})
	var diverged []protocol.Event
	for range 10 {
		fx := r.Effects()
		if fx.Persist != nil {
			r.Persisted(1, fx.Persist.ID, nil)
		}
		for _, a := range fx.Apply {
			r.Applied(1, Applied{Last: 21, Results: make([]protocol.Result, len(a.Entries))})
		}
		for _, ev := range fx.Events {
			if ev.Kind == protocol.EventDiverged {
				diverged = append(diverged, ev)
			}
		}
	}
	if len(diverged) != 1 || diverged[0].Index != 20 {
		t.Errorf("told %v, want one divergence at 20", diverged)
	}
}

// right lets a member know that checkpoints are of right states.
func right(r *Replica, list ...storage.Manifest) []storage.Manifest {
	for _, d := range list {
		r.audit.confirmations.said = keepDigest(r.audit.confirmations.said, digestAt{d.Index, d.Digest})
	}
	return list
}

// Counterexample: the head is dropped below the newer checkpoint, whose digest
// turns out to be bad at the next start: the older one lies below the log's
// begin and nothing joins the two.
func TestHeadIsNotDroppedBelowTheNewerCheckpoint(t *testing.T) {
	rec := found(2, 100, 100, map[protocol.Index]protocol.Configuration{1: conf(1, []byte{1})})
	older, newer := described(rec, 40, 0), described(rec, 80, 0)
	r, now := leading(t, Config{RetainEntries: -1}, rec, OpenedState{Applied: 40, Kept: []storage.Manifest{older}})
	drop := func() protocol.Index {
		for range 10 {
			e := r.Effects()
			if e.Persist != nil && e.Persist.Drop != 0 {
				r.Dropped(*now, e.Persist.ID, storage.Begin{Index: e.Persist.Drop - 1, Term: 2, Sum: rec.Tail[e.Persist.Drop-2].Sum}, nil)
				return e.Persist.Drop
			}
			if e.Persist != nil {
				r.Persisted(*now, e.Persist.ID, nil)
			}
		}
		return 0
	}
	r.Kept(*now, []storage.Manifest{older})
	if below := drop(); below != 0 {
		t.Fatalf("head dropped below %d with a single checkpoint", below)
	}
	r.Kept(*now, right(r, newer, older))
	if below := drop(); below != 41 {
		t.Errorf("head dropped below %d, want 41, after the older of two checkpoints", below)
	}
	if first := r.Status(*now).First; first != 41 {
		t.Errorf("the log begins at %d, want 41", first)
	}
	r.Kept(*now, right(r, newer, older))
	if below := drop(); below != 0 {
		t.Errorf("head dropped below %d again", below)
	}
}

func TestHeadKeepsATailForThoseALittleBehind(t *testing.T) {
	rec := found(2, 100, 100, map[protocol.Index]protocol.Configuration{1: conf(1, []byte{1})})
	r, now := leading(t, Config{RetainEntries: 70}, rec, OpenedState{})
	drive(t, r, now, 1)
	last := r.Status(*now).Applied
	r.Kept(*now, right(r, described(rec, 80, 0), described(rec, 60, 0)))
	e := r.Effects()
	if e.Persist == nil || e.Persist.Drop != last-70+1 {
		t.Errorf("persists %+v, want a drop below %d", e.Persist, last-70+1)
	}
}

// Large values: the tail has a bound in bytes, too, or 10,000 entries of a megabyte
// each stay on every disk.
func TestTailIsBoundedInBytes(t *testing.T) {
	rec := found(2, 100, 100, map[protocol.Index]protocol.Configuration{1: conf(1, []byte{1})})
	open := func(cfg Config) (*Replica, *protocol.Instant) {
		r, now := leading(t, cfg, rec, OpenedState{})
		for range 20 {
			submit(r, *now, 10_000)
			drive(t, r, now, 1)
		}
		return r, now
	}
	const entry = 10_100 // and a little around it
	for _, c := range []struct {
		name     string
		cfg      Config
		short    bool
		from, to protocol.Index // of entries that stay
	}{
		{"by bytes", Config{RetainBytes: 5 * entry, CheckpointEvery: -1}, false, 4, 5},
		{"by entries", Config{RetainBytes: 5 * entry, RetainEntries: 3, CheckpointEvery: -1}, false, 3, 3},
		{"none", Config{RetainBytes: -1, CheckpointEvery: -1}, false, 0, 2},
		{"a disk without room", Config{CheckpointEvery: -1}, true, 0, 2},
		{"the defaults", Config{CheckpointEvery: -1}, false, 121, 121}, // all: nothing goes
	} {
		r, now := open(c.cfg)
		r.Hamper(*now, Hampered{Full: c.short})
		last := r.Status(*now).Applied
		r.Kept(*now, right(r, described(rec, last-1, 0), described(rec, last-2, 0)))
		stay := last
		if e := r.Effects(); e.Persist != nil && e.Persist.Drop != 0 {
			stay = last - e.Persist.Drop + 1
		}
		if stay < c.from || stay > c.to {
			t.Errorf("%s: %d of %d entries stay, want %d to %d", c.name, stay, last, c.from, c.to)
		}
	}
}

// What was there at a start was not counted, and nobody knows its size: it does not
// stay for others once two checkpoints are above it.
func TestWhatWasThereAtTheStartIsNoTail(t *testing.T) {
	rec := found(2, 100, 100, map[protocol.Index]protocol.Configuration{1: conf(1, []byte{1})})
	r, now := leading(t, Config{CheckpointEvery: -1}, rec, OpenedState{Applied: 60, Kept: []storage.Manifest{described(rec, 60, 0), described(rec, 40, 0)}})
	drive(t, r, now, 1)
	r.Kept(*now, right(r, described(rec, 90, 0), described(rec, 80, 0)))
	if e := r.Effects(); e.Persist == nil || e.Persist.Drop != 61 {
		t.Errorf("persists %+v, want a drop below 61", e.Persist)
	}
}

// installing is a member whose log ends at 20 of a log that goes to 100, with
// the manifest of a checkpoint at 80.
func installing(t *testing.T, confs map[protocol.Index]protocol.Configuration) (*Replica, storage.Manifest, storage.Opened) {
	t.Helper()
	whole := found(2, 100, 100, confs)
	r := openOn(t, 9, Config{}, found(2, 20, 20, confs), OpenedState{})
	serve(t, r)
	return r, described(whole, 80, 2), whole
}

func offer(r *Replica, d storage.Manifest) { offerAt(1, r, d) }

func offerAt(now protocol.Instant, r *Replica, d storage.Manifest) {
	r.Receive(now, id(1), &protocol.InstallCheckpoint{Term: 2, Manifest: storage.EncodeManifest(d)})
}

// fetchAll answers everything up to the end of the installation.
func fetchAll(t *testing.T, r *Replica, d storage.Manifest) {
	t.Helper()
	e := r.Effects()
	if len(e.Install) == 0 || e.Install[0].Begin == nil || e.Install[0].Begin.Index != d.Index {
		t.Fatalf("installs %+v, want the checkpoint at %d to begin", e.Install, d.Index)
	}
	r.InstallBegun(2, d.Index, []int{0, 1}, nil)
	r.ChunkAdded(3, 0, nil)
	if e := r.Effects(); len(e.Install) != 0 {
		t.Fatalf("installs %+v with a chunk missing", e.Install)
	}
	r.ChunkAdded(3, 1, nil)
	if e := r.Effects(); len(e.Install) != 1 || !e.Install[0].Finish {
		t.Fatalf("installs %+v, want the end", e.Install)
	}
}

// Counterexample: the log is reset first, the process dies, and the log begins
// above a checkpoint that does not exist.
func TestLogIsResetOnlyAfterTheCheckpointIsDurable(t *testing.T) {
	for name, confs := range map[string]map[protocol.Index]protocol.Configuration{
		"passive": {1: conf(1, []byte{1})},
		"voter":   {1: conf(1, []byte{1, 2, 9})},
	} {
		r, d, _ := installing(t, confs)
		offer(r, d)
		fetchAll(t, r, d)
		if e := r.Effects(); e.Persist != nil {
			t.Fatalf("%s: persists %+v before the pointer is durable", name, e.Persist)
		}
		r.InstallFinished(4, []storage.Manifest{d}, 77, nil)
		e := r.Effects()
		if e.Persist == nil || e.Persist.Reset == nil || e.Persist.Reset.Index != 80 || e.Persist.Write.State.Commit != 80 {
			t.Fatalf("%s: persists %+v, want the log reset to begin after 80", name, e.Persist)
		}
		if len(e.Apply) != 0 || r.Status(4).Last != 20 {
			t.Fatalf("%s: goes on before the log is reset", name)
		}
		refuseDurable(t, e.Send)
		r.Persisted(5, e.Persist.ID, nil)
		e = r.Effects()
		if len(e.Apply) != 1 || e.Apply[0].Installed != 80 {
			t.Fatalf("%s: applies %+v, want the state of 80 taken over", name, e.Apply)
		}
		r.Applied(6, Applied{Last: 80})
		if s := r.Status(6); s.First != 81 || s.Last != 80 || s.Commit != 80 || s.Applied != 80 {
			t.Errorf("%s: log %d..%d, committed %d, applied %d; want 81..80, 80, 80", name, s.First, s.Last, s.Commit, s.Applied)
		}
		next := []protocol.Entry{{Index: 81, Term: 2, Kind: protocol.EntryNoop}}
		protocol.EncodeEntries(next)
		serve(t, r)
		r.Receive(7, id(1), &protocol.Append{Term: 2, PrevIndex: 80, PrevTerm: 2, Commit: 81, Last: 81, Entries: next})
		serve(t, r)
		if s := r.Status(7); s.Applied != 81 {
			t.Errorf("%s: applied %d, want the log to go on to 81", name, s.Applied)
		}
	}
}

// Meanwhile a member votes by its old log and acknowledges nothing new.
func TestInstallingMemberAcknowledgesNothingNew(t *testing.T) {
	r, d, whole := installing(t, map[protocol.Index]protocol.Configuration{1: conf(1, []byte{1, 2, 9})})
	offer(r, d)
	r.Receive(2, id(1), &protocol.Append{Term: 2, PrevIndex: 20, PrevTerm: 2, Commit: 21, Last: 21, Entries: whole.Tail[20:21]})
	serveWrites(r)
	for _, s := range r.Effects().Send {
		if a, ok := s.Message.(*protocol.AppendAnswer); ok && !a.Reject && a.Index > 20 {
			t.Errorf("acknowledged %d while installing", a.Index)
		}
	}
	if s := r.Status(2); s.Last != 20 {
		t.Errorf("took entries to %d while installing", s.Last)
	}
}

// serveWrites answers writes only, and keeps the rest of the effects.
func serveWrites(r *Replica) {
	if p := r.out.Persist; p != nil {
		r.out.Persist = nil
		r.Persisted(2, p.ID, nil)
	}
}

func TestChunkThatWasNotDescribedIsAskedForAgain(t *testing.T) {
	r, d, _ := installing(t, map[protocol.Index]protocol.Configuration{1: conf(1, []byte{1})})
	offer(r, d)
	r.Effects()
	r.InstallBegun(2, d.Index, []int{0, 1}, nil)
	r.ChunkAdded(3, 0, nil)
	r.ChunkAdded(3, 1, protocol.ErrCorrupt)
	if e := r.Effects(); len(e.Install) != 0 || r.Status(3).ChunksLeft != 1 {
		t.Errorf("installs %+v with %d chunks to come, want one and no end", e.Install, r.Status(3).ChunksLeft)
	}
	r.ChunkAdded(3, 1, nil)
	if e := r.Effects(); len(e.Install) != 1 || !e.Install[0].Finish {
		t.Errorf("installs %+v, want the end", e.Install)
	}
}

// Counterexample (simulated seed 1507): gossip offers a newer checkpoint before
// the store has answered for the one that was begun. What it says then is about
// the older one: its chunks are not those of the newer one.
func TestAnswerForAnotherInstallationIsNotTakenForThisOne(t *testing.T) {
	r, d, whole := installing(t, map[protocol.Index]protocol.Configuration{1: conf(1, []byte{1})})
	offer(r, d)
	newer := described(whole, 90, 1)
	r.install.offered(1, &protocol.ManifestOffer{From: id(2), Manifest: storage.EncodeManifest(newer)}, false)
	if e := r.Effects(); len(e.Install) != 2 || e.Install[1].Begin == nil || e.Install[1].Begin.Index != newer.Index {
		t.Fatalf("installs %+v, want the one at %d, and then the one at %d", e.Install, d.Index, newer.Index)
	}
	r.InstallBegun(2, d.Index, nil, nil)
	if e := r.Effects(); len(e.Install) != 0 {
		t.Errorf("installs %+v: nothing is known yet of what the one at %d lacks", e.Install, newer.Index)
	}
	r.InstallBegun(2, d.Index, []int{0, 1}, nil)
	r.InstallBegun(3, newer.Index, []int{0}, nil)
	r.ChunkAdded(4, 0, nil)
	if e := r.Effects(); len(e.Install) != 1 || !e.Install[0].Finish {
		t.Errorf("installs %+v, want the end", e.Install)
	}
}

// Counterexample: while a member installs the checkpoint at 80, an offer of the one
// at 20 comes late. If that ended what the core knows of the installation, the member
// would take entries while its log is begun anew, and lose them, or panic.
func TestALateOfferDoesNotEndAnotherInstallation(t *testing.T) {
	r, d, whole := installing(t, map[protocol.Index]protocol.Configuration{1: conf(1, []byte{1, 2, 9})})
	offer(r, d)
	fetchAll(t, r, d)
	late := described(whole, 20, 2)
	next := func(now protocol.Instant) {
		t.Helper()
		offerAt(now, r, late)
		r.Receive(now, id(1), &protocol.Append{Term: 2, PrevIndex: 20, PrevTerm: 2, Commit: 21, Last: 21, Entries: whole.Tail[20:21]})
		if s := r.Status(now); s.Last != 20 {
			t.Fatalf("took entries to %d while installing", s.Last)
		}
	}
	next(3)
	serveWrites(r)
	r.InstallFinished(4, []storage.Manifest{d}, 77, nil)
	e := r.Effects()
	if e.Persist == nil || e.Persist.Reset == nil {
		t.Fatalf("persists %+v, want the log reset", e.Persist)
	}
	next(4)
	r.Persisted(5, e.Persist.ID, nil)
	r.Effects()
	r.Applied(5, Applied{Last: 80})
	serve(t, r)
	r.Receive(6, id(1), &protocol.Append{Term: 2, PrevIndex: 80, PrevTerm: 2, Commit: 81, Last: 81, Entries: whole.Tail[80:81]})
	serve(t, r)
	if s := r.Status(6); s.First != 81 || s.Last != 81 || s.Applied != 81 {
		t.Errorf("log %d..%d, applied %d; want 81..81, 81", s.First, s.Last, s.Applied)
	}
}

// Counterexample: the log has an entry of the checkpoint's term at its index, and
// another log sum there, so it is begun anew on disk; a core that went by the term
// would keep its own, and acknowledge entries that are on no disk.
func TestAnotherLogSumResetsTheCoreToo(t *testing.T) {
	r := openOn(t, 9, Config{}, found(2, 25, 20, map[protocol.Index]protocol.Configuration{1: conf(1, []byte{1, 2, 9})}), OpenedState{})
	serve(t, r)
	d := described(found(2, 100, 100, map[protocol.Index]protocol.Configuration{1: conf(1, []byte{1, 2, 9})}), 22, 2)
	d.LogSum[0]++
	offer(r, d)
	fetchAll(t, r, d)
	r.InstallFinished(4, []storage.Manifest{d}, 77, nil)
	e := r.Effects()
	if e.Persist == nil || e.Persist.Reset == nil {
		t.Fatalf("persists %+v, want the log reset", e.Persist)
	}
	r.Persisted(5, e.Persist.ID, nil)
	if s := r.Status(5); s.First != 23 || s.Last != 22 || r.LogTerms().LastIndex() != 22 || r.LogTerms().PrevSum != d.LogSum {
		t.Errorf("log %d..%d, that of the role %d..%d; want 23..22", s.First, s.Last, r.LogTerms().FirstIndex(), r.LogTerms().LastIndex())
	}
}

// Counterexample: a second checkpoint comes while the state machine, busy with a slow
// command, has not yet taken the state that the first one has built. Its beginning
// gives up what was built, and nothing is there to take over.
func TestNextInstallationWaitsForTheAdoptionOfTheLast(t *testing.T) {
	r, d, whole := installing(t, map[protocol.Index]protocol.Configuration{1: conf(1, []byte{1})})
	offer(r, d)
	fetchAll(t, r, d)
	r.InstallFinished(4, []storage.Manifest{d}, 77, nil)
	serveWrites(r)
	if e := r.Effects(); len(e.Apply) != 1 || e.Apply[0].Installed != 80 {
		t.Fatalf("applies %+v, want the state of 80 taken over", e.Apply)
	}
	newer := described(whole, 90, 1)
	offerAt(5, r, newer)
	if e := r.Effects(); len(e.Install) != 0 {
		t.Fatalf("installs %+v before the state of 80 is taken over", e.Install)
	}
	r.Applied(6, Applied{Last: 80})
	offerAt(7, r, newer)
	if e := r.Effects(); len(e.Install) != 1 || e.Install[0].Begin == nil || e.Install[0].Begin.Index != 90 {
		t.Errorf("installs %+v, want the one at 90", e.Install)
	}
}

// Counterexample (simulated seed 207): a member with a wrong state has described the
// checkpoint that is fetched, and is gone. Nobody has all of those chunks: the same
// checkpoint as others describe it takes its place, and the very same does not.
func TestFetchThatNobodyCanCompleteGivesWayToAnotherDescription(t *testing.T) {
	r, d, _ := installing(t, map[protocol.Index]protocol.Configuration{1: conf(1, []byte{1})})
	offer(r, d)
	r.Effects()
	right := d
	right.Digest[0] ^= 1
	begins := func(d storage.Manifest) bool {
		r.install.offered(2, &protocol.ManifestOffer{From: id(2), Manifest: storage.EncodeManifest(d)}, false)
		e := r.Effects()
		return len(e.Install) == 1 && e.Install[0].Begin != nil && e.Install[0].Begin.Digest == d.Digest
	}
	if begins(right) {
		t.Error("another one at the same index begins before the store has answered for the first: its answer does not say which")
	}
	r.InstallBegun(2, d.Index, []int{0, 1}, nil)
	if begins(d) {
		t.Error("the same manifest begins anew")
	}
	if !begins(right) {
		t.Error("another manifest of the same checkpoint is not taken")
	}
}

func TestInstallationThatFailsIsTriedAgain(t *testing.T) {
	r, d, _ := installing(t, map[protocol.Index]protocol.Configuration{1: conf(1, []byte{1})})
	now := protocol.Instant(0)
	for _, fail := range []func(error){
		func(err error) { r.InstallBegun(2, d.Index, nil, err) },
		func(err error) { r.InstallBegun(2, d.Index, []int{0, 1}, nil); r.ChunkAdded(2, 0, err) },
		func(err error) {
			r.InstallBegun(2, d.Index, []int{0}, nil)
			r.ChunkAdded(2, 0, nil)
			r.InstallFinished(2, nil, 0, err)
		},
	} {
		now = now.Add(10 * time.Second)
		offerAt(now, r, d)
		if e := r.Effects(); len(e.Install) != 1 || e.Install[0].Begin == nil {
			t.Fatalf("installs %+v, want a beginning", e.Install)
		}
		fail(errors.Join(protocol.ErrNoSpace))
		r.Effects()
		if s := r.Status(2); s.Installing != 0 {
			t.Errorf("still installs %d", s.Installing)
		}
		offerAt(2, r, d)
		if e := r.Effects(); len(e.Install) != 0 {
			t.Errorf("installs %+v at once, want a pause after a failure", e.Install)
		}
	}
}

// An installation at or below what the state has is dropped: it would take the
// state back.
func TestInstallBelowWhatIsAppliedIsDropped(t *testing.T) {
	confs := map[protocol.Index]protocol.Configuration{1: conf(1, []byte{1})}
	whole := found(2, 100, 100, confs)
	r := openOn(t, 9, Config{}, whole, OpenedState{})
	serve(t, r)
	offer(r, described(whole, 80, 2))
	if e := r.Effects(); len(e.Install) != 0 {
		t.Errorf("installs %+v below what is committed", e.Install)
	}
	// The log brings the rest while the chunks are fetched.
	r, d, whole := installing(t, confs)
	offer(r, d)
	fetchAll(t, r, d)
	for i := 20; i < 100; i += 10 {
		r.Receive(4, id(1), &protocol.Append{Term: 2, PrevIndex: whole.Tail[i].Index - 1, PrevTerm: 2, Commit: 100,
			Last: whole.Tail[i].Index + 9, Entries: whole.Tail[i : i+10]})
		serve(t, r)
	}
	r.InstallFinished(5, []storage.Manifest{d}, 0, nil)
	e := r.Effects()
	if len(e.Install) != 1 || !e.Install[0].Discard || len(e.Apply) != 0 || e.Persist != nil && e.Persist.Reset != nil {
		t.Errorf("install %+v, apply %+v, persist %+v; want the state discarded", e.Install, e.Apply, e.Persist)
	}
	if s := r.Status(5); s.Applied != 100 || s.Checkpoint != 80 {
		t.Errorf("applied %d with the checkpoint at %d, want 100 and 80", s.Applied, s.Checkpoint)
	}
}

// Counterexample: after an install at 80 the log begins at 81; at the next start
// that checkpoint is bad and only one at 40 is left. "Reset the log to 40" would
// delete what was acknowledged.
func TestLogThatBeginsAboveTheCheckpointIsKept(t *testing.T) {
	confs := map[protocol.Index]protocol.Configuration{1: conf(1, []byte{1, 2, 9})}
	whole := found(2, 100, 90, confs)
	rec := begun(whole, 80)
	rec.State.Vote = id(1)
	r := openOn(t, 9, Config{}, rec, OpenedState{Kept: []storage.Manifest{described(whole, 40, 2)}})
	e := r.Effects()
	if e.Persist != nil && (e.Persist.Write.Truncate || e.Persist.Reset != nil) || len(e.Apply) != 0 || len(e.ReadLog) != 0 {
		t.Fatalf("persists %+v, applies %+v; want nothing", e.Persist, e.Apply)
	}
	if s := r.Status(0); s.Role != protocol.RoleActive || s.Last != 100 || s.Applied != 0 {
		t.Fatalf("%s, log to %d, applied %d; want a voter with its log to 100 and no state", s.Role, s.Last, s.Applied)
	}
	if h := r.HardState(); h.Vote != id(1) {
		t.Errorf("forgot its vote: %+v", h)
	}
	// It acknowledges, and a checkpoint inside of its log completes the state
	// without touching the log.
	next := []protocol.Entry{{Index: 101, Term: 2, Kind: protocol.EntryNoop}}
	protocol.EncodeEntries(next)
	r.Receive(1, id(1), &protocol.Append{Term: 2, PrevIndex: 100, PrevTerm: 2, Commit: 90, Last: 101, Entries: next})
	serve(t, r)
	if s := r.Status(1); s.Last != 101 || s.Applied != 0 {
		t.Fatalf("log to %d, applied %d; want 101 and nothing applied", s.Last, s.Applied)
	}
	d := described(whole, 85, 2)
	offer(r, d)
	fetchAll(t, r, d)
	r.InstallFinished(4, []storage.Manifest{d}, 0, nil)
	e = r.Effects()
	if e.Persist != nil && e.Persist.Reset != nil {
		t.Fatalf("the log is reset to %d although it goes on", e.Persist.Reset.Index)
	}
	if len(e.Apply) == 0 || e.Apply[0].Installed != 85 {
		t.Fatalf("applies %+v, want the state of 85 taken over first", e.Apply)
	}
	r.Applied(5, Applied{Last: 85})
	for _, a := range e.Apply[1:] {
		r.Applied(5, Applied{Last: a.Entries[len(a.Entries)-1].Index, Results: make([]protocol.Result, len(a.Entries))})
	}
	serve(t, r)
	if s := r.Status(5); s.Applied != 90 || s.Last != 101 || s.First != 81 {
		t.Errorf("log %d..%d, applied %d; want 81..101 and 90", s.First, s.Last, s.Applied)
	}
}

// A member is no source of state that it does not have.
func TestLeaderDescribesItsNewestCheckpointToThoseBelowItsLog(t *testing.T) {
	confs := map[protocol.Index]protocol.Configuration{1: conf(1, []byte{1}, 2)}
	whole := found(2, 100, 100, confs)
	kept := []storage.Manifest{described(whole, 80, 2), described(whole, 40, 2)}
	r := openOn(t, 1, Config{}, begun(whole, 40), OpenedState{Applied: 80, Kept: kept})
	now := protocol.Instant(0)
	var got *protocol.InstallCheckpoint
	for range 60 {
		now = max(now.Add(time.Millisecond), r.Deadline())
		r.Tick(now)
		for range 10 {
			e := r.Effects()
			if e.Persist != nil {
				r.Persisted(now, e.Persist.ID, nil)
			}
			for _, a := range e.Apply {
				r.Applied(now, Applied{Last: a.Entries[len(a.Entries)-1].Index, Results: make([]protocol.Result, len(a.Entries))})
			}
			for _, s := range e.Send {
				switch m := s.Message.(type) {
				case *protocol.Append:
					r.Receive(now, id(2), &protocol.AppendAnswer{Term: m.Term, Reject: true, Index: m.PrevIndex, HintIndex: 3, HintTerm: 2})
				case *protocol.InstallCheckpoint:
					got = m
				}
			}
		}
	}
	if got == nil {
		t.Fatal("a learner below the log's begin hears of no checkpoint")
	}
	if d, err := storage.DecodeManifest(got.Manifest); err != nil || d.Index != 80 {
		t.Errorf("described %d, %v; want the newest one at 80", d.Index, err)
	}
}

// Counterexample (simulated seed 40063): a member starts on a log that knows less
// to be committed than is, hears the commit index from its leader, writes nothing,
// and keeps a second checkpoint. Its log has no record that says that what it is
// to give up is committed.
func TestHeadIsNotDroppedAboveTheCommitIndexOnDisk(t *testing.T) {
	rec := found(2, 100, 60, map[protocol.Index]protocol.Configuration{1: conf(2, []byte{1, 9})})
	r := openOn(t, 9, Config{RetainEntries: -1}, rec, OpenedState{Applied: 40, Kept: []storage.Manifest{described(rec, 40, 0)}})
	now := protocol.Instant(1)
	var drops []protocol.Index
	written := protocol.Index(0)
	turn := func() {
		for range 10 {
			e := r.Effects()
			for _, a := range e.Apply {
				r.Applied(now, Applied{Last: a.Entries[len(a.Entries)-1].Index, Results: make([]protocol.Result, len(a.Entries))})
			}
			switch p := e.Persist; {
			case p != nil && p.Drop != 0:
				drops = append(drops, p.Drop)
				r.Dropped(now, p.ID, storage.Begin{}, nil)
			case p != nil:
				written = max(written, p.Write.State.Commit)
				r.Persisted(now, p.ID, nil)
			}
		}
	}
	turn()
	r.Receive(now, id(1), &protocol.Heartbeat{Term: 2, Commit: 100})
	turn()
	if got := r.Status(now).Applied; got != 100 {
		t.Fatalf("has applied %d, want 100", got)
	}
	r.Kept(now, right(r, described(rec, 95, 0), described(rec, 90, 0)))
	turn()
	for _, below := range drops {
		if below > written+1 {
			t.Errorf("head dropped below %d, the disk has been told that %d is committed", below, written)
		}
	}
	if len(drops) == 0 {
		t.Error("got no drop, want one that is no higher than what is known")
	}
}
