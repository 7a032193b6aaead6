package gossip

import (
	"slices"
	"time"

	"github.com/starlinghq/starling/protocol"
)

const (
	// askChunks is how many chunks one member is asked for at a time, and
	// holdersMax how many members are. Members farther away than the best only
	// make up holdersFew.
	askChunks, holdersMax, holdersFew = 4, 4, 2
	// chunkBytes is what a chunk is taken to have before any was seen.
	chunkBytes = 256 << 10
	// chunkPatience is how long a member may be silent before the chunks are
	// asked for elsewhere, doubled with each failure in a row.
	chunkPatience, chunkPatienceMax = 2 * time.Second, 30 * time.Second
	// A member that refused or was silent is left alone for a while: this
	// long, doubled with each time in a row.
	chunkSkipMin, chunkSkipMax = 100 * time.Millisecond, 5 * time.Second
	// refusalsMax is after how many refusals in a row an active is asked.
	refusalsMax = 3
	// silencesMax is how many silences in a row a member may have and still
	// count as one that can be asked.
	silencesMax = 3
	// goneAfter is for how long nobody may be able to give a checkpoint until
	// another one is sought; silentAfter, if there are members that say that they
	// have it and are silent. They may only be overloaded, or this one was stopped.
	goneAfter, silentAfter = time.Second, 15 * time.Second
)

// Fetching is what the owner wants of a checkpoint: the chunks of it that are
// still missing.
type Fetching struct {
	Index   protocol.Index
	Sum     protocol.LogSum // of the log at Index
	Missing []int           // numbers from 0, in order
}

// ChunkArrived is a chunk as a member sent it. The owner checks it against the
// manifest and answers with ChunkAdded.
type ChunkArrived struct {
	From   protocol.MemberID
	Index  protocol.Index
	Number int
	Data   []byte
}

// fetching is the state of a fetch.
//
// Invariant: every missing chunk is in exactly one of todo, again, out and
// adding.
type fetching struct {
	base
	seek seeker

	fetch
}

// seeker is told when nobody gives any more what is being fetched.
type seeker interface {
	gone(now protocol.Instant)
}

// fetch is the state of fetching.
type fetch struct {
	active bool
	want   Fetching // Missing is nil: see todo
	round  int      // tells fetches apart

	todo  []int // in order; cut off at its front
	again []int // asked for in vain; they go first
	out   []chunkAsk
	// adding are chunks that the owner was given and has not judged.
	adding []chunkFrom

	chunkMax int              // the largest chunk seen
	refusals int              // in a row
	failed   int              // silences in a row
	at       protocol.Instant // when to ask again; never if nothing is to be asked
	// nobodySince is since when no member can give it; gone says that this has
	// been so for long, and another checkpoint is sought.
	nobodySince protocol.Instant
	gone        bool
	// misfit says that somebody's chunk did not fit: if nobody can give what is
	// described, the manifest may be of a wrong state, and that of others is sought.
	misfit bool
}

// chunkAsk are chunks that one member was asked for.
type chunkAsk struct {
	to      protocol.MemberID
	numbers []int
	until   protocol.Instant
}

type chunkFrom struct {
	number int
	from   protocol.MemberID
}

// chunkSource is what is known of a member as a source of chunks.
type chunkSource struct {
	asked     int // the round of the fetch in which it was last asked
	silences  int // in a row
	refusals  int // in a row
	skipUntil protocol.Instant
	badUntil  protocol.Instant // it sent bytes that were wrong
}

// begin asks for the chunks of a checkpoint.
func (f *fetching) begin(now protocol.Instant, want Fetching) {
	f.fetch = fetch{
		active: true, round: f.round + 1, todo: slices.Clone(want.Missing),
		chunkMax: chunkBytes, nobodySince: never, at: now,
	}
	f.want = Fetching{Index: want.Index, Sum: want.Sum}
	f.outbox.ready.Chunks = nil
	f.ask(now)
}

// stop ends a fetch, and reports whether there was one.
func (f *fetching) stop() bool {
	if !f.active {
		return false
	}
	f.fetch = fetch{round: f.round, at: never, nobodySince: never}
	f.outbox.ready.Chunks = nil
	return true
}

// added answers for a chunk from Ready.Chunks. Not ok means that its bytes
// are not those of the manifest: it is asked for elsewhere, and its sender
// is avoided for a while.
func (f *fetching) added(now protocol.Instant, number int, ok bool) {
	i := slices.IndexFunc(f.adding, func(x chunkFrom) bool { return x.number == number })
	if i < 0 {
		return
	}
	from := f.adding[i].from
	f.adding = slices.Delete(f.adding, i, i+1)
	if !ok {
		f.again, f.misfit = append(f.again, number), true
		f.outbox.event(protocol.EventRefused, from, f.want.Index, "a chunk of this member does not fit the checkpoint's manifest")
		if m := f.members.get(from); m != nil {
			m.chunks.badUntil = now.Add(avoidFor)
			f.dropAsk(from)
		}
	}
	f.ask(now)
}

// forgetStrangers gives up asks of members that are gone.
func (f *fetching) forgetStrangers(now protocol.Instant) {
	for i := range f.out {
		if f.members.get(f.out[i].to) == nil {
			f.out[i].until = now // the next Tick asks elsewhere
		}
	}
}

// open reports whether anything is still to be asked for.
func (f *fetching) open() bool { return f.active && len(f.todo)+len(f.again) > 0 }

// expiry is when the first ask runs out of patience.
func (f *fetching) expiry() protocol.Instant {
	at := never
	for i := range f.out {
		at = min(at, f.out[i].until)
	}
	return at
}

func (f *fetching) find(to protocol.MemberID) int {
	return slices.IndexFunc(f.out, func(x chunkAsk) bool { return x.to == to })
}

// room is how many more chunks may be under way.
func (f *fetching) room() int {
	under := len(f.adding)
	for i := range f.out {
		under += len(f.out[i].numbers)
	}
	return min(f.cfg.FetchChunksMax, max(f.cfg.FetchBytesMax/f.chunkMax, 1)) - under
}

// next takes up to n chunks off the list.
func (f *fetching) next(n int) []int {
	var out []int
	for n > 0 && len(f.again) > 0 {
		out = append(out, f.again[0])
		f.again = f.again[1:]
		n--
	}
	n = min(n, len(f.todo))
	out = append(out, f.todo[:n]...)
	f.todo = f.todo[n:]
	return out
}

// ask asks for chunks, from several members at once, as long as there is room.
func (f *fetching) ask(now protocol.Instant) {
	f.at = never
	if !f.open() {
		f.backOff()
		return
	}
	who := f.survey(now)
	f.noteHolders(now, who)
	free, _ := f.holder(now, who)
	for i := range f.out {
		// Keep those busy that deliver, unless there is somebody better.
		x := &f.out[i]
		m := f.members.get(x.to)
		if len(x.numbers) > askChunks/2 || m == nil {
			continue
		}
		rank := f.rank(m, who)
		if (free == nil || rank >= f.rank(free, who)) && (len(f.out) <= holdersFew || rank >= f.askedRank(who)) {
			f.askMember(now, x)
		}
	}
	f.backOff()
	for len(f.out) < holdersMax && f.room() > 0 && f.open() {
		m, later := f.holder(now, who)
		if m == nil || len(f.out) >= holdersFew && f.rank(m, who) < f.askedRank(who) {
			f.at = later
			break
		}
		m.chunks.asked = f.round
		f.out = append(f.out, chunkAsk{to: m.id})
		f.askMember(now, &f.out[len(f.out)-1])
	}
}

// askedRank is the best rank of the members that are being asked.
func (f *fetching) askedRank(who holders) int {
	best := 0
	for i := range f.out {
		if m := f.members.get(f.out[i].to); m != nil {
			best = max(best, f.rank(m, who))
		}
	}
	return best
}

// backOff forgets the members that nothing is expected of.
func (f *fetching) backOff() {
	f.out = slices.DeleteFunc(f.out, func(x chunkAsk) bool { return len(x.numbers) == 0 })
}

// askMember asks a member for as many chunks as it may have under way.
func (f *fetching) askMember(now protocol.Instant, x *chunkAsk) {
	numbers := f.next(min(askChunks-len(x.numbers), f.room()))
	if len(numbers) == 0 {
		return
	}
	want := &protocol.ChunkWant{Index: f.want.Index, Sum: f.want.Sum}
	for _, n := range numbers {
		want.Numbers = append(want.Numbers, uint32(n))
	}
	if len(x.numbers) == 0 {
		x.until = now.Add(f.patience())
	}
	x.numbers = append(x.numbers, numbers...)
	f.outbox.send(x.to, want)
}

func (f *fetching) patience() time.Duration {
	return min(chunkPatience<<min(f.failed/2, 4), chunkPatienceMax)
}

// holders says what kinds of members can give the checkpoint, now or soon; silent
// ones have it, and have left several questions in a row unanswered.
type holders struct{ passives, actives, leader, silent bool }

// patience is for how long nobody may give the checkpoint.
func (who holders) patience() time.Duration {
	if who.silent {
		return silentAfter
	}
	return goneAfter
}

func (f *fetching) survey(now protocol.Instant) (who holders) {
	for _, m := range f.members.all {
		switch {
		case !m.holdsCheckpoint(f.want.Index) || now < m.chunks.badUntil:
		case m.chunks.silences > silencesMax:
			who.silent = true
		case m.id == f.self.Leader:
			who.leader = true
		case m.peer.Role == protocol.RoleActive:
			who.actives = true
		default:
			who.passives = true
		}
	}
	return who
}

// rank says how welcome a member's chunks are: first a passive's in this
// zone, then another passive's; an active is asked only after several refusals
// or when no passive can be, and the leader only when nobody else can. A voter
// asks actives like passives, and so does a member that does not get level, and the
// leader where it is one of two that can give. 0: not at all.
func (f *fetching) rank(m *member, who holders) int {
	switch {
	case !m.holdsCheckpoint(f.want.Index):
		return 0
	case m.id == f.self.Leader:
		if (who.passives || who.actives) && !f.self.Pressed {
			return 0
		}
		return 2
	case m.peer.Role == protocol.RoleActive && !f.self.urgent():
		if who.passives && f.refusals < refusalsMax {
			return 0
		}
		return 3
	case m.chunks.silences > silencesMax:
		return 1
	case m.peer.Zone == f.cfg.Zone:
		return 5
	}
	return 4
}

// holder draws one of the best members to ask for chunks, of those that
// are not being asked. If all must wait, it returns when to try again.
func (f *fetching) holder(now protocol.Instant, who holders) (chosen *member, later protocol.Instant) {
	best, count := 0, 0
	later = never
	if f.nobodySince != never && !f.gone && (who.silent || len(f.out)+len(f.adding) == 0) { // else it is looked at when that ends
		later = f.nobodySince.Add(who.patience())
	}
	for _, m := range f.members.all {
		rank := f.rank(m, who)
		if rank == 0 || f.find(m.id) >= 0 {
			continue
		}
		if wait := max(m.chunks.skipUntil, m.chunks.badUntil); now < wait {
			later = min(later, wait)
			continue
		}
		if rank > best {
			best, count = rank, 0
		}
		if rank == best {
			count++
			if f.rng.IntN(count) == 0 {
				chosen = m
			}
		}
	}
	return chosen, later
}

// noteHolders notes whether anybody can give what is fetched. If nobody can for
// a while, all have moved on to newer checkpoints, and so must this member.
func (f *fetching) noteHolders(now protocol.Instant, who holders) {
	switch {
	case who.passives || who.actives || who.leader:
		f.nobodySince, f.gone = never, false
	case f.nobodySince == never:
		f.nobodySince = now
	case !f.gone && (who.silent || len(f.out)+len(f.adding) == 0) && now >= f.nobodySince.Add(who.patience()):
		f.gone = true
		f.outbox.event(protocol.EventCheckpoint, protocol.MemberID{}, f.want.Index, "no member gives the checkpoint that is being fetched any more")
		f.seek.gone(now)
	}
}

// learnCheckpoints notes which checkpoints a member has.
func (f *fetching) learnCheckpoints(now protocol.Instant, m *member, list []protocol.Index) {
	m.checkpoints = m.checkpoints[:0]
	for _, i := range list[:min(len(list), protocol.CheckpointsMax)] {
		if i <= protocol.IndexMax {
			m.checkpoints = append(m.checkpoints, i)
		}
	}
	if f.open() && len(f.out) < holdersMax && m.holdsCheckpoint(f.want.Index) && f.find(m.id) < 0 && now >= m.chunks.skipUntil {
		f.at = min(f.at, now)
	}
}

func (m *member) holdsCheckpoint(i protocol.Index) bool { return slices.Contains(m.checkpoints, i) }

// onChunk takes a chunk from a member that was asked in this fetch, even if it
// comes late: it costs nothing to use it.
func (f *fetching) onChunk(now protocol.Instant, from protocol.MemberID, k *protocol.Chunk) {
	m := f.members.get(from)
	if m == nil || !f.active || m.chunks.asked != f.round || k.Index != f.want.Index || k.Sum != f.want.Sum {
		return
	}
	number := int(k.Number)
	if len(k.Data) == 0 {
		if i := f.find(from); i >= 0 && slices.Contains(f.out[i].numbers, number) {
			m.checkpoints = slices.DeleteFunc(m.checkpoints, func(i protocol.Index) bool { return i == k.Index })
			f.refusals++
			f.dropAsk(from)
			f.ask(now)
		}
		return
	}
	if now < m.chunks.badUntil || len(f.adding) >= f.cfg.FetchChunksMax || !f.settle(number) {
		return
	}
	m.chunks.silences, m.chunks.refusals = 0, 0
	f.failed, f.refusals = 0, 0
	f.chunkMax = max(f.chunkMax, len(k.Data))
	if i := f.find(from); i >= 0 {
		f.out[i].until = now.Add(f.patience())
	}
	f.adding = append(f.adding, chunkFrom{number, from})
	f.outbox.ready.Chunks = append(f.outbox.ready.Chunks, ChunkArrived{From: from, Index: k.Index, Number: number, Data: k.Data})
	f.ask(now)
}

// settle takes a chunk off the lists of what is missing and reports whether it
// was on one.
func (f *fetching) settle(number int) bool {
	for i := range f.out {
		if k := slices.Index(f.out[i].numbers, number); k >= 0 {
			f.out[i].numbers = slices.Delete(f.out[i].numbers, k, k+1)
			return true
		}
	}
	if k := slices.Index(f.again, number); k >= 0 {
		f.again = slices.Delete(f.again, k, k+1)
		return true
	}
	return false
}

// dropAsk gives up what a member was asked for: others are to be asked.
func (f *fetching) dropAsk(to protocol.MemberID) bool {
	i := f.find(to)
	if i < 0 {
		return false
	}
	f.again = append(f.again, f.out[i].numbers...)
	f.out = slices.Delete(f.out, i, i+1)
	return true
}

// expireAsks asks elsewhere for what members left unanswered.
func (f *fetching) expireAsks(now protocol.Instant) {
	expired := false
	for i := 0; i < len(f.out); {
		x := f.out[i]
		if now < x.until {
			i++
			continue
		}
		if m := f.members.get(x.to); m != nil {
			m.chunks.silences = min(m.chunks.silences+1, 16)
			m.chunks.skipUntil = now.Add(min(chunkSkipMin<<m.chunks.silences, chunkSkipMax))
		}
		f.failed = min(f.failed+1, 32)
		f.refusals++
		f.dropAsk(x.to)
		expired = true
	}
	if expired || now >= f.at {
		f.ask(now)
	}
}

// refused leaves a member that refused chunks alone for a while.
func (f *fetching) refused(now protocol.Instant, m *member, pause time.Duration) {
	if !f.dropAsk(m.id) {
		return
	}
	m.chunks.refusals = min(m.chunks.refusals+1, 8)
	pause = max(pause, min(chunkSkipMin<<m.chunks.refusals, chunkSkipMax))
	m.chunks.skipUntil = max(m.chunks.skipUntil, now.Add(pause))
	f.refusals++
	f.ask(now)
}
