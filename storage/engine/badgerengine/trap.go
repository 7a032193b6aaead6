package badgerengine

import (
	"io"
	"log"
	"runtime"
	"strings"
	"sync"
)

// Badger ends the process where it does not know on: by log.Fatalf, when it cannot
// open one of its files for want of descriptors or quota, and at its assertions. A
// member must live on without a checkpoint. log.Fatalf writes before it exits, so
// that the writer can refuse to return: with a panic in a goroutine of this
// package, which catch makes an error of, or by ending Badger's own goroutine, of
// which the stores that are being written hear as of any fault.

// surrender is the panic, and the error that it becomes.
type surrender struct{ text string }

// Error says what Badger had to say.
func (s surrender) Error() string { return "Badger gave up: " + s.text }

// trap is the writer of the standard library's logger. What is not Badger's end
// goes on to the writer that was there.
type trap struct {
	below io.Writer

	mu    sync.Mutex
	next  int
	tells map[int]func(error) // of the stores that are being written
}

// Write implements io.Writer.
func (t *trap) Write(b []byte) (int, error) {
	ends, ours := badgerEnds()
	if !ends {
		return t.below.Write(b)
	}
	end := surrender{strings.TrimSpace(string(b))}
	if ours {
		panic(end)
	}
	t.tell(end)
	runtime.Goexit()
	return 0, nil
}

// badgerEnds reports whether the caller is log.Fatal, called by Badger or what it
// is made of, and whether that was called by this package.
func badgerEnds() (ends, ours bool) {
	const module, own = "github.com/dgraph-io/", "github.com/starlinghq/starling/storage/engine/badgerengine."
	var callers [64]uintptr
	frames := runtime.CallersFrames(callers[:runtime.Callers(2, callers[:])])
	for fatal := false; ; {
		frame, more := frames.Next()
		switch name := frame.Function; {
		case strings.HasPrefix(name, "log.Fatal"):
			fatal = true
		case fatal && strings.HasPrefix(name, module):
			ends = true
		case fatal && !ends:
			return false, false
		case ends && strings.HasPrefix(name, own):
			return true, true
		}
		if !more {
			return ends, false
		}
	}
}

// trapped has a store hear when Badger would have ended the process, until forget
// is called. The trap is set again when it is not there, since whoever sets another
// output of the logger removes it.
func trapped(fault func(error)) (forget func()) {
	t, set := log.Writer().(*trap)
	if !set {
		t = &trap{below: log.Writer(), tells: map[int]func(error){}}
		log.SetOutput(t)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.next
	t.next++
	t.tells[n] = fault
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.tells, n)
	}
}

func (t *trap) tell(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, fault := range t.tells {
		fault(err)
	}
}
