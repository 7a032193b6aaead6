package badgerengine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
)

// logger passes on what matters. What Badger says at info and below is
// about its own housekeeping.
//
// Badger tells of a failed flush or compaction in no other way, and goes on: it has
// deleted the table, whose record stays, and a store with such a record cannot be
// opened again. So what it says at warning or above is a fault of the store, all
// but that its cache is small.
type logger struct {
	to    *slog.Logger
	fault func(error) // nil: of a view
	said  atomic.Int32
}

// saidMax is how much is passed on of what a view has to say.
const saidMax = 5

// Errorf implements badger.Logger.
func (l *logger) Errorf(format string, args ...any) { l.log(slog.LevelError, format, args) }

// Warningf implements badger.Logger.
func (l *logger) Warningf(format string, args ...any) {
	if strings.Contains(format, "might be too small") || strings.HasPrefix(format, "Cache life expectancy") {
		return
	}
	l.log(slog.LevelWarn, format, args)
}

// Infof implements badger.Logger.
func (*logger) Infof(string, ...any) {}

// Debugf implements badger.Logger.
func (*logger) Debugf(string, ...any) {}

func (l *logger) log(level slog.Level, format string, args []any) {
	text := "badger: " + strings.TrimSpace(fmt.Sprintf(format, args...))
	switch {
	case l.fault != nil: // whoever hears of the fault says it
		l.fault(errors.New(text))
	case l.said.Add(1) <= saidMax:
		l.to.Log(context.Background(), level, text)
	}
}
