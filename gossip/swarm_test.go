package gossip

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// below returns a passive at index 10 of a flock in which everybody's log
// begins above it and a checkpoint at 40 is to be had from everybody.
func below(t *testing.T, actives, passives int) *bench {
	b := newBench(t, protocol.RolePassive, chain(100, 10, "h"), 10, actives, passives, Config{Have: time.Hour})
	b.core.cfg.Have = 50 * ms // the grace; digests stay out of the way
	b.core.digest.at = never
	for _, m := range b.core.members.all {
		b.core.Step(b.now, m.id, &protocol.Have{First: 31, LastIndex: 90, Applied: 90, Commit: 90, Checkpoints: []protocol.Index{40, 30}})
	}
	b.core.Ready()
	return b
}

// asked waits until manifests are asked for, and says whom.
func (b *bench) asked() []protocol.MemberID {
	b.t.Helper()
	for range 1000 {
		var out []protocol.MemberID
		for _, e := range only[*protocol.ManifestWant](b.wait(10 * ms).Messages) {
			out = append(out, e.To)
		}
		if len(out) > 0 {
			return out
		}
	}
	b.t.Fatal("nobody was asked for a manifest")
	return nil
}

// [S] A manifest is believed from an active, or from two members that sent
// the same one. A single passive could make up a whole state: its chunks would
// fit the sums of its own manifest.
func TestDescriptionOfOnePassiveIsNotBelieved(t *testing.T) {
	b := below(t, 3, 8)
	asked := b.asked()
	if len(asked) != 2 || asked[0][0] != 2 || asked[1][0] != 2 {
		t.Fatalf("asked %v, want two passives: actives are spared", asked)
	}
	forged, right := &protocol.Manifest{Manifest: []byte("forged")}, &protocol.Manifest{Manifest: []byte("right")}
	if rd := b.step(asked[0], forged); rd.Offer != nil {
		t.Fatal("one passive's manifest was believed")
	}
	if rd := b.step(asked[0], forged); rd.Offer != nil {
		t.Fatal("one passive's manifest was believed when it sent it twice")
	}
	if rd := b.step(asked[1], right); rd.Offer != nil {
		t.Fatal("a manifest that two members disagree about was believed")
	}
	// A third one agrees with one of the two.
	next := b.asked()
	for slices.Contains(asked, next[0]) {
		next = next[1:]
	}
	rd := b.step(next[0], right)
	if next[0][0] == 2 && (rd.Offer == nil || string(rd.Offer.Manifest) != "right") {
		t.Fatalf("got %+v, want the manifest that two passives sent", rd.Offer)
	}
}

// [S] One passive does not become two by answering each time it is asked.
func TestDescriptionSentTwiceByOneIsNotBelieved(t *testing.T) {
	b := below(t, 0, 2)
	for range 5 {
		if asked := b.asked(); !slices.Contains(asked, passiveID(1)) {
			t.Fatalf("asked %v", asked)
		}
		if rd := b.step(passiveID(1), &protocol.Manifest{Manifest: []byte("forged")}); rd.Offer != nil {
			t.Fatal("one passive's manifest was believed because it sent it twice")
		}
	}
	if rd := b.step(passiveID(2), &protocol.Manifest{Manifest: []byte("forged")}); rd.Offer == nil {
		t.Fatal("a manifest that both members sent was not believed")
	}
}

func TestDescriptionOfAnActiveIsBelieved(t *testing.T) {
	b := below(t, 3, 1)
	asked := b.asked()
	if len(asked) != 1 || asked[0][0] != 1 || asked[0] == activeID(1) {
		t.Fatalf("asked %v, want an active that does not lead", asked)
	}
	rd := b.step(asked[0], &protocol.Manifest{Manifest: []byte("right")})
	if rd.Offer == nil || rd.Offer.From != asked[0] || string(rd.Offer.Manifest) != "right" {
		t.Fatalf("got %+v, want the active's manifest", rd.Offer)
	}
	// If the owner does nothing there will be others, ever more rarely.
	again := b.wait(20 * time.Second)
	if n := len(only[*protocol.ManifestWant](again.Messages)); n == 0 || n > 40 {
		t.Errorf("got %d questions within 20 s of an offer that came to nothing", n)
	}
}

// [S] Nobody's manifest is taken that was not asked for, an active's neither:
// it may be of another time.
func TestDescriptionNotAskedForIsIgnored(t *testing.T) {
	b := below(t, 3, 1)
	asked := b.asked()
	for i := range 3 {
		if id := activeID(i + 1); !slices.Contains(asked, id) {
			if rd := b.step(id, &protocol.Manifest{Manifest: []byte("right")}); rd.Offer != nil {
				t.Fatal("a manifest was believed that nobody had asked for")
			}
		}
	}
	if rd := b.step(asked[0], &protocol.Manifest{Manifest: []byte("right")}); rd.Offer == nil {
		t.Fatal("the manifest that was asked for was not believed")
	}
}

// Nobody is asked for a checkpoint as long as somebody holds the entries.
func TestCheckpointIsNotWantedWhileEntriesAreHeld(t *testing.T) {
	b := below(t, 2, 5)
	b.step(passiveID(4), &protocol.Have{First: 11, LastIndex: 90, Checkpoints: []protocol.Index{40}})
	rd := b.wait(500 * ms)
	if n := len(only[*protocol.ManifestWant](rd.Messages)); n > 0 {
		t.Errorf("got %d questions for manifests", n)
	}
	wants := only[*protocol.Want](rd.Messages)
	if len(wants) == 0 || wants[0].To != passiveID(4) {
		t.Errorf("got %v, want a pull from the one that holds entry 11", wants)
	}
}

// fetching returns a passive that fetches chunks 0 to 99 of the checkpoint at
// 40, and what it asked for first.
func fetchingBench(t *testing.T, actives, passives int, cfg Config) (*bench, []protocol.Envelope) {
	b := below(t, actives, passives)
	if cfg.FetchChunksMax > 0 {
		b.core.cfg.FetchChunksMax = cfg.FetchChunksMax
	}
	var missing []int
	for i := range 100 {
		missing = append(missing, i)
	}
	b.core.Fetch(b.now, Fetching{Index: 40, Sum: b.log[39].Sum, Missing: missing})
	return b, only[*protocol.ChunkWant](b.core.Ready().Messages)
}

func (b *bench) chunk(number uint32) *protocol.Chunk {
	return &protocol.Chunk{Index: 40, Sum: b.log[39].Sum, Number: number, Data: make([]byte, 1000)}
}

func TestChunksUnderWayAreBounded(t *testing.T) {
	b, asked := fetchingBench(t, 2, 20, Config{FetchChunksMax: 10})
	under := 0
	for _, e := range asked {
		under += len(e.Message.(*protocol.ChunkWant).Numbers)
	}
	if under != 10 {
		t.Errorf("asked for %d chunks, want 10", under)
	}
	// Those that wait for the owner count too.
	first := asked[0].Message.(*protocol.ChunkWant).Numbers
	for _, n := range first {
		if more := b.step(asked[0].To, b.chunk(n)).Messages; len(more) > 0 {
			t.Errorf("got %v while the owner is behind", more)
		}
	}
	b.core.ChunkAdded(b.now, int(first[0]), true)
	if rd := b.core.Ready(); len(rd.Messages) != 1 {
		t.Errorf("got %d messages after a chunk was stored, want 1", len(rd.Messages))
	}
}

// A chunk that fits nowhere may be the fault of who described the checkpoint: when
// nobody can give what is fetched, others are asked how they describe that very one,
// those included whose chunks did not fit. While all chunks fit, only a later one helps.
func TestMisfitMakesOthersDescribeTheSameCheckpoint(t *testing.T) {
	for _, fits := range []bool{true, false} {
		b, asked := fetchingBench(t, 2, 20, Config{FetchChunksMax: 4})
		number := asked[0].Message.(*protocol.ChunkWant).Numbers[0]
		b.step(asked[0].To, b.chunk(number))
		b.core.ChunkAdded(b.now, int(number), fits)
		b.core.fetching.gone = true // as after goneAfter without anybody
		above, wanted := b.core.seek.wanted(b.now)
		if want := protocol.Index(40); fits && wanted && above < want || !fits && (!wanted || above != want-1) {
			t.Errorf("fits %t: a checkpoint above %d is wanted: %t", fits, above, wanted)
		}
		for _, m := range b.core.members.all {
			m.checkpoints = []protocol.Index{40}
		}
		if got := len(b.core.seek.manifestAsked(b.now, above)); !fits && got == 0 {
			t.Error("nobody is asked")
		}
	}
}

// [S] What nobody asked for is not taken: neither from a stranger to this fetch,
// nor another number, nor a chunk of another log's checkpoint at that index.
func TestChunkNotAskedForIsIgnored(t *testing.T) {
	b, asked := fetchingBench(t, 2, 20, Config{FetchChunksMax: 4})
	from := asked[0].To
	number := asked[0].Message.(*protocol.ChunkWant).Numbers[0]
	other := b.chunk(number)
	other.Sum[0]++
	for what, rd := range map[string]Ready{
		"from a member that was not asked": b.step(activeID(1), b.chunk(number)),
		"of another number":                b.step(from, b.chunk(77)),
		"of no number at all":              b.step(from, b.chunk(1<<31)),
		"of another log":                   b.step(from, other),
	} {
		if len(rd.Chunks) > 0 {
			t.Errorf("a chunk %s was taken", what)
		}
	}
	if rd := b.step(from, b.chunk(number)); len(rd.Chunks) != 1 {
		t.Error("the chunk that was asked for was not taken")
	}
	if rd := b.step(from, b.chunk(number)); len(rd.Chunks) != 0 {
		t.Error("a chunk was taken twice")
	}
}

// Three refusals in a row, and an active is asked; before, passives only.
func TestActiveIsAskedAfterThreeRefusals(t *testing.T) {
	b, asked := fetchingBench(t, 2, 4, Config{})
	for i, e := range asked {
		if e.To[0] != 2 {
			t.Fatalf("asked %v, want passives", e.To)
		}
		rd := b.step(e.To, &protocol.Busy{RetryAfter: int64(time.Second)})
		active := false
		for _, w := range only[*protocol.ChunkWant](rd.Messages) {
			active = active || w.To[0] == 1
			if w.To == activeID(1) {
				t.Errorf("the leader was asked")
			}
		}
		if active != (i == refusalsMax-1) {
			t.Errorf("after %d refusals an active was asked: %v", i+1, active)
		}
		if active {
			return
		}
	}
	t.Error("no active was asked")
}

// A member that is over its budget says BUSY, for how long, and who else can.
func TestBusyWithChunksNamesOthers(t *testing.T) {
	b := newBench(t, protocol.RolePassive, chain(100, 10, "h"), 90, 2, 6, Config{ChunkServeBytes: 4 << 20})
	b.core.Holds(b.now, []Holding{{Index: 40, Sum: b.log[39].Sum, Chunks: 100, Manifest: []byte("d")}})
	b.step(passiveID(5), &protocol.Have{First: 31, LastIndex: 90, Checkpoints: []protocol.Index{40}})
	served := 0
	var busy *protocol.Busy
	for n := uint32(0); n < 40 && busy == nil; n += 4 {
		rd := b.step(passiveID(1), &protocol.ChunkWant{Index: 40, Sum: b.log[39].Sum, Numbers: []uint32{n, n + 1, n + 2, n + 3}})
		for _, r := range rd.ChunkReads {
			served++
			b.core.ChunkIs(b.now, r, make([]byte, chunkBytes))
		}
		for _, e := range append(rd.Messages, b.core.Ready().Messages...) {
			if m, ok := e.Message.(*protocol.Busy); ok {
				busy = m
			}
		}
	}
	if busy == nil || served < 4 || served > 8 {
		t.Fatalf("got %d chunks and then %v, want a quarter of a second's worth and then BUSY", served, busy)
	}
	if busy.RetryAfter < int64(busyPause) || len(busy.Others) != 1 || busy.Others[0] != passiveID(5) {
		t.Errorf("got %+v, want the one other that holds the checkpoint", busy)
	}
	b.wait(2 * time.Second)
	if rd := b.step(passiveID(1), &protocol.ChunkWant{Index: 40, Sum: b.log[39].Sum, Numbers: []uint32{50}}); len(rd.ChunkReads) != 1 {
		t.Error("got nothing after the debt was paid off")
	}
}

func TestChunkThatIsNotThereIsSaidSo(t *testing.T) {
	b := newBench(t, protocol.RolePassive, chain(100, 10, "h"), 90, 2, 6, Config{})
	sum := b.log[39].Sum
	ask := &protocol.ChunkWant{Index: 40, Sum: sum, Numbers: []uint32{3}}
	answer := func(rd Ready) *protocol.Chunk {
		t.Helper()
		if len(rd.Messages) != 1 {
			t.Fatalf("got %d messages, want 1", len(rd.Messages))
		}
		return rd.Messages[0].Message.(*protocol.Chunk)
	}
	if k := answer(b.step(passiveID(1), ask)); k.Data != nil {
		t.Errorf("got %+v for a checkpoint that is not held", k)
	}
	b.core.Holds(b.now, []Holding{{Index: 40, Sum: sum, Chunks: 10}})
	other := *ask
	other.Sum[1]++
	if k := answer(b.step(passiveID(1), &other)); k.Data != nil {
		t.Errorf("got %+v for a checkpoint of another log", k)
	}
	read := b.step(passiveID(1), ask).ChunkReads[0]
	b.core.ChunkIs(b.now, read, nil)
	if k := answer(b.core.Ready()); k.Data != nil || k.Number != 3 {
		t.Errorf("got %+v for a chunk that could not be read", k)
	}
	read = b.step(passiveID(1), ask).ChunkReads[0]
	b.core.ChunkIs(b.now, read, []byte("data"))
	if k := answer(b.core.Ready()); !bytes.Equal(k.Data, []byte("data")) || k.Sum != sum {
		t.Errorf("got %+v", k)
	}
	// The fetching side asks elsewhere, and not here again until a digest.
	f, asked := fetchingBench(t, 2, 3, Config{})
	refusing := asked[0].To
	rd := f.step(refusing, &protocol.Chunk{Index: 40, Sum: f.log[39].Sum, Number: asked[0].Message.(*protocol.ChunkWant).Numbers[0]})
	rd.Messages = append(rd.Messages, f.wait(time.Second).Messages...)
	for _, e := range only[*protocol.ChunkWant](rd.Messages) {
		if e.To == refusing {
			t.Error("asked again a member that does not have the chunk")
		}
	}
}

// [S] A checkpoint is pinned while it is sent, for a bounded time: a member that
// never comes to an end must not fill the disks of the others.
func TestPinEndsAfterTenMinutes(t *testing.T) {
	b := newBench(t, protocol.RolePassive, chain(100, 10, "h"), 90, 2, 6, Config{})
	sum := b.log[39].Sum
	hold := []Holding{{Index: 80, Sum: b.log[79].Sum, Chunks: 10}, {Index: 60, Sum: b.log[59].Sum, Chunks: 10}, {Index: 40, Sum: sum, Chunks: 10}}
	b.core.Holds(b.now, hold)
	if p := b.core.Pinned(b.now); len(p) != 0 {
		t.Fatalf("got %v pinned, want none", p)
	}
	announced := b.step(passiveID(2), &protocol.Have{Nonce: 1}).Messages[0].Message.(*protocol.Have).Checkpoints
	if !slices.Equal(announced, []protocol.Index{80, 60, 40}) {
		t.Errorf("announced %v, want all that it has", announced)
	}
	begin := b.now
	for b.now.Sub(begin) < 12*time.Minute {
		for _, r := range b.step(passiveID(1), &protocol.ChunkWant{Index: 40, Sum: sum, Numbers: []uint32{3}}).ChunkReads {
			b.core.ChunkIs(b.now, r, []byte("x"))
		}
		b.core.Ready()
		want := b.now.Sub(begin) < needMax+10*needMaxChunk
		if got := slices.Contains(b.core.Pinned(b.now), 40); got != want {
			t.Fatalf("pinned %v after %v, want %v", got, b.now.Sub(begin), want)
		}
		b.core.Holds(b.now, hold)
		b.now = b.now.Add(10 * time.Second)
	}
	// One that nobody asks for any more is let go soon.
	b.now = b.now.Add(needMax)
	b.step(passiveID(1), &protocol.ChunkWant{Index: 40, Sum: sum, Numbers: []uint32{4}})
	if !slices.Contains(b.core.Pinned(b.now.Add(pinIdle-ms)), 40) || slices.Contains(b.core.Pinned(b.now.Add(pinIdle)), 40) {
		t.Error("want it pinned for half a minute after it was last asked for")
	}
}

// A member in doubt of its log gives no checkpoint, and does not announce any.
func TestNoSourceGivesNoCheckpoint(t *testing.T) {
	b := newBench(t, protocol.RolePassive, chain(100, 10, "h"), 90, 2, 6, Config{})
	b.core.Holds(b.now, []Holding{{Index: 40, Sum: b.log[39].Sum, Chunks: 10, Manifest: []byte("d")}})
	b.core.Progress(b.now, Progress{First: 1, LastIndex: 90, Applied: 90, Commit: 90, Term: 1, Leader: activeID(1), Role: b.role})
	rd := b.step(passiveID(1), &protocol.ManifestWant{})
	if d := rd.Messages[0].Message.(*protocol.Manifest); len(d.Manifest) > 0 {
		t.Error("a member in doubt describes its checkpoint")
	}
	if rd := b.step(passiveID(1), &protocol.ChunkWant{Index: 40, Sum: b.log[39].Sum, Numbers: []uint32{1}}); len(rd.ChunkReads) > 0 {
		t.Error("a member in doubt gives chunks")
	}
	if h := b.step(passiveID(1), &protocol.Have{Nonce: 1}).Messages[0].Message.(*protocol.Have); len(h.Checkpoints) > 0 {
		t.Error("a member in doubt announces checkpoints")
	}
}

// [S] Whoever contradicts an active looks for nothing in the place of what it has:
// all actives may have been put back to an old copy, and this be the only one.
func TestDivergedMemberKeepsWhatItHas(t *testing.T) {
	b, asked := doubtful(t, chain(20, 10, "mine"), activeID(1))
	b.core.cfg.Have = 50 * ms
	b.step(asked[0].To, sumOf(chain(20, 10, "right"), 10))
	for _, m := range b.core.members.all {
		b.step(m.id, &protocol.Have{First: 12, LastIndex: 20, Checkpoints: []protocol.Index{12, 9}})
	}
	b.progress()
	b.core.seek.lacking(b.now) // nobody has what comes next in its log
	if asked := only[*protocol.ManifestWant](b.wait(10 * time.Second).Messages); len(asked) > 0 {
		t.Errorf("asked %d times for a checkpoint in the place of its own state", len(asked))
	}
}
