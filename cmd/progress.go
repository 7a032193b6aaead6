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
	unit    string
	total   int64 // -1 if it is not known
	bar     *progressbar.ProgressBar
	started time.Time
	said    time.Time
}

// newProgress begins to show progress towards a total, -1 if that is not known:
// of bytes for lines, of the unit itself for anything else.
func newProgress(w io.Writer, what, unit string, total int64) *progress {
	now := time.Now()
	p := &progress{w: w, what: what, unit: unit, total: total, started: now, said: now}
	if !isTerminal(w) {
		return p
	}
	options := []progressbar.Option{
		progressbar.OptionSetWriter(w), progressbar.OptionSetDescription(what), progressbar.OptionSetWidth(30),
		progressbar.OptionThrottle(100 * time.Millisecond), progressbar.OptionClearOnFinish(),
	}
	if unit == "lines" {
		options = append(options, progressbar.OptionShowBytes(true))
	} else {
		options = append(options, progressbar.OptionShowIts(), progressbar.OptionSetItsString(unit))
	}
	p.bar = progressbar.NewOptions64(total, options...)
	return p
}

// set says how much of the total is done, and how many units.
func (p *progress) set(done, units int64) {
	if p.bar != nil {
		p.bar.Set64(done) // a bar that cannot be drawn is no reason to stop
		return
	}
	now := time.Now()
	if now.Sub(p.said) < plainInterval {
		return
	}
	p.said = now
	share := ""
	if p.total > 0 {
		share = fmt.Sprintf(" (%d %%)", 100*done/p.total)
	}
	fmt.Fprintf(p.w, "%s: %d %s%s, %.0f/s\n", p.what, units, p.unit, share, float64(units)/now.Sub(p.started).Seconds())
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
