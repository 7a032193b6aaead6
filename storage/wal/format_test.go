package wal

import (
	"bytes"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage/vfs"
)

func sampleHeader() header {
	return header{sequence: 9, durable: 7, length: 3, kind: KindEntries, cut: true, payloadSum: 5,
		state:  protocol.HardState{Term: 4, Vote: protocol.MemberID{1, 2}, Commit: 8},
		before: point{index: 11, term: 3, sum: protocol.LogSum{1, 2}}}
}

func TestRecordHeaderRoundTrip(t *testing.T) {
	want := sampleHeader()
	b := make([]byte, recordBytes)
	putHeader(b, 77, &want)
	var got header
	if !parseHeader(b, 77, 8, &got) || got != want {
		t.Fatalf("got %+v, want %+v", got, want)
	}
	if parseHeader(b, 78, 8, &got) {
		t.Error("accepted under another nonce")
	}
	if parseHeader(b, 77, 9, &got) {
		t.Error("accepted although its sequence number is not above the last")
	}
	for bit := range recordBytes * 8 {
		b[bit/8] ^= 1 << (bit % 8)
		if parseHeader(b, 77, 0, &got) {
			t.Errorf("accepted with bit %d flipped", bit)
		}
		b[bit/8] ^= 1 << (bit % 8)
	}
}

func sampleSegment() segmentHeader {
	return segmentHeader{nonce: 3, number: 4, first: 10, durable: 9, before: point{5, 2, protocol.LogSum{3, 4}},
		state: protocol.HardState{Term: 2, Commit: 5}, known: true,
		configuration: protocol.ConfigurationAt{Index: 5, Configuration: protocol.Configuration{Target: 1,
			Members: []protocol.ActiveMember{{ID: protocol.MemberID{1}, Name: "a", Address: "b:1", Suffrage: protocol.SuffrageVoter}}}}}
}

func TestSegmentHeaderRoundTrip(t *testing.T) {
	want := sampleSegment()
	b := appendSegmentHeader(nil, &want)
	got, end, ok := parseSegmentHeader(b, 3)
	if !ok || end != int64(len(b)) || end%segmentAlign != 0 || got.before != want.before || got.state != want.state ||
		!got.configuration.Configuration.Equal(want.configuration.Configuration) || got.first != 10 || got.durable != 9 {
		t.Fatalf("got %+v %d %v", got, end, ok)
	}
	if n, ok := parseSegmentName(segmentName(&want)); !ok || n.number != 4 || n.first != 10 || n.nonce != 3 {
		t.Fatalf("name: got %+v %v", n, ok)
	}
	for bit := range segmentBytes * 8 {
		b[bit/8] ^= 1 << (bit % 8)
		if _, _, ok := parseSegmentHeader(b, 3); ok {
			t.Errorf("accepted with bit %d flipped", bit)
		}
		b[bit/8] ^= 1 << (bit % 8)
	}
}

func TestOtherFormatsAreRefused(t *testing.T) {
	for format, wayOut := range map[uint32]string{Format + 1: "use a newer version", Format - 1: "starling map export"} {
		m := vfs.NewMemory(1)
		if err := m.MkdirAll("/d"); err != nil {
			t.Fatal(err)
		}
		if err := writeIdentity(m, "/d", Identity{Name: "a", Format: format}); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(m, "/d", Options{}); !errors.Is(err, protocol.ErrDirectory) || !strings.Contains(err.Error(), wayOut) || !strings.Contains(err.Error(), "/d: ") {
			t.Errorf("format %d: got %v, want ErrDirectory: ...%s...", format, err, wayOut)
		}
	}
}

// TestHeaderSaysLessThanALaterRecord is counterexample 18 to the letter: the
// second segment's header was written before the last record of the first was
// synced, and only a record in it says so.
func TestHeaderSaysLessThanALaterRecord(t *testing.T) {
	m := vfs.NewMemory(1)
	l := craft(t, m)
	if err := writeIdentity(m, "/d", Identity{Format: Format}); err != nil {
		t.Fatal(err)
	}
	one := &segmentHeader{nonce: 1, number: 1, first: 1}
	empty := sumPayload(nil, 1)
	l.put(one, header{sequence: 1, kind: KindState, payloadSum: empty}, header{sequence: 2, kind: KindState, payloadSum: empty})
	l.put(&segmentHeader{nonce: 2, number: 2, first: 3, durable: 1},
		header{sequence: 3, durable: 2, kind: KindState, payloadSum: sumPayload(nil, 2)})
	if err := m.FlipBit(l.path(segmentName(one)), (segmentAlign+recordAlign+recordBytes)*8); err != nil {
		t.Fatal(err)
	}
	p, err := Verify(m, "/d")
	if err != nil || p.Corrupt != 1 || p.Torn != 0 || p.Records != 2 {
		t.Fatalf("got %+v, %v", p, err)
	}
}

type crafted struct {
	*Log
	t *testing.T
}

func craft(t *testing.T, m *vfs.Memory) crafted {
	l := crafted{newLog(m, "/d", Options{}.withDefaults()), t}
	if err := m.MkdirAll(filepath.Join("/d", logFolder)); err != nil {
		t.Fatal(err)
	}
	return l
}

func (l crafted) put(s *segmentHeader, records ...header) {
	b := appendSegmentHeader(nil, s)
	for i := range records {
		at := len(b)
		b = append(b, make([]byte, recordBytes)...)
		putHeader(b[at:], s.nonce, &records[i])
	}
	if err := vfs.WriteFile(l.fsys, l.path(segmentName(s)), append(b, make([]byte, 4096)...)); err != nil {
		l.t.Fatal(err)
	}
}

func FuzzRecordHeader(f *testing.F) {
	h := sampleHeader()
	b := make([]byte, recordBytes)
	putHeader(b, 1, &h)
	f.Add(b, uint64(1))
	f.Add([]byte{}, uint64(0))
	f.Fuzz(func(t *testing.T, b []byte, nonce uint64) {
		var h header
		if !parseHeader(b, nonce, 0, &h) {
			return
		}
		out := make([]byte, recordBytes)
		putHeader(out, nonce, &h)
		if !bytes.Equal(out, b[:recordBytes]) {
			t.Fatalf("got %x, want %x", out, b[:recordBytes])
		}
	})
}

func FuzzRecordBody(f *testing.F) {
	e := []protocol.Entry{{Index: 3, Term: 1, Kind: protocol.EntryCommand, Data: []byte("abc")}}
	raw := protocol.EncodeEntries(e)
	f.Add(byte(KindEntries), false, raw)
	f.Add(byte(KindEntries), true, append(make([]byte, pointBytes), raw...))
	f.Add(byte(KindReset), true, make([]byte, pointBytes+8))
	f.Fuzz(func(t *testing.T, kind byte, cut bool, payload []byte) {
		h := header{kind: Kind(kind), cut: cut, length: len(payload)}
		d, err := parseBody(&h, payload, nil)
		if err == nil && h.kind == KindEntries && len(d.entries) == 0 {
			t.Fatal("a record of no entries was accepted")
		}
	})
}

func FuzzSegmentHeader(f *testing.F) {
	s := sampleSegment()
	f.Add(appendSegmentHeader(nil, &s), uint64(3))
	f.Fuzz(func(t *testing.T, b []byte, nonce uint64) {
		if s, end, ok := parseSegmentHeader(b, nonce); ok && (s.nonce != nonce || end < segmentBytes) {
			t.Fatalf("got %+v, end %d", s, end)
		}
	})
}

func FuzzSegmentName(f *testing.F) {
	s := sampleSegment()
	f.Add(segmentName(&s))
	f.Fuzz(func(t *testing.T, name string) {
		if s, ok := parseSegmentName(name); ok && segmentName(&s) != name {
			t.Fatalf("%q read as %+v", name, s)
		}
	})
}

func FuzzIdentity(f *testing.F) {
	f.Add(encodeIdentity(Identity{Name: "a1", Starts: 4, Format: Format}))
	f.Fuzz(func(t *testing.T, b []byte) {
		id, err := decodeIdentity(b)
		if err == nil && id.Format == Format && !bytes.Equal(encodeIdentity(id), b) {
			t.Fatalf("%x read as %+v", b, id)
		}
	})
}

// FuzzSegment opens a log whose one segment is anything: it may be refused, and
// must not panic.
func FuzzSegment(f *testing.F) {
	s := segmentHeader{nonce: 7, number: 1, first: 1}
	b := appendSegmentHeader(nil, &s)
	h := header{sequence: 1, kind: KindState, state: protocol.HardState{Term: 1}}
	h.payloadSum = sumPayload(nil, 7)
	rec := make([]byte, recordBytes)
	putHeader(rec, 7, &h)
	f.Add(append(b, rec...), byte(0))
	f.Add([]byte("STARWAL1"), byte(200))
	f.Fuzz(func(t *testing.T, content []byte, flip byte) {
		m := vfs.NewMemory(1)
		l := craft(t, m)
		if err := vfs.WriteFile(m, l.path(segmentName(&s)), content); err != nil {
			t.Fatal(err)
		}
		if err := writeIdentity(m, "/d", Identity{Format: Format}); err != nil {
			t.Fatal(err)
		}
		log, err := Open(m, "/d", Options{SegmentBytes: segmentBytesMin})
		if err != nil {
			return
		}
		rec := log.Opened()
		log.Close()
		again, err := Open(m, "/d", Options{SegmentBytes: segmentBytesMin})
		if err != nil {
			t.Fatalf("opened once, then: %v", err)
		}
		if again.Opened().State != rec.State {
			t.Fatalf("got %+v, then %+v", rec.State, again.Opened().State)
		}
		again.Close()
	})
}
