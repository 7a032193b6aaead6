package client

import (
	"context"
	"testing"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
)

// A command costs its client the request, which has to be new with each attempt; the response is the other end's.
func TestWhatACommandAllocates(t *testing.T) {
	opened, _ := resources.AppendValue(nil, uint64(7))
	response := protocol.Response{Kind: protocol.RequestCommand}
	c, err := New(&constant{response: &response, opened: opened}, Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	command := protocol.Command{Resource: "r", Type: "count", Version: 1, Operation: "count", Argument: []byte("x")}
	run := func() {
		if _, err := c.Command(t.Context(), command); err != nil {
			t.Fatal(err)
		}
	}
	run() // which opens the session
	if n := testing.AllocsPerRun(1000, run); n > 1 {
		t.Errorf("%v allocations, want 1", n)
	}
}

// constant is a transport that answers at once, and always the same.
type constant struct {
	scripted
	response *protocol.Response
	opened   []byte
}

func (c *constant) Do(ctx context.Context, q *protocol.Request) (*protocol.Response, error) {
	if q.Kind == protocol.RequestCommand && q.Command.Operation == protocol.SessionOpen {
		return &protocol.Response{Kind: q.Kind, Result: protocol.Result{Data: c.opened}}, nil
	}
	return c.response, nil
}
