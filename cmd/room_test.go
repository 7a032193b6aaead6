package cmd

import (
	"context"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/starlinghq/starling"
)

// An import goes on while the lead comes to a member without room on its disk, again and
// again: the others have some.
func TestAnImportGoesOnWhileALeaderHasNoRoom(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	var addrs []string
	for i := range 3 {
		cfg := starling.Config{
			Name: fmt.Sprintf("a%d", i+1), Bind: "127.0.0.1:0", Dir: t.TempDir(),
			Heartbeat: 50 * time.Millisecond, Election: 250 * time.Millisecond,
			Bootstrap: i == 0, Join: addrs,
		}
		if i == 0 {
			cfg.DiskLow, cfg.DiskHigh = 1<<62, 1<<62
		}
		n, err := starling.Open(ctx, cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = n.Close() })
		addrs = append(addrs, n.Addr())
	}
	client, err := starling.Dial(ctx, starling.ClientConfig{Addresses: addrs})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	eventually(t, time.Minute, func() error {
		if seats, err := client.Seats(ctx); err != nil || len(seats.Voters) < 3 || seats.Leader == "a1" {
			return fmt.Errorf("%v: %w", seats, err)
		}
		return nil
	})
	in, lines := io.Pipe()
	go func() {
		defer lines.Close()
		for round := range 5 {
			if _, err := client.Transfer(ctx, "a1"); err != nil {
				t.Errorf("round %d: %v", round, err)
			}
			for i := range 40 {
				fmt.Fprintf(lines, "k%d-%d\tv\n", round, i)
			}
		}
	}()
	var out, errs syncBuffer
	p := &Program{Args: []string{"map", "import", "--addr", addrs[0] + "," + addrs[1], "--format", "tab", "-o", "json", "m"}, Stdin: in, Stdout: &out, Stderr: &errs}
	if code, want := p.Run(ctx), `{"imported":200,"lines":200}`+"\n"; code != 0 || out.String() != want {
		t.Errorf("exit code %d: %s %s, want %s", code, out.String(), errs.String(), want)
	}
	_ = in.Close() // ends whoever writes, if the import has failed
}
