package runtime

import (
	"context"
	"testing"

	"github.com/starlinghq/starling/protocol"
)

// atLeader returns the leader of a cluster, and its run of a request.
func (c *cluster) atLeader() *Member {
	c.t.Helper()
	var leader *Member
	c.eventually("somebody leads", func() error {
		for _, m := range c.members {
			if s := m.Status(); s.LeaderID == s.ID {
				leader = m
				return nil
			}
		}
		return protocol.ErrNoLeader
	})
	return leader
}

func answerOf(t *testing.T, ctx context.Context, m *Member, req protocol.Request) *protocol.Response {
	t.Helper()
	got, err := m.Do(ctx, &req)
	if err == nil {
		err = got.Result.Err()
	}
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// While a command hangs at all members, nobody can take the lead from anybody, and seats
// are asked for and changed as ever.
func TestSeatsChangeWhileACommandHangs(t *testing.T) {
	t.Parallel()
	free, begun := make(chan struct{}), make(chan struct{}, 3)
	c, do := withType(t, func(_, what string) {
		if what == "hang" {
			begun <- struct{}{}
			<-free
		}
	}, nil)
	defer close(free)
	ctx, cancel := context.WithCancel(c.ctx)
	defer cancel()
	answered := make(chan error, 1)
	go func() { answered <- do(ctx, "a1", "hang") }()
	for range 3 {
		select {
		case <-begun:
		case <-c.ctx.Done():
			t.Fatal("the command does not begin")
		}
	}
	leader := c.atLeader()
	now := answerOf(t, c.ctx, leader, protocol.Request{Kind: protocol.RequestAutopilot}).Autopilot
	if n := len(now.Configuration.Configuration.Voters()); n != 3 || len(now.Names) != 3 {
		t.Errorf("%d voters and %d names, want 3 of each", n, len(now.Names))
	}
	set := protocol.Autopilot{Off: true}
	done := answerOf(t, c.ctx, leader, protocol.Request{Kind: protocol.RequestSeats, Seats: &protocol.SeatChange{Version: now.Configuration.Index, Target: 3, Autopilot: &set}})
	then := answerOf(t, c.ctx, leader, protocol.Request{Kind: protocol.RequestAutopilot}).Autopilot
	if conf := then.Configuration; conf.Index != done.Result.Index || !conf.Configuration.Autopilot.Off {
		t.Errorf("got version %d, off: %t; want %d, which switches it off", conf.Index, conf.Configuration.Autopilot.Off, done.Result.Index)
	}
	select {
	case err := <-answered:
		t.Errorf("the command has returned (%v): nothing was tested", err)
	default:
	}
}

// Who asks for the seats and gives up at once gets no answer, however early that was:
// also when the loop has not come to the question.
func TestSeatsAreNotToldToWhoHasGone(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	m := c.start("a1", protocol.RoleActive)
	c.voters(1)
	held, goOn := make(chan struct{}), make(chan struct{})
	m.mailbox.put(func(in *mail) {
		in.calls = append(in.calls, func() { close(held); <-goOn })
	})
	<-held // nothing else has a turn now
	told := make(chan struct{}, 1)
	forget := m.serveRequest(c.ctx, &protocol.Request{Kind: protocol.RequestAutopilot}, func(*protocol.Response) { told <- struct{}{} })
	forget()
	close(goOn)
	for range 2 { // questions are answered in their order
		answerOf(t, c.ctx, m, protocol.Request{Kind: protocol.RequestAutopilot})
	}
	select {
	case <-told:
		t.Error("whoever has gone is told, want nobody")
	default:
	}
}
