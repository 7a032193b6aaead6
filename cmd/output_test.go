package cmd

import (
	"bytes"
	"context"
	"io"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// A second signal ends at once, whoever reads what is said of it.
func TestTheSecondSignalEndsAtOnceWithAFullPipe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nobody, full := io.Pipe()
		signals := make(chan os.Signal, 2)
		signals <- syscall.SIGTERM
		signals <- syscall.SIGTERM
		begin := time.Now()
		stuck := make(chan int)
		if code := supervise(signals, full, func(context.Context) int { return <-stuck }); code != exitFailure {
			t.Errorf("got %d, want %d", code, exitFailure)
		}
		if took := time.Since(begin); took > time.Second {
			t.Errorf("it took %v", took)
		}
		stuck <- 0
		_ = nobody.Close()
	})
}

func TestWhatIsSaidHoldsNothingUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var buffer bytes.Buffer
		w := unhurried(&buffer, time.Second)
		for _, s := range []string{"one ", "two"} {
			if _, err := io.WriteString(w, s); err != nil {
				t.Fatal(err)
			}
		}
		if got := buffer.String(); got != "one two" {
			t.Errorf("got %q", got)
		}
		nobody, full := io.Pipe()
		w = unhurried(full, time.Second)
		begin := time.Now()
		for range 3 {
			if _, err := io.WriteString(w, "x"); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(begin); took != 3*time.Second {
			t.Errorf("it took %v, want a second for each", took)
		}
		_ = nobody.Close()
		_, _ = io.WriteString(w, "x") // a closed pipe is no error
	})
}
