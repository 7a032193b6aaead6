package starling_test

import (
	"context"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/starlinghq/starling"
)

// TestManyMembersInOneProcess runs many members in this process, over real
// loopback sockets, writes at a steady rate, and compares the digests of all of
// them in the end. 30 members and 200 writes, unless STARLING_SCALE is a number
// of writes per second: then 100 members for a minute.
//
//	STARLING_SCALE=1000 go test -count=1 -v -run ManyMembers .
//	STARLING_SCALE=20 go test -race -count=1 -v -run ManyMembers .
func TestManyMembersInOneProcess(t *testing.T) {
	const actives, patience = 3, 5 * time.Minute
	members, rate, seconds := 30, 200, 1
	if text := os.Getenv("STARLING_SCALE"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 1 {
			t.Fatalf("STARLING_SCALE is a number of writes per second, not %q", text)
		}
		members, rate, seconds = 100, n, 60
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	began := time.Now()
	c, err := starling.OpenLocal(ctx, starling.LocalConfig{Actives: actives, Passives: members - actives})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}()
	t.Logf("%d members serve after %v", members, time.Since(began))

	began = time.Now()
	writeAt(ctx, t, starling.NewMap[int, string](c.Client, "m"), rate, rate*seconds)
	t.Logf("%d writes in %v", rate*seconds, time.Since(began))

	began = time.Now()
	verified, err := c.Client.Verify(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if got := len(verified.Members); got != members {
		t.Errorf("got %d members, want %d", got, members)
	}
	for _, m := range verified.Members {
		if m.Verdict != starling.VerdictEqual {
			t.Errorf("%s at %d: %s at index %d: %s", m.Name, m.Applied, m.Verdict, verified.Index, m.Reason)
		}
	}
	t.Logf("compared at index %d in %v", verified.Index, time.Since(began))
}

// writeAt makes n writes at a rate per second.
func writeAt(ctx context.Context, t *testing.T, m *starling.Map[int, string], rate, n int) {
	due := make(chan int)
	var writers sync.WaitGroup
	defer writers.Wait()
	defer close(due)
	for range 64 {
		writers.Go(func() {
			for k := range due {
				if err := m.Put(ctx, k%1000, strconv.Itoa(k)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	pace := time.NewTicker(time.Millisecond)
	defer pace.Stop()
	begin := time.Now()
	for k := 0; k < n && !t.Failed(); {
		<-pace.C
		for until := int(time.Since(begin).Seconds() * float64(rate)); k <= min(until, n-1); k++ {
			due <- k
		}
	}
}
