package active_test

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/starlinghq/starling/active"
	"github.com/starlinghq/starling/protocol"
)

// owner is one member with what it owns: a log that begins somewhere, a state,
// which is a list of words, and the state's last checkpoint.
type owner struct {
	id      protocol.MemberID
	member  *active.Member
	begin   protocol.Index   // the log has what comes after it
	entries []protocol.Entry // index i at entries[i-begin-1]
	words   []string         // the state,
	applied protocol.Index   // which has all entries up to here
	saved   checkpoint
}

// checkpoint is a state, and what a log needs to know to begin after it.
type checkpoint struct {
	protocol.Begin
	words []string
}

func (o *owner) slice(after, last protocol.Index) []protocol.Entry {
	return slices.Clone(o.entries[after-o.begin : last-o.begin])
}

// Fit lets ten entries into an append, whatever their size.
func (o *owner) Fit(first, last protocol.Index, _ int) protocol.Index { return min(last, first+9) }

// SumAt is for reads, of which there are none here.
func (o *owner) SumAt(protocol.Index) (protocol.LogSum, bool) { return protocol.LogSum{}, true }

// apply brings the state up to the commit index.
func (o *owner) apply(commit protocol.Index) {
	for _, e := range o.slice(o.applied, commit) {
		if e.Kind == protocol.EntryCommand {
			o.words = append(o.words, string(e.Data))
		}
		o.applied = e.Index
	}
}

// compact makes a checkpoint of the state and drops the log that led to it.
func (o *owner) compact() {
	last := o.slice(o.begin, o.applied)
	configuration, _ := o.member.Configurations().At(o.applied)
	o.saved = checkpoint{words: slices.Clone(o.words), Begin: protocol.Begin{
		Index: o.applied, Term: last[len(last)-1].Term, Time: last[len(last)-1].Time,
		Sum: protocol.SumEntries(o.member.LogTerms().PrevSum, last), Configuration: configuration,
	}}
	// A disk comes here: the checkpoint must be durable before the log goes.
	o.begin, o.entries = o.applied, o.slice(o.applied, o.member.LogTerms().LastIndex())
	o.member.DropHead(o.saved.Index, o.saved.Sum)
}

// install puts another member's checkpoint in the place of state and log.
func (o *owner) install(now protocol.Instant, c checkpoint) {
	o.member.SetInstalling(now, true) // from here on it is neither elected nor counted
	if t, held := o.member.LogTerms().TermAt(c.Index); !held || t != c.Term {
		// A disk comes here: first the checkpoint becomes durable, then the log
		// is reset, with term and vote carried over.
		o.saved, o.begin, o.entries = c, c.Index, nil
		o.words, o.applied = slices.Clone(c.words), c.Index
	}
	o.member.Install(now, c.Begin)
}

// Compaction, and catch-up from a checkpoint: c is away while a and b go on and
// drop the entries that c would need.
func Example_compactionAndCatchUp() {
	a, b, c := &owner{id: protocol.MemberID{'a'}}, &owner{id: protocol.MemberID{'b'}}, &owner{id: protocol.MemberID{'c'}}
	all := []*owner{a, b, c}
	var first protocol.Configuration
	for _, o := range all {
		first = first.With(protocol.ActiveMember{ID: o.id, Name: string(o.id[:1]), Suffrage: protocol.SuffrageVoter})
	}
	for i, o := range all {
		cfg := active.LAN
		cfg.ID, cfg.Run, cfg.Seed = o.id, protocol.RunID(i+1), uint64(i)
		configs := protocol.NewConfigurations(protocol.ConfigurationAt{Configuration: first})
		o.member = active.New(0, cfg, active.Start{Configurations: configs}, o)
	}

	now, away := protocol.Instant(0), c
	deliver := func(from *owner, e protocol.Envelope) {
		to := all[slices.IndexFunc(all, func(o *owner) bool { return o.id == e.To })]
		if to == away {
			return
		}
		switch msg := e.Message.(type) {
		case *protocol.Append:
			msg.Entries = from.slice(msg.PrevIndex, msg.Last)
		case *protocol.InstallCheckpoint: // the core says that one is needed; which one is the owner's
			msg.Manifest = fmt.Appendf(nil, "the state at %d", from.saved.Index)
		}
		to.member.Step(now, e.From, e.Message)
	}
	settle := func() {
		for busy := true; busy; {
			busy = false
			for _, o := range all {
				if !o.member.HasReady() {
					continue
				}
				busy = true
				ready := o.member.Ready()
				if ready.Delta.Truncate {
					o.entries = o.slice(o.begin, ready.Delta.After)
				}
				o.entries = append(o.entries, ready.Delta.Entries...)
				if ready.Write != nil {
					o.member.Persisted(now, ready.Write.ID)
				}
				for _, e := range ready.Messages {
					deliver(o, e)
				}
				o.apply(ready.Commit)
				if offer := ready.Checkpoint; offer != nil {
					fmt.Printf("%s is offered %s by %s\n", o.id[:1], offer.Manifest, offer.From[:1])
					o.install(now, b.saved) // from whoever has it
				}
			}
		}
	}
	say := func(word string) {
		_, err := a.member.Propose(now, []active.Proposal{{Kind: protocol.EntryCommand, Data: []byte(word)}})
		if err != nil {
			fmt.Println(err)
		}
		settle()
	}

	now = now.Add(time.Second)
	a.member.Tick(now)
	settle()
	for _, word := range []string{"the", "early", "bird", "catches"} {
		say(word)
	}
	now = now.Add(100 * time.Millisecond)
	a.member.Tick(now) // a heartbeat, so that b knows what is committed
	settle()
	a.compact()
	b.compact()
	fmt.Printf("c has %d entries, a's log begins at %d\n", len(c.entries), a.member.LogTerms().FirstIndex())

	away = nil
	now = now.Add(100 * time.Millisecond)
	a.member.Tick(now)
	settle()
	say("up")
	for _, o := range all {
		fmt.Printf("%s holds %d entries and says %q\n", o.id[:1], len(o.entries), strings.Join(o.words, " "))
	}
	// Output:
	// c has 0 entries, a's log begins at 6
	// c is offered the state at 5 by a
	// a holds 1 entries and says "the early bird catches up"
	// b holds 1 entries and says "the early bird catches up"
	// c holds 1 entries and says "the early bird catches up"
}
