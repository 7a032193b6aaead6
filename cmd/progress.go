package cmd

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
)

// plainInterval is how often progress is a line where no bar can be drawn.
const plainInterval = 5 * time.Second

// progress shows how far an import or an export is: a bar on a terminal, a
// line now and then elsewhere. It belongs to one goroutine, but for clear.
type progress struct {
	w       io.Writer
	what    string
	total   int64 // bytes, or -1
	bar     *progressbar.ProgressBar
	started time.Time
	said    time.Time
}

// newProgress begins to show progress towards total bytes, -1 if that is not
// known.
func newProgress(w io.Writer, what string, total int64) *progress {
	now := time.Now()
	p := &progress{w: w, what: what, total: total, started: now, said: now}
	if isTerminal(w) {
		p.bar = progressbar.NewOptions64(total,
			progressbar.OptionSetWriter(w), progressbar.OptionSetDescription(what),
			progressbar.OptionShowBytes(true), progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionClearOnFinish(), progressbar.OptionSetWidth(30))
	}
	return p
}

// set says how many bytes and lines are done.
func (p *progress) set(bytes, lines int64) {
	if p.bar != nil {
		p.bar.Set64(bytes) // a bar that cannot be drawn is no reason to stop
		return
	}
	now := time.Now()
	if now.Sub(p.said) < plainInterval {
		return
	}
	p.said = now
	share := ""
	if p.total > 0 {
		share = fmt.Sprintf(" (%d %%)", 100*bytes/p.total)
	}
	fmt.Fprintf(p.w, "%s: %d lines%s, %.0f/s\n", p.what, lines, share, float64(lines)/now.Sub(p.started).Seconds())
}

// clear makes room for a line of text.
func (p *progress) clear() {
	if p.bar != nil {
		p.bar.Clear()
	}
}

// finish removes the bar.
func (p *progress) finish() {
	if p.bar != nil {
		p.bar.Finish()
	}
}

// isTerminal reports whether a bar can be drawn on w.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
}
