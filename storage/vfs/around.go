package vfs

import (
	"context"
	"io"
	"time"
)

const (
	// passTries is how often a read that failed is tried again before its error counts,
	// and passPause the first of the pauses, each twice as long as the last.
	passTries = 5
	passPause = 100 * time.Millisecond
	// aroundChunk and aroundBlock are the steps in which a file is read around a bad
	// place: few reads of a dying disk wait for the same sector.
	aroundChunk = 1 << 20
	aroundBlock = 4 << 10
	// aroundBadMax is how many bad blocks are told apart: beyond, what lies beside
	// one in a chunk counts as bad, too, and is not read.
	aroundBadMax = 1024
)

// Patience is how long failed reads are tried again before they count, in all that
// it is used for: a disk with many bad places is not waited for at each.
type Patience struct {
	fsys  FS
	ctx   context.Context
	tried int
}

// NewPatience returns the patience with reads of a file system. One that is a Sleeper
// lets the time pass.
func NewPatience(fsys FS) *Patience { return PatienceUntil(context.Background(), fsys) }

// PatienceUntil is NewPatience for whoever may have to end: once the context has, it
// reads no more, and returns the context's error.
func PatienceUntil(ctx context.Context, fsys FS) *Patience { return &Patience{fsys: fsys, ctx: ctx} }

// Sleeper is a file system with a time of its own.
type Sleeper interface{ Sleep(time.Duration) }

// Again waits, and reports whether another try is due.
func (p *Patience) Again() bool {
	if p.tried == passTries || p.ctx.Err() != nil {
		return false
	}
	pause := passPause << p.tried
	p.tried++
	if s, ok := p.fsys.(Sleeper); ok {
		s.Sleep(pause)
		return true
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-p.ctx.Done():
		return false
	}
}

// ReadFile is the package's ReadFile. What the disk refuses to give it tries again.
func (p *Patience) ReadFile(name string, limit int64) ([]byte, error) {
	for {
		b, err := ReadFile(p.fsys, name, limit)
		if !Damaged(err) || !p.Again() {
			return b, err
		}
	}
}

// BadRange is a part of a file that cannot be read: [From, To).
type BadRange struct {
	From, To int64
	Err      error
}

// ReadAround fills buf with what is in a file from an offset on. What the disk does
// not give (Damaged), after it was tried again, reads as zeros, and is told; any other
// error is returned. What lies behind the end of the file reads as zeros, too. For a
// file that is read in pieces, before is what was told of the others.
func (p *Patience) ReadAround(f File, buf []byte, at int64, before []BadRange) ([]BadRange, error) {
	blocks := badBlocks(before)
	for {
		r := reading{ctx: p.ctx, file: f, before: blocks}
		err := r.around(buf, at, aroundChunk)
		if err != nil || len(r.bad) == 0 || !p.Again() {
			return r.bad, err
		}
	}
}

// reading is one try at reading around bad places.
type reading struct {
	ctx    context.Context
	file   File
	before int64 // bad blocks of the file elsewhere
	bad    []BadRange
}

func badBlocks(bad []BadRange) int64 {
	var n int64
	for _, b := range bad {
		n += (b.To - b.From + aroundBlock - 1) / aroundBlock
	}
	return n
}

// around reads a range, in steps if it cannot be read as a whole.
func (r *reading) around(buf []byte, at, step int64) error {
	if err := r.ctx.Err(); err != nil {
		return err
	}
	n, err := r.file.ReadAt(buf, at)
	if err == nil || err == io.EOF {
		clear(buf[n:])
		return nil
	}
	if !Damaged(err) {
		return err
	}
	to := at + int64(len(buf))
	if at/aroundBlock == (to-1)/aroundBlock || step == aroundBlock && r.before+badBlocks(r.bad) >= aroundBadMax {
		clear(buf)
		if k := len(r.bad) - 1; k >= 0 && r.bad[k].To == at {
			r.bad[k].To = to
		} else {
			r.bad = append(r.bad, BadRange{at, to, err})
		}
		return nil
	}
	if at/step == (to-1)/step {
		step = aroundBlock
	}
	for from := at; from < to; {
		next := min(to, (from/step+1)*step)
		if err := r.around(buf[from-at:next-at], from, aroundBlock); err != nil {
			return err
		}
		from = next
	}
	return nil
}
