package snapshotter_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/starlinghq/starling/internal/repair"
	"github.com/starlinghq/starling/internal/snapshotter"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
)

// rotten is a log of which a file can be written again.
type rotten struct {
	storage.Log
	did   []string
	fails string // what does
}

func (r *rotten) do(what string) error {
	r.did = append(r.did, what)
	if what == r.fails {
		return errors.New(what + " fails")
	}
	return nil
}

func (r *rotten) EndSegment(protocol.Index) error { return r.do("end") }
func (r *rotten) Rebuild(context.Context, protocol.Index) (storage.Rebuild, error) {
	if err := r.do("look"); err != nil {
		return nil, err
	}
	return file{r}, nil
}

// file is the one that is written again.
type file struct{ of *rotten }

func (f file) Lost() []storage.Lost                            { return []storage.Lost{{After: 3, Last: 4}} }
func (f file) Sound() bool                                     { return false }
func (f file) Write(context.Context, [][]protocol.Entry) error { return f.of.do("write") }
func (f file) Switch() error                                   { return f.of.do("switch") }
func (f file) Close()                                          { _ = f.of.do("close") }

// carry has a step done, and returns who did what.
func carry(x *snapshotter.Rebuilding, log storage.Log, step repair.Step) (*repair.Done, []bool) {
	var byWriter []bool
	job, done := x.Begin(log, step)
	for job != nil {
		byWriter = append(byWriter, job.Writer)
		job, done = x.Next(job.Do(ctx))
	}
	return done, byWriter
}

// A file is written anew beside the log, and takes the old one's place by the hand of the
// log's writer, as its end does.
func TestRebuildingGoesFromJobToJob(t *testing.T) {
	log := &rotten{}
	var x snapshotter.Rebuilding
	done, by := carry(&x, log, repair.Step{ID: 1, Look: 4})
	if done == nil || done.ID != 1 || done.Err != nil || len(done.Lost) != 1 || done.Sound || !slices.Equal(by, []bool{true, false}) {
		t.Errorf("a look: %+v, by the writer: %v", done, by)
	}
	done, by = carry(&x, log, repair.Step{ID: 2, Write: true})
	if done == nil || done.ID != 2 || done.Err != nil || !slices.Equal(by, []bool{false, true}) {
		t.Errorf("a write: %+v, by the writer: %v", done, by)
	}
	if want := []string{"end", "look", "write", "switch", "close"}; !slices.Equal(log.did, want) {
		t.Errorf("got %v, want %v", log.did, want)
	}
	if done, _ := carry(&x, log, repair.Step{Stop: true}); done != nil {
		t.Errorf("a stop is answered: %+v", done)
	}
}

// [S] After a job that has failed nothing of the step is done, and the file that was
// looked at is forgotten.
func TestRebuildingEndsWithAJobThatFails(t *testing.T) {
	for fails, want := range map[string][]string{
		"end":    {"end"},
		"look":   {"end", "look"},
		"write":  {"end", "look", "write", "close"},
		"switch": {"end", "look", "write", "switch", "close"},
	} {
		log := &rotten{fails: fails}
		var x snapshotter.Rebuilding
		done, _ := carry(&x, log, repair.Step{ID: 1, Look: 4})
		if fails == "write" || fails == "switch" {
			done, _ = carry(&x, log, repair.Step{ID: 2, Write: true})
		}
		if done == nil || done.Err == nil || len(done.Lost) > 0 || !slices.Equal(log.did, want) {
			t.Errorf("%s fails: %+v after %v, want %v", fails, done, log.did, want)
		}
		if done, _ := carry(&x, log, repair.Step{ID: 3, Write: true}); !errors.Is(done.Err, protocol.ErrInvalid) {
			t.Errorf("%s fails: the next write gives %v", fails, done.Err)
		}
	}
	var x snapshotter.Rebuilding
	if done, _ := carry(&x, struct{ storage.Log }{}, repair.Step{ID: 1, Look: 4}); !errors.Is(done.Err, protocol.ErrInvalid) {
		t.Errorf("a log in memory: %v", done.Err)
	}
}
