package replica

import (
	"testing"
	"time"

	"github.com/starlinghq/starling/internal/sessionop"
	"github.com/starlinghq/starling/protocol"
)

// Keep-alives of one interval share an entry, whoever sent them, and each is
// answered for its own session.
func TestKeepAlivesShareAnEntry(t *testing.T) {
	rec := found(1, 1, 1, map[protocol.Index]protocol.Configuration{1: conf(1, []byte{1})})
	r, now := leading(t, Config{}, rec, OpenedState{})
	before := r.Status(*now).Last
	for i := range 5 {
		c := sessionop.KeepAlive(protocol.SessionID(i+1), uint64(10+i))
		if i == 4 { // of another member
			r.Receive(*now, id(2), &protocol.Forward{Run: 7, Request: 70, Command: protocol.EncodeCommand(&c)})
			continue
		}
		r.Submit(*now, Submission{Request: uint64(i), Command: protocol.EncodeCommand(&c)})
	}
	if last := r.Status(*now).Last; last != before {
		t.Fatalf("appended up to %d at once, want the keep-alives gathered", last)
	}
	*now = now.Add(time.Second)
	r.Tick(*now)
	entry := r.log.tail.slice(before+1, before+1)[0]
	if last := r.Status(*now).Last; last != before+1 {
		t.Fatalf("appended up to %d, want one entry after %d", last, before)
	}
	c, err := protocol.DecodeCommand(entry.Data)
	if err != nil || c.Operation != protocol.SessionKeepAliveMany {
		t.Fatalf("the entry is %+v, %v", c, err)
	}
	answers := map[uint64]protocol.Code{}
	var forwarded []protocol.Code
	for range 10 {
		e := r.Effects()
		for _, a := range e.Answers {
			answers[a.Request] = a.Result.Code
		}
		for _, s := range e.Send {
			if m, ok := s.Message.(*protocol.ForwardAnswer); ok && m.Request == 70 {
				forwarded = append(forwarded, m.Result.Code)
			}
		}
		if e.Persist != nil {
			r.Persisted(*now, e.Persist.ID, nil)
		}
		for _, a := range e.Apply { // sessions 2 and 5 are gone: places 1 and 4
			r.Applied(*now, appliedOf(&a, []protocol.Result{{Data: []byte{2, 3}}}, func(request uint64, r protocol.Result) { answers[request] = r.Code }))
			if a.Entries[0].Index != entry.Index {
				t.Fatalf("applies %v", a.Entries)
			}
		}
	}
	want := map[uint64]protocol.Code{0: "", 1: protocol.ErrSessionExpired.Code, 2: "", 3: ""}
	for request, code := range want {
		if got, ok := answers[request]; !ok || got != code {
			t.Errorf("request %d: answered %t with %q, want %q", request, ok, got, code)
		}
	}
	if len(forwarded) != 1 || forwarded[0] != protocol.ErrSessionExpired.Code {
		t.Errorf("the forwarded one was answered with %q, want %q once", forwarded, protocol.ErrSessionExpired.Code)
	}
}

// A leader that loses its leadership before the entry exists says that nothing
// has happened.
func TestGatheredKeepAlivesAreTurnedAwayWithTheLeadership(t *testing.T) {
	rec := found(1, 1, 1, map[protocol.Index]protocol.Configuration{1: conf(1, []byte{1})})
	r, now := leading(t, Config{}, rec, OpenedState{})
	c := sessionop.KeepAlive(1, 1)
	r.Submit(*now, Submission{Request: 9, Command: protocol.EncodeCommand(&c)})
	raft(r).SetInstalling(*now, true) // a leader that does steps down
	r.pump(*now)
	if r.log.leads() {
		t.Fatal("leads on")
	}
	if a := r.Effects().Answers; len(a) != 1 || a[0].Result.Code != protocol.ErrNotLeader.Code {
		t.Errorf("answers %+v, want not_leader", a)
	}
}
