package wal

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/zeebo/xxh3"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage/vfs"
)

// A segment's header:
//
//	  0  "STARWAL1"
//	  8  sum of the rest, configuration included, seeded with the nonce
//	 16  format (4), length of the configuration's encoding (4)
//	 24  nonce
//	 32  number
//	 40  sequence number of the first record
//	 48  durable
//	 56  previous index, its term, log sum (16)
//	 88  term, vote (16), commit
//	120  index of the configuration in force
//	128  its encoding; no bytes if none is known
//
// Records begin at the next page, so that no record shares one with the header.
// The number, the first sequence number and the nonce are in the file's name
// too: with a bad header the records can still be read.
const (
	segmentMagic          = "STARWAL1"
	segmentBytes          = 128
	segmentAlign          = 4 << 10
	configurationBytesMax = 64 << 10
)

// segmentHeader is a segment's, decoded.
type segmentHeader struct {
	nonce, number  uint64
	first, durable protocol.Sequence
	before         point
	state          protocol.HardState
	// configuration is in force at before; known says whether there is one.
	configuration protocol.ConfigurationAt
	known         bool
}

// segment is a file of the log. It is fixed once it has its name, except low,
// which is the writer's, and the readers' fields, under the log's lock.
type segment struct {
	segmentHeader
	name string // within the folder
	file vfs.File
	size int64 // of the file
	good bool  // the header is
	// low is the lowest index that the log was cut back to while this segment
	// was written, or began at. A log can begin at a segment only if nothing
	// later went below.
	low protocol.Index

	readers int
	dropped bool
}

// appendSegmentHeader encodes a header, padded to where records begin.
func appendSegmentHeader(dst []byte, s *segmentHeader) []byte {
	begin := len(dst)
	dst = append(dst, make([]byte, segmentBytes)...)
	if s.known {
		dst = protocol.AppendConfiguration(dst, s.configuration.Configuration)
	}
	b := dst[begin:]
	le := binary.LittleEndian
	copy(b, segmentMagic)
	le.PutUint32(b[16:], Format)
	le.PutUint32(b[20:], uint32(len(b)-segmentBytes))
	le.PutUint64(b[24:], s.nonce)
	le.PutUint64(b[32:], s.number)
	le.PutUint64(b[40:], uint64(s.first))
	le.PutUint64(b[48:], uint64(s.durable))
	putPoint(b[56:], s.before)
	putState(b[88:], s.state)
	le.PutUint64(b[120:], uint64(s.configuration.Index))
	le.PutUint64(b[8:], xxh3.HashSeed(b[16:], s.nonce))
	return append(dst, make([]byte, headerEnd(len(b))-int64(len(b)))...)
}

// headerEnd is where records begin after a header of n bytes.
func headerEnd(n int) int64 {
	return (int64(n) + segmentAlign - 1) &^ (segmentAlign - 1)
}

// parseSegmentHeader decodes the header at the front of b and returns where the
// records begin. It reports false if the header is damaged.
func parseSegmentHeader(b []byte, nonce uint64) (s segmentHeader, end int64, ok bool) {
	if len(b) < segmentBytes || string(b[:8]) != segmentMagic {
		return s, 0, false
	}
	le := binary.LittleEndian
	length := le.Uint32(b[20:])
	if length > configurationBytesMax || segmentBytes+int(length) > len(b) || le.Uint32(b[16:]) != Format {
		return s, 0, false
	}
	n := int(length)
	b = b[:segmentBytes+n]
	if le.Uint64(b[8:]) != xxh3.HashSeed(b[16:], nonce) {
		return s, 0, false
	}
	s.nonce, s.number = le.Uint64(b[24:]), le.Uint64(b[32:])
	s.first, s.durable = protocol.Sequence(le.Uint64(b[40:])), protocol.Sequence(le.Uint64(b[48:]))
	s.before, s.state = parsePoint(b[56:]), parseState(b[88:])
	s.configuration.Index = protocol.Index(le.Uint64(b[120:]))
	if n > 0 {
		c, err := protocol.DecodeConfiguration(b[segmentBytes:])
		if err != nil {
			return s, 0, false
		}
		s.configuration.Configuration, s.known = c, true
	}
	return s, headerEnd(len(b)), s.nonce == nonce && s.durable < s.first
}

const (
	logFolder        = "log"
	segmentSuffix    = ".wal"
	preallocatedName = "spare-"
)

func segmentName(s *segmentHeader) string {
	return fmt.Sprintf("%08x-%016x-%016x%s", s.number, uint64(s.first), s.nonce, segmentSuffix)
}

// parseSegmentName returns what a segment's name says of it.
func parseSegmentName(name string) (s segmentHeader, ok bool) {
	var first uint64
	n, err := fmt.Sscanf(name, "%x-%x-%x"+segmentSuffix, &s.number, &first, &s.nonce)
	s.first = protocol.Sequence(first)
	return s, n == 3 && err == nil && first > 0 && segmentName(&s) == name
}

// folder is what is in the log's folder.
type folder struct {
	segments     []listed // by number
	preallocated []string
	temporary    []string
	unexpected   []string
	// switched is the name of the switch of a repaired log, if it is there, and
	// dead are the segments that do not count because of it.
	switched string
	dead     []string
}

// listed is a segment's file, and what its name says.
type listed struct {
	segmentHeader
	file string
}

func listFolder(fsys vfs.FS, dir string) (folder, error) {
	var f folder
	names, err := fsys.ReadDir(Folder(dir))
	if err != nil {
		return f, err
	}
	from := uint64(0)
	for _, name := range names {
		if number, ok := parseSwitch(name); ok {
			f.switched, from = name, number
		}
	}
	for _, name := range names {
		whole, unfinished := strings.CutSuffix(name, repairedSuffix)
		if s, ok := parseSegmentName(whole); ok && !(unfinished && from == 0) {
			if s.number < from {
				f.dead = append(f.dead, name)
			} else {
				f.segments = append(f.segments, listed{s, name})
			}
		} else if strings.HasSuffix(name, vfs.TemporarySuffix) || unfinished {
			f.temporary = append(f.temporary, name)
		} else if strings.HasPrefix(name, preallocatedName) {
			f.preallocated = append(f.preallocated, name)
		} else if name != f.switched {
			f.unexpected = append(f.unexpected, name)
		}
	}
	slices.SortFunc(f.segments, func(a, b listed) int {
		if a.number < b.number {
			return -1
		}
		return 1
	})
	for i := 1; i < len(f.segments); i++ {
		if a, b := &f.segments[i-1], &f.segments[i]; a.number == b.number {
			return f, protocol.ErrDirectory.With(fmt.Sprintf("the data directory cannot be used: %s and %s have the same number", a.file, b.file))
		}
	}
	return f, nil
}
