package cmd

import (
	"bytes"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const (
	// outputTime is how long a program that runs members waits for what it says to
	// be taken, and lastWords how long one that was told to end at once does.
	outputTime = time.Second
	lastWords  = 100 * time.Millisecond
)

// outlives has a program that runs members outlive those who read what it says, to the
// end of its process: a closed pipe is no signal to end, and a full one holds nothing
// up. The log has a queue of its own, and writes to the file itself.
func outlives(p *Program) {
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE) // a write fails then, instead of ending the process
	p.Stdout, p.Stderr = unhurried(p.Stdout, outputTime), unhurried(p.Stderr, outputTime)
}

// bounded is a writer that gives up what is not taken in time, and never fails. One
// that was given up is under way until it is taken, and nothing more is begun
// meanwhile.
type bounded struct {
	to       io.Writer
	patience time.Duration
	turn     chan struct{}
}

func unhurried(to io.Writer, patience time.Duration) *bounded {
	return &bounded{to: to, patience: patience, turn: make(chan struct{}, 1)}
}

// Write writes, if that can be done in time.
func (b *bounded) Write(text []byte) (int, error) {
	timer := time.NewTimer(b.patience)
	defer timer.Stop()
	select {
	case b.turn <- struct{}{}:
	case <-timer.C:
		return len(text), nil
	}
	kept, taken := bytes.Clone(text), make(chan struct{})
	go func() {
		_, _ = b.to.Write(kept)
		<-b.turn
		close(taken)
	}()
	select {
	case <-taken:
	case <-timer.C:
	}
	return len(text), nil
}
