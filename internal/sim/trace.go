package sim

import (
	"fmt"
	"io"
	"math/bits"
)

// trace is what happened, as a hash always and as lines on demand. The hash
// covers every message, write, completion and fault, so that two runs of a
// seed that differ anywhere differ in it.
type trace struct {
	hash uint64
	out  io.Writer // nil: no lines
	now  *Time
	err  error // of the first line that could not be written
}

// on reports whether lines are wanted. Callers ask first, so that nothing is
// formatted in vain.
func (t *trace) on() bool { return t.out != nil }

// mark is the first number of what is hashed: it tells kinds of happenings
// apart.
type mark uint64

const (
	markSend mark = iota + 1
	markDeliver
	markPersist
	markPersisted
	markApply
	markBoot
	markDown
	markFault
	markSeen
	markAsk
	markAnswer
	markTick
)

// note adds a happening to the hash.
func (t *trace) note(m mark, member int, a, b uint64) {
	h := t.hash
	h = (h ^ uint64(m)<<56 ^ uint64(member)<<48 ^ uint64(*t.now)) * 0x9e3779b97f4a7c15
	h = (bits.RotateLeft64(h, 29) ^ a) * 0xbf58476d1ce4e5b9
	h = (bits.RotateLeft64(h, 31) ^ b) * 0x94d049bb133111eb
	t.hash = h ^ h>>32
}

// say writes one line: virtual time, who, what.
func (t *trace) say(who, format string, args ...any) {
	if t.out == nil || t.err != nil {
		return
	}
	now := int64(*t.now)
	_, t.err = fmt.Fprintf(t.out, "%4d.%06d  %-4s  %s\n", now/1e9, now%1e9/1e3, who, fmt.Sprintf(format, args...))
}
