package protocol

import (
	"bytes"
	"errors"
	"io"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/vmihailenco/msgpack/v5"
)

var (
	idA = MemberID{1, 2, 3}
	idB = MemberID{0xff, 15: 9}
)

// fullMessages returns one message of each kind with no field zero.
func fullMessages() []Message {
	entries := sampleEntries(3, 40)
	EncodeEntries(entries)
	signature := Signature{Key: [8]byte{1, 7: 2}, Bytes: [64]byte{3, 63: 4}}
	result := Result{Code: "map.reason", Text: "why", Data: []byte("data"), Index: 300, AgeKnown: true, Age: 70_000}
	frame := &Frame{Flags: FrameTaint | FramePulled, Hop: 200, Origin: idA, Before: LogSum{1, 1 << 63}, Commit: 100_010, Entries: entries, Chain: Chain{4, 31: 5}, Signature: signature}
	frame.Body = EncodeFrameBody(frame)
	return []Message{
		&Vote{Term: 1 << 40, Pre: true, Transfer: true, LastIndex: 300, LastTerm: 7, Wait: 1 << 40, Token: Token{1, 15: 2}},
		&VoteAnswer{Term: math.MaxUint64, Pre: true, Granted: true, Write: math.MaxInt64, Token: Token{3, 15: 4}},
		&Append{Term: 8, PrevIndex: 99_999, PrevTerm: 7, Commit: 99_000, Last: 100_002, Entries: entries},
		&AppendAnswer{Term: 8, Reject: true, Passive: true, Index: 5, HintIndex: 128, HintTerm: 256, Run: 1 << 63},
		&Heartbeat{Term: 8, Commit: 1 << 33, Round: 65_536, Token: Token{5, 15: 6}},
		&HeartbeatAnswer{Term: 8, Round: 65_535, Room: true, Unfit: true, Token: Token{7, 15: 8}, Takes: 212 * time.Millisecond},
		&ReadIndex{Origin: idA, Run: 1 << 63, Request: 4, Held: 1 << 40},
		&ReadIndexAnswer{Run: 3, Request: 4, Index: 5, Sum: LogSum{1 << 63, 2}, Code: ErrNotLeader.Code, Leader: idB, Term: 6},
		&TimeoutNow{Term: 127},
		&Forward{Run: 1, Request: 2, Command: []byte("command")},
		&ForwardAnswer{Run: 1, Request: 2, Leader: idA, Term: 3, Result: result},
		frame,
		&Have{
			Applied: 1, LastIndex: 2, First: 3, Commit: 4, Holes: []Range{{5, 6}, {8, 8}}, Term: 7, Leader: idA, Checkpoints: []Index{1 << 20, 9}, Load: 255,
			Nonce: 9, AnswerTo: 10, FreshKnown: true, FreshIndex: 11, FreshSum: 1 << 62, FreshAge: 12, Diverged: 1 << 50, Signature: signature,
			Behind: Behind{Needs: 13, Installing: 12, Left: 300, Pressed: true},
		},
		&Want{Ranges: []Range{{1, 1 << 40}}, Bytes: 1 << 20, Eager: true, Small: true, From: 1 << 31},
		&FramePart{Index: 1 << 40, Size: 1 << 20, From: 300, Sum: 1 << 63, Data: []byte("data")},
		&Prune{Index: 300},
		&Graft{From: 300},
		&Busy{RetryAfter: 1e9, Others: []MemberID{idA, idB}},
		&SumQuestion{Index: 5},
		&SumAnswer{Index: 5, Known: true, Sum: LogSum{7, 8}, Signature: signature},
		&Watermark{Starts: 3, Run: 1 << 62, Sequence: 1 << 40},
		&InstallCheckpoint{Term: 9, Manifest: []byte("manifest")},
		&RepairWant{First: 1, Last: 1 << 50},
		&Types{List: []TypeVersion{{"map", 1}, {strings.Repeat("long", 20), 1 << 30}}},
		&Formats{Run: 1 << 62, Level: 100},
		&Repair{Active: true, First: 9, Commit: 300, Before: LogSum{5, 6}, Entries: entries},
		&DigestQuestion{Index: 1 << 40, Known: true, Digest: [16]byte{1, 15: 2}, Disputed: true},
		&DigestAnswer{Index: 300, Known: true, Digest: [16]byte{3, 15: 4}},
		&PartsQuestion{Index: 1 << 40, Digest: [16]byte{1, 15: 2}, Sums: true, Bucket: 255, After: "name"},
		&PartsAnswer{
			Index: 300, Digest: [16]byte{3, 15: 4}, Known: true, Sums: [][16]byte{{1}, {2}}, Bucket: 200, After: "a",
			Resources: []ResourceDigest{{"b", "map", [16]byte{5}}, {strings.Repeat("long", 20), "lock", [16]byte{6}}}, More: true,
		},
		&ManifestWant{Above: 70_000},
		&Manifest{Manifest: make([]byte, 300), Signature: signature},
		&ChunkWant{Index: 500, Sum: LogSum{1, 2}, Numbers: []uint32{0, 200, 1<<32 - 1}},
		&Chunk{Index: 500, Sum: LogSum{1, 2}, Number: 200, Data: make([]byte, 70_000)},
		&Activate{},
		&Pulse{Round: 70_000, Term: 1 << 40, Of: Token{1, 15: 2}, To: Token{3, 15: 4}},
		&PulseAnswer{Round: 70_000, Term: 1 << 40, Of: Token{1, 15: 2}, To: Token{3, 15: 4}},
		&Unsupported{Asked: 127, Request: 1 << 63},
		&Echo{Number: 1 << 62},
		&EchoAnswer{Number: 1 << 61},
		&StreamEcho{Number: 1 << 60, State: DatagramsLost},
		&StreamEchoAnswer{Number: 1 << 59},
	}
}

func zeroMessages() []Message {
	var out []Message
	for _, m := range fullMessages() {
		if m.Kind() != KindFrame { // a frame without entries is refused
			out = append(out, reflect.New(reflect.TypeOf(m).Elem()).Interface().(Message))
		}
	}
	return out
}

// mustBeFull fails if a field is zero, so that a sample cannot hide a field
// that the codec forgets. A request and a response carry one body at a time.
func mustBeFull(t *testing.T, v reflect.Value, path string) {
	t.Helper()
	switch v.Kind() {
	case reflect.Pointer:
		mustBeFull(t, v.Elem(), path)
	case reflect.Struct:
		for i := range v.NumField() {
			if name := v.Type().Field(i).Name; name != "Sum" || v.Type() != reflect.TypeFor[Entry]() {
				mustBeFull(t, v.Field(i), path+"."+name)
			}
		}
	default:
		if v.IsZero() {
			t.Errorf("%s is zero in the sample", path)
		}
	}
}

// Buffers are made, and datagrams chosen, by the size that is said beforehand: it is
// never below the size that comes out, whatever the numbers in a message.
func TestSizeOfTheLargestNumbers(t *testing.T) {
	for _, m := range fullMessages() {
		widen(reflect.ValueOf(m).Elem())
		if said, is := MessageSize(m), len(AppendMessage(nil, m)); said < is {
			t.Errorf("%s: size %d said, %d needed", m.Kind(), said, is)
		}
	}
}

// widen gives all numbers in a message their greatest values, but for those of
// entries, which are encoded already.
func widen(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			widen(v.Field(i))
		}
	case reflect.Slice:
		if v.Type() == reflect.TypeFor[[]Entry]() {
			return
		}
		for i := range v.Len() {
			widen(v.Index(i))
		}
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(math.MaxUint64 >> (64 - v.Type().Bits()))
	case reflect.Int64:
		v.SetInt(math.MaxInt64)
	}
}

// TestMessagesKeepTheirBytesOrNot: whoever reads into a buffer of its own again
// and again goes by KeepsBytes.
func TestMessagesKeepTheirBytesOrNot(t *testing.T) {
	for _, m := range fullMessages() {
		src := AppendMessage(nil, m)
		got, err := DecodeMessage(src)
		if err != nil {
			t.Fatal(err)
		}
		for i := range src {
			src[i] = ^src[i]
		}
		if kept := !reflect.DeepEqual(got, m); kept != m.Kind().KeepsBytes() {
			t.Errorf("%s: got %v, want %v", m.Kind(), m.Kind().KeepsBytes(), kept)
		}
	}
}

func TestMessagesRoundTrip(t *testing.T) {
	for _, m := range fullMessages() {
		mustBeFull(t, reflect.ValueOf(m), m.Kind().String())
	}
	for _, m := range append(fullMessages(), zeroMessages()...) {
		src := AppendMessage([]byte("before"), m)[len("before"):]
		got, err := DecodeMessage(src)
		if err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("%s: got %+v, %v, want %+v", m.Kind(), got, err, m)
		}
		if size := MessageSize(m); size < len(src) {
			t.Errorf("%s: size %d said, %d needed", m.Kind(), size, len(src))
		}
		isMsgpack(t, m.Kind().String(), src)
		for n := range src {
			if _, err := DecodeMessage(src[:n]); !errors.Is(err, ErrMalformed) {
				t.Errorf("%s cut to %d: got %v, want %v", m.Kind(), n, err, ErrMalformed)
			}
		}
		if _, err := DecodeMessage(append(bytes.Clone(src), 0)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s with a trailing byte: got %v, want %v", m.Kind(), err, ErrMalformed)
		}
	}
}

// isMsgpack decodes our bytes with the reference decoder.
func isMsgpack(t *testing.T, what string, src []byte) {
	t.Helper()
	d := msgpack.NewDecoder(bytes.NewReader(src))
	for {
		_, err := d.DecodeInterface()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Errorf("%s is not msgpack: %v", what, err)
			return
		}
	}
	for rest := src; len(rest) > 0; {
		size, err := SizeMsgpack(rest)
		if err != nil {
			t.Errorf("%s: %v", what, err)
			return
		}
		rest = rest[size:]
	}
}

func TestEntryIsPlainMsgpack(t *testing.T) {
	src := EncodeEntries([]Entry{{Index: 300, Term: 7, Time: -200, Kind: EntryCommand, Data: []byte("x")}})
	var got struct {
		_msgpack    struct{} `msgpack:",as_array"` //nolint:unused // read by the library
		Index, Term uint64
		Time        int64
		Kind        uint8
		Data        []byte
	}
	if err := msgpack.Unmarshal(src, &got); err != nil {
		t.Fatal(err)
	}
	if got.Index != 300 || got.Term != 7 || got.Time != -200 || got.Kind != uint8(EntryCommand) || string(got.Data) != "x" {
		t.Errorf("got %+v", got)
	}
}

func TestFrameBodyIsForwardedUnchanged(t *testing.T) {
	first := fullMessages()[11].(*Frame)
	src := AppendMessage(nil, first)
	m, err := DecodeMessage(src)
	if err != nil {
		t.Fatal(err)
	}
	relayed := m.(*Frame)
	relayed.Hop, relayed.Flags, relayed.Entries = 3, FrameCross, nil
	got, err := DecodeMessage(AppendMessage(nil, relayed))
	if err != nil {
		t.Fatal(err)
	}
	f := got.(*Frame)
	if f.Hop != 3 || f.Flags != FrameCross || !bytes.Equal(f.Body, first.Body) || !reflect.DeepEqual(f.Entries, first.Entries) {
		t.Errorf("got %+v, want %+v", f, first)
	}
	if n := len(src) - RawSize(first.Entries); n > FrameOverheadMax+FrameSignatureBytesMax {
		t.Errorf("got an overhead of %d, want at most %d", n, FrameOverheadMax+FrameSignatureBytesMax)
	}
}

func TestFrameWithAFlippedBitIsRefused(t *testing.T) {
	src := AppendMessage(nil, fullMessages()[11])
	for i := 4; i < len(src); i++ { // behind kind, flags and hop
		bad := bytes.Clone(src)
		bad[i] ^= 1 << (i % 8)
		if _, err := DecodeMessage(bad); !errors.Is(err, ErrMalformed) {
			t.Fatalf("bit flipped in byte %d: got %v, want %v", i, err, ErrMalformed)
		}
	}
}

func TestMessagesRefused(t *testing.T) {
	entries := sampleEntries(3, 4)
	EncodeEntries(entries)
	two := []Entry{
		{Index: 1, Term: 1, Kind: EntryCommand, Data: make([]byte, AppendBytesMax/2)},
		{Index: 2, Term: 1, Kind: EntryCommand, Data: make([]byte, AppendBytesMax/2)},
	}
	EncodeEntries(two)
	noEntries := &Frame{Origin: idA}
	for name, m := range map[string]Message{
		"entries not after prev":     &Append{PrevIndex: 5, PrevTerm: 7, Entries: entries},
		"entries below prev term":    &Append{PrevIndex: 99_999, PrevTerm: 8, Entries: entries},
		"hole in entries":            &Append{PrevIndex: 99_999, PrevTerm: 7, Entries: []Entry{entries[0], entries[2]}},
		"too many bytes of entries":  &Append{Entries: two},
		"frame without entries":      noEntries,
		"frame with a hole":          &Frame{Entries: []Entry{entries[0], entries[2]}},
		"range backwards":            &Want{Ranges: []Range{{5, 4}}},
		"range from 0":               &Want{Ranges: []Range{{0, 4}}},
		"too many ranges":            &Want{Ranges: slicesRepeat(Range{1, 2}, RangesMax+1)},
		"too many holes":             &Have{Holes: slicesRepeat(Range{1, 2}, HolesMax+1)},
		"behind, and needs nothing":  &Have{Behind: Behind{Installing: 12}},
		"too many checkpoints":       &Have{Checkpoints: make([]Index, CheckpointsMax+1)},
		"too many chunks":            &ChunkWant{Numbers: make([]uint32, ChunkNumbersMax+1)},
		"chunk over the limit":       &Chunk{Data: make([]byte, ChunkBytesMax+1)},
		"too many others":            &Busy{Others: slicesRepeat(idA, othersMax+1)},
		"command over the limit":     &Forward{Command: make([]byte, EntryBytesMax+1)},
		"result data over the limit": &ForwardAnswer{Result: Result{Data: make([]byte, ResultBytesMax+1)}},
		"code over the limit":        &ReadIndexAnswer{Code: Code(strings.Repeat("c", NameBytesMax+1))},
	} {
		if got, err := DecodeMessage(AppendMessage(nil, m)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: got %v, %v, want %v", name, got, err, ErrMalformed)
		}
	}
	for name, src := range map[string][]byte{
		"empty":                 {},
		"unknown, no value":     {60, 0xc1},
		"unknown, cut short":    {60, 0x92, 1},
		"unknown, no number":    {60 | byte(asks), 0x91, 0xc0},
		"huge array of entries": {byte(KindAppend), 0x95, 1, 1, 1, 1, 0xdd, 0xff, 0xff, 0xff, 0xff},
		"array without content": {byte(KindAppend), 0x95, 1, 1, 1, 1, 0xdc, 0x0f, 0xff},
		"id of zeros":           append([]byte{byte(KindReadIndex), 0x93, 0xc4, 16}, make([]byte, 18)...),
		"boolean beyond 1":      {byte(KindSumAnswer), 0x93, 1, 1, 0xc4, 16},
	} {
		if got, err := DecodeMessage(src); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: got %v, %v, want %v", name, got, err, ErrMalformed)
		}
	}
}

func slicesRepeat[T any](v T, n int) []T {
	out := make([]T, n)
	for i := range out {
		out[i] = v
	}
	return out
}

// fieldsOf is how many fields a message has.
func fieldsOf(src []byte) int {
	r := reader{src: src[1:]}
	return r.arrayTo(0xffff, 1)
}

func FuzzDecodeMessage(f *testing.F) {
	f.Add([]byte("A\x950\x00000")) // of a release without tokens
	for _, m := range append(fullMessages(), zeroMessages()...) {
		f.Add(AppendMessage(nil, m))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		m, err := DecodeMessage(src)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		if _, unknown := m.(*Unknown); unknown {
			return
		}
		plain := AppendMessage(nil, m) // without what a later version has added, with what an earlier one lacks
		if fieldsOf(src) >= fieldsOf(plain) && len(plain) >= len(src) && !bytes.Equal(plain, src) {
			t.Fatalf("got %x, want %x", plain, src)
		}
		if again, err := DecodeMessage(plain); err != nil || !bytes.Equal(AppendMessage(nil, again), plain) {
			t.Fatalf("%x comes back as %+v, %v", plain, again, err)
		}
		if size := MessageSize(m); size < len(plain) {
			t.Fatalf("size %d said, %d needed", size, len(plain))
		}
	})
}

func BenchmarkDecodeAppend(b *testing.B) {
	entries := sampleEntries(64, 256)
	EncodeEntries(entries)
	src := AppendMessage(nil, &Append{PrevIndex: 99_999, PrevTerm: 7, Entries: entries})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeMessage(src); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendHave(b *testing.B) {
	m := fullMessages()[12]
	var dst []byte
	b.ReportAllocs()
	for b.Loop() {
		dst = AppendMessage(dst[:0], m)
	}
}

func TestMarkThereAndBack(t *testing.T) {
	want := CheckpointEntry{Previous: 1 << 40, Digest: [16]byte{1, 15: 2}}
	b := EncodeCheckpointEntry(want)
	if got, err := DecodeCheckpointEntry(b); err != nil || got != want {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	for n := range b {
		if _, err := DecodeCheckpointEntry(b[:n]); !errors.Is(err, ErrMalformed) {
			t.Errorf("cut to %d: got %v, want %v", n, err, ErrMalformed)
		}
	}
	if _, err := DecodeCheckpointEntry(append(b, 0)); !errors.Is(err, ErrMalformed) {
		t.Errorf("trailing byte: got %v, want %v", err, ErrMalformed)
	}
}

func TestConfirmationThereAndBack(t *testing.T) {
	for _, want := range []Confirmation{{Index: 1 << 40, Digest: [16]byte{1, 15: 2}}, {Index: 1}} {
		b := EncodeConfirmation(want)
		if got, err := DecodeConfirmation(b); err != nil || got != want {
			t.Errorf("got %v, %v, want %v", got, err, want)
		}
		for n := range b {
			if _, err := DecodeConfirmation(b[:n]); !errors.Is(err, ErrMalformed) {
				t.Errorf("cut to %d: got %v, want %v", n, err, ErrMalformed)
			}
		}
	}
}
