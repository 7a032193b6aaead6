// Package hostile makes messages between members as somebody sends them who
// wishes the receiver ill, from a seed: for tests of who is listened to.
//
// They are drawn around what the receiver holds, as by somebody who knows it:
// terms just above its own and at the bounds, entries that join its log and say
// something else, indexes at the ends.
package hostile

import (
	"math/rand/v2"
	"reflect"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// Scene is what the sender knows.
type Scene struct {
	// Self is the receiver, and Members those that a message may name.
	Self    protocol.MemberID
	Members []protocol.MemberID
	// Term is the receiver's, Run its run, Commit its commit index and Last its
	// last entry, of LastTerm. Sum is the log sum after the entry at Commit, of
	// CommitTerm.
	Term                 protocol.Term
	Run                  protocol.RunID
	Commit, Last         protocol.Index
	CommitTerm, LastTerm protocol.Term
	Sum                  protocol.LogSum
	// Request is the number of the newest question that the receiver has asked.
	Request uint64
	// Manifests are of checkpoints that were made up.
	Manifests [][]byte
}

// Message makes a message of a kind, as it comes out of the decoder; nil if the
// decoder refuses what was drawn.
func Message(rng *rand.Rand, kind protocol.MessageKind, s *Scene) protocol.Message {
	d := draw{rng, s}
	m := d.raft(kind)
	if m == nil {
		m = d.member(kind)
	}
	if m == nil {
		m = d.gossip(kind)
	}
	if m == nil {
		m = kind.Blank()
		d.fill(reflect.ValueOf(m).Elem())
	}
	decoded, err := protocol.DecodeMessage(protocol.AppendMessage(nil, m))
	if err != nil {
		return nil
	}
	return decoded
}

type draw struct {
	*rand.Rand
	*Scene
}

func (d draw) term() protocol.Term {
	leaps := [...]protocol.Term{0, 0, 1, 1, 1, 2, 1 << 20, 1<<31 - 2, 1 << 31, 1<<31 + 9, 1<<32 + 9, 1 << 62}
	switch d.IntN(6) {
	case 0:
		return 1<<64 - 1
	case 1:
		return protocol.Term(d.Uint64())
	}
	return d.Term + leaps[d.IntN(len(leaps))]
}

func (d draw) index() protocol.Index {
	last := d.Last
	if d.IntN(2) == 0 {
		last = d.Commit
	}
	switch d.IntN(9) {
	case 0:
		return 0
	case 1:
		return 1<<64 - 1
	case 2:
		return protocol.IndexMax - protocol.Index(d.IntN(2))
	case 3:
		return protocol.Index(d.Uint64())
	case 4:
		return last - min(last, 1)
	case 5:
		return last + 1
	case 6:
		return last + 1 + protocol.Index(d.IntN(2000))
	}
	return last
}

func (d draw) whoever() protocol.MemberID {
	if len(d.Members) == 0 || d.IntN(4) == 0 {
		return protocol.MemberID{byte(d.Uint32()), byte(d.Uint32()), 9}
	}
	return d.Members[d.IntN(len(d.Members))]
}

func (d draw) yes() bool { return d.IntN(2) == 0 }

func (d draw) run() protocol.RunID {
	if d.IntN(4) == 0 {
		return protocol.RunID(d.Uint64())
	}
	return d.Run
}

func (d draw) request() uint64 {
	return d.Request - min(d.Request, uint64(d.IntN(3))) + uint64(d.IntN(2))
}

// place is where the sender says that its log joins the receiver's.
func (d draw) place() (protocol.Index, protocol.Term) {
	switch d.IntN(4) {
	case 0:
		return d.index(), d.term()
	case 1:
		return d.Last, d.LastTerm
	}
	return d.Commit, d.CommitTerm
}

// entries makes up entries after an index, of a term.
func (d draw) entries(after protocol.Index, term protocol.Term) []protocol.Entry {
	list := make([]protocol.Entry, d.IntN(4))
	for i := range list {
		e := &list[i]
		e.Index, e.Term, e.Kind = after+1+protocol.Index(i), max(term, 1), protocol.EntryNoop
		switch d.IntN(4) {
		case 0: // the sender decides from now on
			c := protocol.Configuration{}.With(protocol.ActiveMember{ID: d.whoever(), Name: "liar", Suffrage: protocol.SuffrageVoter})
			e.Kind, e.Data = protocol.EntryConfiguration, protocol.EncodeConfiguration(c)
		case 1:
			e.Kind, e.Data = protocol.EntryCommand, []byte("forged")
		}
	}
	protocol.EncodeEntries(list)
	return list
}

// fill draws what a message of no kind that is drawn with more care below has in it, by
// the types and, of a request's number, the name of its fields. A kind that is new comes
// here by itself.
func (d draw) fill(v reflect.Value) {
	switch f := v.Addr().Interface().(type) {
	case *protocol.Term:
		*f = d.term()
	case *protocol.Index:
		*f = d.index()
	case *protocol.MemberID:
		*f = d.whoever()
	case *protocol.RunID:
		*f = d.run()
	case *protocol.LogSum:
		*f = d.Sum
	case *protocol.Range:
		*f = protocol.Range{First: d.index(), Last: d.index()}
	default:
		d.fillKind(v)
	}
}

func (d draw) fillKind(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if f := v.Field(i); v.Type().Field(i).Name == "Request" {
				f.SetUint(d.request())
			} else {
				d.fill(f)
			}
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		d.fill(v.Index(0))
	case reflect.Array:
		for i := range v.Len() {
			d.fill(v.Index(i))
		}
	case reflect.Bool:
		v.SetBool(d.yes())
	case reflect.String:
		v.SetString("forged")
	case reflect.Int64:
		v.SetInt(d.Int64())
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		bits := v.Type().Bits()
		v.SetUint(d.Uint64() >> (64 - bits) >> uint(d.IntN(bits)))
	default:
		panic("hostile: nobody draws a " + v.Type().String())
	}
}

func (d draw) raft(kind protocol.MessageKind) protocol.Message {
	switch kind {
	case protocol.KindVote:
		v := &protocol.Vote{Term: d.term(), Pre: d.yes(), Transfer: d.yes(), LastIndex: d.index(), LastTerm: d.term()}
		v.Transfer = v.Transfer && !v.Pre
		return v
	case protocol.KindAppend:
		a := &protocol.Append{Term: d.term(), Commit: d.index()}
		a.PrevIndex, a.PrevTerm = d.place()
		a.Entries = d.entries(a.PrevIndex, a.Term)
		return a
	case protocol.KindAppendAnswer:
		a := &protocol.AppendAnswer{Term: d.term(), Reject: d.yes(), Passive: d.yes(), Index: d.index(), Run: d.run()}
		if a.Passive = a.Passive && !a.Reject; a.Reject {
			a.HintIndex, a.HintTerm = d.place()
		}
		return a
	case protocol.KindHeartbeat:
		return &protocol.Heartbeat{Term: d.term(), Commit: d.index(), Round: d.Uint64()}
	case protocol.KindHeartbeatAnswer:
		return &protocol.HeartbeatAnswer{Term: d.term(), Round: uint64(d.IntN(1000)), Room: d.IntN(2) == 0, Unfit: d.IntN(4) == 0, Takes: time.Duration(d.Uint64() >> (1 + d.IntN(60)))}
	case protocol.KindReadIndexAnswer:
		return &protocol.ReadIndexAnswer{Run: d.run(), Request: d.request(), Index: d.index(), Sum: d.Sum, Leader: d.whoever()}
	case protocol.KindInstallCheckpoint:
		return &protocol.InstallCheckpoint{Term: d.term(), Manifest: d.manifest()}
	}
	return nil
}

func (d draw) manifest() []byte {
	if len(d.Manifests) == 0 || d.IntN(4) == 0 {
		return []byte{byte(d.Uint32()), 1, 2, 3}
	}
	return d.Manifests[d.IntN(len(d.Manifests))]
}

func (d draw) member(kind protocol.MessageKind) protocol.Message {
	switch kind {
	case protocol.KindForward:
		return &protocol.Forward{Run: d.run(), Request: d.request(), Command: []byte{byte(d.Uint32())}}
	case protocol.KindForwardAnswer:
		return &protocol.ForwardAnswer{Run: d.run(), Request: d.request(), Leader: d.whoever(), Result: protocol.Result{Index: d.index()}}
	case protocol.KindFormats:
		return &protocol.Formats{Run: d.run(), Level: protocol.FormatLevel(d.IntN(int(protocol.FormatLevelMax)))}
	case protocol.KindTypes:
		return &protocol.Types{List: []protocol.TypeVersion{{Name: "forged", Version: d.Uint32()}}}
	case protocol.KindRepair:
		return &protocol.Repair{Active: d.yes(), First: d.index(), Commit: d.index(), Before: d.Sum, Entries: d.entries(d.Commit, d.Term)}
	}
	return nil
}

func (d draw) gossip(kind protocol.MessageKind) protocol.Message {
	switch kind {
	case protocol.KindFrame:
		f := &protocol.Frame{Origin: d.whoever(), Before: d.Sum, Commit: d.index()}
		if d.yes() {
			f.Flags = protocol.FramePulled
		}
		after := d.Commit
		if d.IntN(4) == 0 {
			after = d.index()
		}
		f.Entries = append(d.entries(after, d.term()), protocol.Entry{})
		n := len(f.Entries) - 1
		e := &f.Entries[n]
		e.Index, e.Term, e.Kind = after+1+protocol.Index(n), max(d.Term, 1), protocol.EntryNoop
		if n > 0 {
			e.Term = f.Entries[n-1].Term
		}
		if d.IntN(4) > 0 {
			f.Commit = e.Index
		}
		protocol.EncodeEntries(f.Entries)
		f.Body = protocol.EncodeFrameBody(f)
		return f
	case protocol.KindHave:
		return d.have()
	case protocol.KindWant:
		return &protocol.Want{Ranges: []protocol.Range{{First: d.index(), Last: d.index()}}, Bytes: d.Uint64() >> uint(d.IntN(64)), Eager: d.yes()}
	case protocol.KindBusy:
		return &protocol.Busy{RetryAfter: d.Int64(), Others: []protocol.MemberID{d.whoever()}}
	case protocol.KindManifest:
		return &protocol.Manifest{Manifest: d.manifest()}
	case protocol.KindChunk:
		return &protocol.Chunk{Index: d.index(), Sum: d.Sum, Number: d.Uint32() >> uint(d.IntN(32)), Data: []byte("forged")}
	}
	return nil
}

func (d draw) have() *protocol.Have {
	h := &protocol.Have{
		Applied: d.index(), LastIndex: d.index(), First: protocol.Index(d.IntN(3)), Commit: d.index(),
		Term: d.term(), Leader: d.whoever(), Checkpoints: []protocol.Index{d.index()}, Load: byte(d.Uint32()),
		Nonce: d.Uint64() >> uint(d.IntN(64)), AnswerTo: uint64(d.IntN(2)),
	}
	if d.yes() {
		h.FreshKnown, h.FreshIndex, h.FreshSum, h.FreshAge = true, d.index(), d.Sum.Head(), d.Int64()>>uint(d.IntN(64))
	}
	if d.yes() {
		h.Diverged = d.index()
	}
	if d.yes() {
		h.Behind = protocol.Behind{Needs: d.index(), Installing: d.index(), Left: d.Uint32() >> uint(d.IntN(32)), Pressed: d.yes()}
	}
	return h
}
