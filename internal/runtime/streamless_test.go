package runtime

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/starlinghq/starling/active"
	"github.com/starlinghq/starling/gossip"
	"github.com/starlinghq/starling/internal/wire"
	"github.com/starlinghq/starling/protocol"
)

var (
	errNoAnswer = &protocol.Error{Code: protocol.ErrUnavailable.Code, Text: "cannot reach 10.0.0.2:7600", Cause: wire.ErrNoAnswer}
	errSilent   = &protocol.Error{Code: protocol.ErrUnavailable.Code, Text: "silent", Cause: errors.Join(wire.ErrNoAnswer, &wire.SilentError{})}
	errIdle     = protocol.ErrClosed.With("the other side closed the connection")
	errOther    = protocol.ErrUnavailable.With("another member answers there")
)

// streamScene plays what happens between this member and another one, in steps of 50 ms.
type streamScene struct {
	streamless
	log      bytes.Buffer
	logger   *slog.Logger
	attempts *attempts
	now      protocol.Instant
	phase    time.Duration // when in a second the loop looks
	patience time.Duration
	heard    gossip.Heard
}

func newStreamScene(phase, patience time.Duration) *streamScene {
	s := &streamScene{streamless: streamless{}, now: protocol.Instant(time.Hour), phase: phase, patience: patience}
	s.logger = slog.New(slog.NewTextHandler(&s.log, nil)).With("member", "a1")
	s.heard = gossip.Heard{ID: protocol.MemberID{1}, At: s.now}
	s.attempts = s.begin(s.heard.ID)
	return s
}

func (s *streamScene) try(err error) {
	s.attempts.tried(s.logger, s.now, func() string { return "a2" }, "10.0.0.2:7600", err)
}

// last lets time pass in which the member is heard or is not. If there is an error, an
// attempt fails with it once in every 250 ms.
func (s *streamScene) last(d time.Duration, heard bool, err error) {
	const step = 50 * time.Millisecond
	for end := s.now.Add(d); s.now < end; s.now = s.now.Add(step) {
		if heard {
			s.heard.At = s.now
		}
		if err != nil && time.Duration(s.now)%(5*step) == 0 {
			s.try(err)
		}
		if time.Duration(s.now)%time.Second == s.phase {
			s.look(s.logger, s.patience, []gossip.Heard{s.heard}, func(protocol.MemberID) string { return "a2" })
		}
	}
}

// What happens to members that take no streams, and is no firewall: the log says nothing of
// TCP then, whenever the loop looks.
func TestStreamlessIsNotSaidOfWhoIsGone(t *testing.T) {
	fast := 2 * active.Fast.Election
	for name, test := range map[string]struct {
		patience time.Duration
		play     func(s *streamScene)
	}{
		"killed, with fast timing": {fast, func(s *streamScene) {
			s.last(2*time.Second, true, nil)
			s.last(time.Minute, false, errNoAnswer)
		}},
		"killed and back at once, with fast timing": {fast, func(s *streamScene) {
			s.last(2*time.Second, true, nil)
			s.last(time.Second, false, errNoAnswer)
			s.last(250*time.Millisecond, true, errNoAnswer)
			s.try(nil)
			s.last(time.Minute, true, nil)
		}},
		"an idle stream was closed, and long after the member is killed": {fast, func(s *streamScene) {
			s.try(nil)
			s.try(errIdle)
			s.last(time.Minute, true, nil)
			s.last(time.Minute, false, errNoAnswer)
		}},
		"an idle stream was closed, and nothing is to be sent": {fast, func(s *streamScene) {
			s.try(nil)
			s.try(errIdle)
			s.last(time.Minute, true, nil)
		}},
		"one attempt failed, and long after the member restarts": {streamPatience, func(s *streamScene) {
			s.try(errNoAnswer)
			s.last(time.Minute, true, nil)
			s.last(time.Second, false, errNoAnswer)
			s.last(500*time.Millisecond, true, errNoAnswer)
			s.try(nil)
			s.last(time.Minute, true, nil)
		}},
		"one attempt failed, and nothing is to be sent": {fast, func(s *streamScene) {
			s.try(errNoAnswer)
			s.last(time.Minute, true, nil)
		}},
		"restarts before it is suspected": {streamPatience, func(s *streamScene) {
			s.last(2*time.Second, true, errNoAnswer) // it stops, and says so
			s.last(heardWithin-100*time.Millisecond, false, errNoAnswer)
			s.last(time.Second, true, errNoAnswer)
			s.try(nil)
			s.last(time.Minute, true, nil)
		}},
		"restarts after a while": {streamPatience, func(s *streamScene) {
			s.last(4*time.Second, true, errNoAnswer)
			s.last(time.Minute, false, errNoAnswer)
			s.last(time.Second, true, errNoAnswer)
			s.try(nil)
			s.last(time.Minute, true, nil)
		}},
		"restarts over and over": {streamPatience, func(s *streamScene) {
			for range 20 {
				s.last(time.Second, true, errNoAnswer)
				s.last(heardWithin+time.Second, false, errNoAnswer)
			}
		}},
		"another member answers": {fast, func(s *streamScene) {
			s.last(time.Minute, true, errOther)
		}},
		"another member answers now and then": {streamPatience, func(s *streamScene) {
			for range 20 {
				s.last(streamPatience-time.Second, true, errNoAnswer)
				s.try(errOther)
			}
		}},
		"no link is wanted for a while": {streamPatience, func(s *streamScene) {
			old := s.attempts
			s.last(2*time.Second, true, errNoAnswer)
			delete(s.streamless, s.heard.ID)
			s.try(errNoAnswer) // under way
			s.last(8*time.Second, true, nil)
			s.attempts = s.begin(s.heard.ID)
			s.last(2*time.Second, true, errNoAnswer)
			old.tried(s.logger, s.now, func() string { return "a2" }, "10.0.0.2:7600", nil)
		}},
	} {
		for phase := time.Duration(0); phase < time.Second; phase += 50 * time.Millisecond {
			s := newStreamScene(phase, test.patience)
			test.play(s)
			if s.log.Len() > 0 {
				t.Errorf("%s, the loop looks at .%03d: the log has %q", name, phase.Milliseconds(), s.log.String())
				break
			}
		}
	}
}

// A stream that rests ends because its pings are not answered: that is said of its member as
// if something had been sent, and once.
func TestStreamlessIsSaidOfAStreamThatRests(t *testing.T) {
	s := newStreamScene(0, streamPatience)
	s.try(nil)
	s.last(time.Minute, true, nil)
	s.try(errSilent)
	s.last(2*streamPatience, true, errNoAnswer)
	s.try(errSilent)
	s.last(time.Minute, true, errNoAnswer)
	if got := s.log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "level=WARN") {
		t.Errorf("got %q, want one WARN", got)
	}
	s.log.Reset()
	s.try(nil)
	if got := s.log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "get through again") {
		t.Errorf("got %q, want its end, once", got)
	}
	s.log.Reset()
	s.try(errSilent)
	s.try(nil)
	s.last(time.Minute, true, nil)
	if s.log.Len() > 0 {
		t.Errorf("of one that was made anew at once the log has %q", s.log.String())
	}
}

// TCP is blocked and UDP is not: the log says so once, names TCP, the port and who it is, and
// says when it is over, each time anew. So it is with a member that was not heard at first, and
// with one that is not heard for a moment now and then.
func TestStreamlessIsSaidOnce(t *testing.T) {
	for phase := time.Duration(0); phase < time.Second; phase += 50 * time.Millisecond {
		s := newStreamScene(phase, streamPatience)
		s.last(10*time.Second, false, errNoAnswer)
		for round := range 2 {
			s.log.Reset()
			s.last(streamPatience-time.Second, true, errNoAnswer)
			if s.log.Len() > 0 {
				t.Errorf("%v, round %d: it is early for %q", phase, round, s.log.String())
			}
			for range 10 {
				s.last(5*time.Second, true, errNoAnswer)
				s.last(heardWithin-time.Second, false, errNoAnswer)
			}
			s.last(time.Minute, true, nil)
			s.last(time.Minute, true, errNoAnswer)
			got := s.log.String()
			for _, want := range []string{"\n", "level=WARN", "streams (TCP) to a member do not get through", "member=a1 to=a2 address=10.0.0.2:7600 for="} {
				if strings.Count(got, want) != 1 {
					t.Errorf("%v, round %d: got %q, want %q in it, once", phase, round, got, want)
				}
			}
			s.log.Reset()
			s.try(nil)
			s.try(nil)
			const want = `level=INFO msg="streams (TCP) to a member get through again" member=a1 to=a2 address=10.0.0.2:7600 for=`
			if got := s.log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, want) {
				t.Errorf("%v, round %d: got %q, want %q, once", phase, round, got, want)
			}
		}
	}
}
