package protocol

import (
	"bytes"
	"encoding/binary"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/zeebo/xxh3"
)

// laterFields are fields as a later version may add them, one of each form.
func laterFields() [][]byte {
	nested := appendBin(appendUint(appendArray(nil, 2), 7), bytes.Repeat([]byte{0xff}, 300))
	return [][]byte{
		appendUint(nil, 1<<40), appendNil(nil), appendBool(nil, true), nested, appendString(nil, strings.Repeat("later", 20)),
		{0x82, 0xa1, 'a', 1, 0xa1, 'b', 0x91, 0xcb, 0, 0, 0, 0, 0, 0, 0, 0}, // a map with a float in it
	}
}

// grown has fields added to an array that begins at a place, as a later version writes
// it: with a larger count in its head, and the fields at its end.
func grown(src []byte, at int, fields [][]byte) []byte {
	r := reader{src: src[at:]}
	n := r.arrayTo(len(src), 1)
	out := appendArray(bytes.Clone(src[:at]), n+len(fields))
	out = append(out, r.src...)
	for _, f := range fields {
		out = append(out, f...)
	}
	return out
}

// newer is the encoder of a later version that has added fields to all messages. Those
// of a frame are in its body, which all forward as it came.
func newer(m Message, fields [][]byte) []byte {
	src := AppendMessage(nil, m)
	if m.Kind() != KindFrame {
		return grown(src, 1, fields)
	}
	body := len(src) - len(m.(*Frame).Body)
	src = grown(src, body+frameSumBytes, fields)
	binary.BigEndian.PutUint64(src[body+2:], xxh3.Hash(src[body+frameSumBytes:]))
	return src
}

// A field that a later version has added to a message would end the stream, so that no
// two versions could ever be members of one cluster.
func TestALaterFieldDoesNotEndTheStream(t *testing.T) {
	for n := range laterFields() {
		for _, m := range fullMessages() {
			got, err := DecodeMessage(newer(m, laterFields()[:n+1]))
			if err != nil {
				t.Errorf("%s with %d more fields: %v", m.Kind(), n+1, err)
				continue
			}
			if f, ok := got.(*Frame); ok {
				f.Body = m.(*Frame).Body // forwarded with what was added: see below
			}
			if !reflect.DeepEqual(got, m) {
				t.Errorf("%s with %d more fields: got %+v, want %+v", m.Kind(), n+1, got, m)
			}
		}
	}
	for _, p := range sampleResponses() {
		got, err := DecodeResponse(grown(AppendResponse(nil, p), 0, laterFields()))
		if err != nil || !reflect.DeepEqual(got, p) {
			t.Errorf("got %+v, %v, want %+v", got, err, p)
		}
	}
	for _, q := range sampleRequests() {
		got, err := DecodeRequest(grown(AppendRequest(nil, q), 0, laterFields()))
		if err != nil || !reflect.DeepEqual(got.made(), q) {
			t.Errorf("got %+v, %v, want %+v", got, err, q)
		}
	}
	hello := Hello{Versions: Versions{1, 2}, Member: idA, Name: "n", Text: "t"}
	if got, err := DecodeHello(grown(AppendHello(nil, &hello), 0, laterFields())); err != nil || got != hello {
		t.Errorf("got %+v, %v, want %+v", got, err, hello)
	}
	peer := Peer{Versions: Versions{1, 2}, ID: idA, Name: "n", Host: "h:1"}
	if got, err := DecodePeer(grown(AppendPeer(nil, &peer), 0, laterFields())); err != nil || got != peer {
		t.Errorf("got %+v, %v, want %+v", got, err, peer)
	}
}

// A member of an earlier release says nothing of pings: it answers none.
func TestAHelloWithoutPingsIsRead(t *testing.T) {
	want := Hello{Versions: Versions{1, 2}, Member: idA, Name: "n", Text: "t"}
	for _, pings := range []bool{false, true} {
		said := want
		said.AnswersPing = pings
		src := AppendHello(nil, &said)
		if got, err := DecodeHello(src); err != nil || got != said {
			t.Errorf("got %+v, %v, want %+v", got, err, said)
		}
		src[0]-- // the number of fields
		if got, err := DecodeHello(src[:len(src)-1]); err != nil || got != want {
			t.Errorf("without the field: got %+v, %v, want %+v", got, err, want)
		}
	}
}

// A report that is a part of an answer grows like the answer itself.
func TestALaterFieldOfAReportIsPassedOver(t *testing.T) {
	whole := func(append []byte, read func(*reader) any, want any) {
		t.Helper()
		r := reader{src: grown(append, 0, laterFields())}
		got := read(&r)
		if err := r.end(); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, %v, want %+v", got, err, want)
		}
	}
	for _, p := range sampleResponses() {
		switch {
		case p.Status != nil:
			whole(p.Status.append(nil), func(r *reader) any { return r.status() }, p.Status)
			for _, m := range p.Status.Members {
				whole(m.append(nil), func(r *reader) any { return r.memberStatus() }, m)
			}
			for _, a := range p.Status.Ahead {
				whole(a.append(nil), func(r *reader) any { return r.ahead() }, a)
			}
		case p.Join != nil:
			whole(p.Join.append(nil), func(r *reader) any { return r.join() }, p.Join)
		case p.Autopilot != nil:
			whole(p.Autopilot.append(nil), func(r *reader) any { return r.autopilotReport() }, p.Autopilot)
		case p.Digest != nil:
			whole(p.Digest.append(nil), func(r *reader) any { return r.digestReport() }, p.Digest)
		case p.Changes != nil:
			whole(p.Changes.append(nil), func(r *reader) any { return r.changes() }, p.Changes)
		}
	}
}

// A relay of an older version that left out what it does not know would break the sum
// of a frame, or hide from newer members behind it what their origin said.
func TestARelayForwardsLaterFieldsOfAFrame(t *testing.T) {
	src := newer(fullMessages()[11], laterFields())
	m, err := DecodeMessage(src)
	if err != nil {
		t.Fatal(err)
	}
	m.(*Frame).Hop = 3
	if got, want := AppendMessage(nil, m)[3:], src[4:]; !bytes.Equal(got, want) { // hop 200 takes two bytes
		t.Errorf("got %x, want %x", got, want)
	}
}

// required is how many fields each message has to have. [S] It may not shrink: what is
// left out of a message would be a default, and a vote or an acknowledgement with a
// default in it promises what nobody has said. It may not grow within a version either:
// a member of an older one sends the old number.
var required = map[MessageKind]int{
	KindVote: 5, KindVoteAnswer: 3, KindAppend: 5, KindAppendAnswer: 6, KindHeartbeat: 3, KindHeartbeatAnswer: 4, KindReadIndex: 4,
	KindReadIndexAnswer: 7, KindTimeoutNow: 1, KindForward: 3, KindForwardAnswer: 5, KindWatermark: 3, KindInstallCheckpoint: 2, KindRepairWant: 2,
	KindRepair: 5, KindTypes: 1, KindFormats: 2, KindDigestQuestion: 3, KindDigestAnswer: 3, KindPartsQuestion: 5, KindPartsAnswer: 8, KindActivate: 0, KindUnsupported: 2, KindHave: 14, KindWant: 3,
	KindPulse: 4, KindPulseAnswer: 4, KindPrune: 1, KindGraft: 1, KindBusy: 2, KindSumQuestion: 1, KindSumAnswer: 4, KindManifestWant: 1, KindManifest: 2, KindChunkWant: 3, KindChunk: 4,
	KindEcho: 1, KindEchoAnswer: 1, KindStreamEcho: 2, KindStreamEchoAnswer: 1, KindFramePart: 5,
}

// added is how many fields were added since: they are sent, and may be missing.
var added = map[MessageKind]int{KindVote: 1, KindVoteAnswer: 1, KindHeartbeat: 1, KindHeartbeatAnswer: 2, KindDigestQuestion: 1, KindWant: 2}

// A vote or an acknowledgement without one of its fields would be read with a zero in
// its place, and counted.
func TestAMessageWithoutAFieldPromisesNothing(t *testing.T) {
	for _, m := range fullMessages() {
		want, listed := required[m.Kind()]
		if !listed {
			if m.Kind() != KindFrame {
				t.Errorf("%s: nobody says how many fields it needs", m.Kind())
			}
			continue
		}
		src := AppendMessage(nil, m)
		r := reader{src: src[1:]}
		if got := r.arrayTo(0xffff, 1); got != want+added[m.Kind()] {
			t.Errorf("%s: it is sent with %d fields, %d are required, and %d were added", m.Kind(), got, want, added[m.Kind()])
		}
		// Its last fields are taken away, one after the other.
		ends := []int{len(src) - len(r.src)}
		for range want {
			r.skip(1)
			ends = append(ends, len(src)-len(r.src))
		}
		for n := range want {
			cut := appendArray([]byte{src[0]}, n)
			cut = append(cut, src[ends[0]:ends[n]]...)
			if got, err := DecodeMessage(cut); !errors.Is(err, ErrMalformed) {
				t.Errorf("%s with %d fields: got %+v, %v, want %v", m.Kind(), n, got, err, ErrMalformed)
			}
		}
	}
}

// A member of a release without tokens, or that says not what a write takes it, would be told
// nothing by this one, nor understood.
func TestAMessageWithoutATokenIsOneOfAnEarlierRelease(t *testing.T) {
	for _, m := range fullMessages() {
		names := []string{"Takes", "Token"}
		switch m.Kind() {
		case KindDigestQuestion:
			names = []string{"", "Disputed"}
		case KindWant:
			names = []string{"From", "Small"}
		}
		for n, name := range names[2-added[m.Kind()]:] {
			want := required[m.Kind()] + added[m.Kind()] - 1 - n
			src := AppendMessage(nil, m)
			r := reader{src: src[1:]}
			r.arrayTo(0xffff, 1)
			begin := len(src) - len(r.src)
			r.skip(want)
			got, err := DecodeMessage(append(appendArray([]byte{src[0]}, want), src[begin:len(src)-len(r.src)]...))
			reflect.ValueOf(m).Elem().FieldByName(name).SetZero()
			if err != nil || !reflect.DeepEqual(got, m) {
				t.Errorf("with %d fields: got %+v, %v, want %+v", want, got, err, m)
			}
		}
	}
}

// What is added is bounded in number and in depth.
func TestLaterFieldsAreBounded(t *testing.T) {
	many := func(n int) (fields [][]byte) {
		for range n {
			fields = append(fields, []byte{1})
		}
		return fields
	}
	deep := append(bytes.Repeat([]byte{0x91}, DepthMax+1), 0)
	for _, m := range fullMessages() {
		most := laterFieldsMax - added[m.Kind()] // the first release counts those that were added since
		if _, err := DecodeMessage(newer(m, many(most))); err != nil {
			t.Errorf("%s: %v", m.Kind(), err)
		}
		for _, fields := range [][][]byte{many(most + 1), {deep}, {{0xc1}}, {{0xc6, 0xff, 0xff, 0xff, 0xff}}, {nil}} {
			if _, err := DecodeMessage(newer(m, fields)); !errors.Is(err, ErrMalformed) {
				t.Errorf("%s with %d fields: got %v, want %v", m.Kind(), len(fields), err, ErrMalformed)
			}
		}
	}
}

// [S] What is stored, compared by sums or applied is read strictly: a part that this
// version would pass over, and the next one apply, would make two states of one log.
func TestWhatIsAppliedDoesNotGrow(t *testing.T) {
	entries := sampleEntries(1, 40)
	EncodeEntries(entries)
	command := Command{Session: 2, Sequence: 3, Resource: "r", Type: "t", Operation: "o"}
	configuration := sampleResponses()[5].Join.Configuration.Configuration
	result := Result{Code: "c", Text: "t"}
	later := laterFields()[:1]
	for name, read := range map[string]func() error{
		"entry":   func() error { _, _, err := DecodeEntry(grown(entries[0].Raw, 0, later)); return err },
		"command": func() error { _, err := DecodeCommand(grown(AppendCommand(nil, &command), 0, later)); return err },
		"configuration": func() error {
			_, err := DecodeConfiguration(grown(AppendConfiguration(nil, configuration), 0, later))
			return err
		},
		"mark": func() error {
			_, err := DecodeCheckpointEntry(grown(EncodeCheckpointEntry(CheckpointEntry{Previous: 1}), 0, later))
			return err
		},
		"confirmation": func() error {
			_, err := DecodeConfirmation(grown(EncodeConfirmation(Confirmation{Index: 1}), 0, later))
			return err
		},
		"result": func() error {
			r := reader{src: grown(result.append(nil), 0, later)}
			r.result()
			return r.end()
		},
		"seats": func() error {
			r := reader{src: grown((&MembershipChange{}).append(nil), 0, later)}
			r.membershipChange()
			return r.end()
		},
		"query": func() error {
			r := reader{src: grown((&Query{}).append(nil), 0, later)}
			r.query()
			return r.end()
		},
		"founding": func() error {
			r := reader{src: grown((&Founding{}).append(nil), 0, later)}
			readFounding(&r)
			return r.end()
		},
		"entry in an append": func() error {
			long := grown(entries[0].Raw, 0, later)
			_, err := DecodeMessage(AppendMessage(nil, &Append{PrevIndex: entries[0].Index - 1, Entries: []Entry{{Raw: long}}}))
			return err
		},
	} {
		if err := read(); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: got %v, want %v", name, err, ErrMalformed)
		}
	}
}

// A message of a kind that only a later version knows would end the stream on which it
// comes; one that asks would leave its sender without an answer.
func TestAnUnknownKindDoesNotEndTheStream(t *testing.T) {
	for _, src := range [][]byte{{60}, {60, 0x90}, append([]byte{60, 0x96}, bytes.Join(laterFields(), nil)...), {60, 1, 2}, {200, 0x91, 5}} {
		m, err := DecodeMessage(src)
		u, ok := m.(*Unknown)
		if err != nil || !ok || u.Of != MessageKind(src[0]) {
			t.Errorf("%x: got %+v, %v", src, m, err)
		}
	}
	m, err := DecodeMessage([]byte{60 | byte(asks), 0x92, 0xcd, 1, 44, 0xc0})
	if u, ok := m.(*Unknown); err != nil || !ok || u.Request != 300 || !u.Of.Asks() {
		t.Errorf("got %+v, %v, want request 300", m, err)
	}
}

// FuzzLaterFields has a later version add fields to any message that can be decoded:
// this one reads the same from both, and what it writes is what it read.
func FuzzLaterFields(f *testing.F) {
	for _, m := range fullMessages() {
		f.Add(AppendMessage(nil, m), laterFields()[3], uint8(2))
		f.Add(AppendMessage(nil, m), laterFields()[0], uint8(laterFieldsMax-added[m.Kind()]))
	}
	f.Fuzz(func(t *testing.T, src, field []byte, n uint8) {
		m, err := DecodeMessage(src)
		if err != nil {
			return
		}
		if _, unknown := m.(*Unknown); unknown {
			return
		}
		plain := AppendMessage(nil, m)
		if f, ok := m.(*Frame); ok {
			f.Body = EncodeFrameBody(f)
			plain = AppendMessage(nil, m)
		}
		most := laterFieldsMax - added[m.Kind()] // as in TestLaterFieldsAreBounded
		fields := slicesRepeat(field, int(n)%(most+1))
		got, err := DecodeMessage(newer(m, fields))
		if CheckMsgpack(field) == nil || len(fields) == 0 {
			if err != nil {
				t.Fatalf("%s with %d more fields %x: %v", m.Kind(), len(fields), field, err)
			}
			if f, ok := got.(*Frame); ok {
				f.Body = nil
			}
			if again := AppendMessage(nil, got); !bytes.Equal(again, plain) {
				t.Fatalf("got %x, want %x", again, plain)
			}
		}
	})
}
