package runtime

import (
	"context"
	"fmt"
	"testing"

	"github.com/starlinghq/starling/protocol"
)

// leader returns who leads a cluster.
func (c *cluster) leader() (*Member, error) {
	for _, m := range c.members {
		if s := m.Status(); s.LeaderID == s.ID {
			return m, nil
		}
	}
	return nil, protocol.ErrNoLeader
}

func answerOf(ctx context.Context, m *Member, req protocol.Request) (*protocol.Response, error) {
	got, err := m.Do(ctx, &req)
	if err == nil {
		err = got.Result.Err()
	}
	return got, err
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
	set := protocol.Autopilot{Off: true}
	c.eventually("seats are asked for and changed", func() error { // somebody else may be elected meanwhile
		leader, err := c.leader()
		if err != nil {
			return err
		}
		now, err := answerOf(c.ctx, leader, protocol.Request{Kind: protocol.RequestAutopilot})
		if err != nil {
			return err
		}
		if n := len(now.Autopilot.Configuration.Configuration.Voters()); n != 3 || len(now.Autopilot.Names) != 3 {
			return fmt.Errorf("%d voters and %d names, want 3 of each", n, len(now.Autopilot.Names))
		}
		done, err := answerOf(c.ctx, leader, protocol.Request{Kind: protocol.RequestMembershipChange, MembershipChange: &protocol.MembershipChange{Version: now.Autopilot.Configuration.Index, Target: 3, Autopilot: &set}})
		if err != nil {
			return err
		}
		then, err := answerOf(c.ctx, leader, protocol.Request{Kind: protocol.RequestAutopilot})
		if err != nil {
			return err
		}
		if conf := then.Autopilot.Configuration; conf.Index != done.Result.Index || !conf.Configuration.Autopilot.Off {
			return fmt.Errorf("got version %d, off: %t; want %d, which switches it off", conf.Index, conf.Configuration.Autopilot.Off, done.Result.Index)
		}
		return nil
	})
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
		if _, err := answerOf(c.ctx, m, protocol.Request{Kind: protocol.RequestAutopilot}); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case <-told:
		t.Error("whoever has gone is told, want nobody")
	default:
	}
}
