package runtime

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/starlinghq/starling/gossip"
	"github.com/starlinghq/starling/protocol"
)

// TCP is blocked and UDP is not: the log says so once, names TCP and the port, and says
// when it is over. A member that is gone, and one that refuses, are nothing of that sort.
func TestBlockedStreamsAreSaidOnce(t *testing.T) {
	var log bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&log, nil))
	id, patience := protocol.MemberID{1}, time.Second
	name := func(protocol.MemberID) string { return "a2" }
	var s streamless
	began := protocol.Instant(5000)
	lost := protocol.ErrUnavailable.With("cannot reach 10.0.0.2:7600")
	try := func(at time.Duration, err error) {
		s.tried(logger, began.Add(at), name, id, "10.0.0.2:7600", err)
	}
	look := func(at, heard time.Duration) {
		s.look(logger, began.Add(at), patience, []gossip.Heard{{ID: id, At: began.Add(heard)}}, name)
	}
	silent := func(what string) {
		t.Helper()
		if log.Len() > 0 {
			t.Errorf("%s: the log has %q", what, log.String())
		}
	}
	try(0, nil)
	look(2*time.Second, 2*time.Second)
	silent("a member with a stream")
	try(2*time.Second, lost)
	look(2500*time.Millisecond, 2500*time.Millisecond)
	silent("a moment later")
	look(5*time.Second, 2*time.Second)
	silent("a member that is gone")
	try(5*time.Second, protocol.ErrWrongCluster)
	look(5*time.Second, 5*time.Second)
	silent("a member that refuses")
	try(6*time.Second, lost)
	for range 3 {
		look(6*time.Second, 6*time.Second)
	}
	for _, want := range []string{"level=WARN", "streams (TCP) to a member do not get through", "member=a2", "address=10.0.0.2:7600", "for=4s"} {
		if strings.Count(log.String(), want) != 1 {
			t.Errorf("got %q, want %s in it, once", log.String(), want)
		}
	}
	log.Reset()
	try(7*time.Second, nil)
	try(8*time.Second, nil)
	if got := log.String(); strings.Count(got, "level=INFO") != 1 || !strings.Contains(got, "streams (TCP) to a member get through again") {
		t.Errorf("got %q, want that they get through again, once", got)
	}
	s.tried(logger, began, name, id, "10.0.0.2:7600", lost)
	s.forget(id)
	log.Reset()
	look(time.Minute, time.Minute)
	silent("a member to which no link is wanted")
}
