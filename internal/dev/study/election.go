// Package study repeats, in virtual time and with the real core, what the
// founding paper measured: the time from a leader's crash to the next leader
// (the Raft paper, section 9.3, figure 16). It has no clock and no goroutine; a
// seed decides everything.
package study

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/starlinghq/starling/active"
	"github.com/starlinghq/starling/internal/virtual"
	"github.com/starlinghq/starling/protocol"
)

// Setting is one line of the figure: election timeouts are drawn from
// [Least, Most); from Least alone if both are equal.
type Setting struct {
	Least, Most time.Duration
	// Lower says that the setting belongs to the lower plot, which varies the
	// timeouts as such and not their randomness.
	Lower bool
	// Paper is what the paper says of the setting; empty if only its plot does.
	Paper string
}

// String returns the range of timeouts.
func (s Setting) String() string {
	return milliseconds(s.Least) + "-" + milliseconds(s.Most) + " ms"
}

// Settings returns those of figure 16, the upper plot first. 150-300 ms stands
// in both.
func Settings() []Setting {
	const ms = time.Millisecond
	return []Setting{
		{Least: 150 * ms, Most: 150 * ms, Paper: "consistently over 10 s"},
		{Least: 150 * ms, Most: 151 * ms},
		{Least: 150 * ms, Most: 155 * ms, Paper: "median 287 ms"},
		{Least: 150 * ms, Most: 175 * ms},
		{Least: 150 * ms, Most: 200 * ms, Paper: "worst 513 ms"},
		{Least: 150 * ms, Most: 300 * ms},
		{Least: 12 * ms, Most: 24 * ms, Lower: true, Paper: "mean 35 ms, worst 152 ms"},
		{Least: 25 * ms, Most: 50 * ms, Lower: true},
		{Least: 50 * ms, Most: 100 * ms, Lower: true},
		{Least: 100 * ms, Most: 200 * ms, Lower: true},
		{Least: 150 * ms, Most: 300 * ms, Lower: true},
	}
}

// The circumstances. The paper gives five servers and a broadcast time of about
// 15 ms, a follower's disk included; how that is made up is our reading.
const (
	// Servers is how many there are before the crash.
	Servers = 5
	// OneWay and Sync are means: a message takes half to one and a half times
	// OneWay, a sync three to five quarters of Sync. A round of votes is a sync
	// at the candidate, the way there, a sync, and the way back.
	OneWay = 2500 * time.Microsecond
	Sync   = 5 * time.Millisecond
	// Broadcast is their sum, for texts.
	Broadcast = 2*OneWay + 2*Sync
	// GiveUp ends a trial. It counts as having taken that long.
	GiveUp = 20 * time.Second
)

// Rules says by which rules an election is held.
type Rules uint8

const (
	// Paper is Raft as the paper has it: whoever times out campaigns. The study
	// grants each pre-vote on behalf of its receiver, at once.
	Paper Rules = iota
	// PreVote is the core as it runs: whoever times out asks first whether it
	// could win.
	PreVote
)

// String returns what a table calls the rules.
func (r Rules) String() string {
	if r == Paper {
		return "as in the paper"
	}
	return "with pre-vote"
}

// Series is what the trials of one setting took, sorted.
type Series struct {
	Rules   Rules
	Setting Setting
	Times   []time.Duration
	// Unfinished is how many trials had no leader at GiveUp.
	Unfinished int
}

// Run makes a number of trials, at least one, of one setting. It ends with ctx, whose
// error it returns then.
func Run(ctx context.Context, rules Rules, s Setting, trials int, seed uint64) (Series, error) {
	out := Series{Rules: rules, Setting: s, Times: make([]time.Duration, trials)}
	for i := range out.Times {
		if err := ctx.Err(); err != nil {
			return Series{}, err
		}
		out.Times[i] = trial(rules, s, rand.New(rand.NewPCG(seed, uint64(i)+1)))
		if out.Times[i] >= GiveUp {
			out.Unfinished++
		}
	}
	slices.Sort(out.Times)
	return out, nil
}

// Quantile returns the time by which a share of the trials, 0 to 1, was done.
func (s *Series) Quantile(share float64) time.Duration {
	return s.Times[min(int(share*float64(len(s.Times))), len(s.Times)-1)]
}

// Mean returns the mean time.
func (s *Series) Mean() time.Duration {
	sum := time.Duration(0)
	for _, t := range s.Times {
		sum += t
	}
	return sum / time.Duration(len(s.Times))
}

// firstTerm is the term of the leader that crashes.
const firstTerm = 1

// event is something that happens to a server: a message arrives, a write is
// done, or, with neither, its deadline passes.
type event struct {
	to, from int
	message  protocol.Message
	write    protocol.WriteID
}

// race is one trial: the four servers that are left, and what is under way.
type race struct {
	rules   Rules
	rng     *rand.Rand
	now     protocol.Instant
	servers [Servers]*active.Member // the first is the leader, gone
	events  virtual.Queue[protocol.Instant, event]
	network virtual.Network[protocol.Instant, protocol.Message]
	late    protocol.Instant // when the trial is given up
}

// trial plays one election. The leader's last act is a heartbeat to all, at
// instant 0; it crashes at some time within the next heartbeat interval, half
// of the shortest election timeout. Logs have different lengths, so that two of
// the four servers cannot win.
func trial(rules Rules, s Setting, rng *rand.Rand) time.Duration {
	r := &race{rules: rules, rng: rng}
	r.network.Weather = virtual.Way(func(_, _ int) time.Duration { return r.around(OneWay, 2) })
	r.network.Post = func(at protocol.Instant, p virtual.Parcel[protocol.Instant, protocol.Message]) {
		r.events.Push(at, event{to: p.To, from: p.From, message: p.Message})
	}
	crash := protocol.Instant(rng.Int64N(int64(s.Least / 2)))
	r.late = crash.Add(GiveUp)
	for i := 1; i < Servers; i++ {
		r.servers[i] = newServer(s, i, rng.Uint64())
		r.send(r.envelope(0, i, &protocol.Heartbeat{Term: firstTerm, Round: 1}))
	}
	for {
		at, e := r.next()
		if at > r.late {
			return GiveUp
		}
		r.now = max(r.now, at)
		m := r.servers[e.to]
		switch {
		case e.message != nil:
			m.Step(r.now, idOf(e.from), e.message)
		case e.write != 0:
			m.Persisted(r.now, e.write)
		default:
			m.Tick(r.now)
		}
		r.serve(e.to)
		if m.State() == active.StateLeader {
			return r.now.Sub(crash)
		}
	}
}

// newServer makes a follower of the first term that has voted for the leader.
// Server 1 lacks nothing, each other one an entry more than the one before.
func newServer(s Setting, i int, seed uint64) *active.Member {
	var conf protocol.Configuration
	for k := range Servers {
		conf = conf.With(protocol.ActiveMember{ID: idOf(k), Suffrage: protocol.SuffrageVoter})
	}
	start := active.Start{
		State:          protocol.HardState{Term: firstTerm, Vote: idOf(0)},
		Configurations: protocol.NewConfigurations(protocol.ConfigurationAt{Configuration: conf}),
	}
	for range 2*Servers - i {
		start.LogTerms.Append(firstTerm)
	}
	return active.New(0, active.Config{
		ID: idOf(i), Run: 1, Seed: seed,
		Election: s.Least, ElectionSpread: max(s.Most-s.Least, 1), Heartbeat: s.Least / 2,
	}, start, noLog{})
}

// noLog is never asked: a trial ends before the new leader sends an entry.
type noLog struct{}

// Fit returns first.
func (noLog) Fit(first, _ protocol.Index, _ int) protocol.Index { return first }

// SumAt returns nothing: nobody reads.
func (noLog) SumAt(protocol.Index) (protocol.LogSum, bool) { return protocol.LogSum{}, true }

func idOf(i int) protocol.MemberID { return protocol.MemberID{byte(i + 1)} }

// serve takes what a server has to say: messages travel, writes take their time.
func (r *race) serve(i int) {
	m := r.servers[i]
	for m.HasReady() {
		ready := m.Ready()
		if w := ready.Write; w != nil {
			r.events.Push(r.now.Add(r.around(Sync, 4)), event{to: i, write: w.ID})
		}
		for _, e := range ready.Messages {
			if v, ok := e.Message.(*protocol.Vote); ok && v.Pre && r.rules == Paper {
				m.Step(r.now, e.To, &protocol.VoteAnswer{Term: v.Term, Pre: true, Granted: true})
				continue
			}
			r.send(e)
		}
	}
}

func (r *race) envelope(from, to int, m protocol.Message) protocol.Envelope {
	return protocol.Envelope{From: idOf(from), To: idOf(to), Message: m}
}

// send puts a message on its way. What is sent to the dead leader is lost.
func (r *race) send(e protocol.Envelope) {
	if to := int(e.To[0]) - 1; r.servers[to] != nil {
		r.network.Send(r.now, int(e.From[0])-1, to, e.Message, 0, true)
	}
}

// around draws a duration from a mean, less or more by up to one part of it.
func (r *race) around(mean time.Duration, part int64) time.Duration {
	half := int64(mean) / part
	return mean + time.Duration(r.rng.Int64N(2*half+1)-half)
}

// next returns the earliest of what is under way and of the servers' deadlines.
func (r *race) next() (at protocol.Instant, e event) {
	at = r.late + 1
	for i := 1; i < Servers; i++ {
		if due := r.servers[i].Deadline(); due < at {
			at, e = due, event{to: i}
		}
	}
	if first, ok := r.events.First(); ok && first <= at {
		return r.events.Pop()
	}
	return at, e
}
