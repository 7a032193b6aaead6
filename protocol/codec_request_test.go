package protocol

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/vmihailenco/msgpack/v5"
)

// sampleRequests have each field filled in somewhere: the first one is a one-shot and has a
// session, which Validate refuses.
func sampleRequests() []*Request {
	return []*Request{
		{ID: 1, Kind: RequestCommand, Command: &Command{
			Session: 2, Sequence: 3, Floor: 4, Resource: "r", Type: "t", Version: 5, Operation: "o", Argument: []byte("a"),
			OneShot: OneShot{Number: OneShotNumber{6}, Seen: 7},
		}},
		{ID: 1 << 40, Kind: RequestQuery, Query: &Query{Resource: "r", Type: "t", Operation: "o", Argument: []byte("a"), Consistency: MaxStale, Seen: 9, MaxAge: 1e9, NoForwarding: true}},
		{ID: 300, Kind: RequestWatch, Watch: &Watch{Resource: "r", Type: "t", Prefix: []byte("p"), From: 9, Latest: true, Previous: true}},
		{ID: 4, Kind: RequestCancel, Wait: time.Minute},
		{ID: 5, Kind: RequestStatus},
		{ID: 6, Kind: RequestJoin},
		{ID: 12, Kind: RequestJoin, Founding: sampleFounding()},
		{ID: 13, Kind: RequestJoin, Founding: &Founding{}},
		{ID: 7, Kind: RequestMembershipChange, MembershipChange: &MembershipChange{
			Version: 9, Promote: []MemberID{idA}, Demote: []MemberID{idB}, Remove: []MemberID{idB, idA}, Absent: []MemberID{idB}, Target: 5,
			Autopilot: &Autopilot{Off: true, Stable: 6, FailedAfter: AutopilotTimeMax, Floor: 7, Passives: 8, HoldLevel: true}, StateBytes: new(int64(1 << 30)), Transfer: true, Transferee: idA, Impose: idB,
		}},
		{ID: 8, Kind: RequestMembershipChange, MembershipChange: &MembershipChange{}},
		{ID: 9, Kind: RequestAutopilot},
		{ID: 10, Kind: RequestDigest, At: 1 << 40},
		{ID: 11, Kind: RequestLeader, Term: 1 << 33, Wait: time.Second},
		{ID: 300, Kind: RequestCredit, Taken: 1 << 50},
		{ID: 301, Kind: RequestAge},
		{ID: 3, Kind: RequestQuery, Query: &Query{Resource: "r", Type: "t", Operation: "o", Argument: []byte("a"), Consistency: Local}},
		{ID: 3, Kind: RequestQuery, Query: &Query{Resource: "r", Type: "t", Operation: "o", Argument: []byte("a"), Consistency: Session, Seen: 1 << 40}},
		{ID: 301, Kind: RequestWatch, Watch: &Watch{Resource: "r", Type: "t", Previous: true}},
	}
}

func sampleFounding() *Founding {
	return &Founding{
		ID: idA, Name: "h:1", Address: "10.0.0.1:1", Names: []string{"h:1", "i:2"}, Addresses: []string{"10.0.0.1:1", "10.0.0.2:2"},
		Told: true, Expect: 3, Begins: true, Promise: true, Why: "w", Level: 2,
	}
}

func sampleResponses() []*Response {
	result := Result{Code: "map.reason", Text: "why", Data: []byte("data"), Index: 300, AgeKnown: true, Age: 70_000}
	configuration := Configuration{Target: 3, Lease: 4, Autopilot: Autopilot{Off: true, Stable: 5, FailedAfter: time.Minute, Floor: 6, Passives: 7, HoldLevel: true}, Level: 3, StateBytes: StateBytesMax}.With(ActiveMember{ID: idA, Name: "a", Address: "h:1", Suffrage: SuffrageVoter, Outgoing: true})
	return []*Response{
		{ID: 1, Kind: RequestCommand, Result: result, Leader: "h:1", Term: 300},
		{ID: 2, Kind: RequestQuery, Result: Result{Text: "t"}},
		{ID: 3, Kind: RequestWatch, Changes: &Changes{Index: 7, More: true, Changes: []Change{
			{Kind: ChangePut, Key: []byte("k"), Value: []byte("v")}, {Kind: ChangeDelete, Key: []byte("l")},
			{Kind: ChangePut, Key: []byte("m"), Value: []byte("v"), PreviousKind: PreviousNone}, {Kind: ChangeDelete, Key: []byte("n"), PreviousKind: PreviousValue, Previous: []byte("w")},
		}}},
		{ID: 4, Kind: RequestWatch, Result: Failed(ErrSlowWatcher)},
		{ID: 5, Kind: RequestStatus, Status: &Status{
			Cluster: ClusterID(idB), ID: idA, Name: "n", Address: "a", HTTP: "h", Role: "active", RaftRole: "leader", Term: 1, LeaderID: idB,
			Leader: "l", Commit: 2, Applied: 3, First: 4, Digest: "d", AgeKnown: true, AgeNanos: 5, Version: "v", Uptime: 6, Serving: true,
			Reason: "r", Sessions: 7, Keys: 8, StateBytes: 1 << 40, StateLimit: 15, Checkpoint: 9, Installing: 10, Chunks: 11, ChunksLeft: 12, Refused: 13, LogLost: 14, Unknown: []KindCount{{Kind: 63, Skipped: 1 << 40}, {Kind: 127, Unsupported: 3}}, Counts: []Count{{Name: "elections_won", Value: 1 << 40}, {Name: "z"}}, Level: 2, LevelKnown: 3, LevelReason: "w", Ahead: []AheadStatus{{ID: idA, Name: "p", Holds: 231, Ends: 228, Diverged: 229, Text: "text"}}, Members: []MemberStatus{
				{ID: idA, Name: "n", Address: "a", Role: "passive", Suffrage: "voter", Alive: true, Leader: true, Known: true, Said: 12, Applied: 9, AgeKnown: true, AgeNanos: 10, SilenceKnown: true, Silence: 11, Moved: true, Configured: "c", Other: "o"}, {},
			},
		}},
		{ID: 6, Kind: RequestJoin, Join: &JoinInfo{
			Cluster: ClusterID(idB), Member: idA, Name: "n", Configuration: ConfigurationAt{Index: 3, Configuration: configuration},
			Names: []NameInUse{{Name: "n", Member: idA, Address: "h:2", Named: true}}, Founding: sampleFounding(),
		}},
		{ID: 7, Kind: RequestJoin, Join: &JoinInfo{}},
		{ID: 8, Kind: RequestStatus, Status: &Status{}},
		{ID: 9, Kind: RequestAutopilot, Autopilot: &AutopilotReport{
			Configuration: ConfigurationAt{Index: 3, Configuration: configuration}, LeaderID: idA, Leader: "n", Reason: "why nothing happens",
			InFlight: true, Names: []NameInUse{{Name: "n", Member: idA}},
		}},
		{ID: 10, Kind: RequestAutopilot, Result: Failed(ErrNotLeader)},
		{ID: 12, Kind: RequestLeader, Leader: "h:1", Term: 1 << 40},
		{ID: 11, Kind: RequestDigest, Digest: &DigestReport{ID: idA, Name: "a1", Role: "active", Leader: true, Applied: 300, Index: 299,
			Known: true, Digest: [16]byte{1, 15: 2}, SumKnown: true, Sum: LogSum{3, 4}, State: "serving", Reason: "none"}},
	}
}

func TestRequestsRoundTrip(t *testing.T) {
	mustBeFull(t, reflect.ValueOf(sampleRequests()[0].Command), "command")
	mustBeFull(t, reflect.ValueOf(sampleRequests()[1].Query), "query")
	mustBeFull(t, reflect.ValueOf(sampleRequests()[2].Watch), "watch")
	mustBeFull(t, reflect.ValueOf(sampleRequests()[8].MembershipChange), "seats")
	for _, q := range sampleRequests() {
		src := AppendRequest(nil, q)
		got, err := DecodeRequest(src)
		if err != nil || !reflect.DeepEqual(got.made(), q) {
			t.Errorf("got %+v, %v, want %+v", got, err, q)
		}
		if size := RequestSize(q); size < len(src) {
			t.Errorf("size %d said, %d needed", size, len(src))
		}
		isMsgpack(t, "request", src)
		for n := range src {
			if _, err := DecodeRequest(src[:n]); !errors.Is(err, ErrMalformed) {
				t.Errorf("cut to %d: got %v, want %v", n, err, ErrMalformed)
			}
		}
	}
}

func TestResponsesRoundTrip(t *testing.T) {
	mustBeFull(t, reflect.ValueOf(sampleResponses()[4].Status), "status")
	mustBeFull(t, reflect.ValueOf(sampleResponses()[4].Status.Members[0]), "member")
	mustBeFull(t, reflect.ValueOf(sampleResponses()[5].Join), "join")
	mustBeFull(t, reflect.ValueOf(sampleResponses()[5].Join.Founding), "founding")
	mustBeFull(t, reflect.ValueOf(sampleResponses()[8].Autopilot), "autopilot")
	for _, p := range sampleResponses() {
		src := AppendResponse(nil, p)
		got, err := DecodeResponse(src)
		if err != nil || !reflect.DeepEqual(got, p) {
			t.Errorf("got %+v, %v, want %+v", got, err, p)
		}
		isMsgpack(t, "response", src)
		for n := range src {
			if _, err := DecodeResponse(src[:n]); !errors.Is(err, ErrMalformed) {
				t.Errorf("cut to %d: got %v, want %v", n, err, ErrMalformed)
			}
		}
	}
}

func TestLongTextIsCutNotRefused(t *testing.T) {
	p := &Response{ID: 1, Kind: RequestCommand, Result: Result{Code: "c", Text: strings.Repeat("é", TextBytesMax)}}
	p.Result.Text = "x" + p.Result.Text // so that the cut falls into a letter
	got, err := DecodeResponse(AppendResponse(nil, p))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := len(got.Result.Text), TextBytesMax-1; got != want {
		t.Errorf("got %d bytes, want %d", got, want)
	}
}

func TestHelloRoundTrip(t *testing.T) {
	for _, h := range []Hello{{}, {Versions: Versions{3, 255}, Cluster: ClusterID(idA), Member: idB, Name: "n", Starts: 3, Run: 5, Sequence: 4, Refused: "wrong_cluster", Text: "t"}} {
		got, err := DecodeHello(AppendHello(nil, &h))
		if h.Versions == (Versions{}) {
			h.Versions = Spoken()
		}
		if err != nil || got != h {
			t.Errorf("got %+v, %v, want %+v", got, err, h)
		}
	}
}

func TestCheckMsgpackAcceptsWhatTheLibraryWrites(t *testing.T) {
	deep := any("leaf")
	for range DepthMax {
		deep = []any{deep}
	}
	for _, v := range []any{
		nil, true, 1, -1, 300, -300, 1 << 40, -1 << 40, 1.5, float32(1.5), "s", strings.Repeat("s", 300), make([]byte, 70_000), time.Unix(1, 2),
		map[string]any{"a": []int{1, 2}, "b": map[string]int{}}, make([]int, 70_000), struct{ A, B string }{"a", "b"}, [][]string{{}, {"x"}}, deep,
	} {
		src, err := msgpack.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if err := CheckMsgpack(src); err != nil {
			t.Errorf("%T: %v", v, err)
		}
		for n := 1; n < min(len(src), 20); n++ {
			if err := CheckMsgpack(src[:n]); !errors.Is(err, ErrMalformed) {
				t.Errorf("%T cut to %d: got %v, want %v", v, n, err, ErrMalformed)
			}
		}
	}
}

func TestCheckMsgpackRefusesWhatKillsTheLibrary(t *testing.T) {
	for name, src := range map[string][]byte{
		"16.7 million elements in 5 bytes": {0xdd, 0x00, 0xff, 0xff, 0xff},
		"4 billion pairs":                  {0xdf, 0xff, 0xff, 0xff, 0xff},
		"4 GB of bytes":                    {0xc6, 0xff, 0xff, 0xff, 0xff, 0},
		"nested too deep":                  append(bytes.Repeat([]byte{0x91}, DepthMax+1), 0),
		"shared elements":                  {0x94, 0x93, 0, 0, 0},
		"unused byte":                      {0xc1},
		"nothing":                          {},
		"a second value":                   {0xc0, 0xc0},
		"a second value, nested":           {0x81, 0xa1, 'a', 1, 2},
	} {
		if err := CheckMsgpack(src); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: got %v, want %v", name, err, ErrMalformed)
		}
	}
}

func FuzzDecodeRequest(f *testing.F) {
	for _, q := range sampleRequests() {
		f.Add(AppendRequest(nil, q))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		q, err := DecodeRequest(src)
		if err != nil {
			return
		}
		if q.Command != nil && !bytes.Equal(q.EncodedCommand(), EncodeCommand(q.Command)) {
			t.Fatalf("%x: the command's bytes are not what it is encoded to", src)
		}
		if got := AppendRequest(nil, q); len(got) >= len(src) && !bytes.Equal(got, src) {
			t.Fatalf("got %x, want %x", got, src)
		}
	})
}

func FuzzDecodeResponse(f *testing.F) {
	for _, p := range sampleResponses() {
		f.Add(AppendResponse(nil, p))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		p, err := DecodeResponse(src)
		if err != nil {
			return
		}
		if got := AppendResponse(nil, p); len(got) >= len(src) && !bytes.Equal(got, src) {
			t.Fatalf("got %x, want %x", got, src)
		}
	})
}

func FuzzDecodeHello(f *testing.F) {
	f.Add(AppendHello(nil, &Hello{Cluster: ClusterID(idA), Member: idB, Name: "n"}))
	f.Fuzz(func(t *testing.T, src []byte) {
		h, err := DecodeHello(src)
		if err != nil {
			return
		}
		if got := AppendHello(nil, &h); len(got) >= len(src) && !bytes.Equal(got, src) {
			t.Fatalf("got %x, want %x", got, src)
		}
	})
}

// FuzzCheckMsgpack: what the scan lets through, the library decodes without
// harm.
func FuzzCheckMsgpack(f *testing.F) {
	f.Add([]byte{0x82, 0xa1, 'a', 1, 0xa1, 'b', 0x91, 2})
	f.Add([]byte{0xdd, 0x00, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, src []byte) {
		if CheckMsgpack(src) != nil {
			return
		}
		_, _ = msgpack.NewDecoder(bytes.NewReader(src)).DecodeInterfaceLoose()
	})
}

// made returns the request as if it had been made here.
func (q *Request) made() *Request {
	one := *q
	one.encoded = nil
	return &one
}

// [S] A command goes into the log in the bytes that it came in, and these are what it
// would be encoded to: one that were not would have another log sum than the same command
// of a client in the member's own process, and nothing else would notice.
func TestACommandIsTakenInTheBytesThatItCameIn(t *testing.T) {
	q := sampleRequests()[0]
	src := AppendRequest(nil, q)
	got, err := DecodeRequest(src)
	if err != nil {
		t.Fatal(err)
	}
	encoded := got.EncodedCommand()
	if !bytes.Equal(encoded, EncodeCommand(q.Command)) || !bytes.Equal(encoded, q.EncodedCommand()) {
		t.Errorf("got %x, want %x", encoded, EncodeCommand(q.Command))
	}
	if n := testing.AllocsPerRun(100, func() { got.EncodedCommand() }); n != 0 || cap(encoded) != len(encoded) {
		t.Errorf("it was encoded again: %v allocations", n)
	}
	if session, sequence, ok := CommandKey(encoded); !ok || session != q.Command.Session || sequence != q.Command.Sequence {
		t.Errorf("got session %d, sequence %d, %t; want those of %+v", session, sequence, ok, q.Command)
	}
	for _, other := range [][]byte{nil, encoded[:1], {0x93, 1, 2, 3}, EncodeCommand(&Command{Session: 1}), EncodeCommand(&Command{Sequence: 1})} {
		if _, _, ok := CommandKey(other); ok {
			t.Errorf("%x names a command", other)
		}
	}
}
