package starling_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/starlinghq/starling"
	"github.com/starlinghq/starling/internal/dev/freeport"
)

// A member that waits for its cluster serves HTTP already, and says where.
func TestMemberThatWaitsSaysWhereItsHTTPIs(t *testing.T) {
	free := freeport.Addresses(t, 3)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	ended := make(chan error, 1)
	go func() {
		_, err := starling.Open(ctx, starling.Config{Name: "w", Dir: t.TempDir(), Bind: free[0], HTTP: free[1], Join: free[2:]})
		ended <- err
	}()
	defer func() {
		cancel()
		if err := <-ended; err == nil {
			t.Error("a member has joined nobody")
		}
	}()
	for {
		s, err := statusOf(ctx, free[0])
		switch {
		case err == nil && s.HTTP != free[1]:
			t.Fatalf("HTTP is at %q, want %q", s.HTTP, free[1])
		case err == nil:
			return
		case errors.Is(err, context.DeadlineExceeded):
			t.Fatal(err)
		}
	}
}

func statusOf(ctx context.Context, address string) (starling.Status, error) {
	c, err := starling.Dial(ctx, starling.ClientConfig{Addresses: []string{address}})
	if err != nil {
		return starling.Status{}, err
	}
	defer c.Close()
	return c.Status(ctx)
}
