package protocol

import (
	"bytes"
	"errors"
	"reflect"
	"slices"
	"testing"
	"time"
)

func sampleEntries(n, bytesEach int) []Entry {
	entries := make([]Entry, n)
	for i := range entries {
		entries[i] = Entry{
			Index: Index(100_000 + i), Term: 7, Time: ClusterTime(90_000_000_000 + i), Kind: EntryCommand,
			Data: bytes.Repeat([]byte{byte(i)}, bytesEach),
		}
	}
	return entries
}

func TestEntriesRoundTrip(t *testing.T) {
	big := bytes.Repeat([]byte{1}, CommandBytesMax)
	entries := []Entry{
		{Index: 1, Term: 1, Kind: EntryConfiguration, Data: []byte("c")},
		{Index: 2, Term: 1, Time: 300, Kind: EntryNoop},
		{Index: 3, Term: 1 << 40, Time: 1 << 62, Kind: EntryCommand, Data: big},
		{Index: 4, Term: 1 << 63, Time: -5, Kind: EntryTick},
		{Index: 5, Term: 1 << 63, Time: -1 << 63, Kind: EntryCommand, Data: big[:256]},
	}
	src := EncodeEntries(entries)
	if got, want := RawSize(entries), len(src); got != want {
		t.Errorf("raw size: got %d, want %d", got, want)
	}
	big[0] = 2 // Data must not alias what it was made from
	got, err := DecodeEntries(src)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, entries) {
		t.Errorf("got %v, want %v", got, entries)
	}
	for i := range got {
		if n := len(got[i].Data); n > 0 && &got[i].Data[0] != &got[i].Raw[len(got[i].Raw)-n] {
			t.Errorf("%s: data does not alias raw", got[i])
		}
		if got, want := EntrySize(&got[i]), len(got[i].Raw); got != want {
			t.Errorf("entry size: got %d, want %d", got, want)
		}
	}
	one, rest, err := DecodeEntry(src)
	if err != nil || one.Index != 1 || len(rest) != len(src)-len(one.Raw) {
		t.Errorf("got %v, %d bytes left, %v", one, len(rest), err)
	}
}

func TestEntriesRefused(t *testing.T) {
	encode := func(e ...Entry) []byte { return EncodeEntries(e) }
	one := encode(Entry{Index: 1, Term: 2, Kind: EntryCommand, Data: []byte("data")})
	for name, src := range map[string][]byte{
		"cut short":         one[:len(one)-1],
		"trailing byte":     append(bytes.Clone(one), 0),
		"index 0":           {0x95, 0, 1, 1, 1, 0xc4, 0},
		"kind 0":            {0x95, 1, 1, 1, 0, 0xc4, 0},
		"kind 128":          {0x95, 1, 1, 1, 128, 0xc4, 0},
		"long index":        {0x95, 0xcc, 1, 1, 1, 1, 0xc4, 0},
		"long time":         {0x95, 1, 1, 0xd0, 1, 1, 0xc4, 0},
		"long length":       {0x95, 1, 1, 1, 1, 0xc5, 0, 0},
		"huge length":       {0x95, 1, 1, 1, 1, 0xc6, 0xff, 0xff, 0xff, 0xff},
		"index gap":         append(bytes.Clone(one), encode(Entry{Index: 3, Term: 2, Kind: EntryNoop})...),
		"index repeated":    append(bytes.Clone(one), one...),
		"term goes back":    append(bytes.Clone(one), encode(Entry{Index: 2, Term: 1, Kind: EntryNoop})...),
		"another structure": {0x94, 1, 1, 1, 1, 0xc4, 0},
	} {
		if got, err := DecodeEntries(src); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: got %v, %v, want %v", name, got, err, ErrMalformed)
		}
	}
}

func TestOversizeEntryIsNeverEncoded(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("an entry over its limit was encoded")
		}
	}()
	EncodeEntries([]Entry{{Index: 1, Term: 1, Kind: EntryCommand, Data: make([]byte, EntryBytesMax)}})
}

func TestConfigurationRoundTrip(t *testing.T) {
	c := Configuration{Target: 3}
	for i := range 20 {
		c = c.With(ActiveMember{ID: MemberID{byte(i), 1}, Name: "n", Address: "127.0.0.1:7600", Suffrage: Suffrage(1 + i%2)})
	}
	got, err := DecodeConfiguration(EncodeConfiguration(c))
	if err != nil || !got.Equal(c) {
		t.Errorf("got %v, %v, want %v", got, err, c)
	}
	c.Members[0], c.Members[1] = c.Members[1], c.Members[0]
	if _, err := DecodeConfiguration(EncodeConfiguration(c)); !errors.Is(err, ErrMalformed) {
		t.Errorf("unsorted: got %v, want %v", err, ErrMalformed)
	}
}

// replacement leads from a, b, c to a, d and b as a learner.
func replacement() (from, to, joint Configuration) {
	line := func(c Configuration, id byte, seat Suffrage) Configuration {
		return c.With(ActiveMember{ID: MemberID{id}, Name: string('a' + rune(id) - 1), Suffrage: seat})
	}
	for id := byte(1); id <= 3; id++ {
		from = line(from, id, SuffrageVoter)
	}
	from = line(from, 4, SuffrageLearner)
	to = line(line(from.Without(MemberID{3}), 4, SuffrageVoter), 2, SuffrageLearner)
	to.Target, to.Lease = 3, time.Second
	return from, to, from.Toward(to)
}

func TestJointConfigurationLeadsFromOneToAnother(t *testing.T) {
	from, to, joint := replacement()
	if err := joint.Validate(); err != nil {
		t.Fatal(err)
	}
	if got, want := joint.String(), "a b c => a b(learner) d"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if !slices.Equal(joint.Voters(), to.Voters()) || !slices.Equal(joint.OutgoingVoters(), from.Voters()) {
		t.Errorf("got halves %v and %v, want %v and %v", joint.OutgoingVoters(), joint.Voters(), from.Voters(), to.Voters())
	}
	if !joint.Joint() || from.Joint() || to.Joint() || !joint.Final().Equal(to) {
		t.Errorf("got final %v, want %v", joint.Final(), to)
	}
	for id := byte(1); id <= 4; id++ {
		if !joint.IsVoter(MemberID{id}) || !joint.Names(MemberID{id}) {
			t.Errorf("member %d counts in no half of %v", id, joint)
		}
	}
}

func TestJointConfigurationRoundTrip(t *testing.T) {
	_, to, joint := replacement()
	for _, c := range []Configuration{to, joint} {
		got, err := DecodeConfiguration(EncodeConfiguration(c))
		if err != nil || !got.Equal(c) {
			t.Errorf("got %v, %v, want %v", got, err, c)
		}
	}
	// No seat in either half, and no voter in the incoming one.
	nowhere, empty := to, joint
	nowhere.Members = append(slices.Clone(to.Members), ActiveMember{ID: MemberID{9}})
	empty.Members = slices.Clone(joint.Members[1:3])
	long := to
	long.Lease = LeaseMax + 1
	for _, c := range []Configuration{nowhere, empty, long} {
		if _, err := DecodeConfiguration(EncodeConfiguration(c)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%v: got %v, want %v", c, err, ErrMalformed)
		}
	}
}

// A member is active as long as either half of a joint configuration names it,
// committed or not.
func TestRoleFollowsEitherHalfOfAJointConfiguration(t *testing.T) {
	from, to, joint := replacement()
	confs := NewConfigurations(ConfigurationAt{Configuration: from}, ConfigurationAt{Index: 5, Configuration: joint}, ConfigurationAt{Index: 8, Configuration: to})
	for _, test := range []struct {
		id     byte
		commit Index
		want   Role
	}{
		{3, 4, RoleActive}, {3, 5, RoleActive}, {3, 7, RoleActive}, {3, 8, RolePassive},
		{2, 8, RoleActive}, {4, 5, RoleActive}, {9, 5, RolePassive},
	} {
		if got := confs.RoleOf(MemberID{test.id}, test.commit, false); got != test.want {
			t.Errorf("member %d at commit %d: got %s, want %s", test.id, test.commit, got, test.want)
		}
	}
}

func TestCommandRoundTrip(t *testing.T) {
	for _, c := range []Command{
		{},
		{Session: 1 << 40, Sequence: 200, Floor: 70_000, Resource: "inventory", Type: "map", Version: 1 << 31, Operation: "put", Argument: []byte("k")},
		{Resource: string(make([]byte, NameBytesMax)), Type: "t", Operation: string(make([]byte, 40)), Argument: make([]byte, CommandBytesMax)},
		{OneShot: OneShot{Number: OneShotNumber{15: 1}, Seen: IndexMax}, Resource: "inventory", Type: "map", Version: 1, Operation: "put", Argument: []byte("k")},
	} {
		got, err := DecodeCommand(EncodeCommand(&c))
		if err != nil || !reflect.DeepEqual(got, c) {
			t.Errorf("got %+v, %v, want %+v", got, err, c)
		}
	}
	long := Command{Resource: string(make([]byte, NameBytesMax+1))}
	if _, err := DecodeCommand(EncodeCommand(&long)); !errors.Is(err, ErrMalformed) {
		t.Errorf("got %v, want %v", err, ErrMalformed)
	}
}

// A one-shot has one encoding, as everything has that sums are made over.
func TestOneShotIsReadStrictly(t *testing.T) {
	c := Command{OneShot: OneShot{Number: OneShotNumber{1}, Seen: 5}, Resource: "r", Type: "t", Operation: "o"}
	sound := EncodeCommand(&c)
	head := len(sound) - 1 - (1 + 2 + 16)
	for what, tail := range map[string][]byte{
		"no number":        {0x92, 0xc0, 5},
		"a number of 15":   append(append([]byte{0x92, 0xc4, 15}, make([]byte, 14)...), 1, 5),
		"a number of zero": append(append([]byte{0x92, 0xc4, 16}, make([]byte, 16)...), 5),
		"nothing seen":     append([]byte{0x91, 0xc4, 16}, make([]byte, 16)...),
		"false":            {0xc2},
		"cut short":        {},
	} {
		if _, err := DecodeCommand(append(sound[:head:head], tail...)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: got %v, want %v", what, err, ErrMalformed)
		}
	}
	if got, err := DecodeCommand(sound); err != nil || got.OneShot != c.OneShot {
		t.Errorf("got %+v, %v, want %+v", got.OneShot, err, c.OneShot)
	}
}

func FuzzDecodeEntries(f *testing.F) {
	f.Add([]byte{})
	f.Add(EncodeEntries(sampleEntries(3, 5)))
	f.Add(EncodeEntries([]Entry{{Index: 1, Term: 1, Time: -7, Kind: EntryNoop}}))
	f.Add([]byte("\x950000\xc4\x00")) // of a kind that a later release has
	f.Fuzz(func(t *testing.T, src []byte) {
		entries, err := DecodeEntries(src)
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		var raw []byte
		known := true
		for i := range entries {
			raw, known = append(raw, entries[i].Raw...), known && entries[i].Kind.Known()
		}
		if !bytes.Equal(raw, src) {
			t.Fatalf("got %x as it came, want %x", raw, src)
		}
		if !known {
			return // of a later release: it is passed on as it came, and not encoded
		}
		if got := EncodeEntries(entries); !bytes.Equal(got, src) {
			t.Fatalf("got %x, want %x", got, src)
		}
	})
}

func FuzzDecodeConfiguration(f *testing.F) {
	c := Configuration{Target: 3}.With(ActiveMember{ID: MemberID{1}, Name: "a", Address: "h:1", Suffrage: SuffrageVoter})
	f.Add(EncodeConfiguration(c))
	_, to, joint := replacement()
	f.Add(EncodeConfiguration(to))
	f.Add(EncodeConfiguration(joint))
	c.Autopilot = Autopilot{Off: true, FailedAfter: time.Minute, Floor: 3, Passives: 200}
	f.Add(EncodeConfiguration(c))
	f.Fuzz(func(t *testing.T, src []byte) {
		c, err := DecodeConfiguration(src)
		if err != nil {
			return
		}
		if got := EncodeConfiguration(c); !bytes.Equal(got, src) {
			t.Fatalf("got %x, want %x", got, src)
		}
	})
}

func FuzzDecodeCommand(f *testing.F) {
	f.Add(EncodeCommand(&Command{Session: 9, Resource: "r", Type: "map", Operation: "put", Argument: []byte("x")}))
	f.Add(EncodeCommand(&Command{OneShot: OneShot{Number: OneShotNumber{1}, Seen: 300}, Resource: "r", Type: "map", Operation: "put"}))
	f.Add(EncodeCommand(&Command{Session: 9, Resource: "rm", Type: "ap", Operation: "put"}))
	f.Fuzz(func(t *testing.T, src []byte) {
		c, err := DecodeCommand(src)
		if err != nil {
			return
		}
		if got := EncodeCommand(&c); !bytes.Equal(got, src) {
			t.Fatalf("got %x, want %x", got, src)
		}
		// [S] Names that are shared are those of this command: another one would be applied.
		var d CommandDecoder
		other := EncodeCommand(&Command{Session: 9, Resource: "r", Type: "map", Operation: "put"})
		for _, each := range [][]byte{other, src, src, other, src} {
			got, err := d.Decode(each)
			if err != nil || !bytes.Equal(EncodeCommand(&got), each) {
				t.Fatalf("behind another one: got %+v, %v, want % x", got, err, each)
			}
		}
	})
}

func BenchmarkEncodeEntries(b *testing.B) {
	entries := sampleEntries(64, 256)
	b.ReportAllocs()
	for b.Loop() {
		EncodeEntries(entries)
	}
}

func BenchmarkDecodeEntries(b *testing.B) {
	src := EncodeEntries(sampleEntries(64, 256))
	b.ReportAllocs()
	b.SetBytes(int64(len(src)))
	for b.Loop() {
		if _, err := DecodeEntries(src); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeEntriesInto(b *testing.B) {
	src := EncodeEntries(sampleEntries(64, 256))
	b.ReportAllocs()
	b.SetBytes(int64(len(src)))
	var dst []Entry
	for b.Loop() {
		var err error
		if dst, err = DecodeEntriesInto(dst, src); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeCommand(b *testing.B) {
	src := EncodeCommand(&Command{Session: 9000, Sequence: 500, Floor: 499, Resource: "inventory", Type: "map", Version: 1, Operation: "put", Argument: make([]byte, 64)})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := DecodeCommand(src); err != nil {
			b.Fatal(err)
		}
	}
}
