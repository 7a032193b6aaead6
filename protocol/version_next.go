//go:build starling_next

package protocol

import "slices"

// This file makes a release that is one version ahead, for tests of clusters that are
// upgraded: it adds two fields to every message but frames, which are forwarded as they
// come, and two kinds of messages, of which one asks; and a format level with a kind of entries.

// Version is one more than that of version_now.go.
const Version = 2

// FormatKnown is one more than that of version_now.go.
const FormatKnown FormatLevel = 2

// EntryNext is a kind of entries that level 2 brings. It writes the cluster time into the
// state: who passed over one would have another state.
const EntryNext EntryKind = 8

func nextLevel(k EntryKind) FormatLevel {
	if k == EntryNext {
		return 2
	}
	return 0
}

// Kinds that version 1 does not know.
const (
	KindNext         = MessageKind(63)
	KindNextQuestion = asks | 63
)

// nextNumber is the value of the field that this version adds.
const nextNumber = 300

// Next says something that only this version understands.
type Next struct{ Number uint64 }

// NextQuestion asks something that only this version understands.
type NextQuestion struct{ Request uint64 }

// Kind returns KindNext.
func (*Next) Kind() MessageKind { return KindNext }

// Kind returns KindNextQuestion.
func (*NextQuestion) Kind() MessageKind { return KindNextQuestion }

func (*Next) highest() Index         { return 0 }
func (*NextQuestion) highest() Index { return 0 }

func (m *Next) append(dst []byte) []byte { return appendUint(appendArray(dst, 1), m.Number) }

func (m *NextQuestion) append(dst []byte) []byte { return appendUint(appendArray(dst, 1), m.Request) }

func next(k [256]kind) [256]kind {
	k[KindNext] = kind{"next", ofRole, LaneData, byStream, ClassControl, copied, func(r *reader) Message {
		r.message(1)
		return &Next{Number: r.uint()}
	}}
	k[KindNextQuestion] = kind{"next-question", ofRole, LaneData, byStream, ClassControl, copied, func(r *reader) Message {
		r.message(1)
		return &NextQuestion{Request: r.uint()}
	}}
	return k
}

// nextFields adds the fields to the message that begins at a place.
func nextFields(dst []byte, begin int) []byte {
	if MessageKind(dst[begin]) == KindFrame {
		return dst
	}
	r := reader{src: dst[begin+1:]}
	n := r.arrayTo(fixArrayMax, 1)
	fields := slices.Clone(r.src)
	dst = append(appendArray(dst[:begin+1], n+2), fields...)
	return appendBin(appendUint(dst, nextNumber), []byte("next"))
}

// readNext reads the fields that version 1 does not send: a message without them is as
// good.
func (r *reader) readNext(k MessageKind) {
	if k == KindFrame || r.more < 2 {
		return
	}
	r.more -= 2
	if number, text := r.uint(), r.bin(fixIntMax); number != nextNumber || string(text) != "next" {
		r.fail("the fields of version 2 with something else in them")
	}
}
