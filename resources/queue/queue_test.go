package queue_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"testing"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources/queue"
	"github.com/starlinghq/starling/resources/resourcetest"
)

func TestFirstInFirstOut(t *testing.T) {
	ctx, c := context.Background(), resourcetest.NewCaller(t, queue.Type)
	if _, err := queue.Pop.Do(ctx, c, "q", struct{}{}); !errors.Is(err, protocol.ErrNotFound) {
		t.Errorf("got %v, want empty", err)
	}
	for i := range uint64(300) { // numbers beyond one byte keep their order
		if n, err := queue.Push.Do(ctx, c, "q", fmt.Append(nil, i+1)); n != i+1 || err != nil {
			t.Fatalf("got %d, %v, want %d", n, err, i+1)
		}
	}
	peeked, err := queue.Peek.Do(ctx, c, "q", 2)
	if err != nil || len(peeked) != 2 || string(peeked[1].Value) != "2" || peeked[1].Number != 2 {
		t.Errorf("got %v, %v, want 1 and 2", peeked, err)
	}
	for i := range uint64(300) {
		if n, err := queue.Length.Do(ctx, c, "q", struct{}{}); n != 300-i || err != nil {
			t.Fatalf("got length %d, %v, want %d", n, err, 300-i)
		}
		e, err := queue.Pop.Do(ctx, c, "q", struct{}{})
		if err != nil || e.Number != i+1 || string(e.Value) != fmt.Sprint(i+1) {
			t.Fatalf("got %d %q, %v, want %d", e.Number, e.Value, err, i+1)
		}
	}
	if _, err := queue.Peek.Do(ctx, c, "q", 0); !errors.Is(err, queue.ErrEmpty) {
		t.Errorf("got %v, want empty", err)
	}
	if n, err := queue.Push.Do(ctx, c, "q", nil); n != 301 || err != nil {
		t.Errorf("got %d, %v: numbers are used once, want 301", n, err)
	}
	if _, err := queue.Peek.Do(ctx, c, "q", queue.PeekMax+1); !errors.Is(err, protocol.ErrInvalid) {
		t.Errorf("got %v, want invalid", err)
	}
	if _, err := queue.Push.Do(ctx, c, "q", make([]byte, protocol.ValueBytesMax+1)); !errors.Is(err, protocol.ErrTooLarge) {
		t.Errorf("got %v, want too large", err)
	}
	if n, err := queue.Length.Do(ctx, c, "q", struct{}{}); n != 1 || err != nil {
		t.Errorf("got length %d, %v, want 1", n, err)
	}
}

func TestReplicates(t *testing.T) { resourcetest.Run(t, queue.Type, resourcetest.Options{}) }

// An answer to a Take that took something is short, whatever its numbers, and comes back as it was.
func TestElementsAreShort(t *testing.T) {
	for _, list := range []queue.Elements{
		{{Number: 1<<64 - 1, Index: protocol.IndexMax}}, {{Number: 1, Index: 2, Value: []byte("x")}, {Number: 2, Index: 3}}, nil,
	} {
		b, err := list.AppendRaw(nil)
		if err != nil || len(list) == 1 && len(b) > 22 {
			t.Errorf("%v takes %d bytes, %v", list, len(b), err)
		}
		if got, err := list.ParseRaw(b); err != nil || !reflect.DeepEqual(got, list) {
			t.Errorf("%v comes back as %v, %v", list, got, err)
		}
		for n := range b {
			if got, err := list.ParseRaw(b[:n]); err == nil && len(got) >= len(list) {
				t.Errorf("%v cut off after %d bytes is %v", list, n, got)
			}
		}
	}
}
