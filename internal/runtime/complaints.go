package runtime

import (
	"log/slog"
	"sync"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// complaintEvery is how often the log has, at most, that something still fails that is tried
// again and again.
const complaintEvery = time.Minute

// complaints say in the log that something fails which is tried again by itself: when that
// begins, then once a minute at most, with how often, and when it works again. Otherwise a
// full disk fills the log, which may lie on it. What has not failed for a minute begins anew. The zero value has none; any goroutine may
// use it.
type complaints struct {
	mu sync.Mutex
	of map[string]*complaint // by what fails; few texts of this package
}

type complaint struct {
	since, told, last protocol.Instant
	times             int
}

// fails says that something has failed, unless that was said just now.
func (c *complaints) fails(logger *slog.Logger, now protocol.Instant, what string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	x := c.of[what]
	if x == nil || now >= x.last.Add(complaintEvery) {
		if c.of == nil {
			c.of = map[string]*complaint{}
		}
		x = &complaint{since: now}
		c.of[what] = x
	}
	x.times++
	x.last = now
	if x.times > 1 && now < x.told.Add(complaintEvery) {
		return
	}
	x.told = now
	if x.times > 1 {
		args = append(args, "times", x.times, "for", now.Sub(x.since))
	}
	logger.Warn(what, args...)
}

// works says, with a text, that something works again, if it was said to fail.
func (c *complaints) works(logger *slog.Logger, now protocol.Instant, what, text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	x := c.of[what]
	if x == nil {
		return
	}
	delete(c.of, what)
	logger.Info(text, "failed", x.times, "for", now.Sub(x.since))
}
