package machine_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/starlinghq/starling/internal/machine"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
	"github.com/starlinghq/starling/resources/kvmap"
)

func uvarints(numbers ...uint64) (out []byte) {
	for _, n := range numbers {
		out = binary.AppendUvarint(out, n)
	}
	return out
}

func sessionItem(id uint64, i protocol.Index, numbers ...uint64) machine.CheckpointItem {
	return machine.CheckpointItem{Key: binary.BigEndian.AppendUint64([]byte("s"), id), Index: i, Value: uvarints(numbers...)}
}

// windowItem is what a session has executed: its floor, and then what is given.
func windowItem(id uint64, i protocol.Index, floor uint64, slots ...[]byte) machine.CheckpointItem {
	key := binary.BigEndian.AppendUint64([]byte("x"), id)
	return machine.CheckpointItem{Key: key, Index: i, Value: append(uvarints(floor), bytes.Join(slots, nil)...)}
}

// slot is a command that was executed: above the one before, below the last index of the window.
func slot(above, below uint64, answer ...byte) []byte {
	return append(uvarints(above, below), answer...)
}

const lost, apart = 0xff, 0xfe

func answerItem(id, sequence uint64, i protocol.Index, length int) machine.CheckpointItem {
	key := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64([]byte("y"), id), sequence)
	return machine.CheckpointItem{Key: key, Index: i, Value: make([]byte, length)}
}

func systemItem(key string, i protocol.Index, value string) machine.CheckpointItem {
	return machine.CheckpointItem{Key: []byte(key), Index: i, Value: []byte(value)}
}

// sound is a small state at index 20.
func sound() []machine.CheckpointItem {
	second := uint64(time.Second)
	return []machine.CheckpointItem{
		systemItem("l", 1, string(uvarints(1))), systemItem("m", 20, string(uvarints(7*second))),
		systemItem("rmap", 5, "map"), {Space: "map", Key: []byte("a"), Index: 5, Value: []byte("x")},
		sessionItem(3, 3, 10*second, second),
		windowItem(3, 11, 2, slot(1, 3, lost), slot(1, 2, 2, 0, 'x'), slot(1, 1, apart)), answerItem(3, 5, 10, 24),
		sessionItem(6, 6, 10*second, second), windowItem(6, 9, 1<<40),
	}
}

// TestLoaderRefuses damages a sound state in one place at a time.
func TestLoaderRefuses(t *testing.T) {
	m := newTracked(t)
	load := func(items []machine.CheckpointItem, i protocol.Index) error {
		l := m.NewLoader()
		for _, item := range items {
			if err := l.Add(item); err != nil {
				return err
			}
		}
		_, err := l.Finish(i)
		return err
	}
	if err := load(sound(), 20); err != nil {
		t.Fatal(err)
	}
	second := uint64(time.Second)
	mapItem := func(key string, i protocol.Index, value string) machine.CheckpointItem {
		return machine.CheckpointItem{Space: "map", Key: []byte(key), Index: i, Value: []byte(value)}
	}
	for what, bad := range map[string]struct {
		item machine.CheckpointItem
		want *protocol.Error
		text string
	}{
		"index 0":           {mapItem("b", 0, ""), protocol.ErrMalformed, "index 0"},
		"above":             {mapItem("b", 21, ""), protocol.ErrCorrupt, "21"},
		"twice":             {mapItem("a", 5, "x"), protocol.ErrCorrupt, "twice"},
		"twice, older":      {mapItem("a", 4, "x"), protocol.ErrCorrupt, "twice"},
		"no key":            {mapItem("", 4, "x"), protocol.ErrMalformed, "empty key"},
		"long key":          {mapItem(strings.Repeat("k", protocol.KeyBytesMax+1), 4, "x"), protocol.ErrMalformed, "limit"},
		"long value":        {mapItem("b", 4, strings.Repeat("v", protocol.ValueBytesMax+1)), protocol.ErrMalformed, "limit"},
		"name":              {machine.CheckpointItem{Space: "a b", Key: []byte("k"), Index: 1}, protocol.ErrMalformed, "name"},
		"no catalogue":      {machine.CheckpointItem{Space: "stray", Key: []byte("k"), Index: 1}, protocol.ErrCorrupt, "catalogue"},
		"unknown key":       {systemItem("z", 1, ""), protocol.ErrMalformed, "newer"},
		"long lease":        {systemItem("lx", 1, "\x01"), protocol.ErrMalformed, "malformed"},
		"empty lease":       {systemItem("l", 2, ""), protocol.ErrMalformed, "malformed"},
		"long time":         {systemItem("m", 2, "\x01\x01"), protocol.ErrMalformed, "malformed"},
		"time beyond":       {systemItem("m", 2, string(uvarints(1<<63-1))), protocol.ErrMalformed, "malformed"},
		"without keys":      {systemItem("rempty", 6, "map"), protocol.ErrCorrupt, "no keys"},
		"nameless resource": {systemItem("r", 2, "map"), protocol.ErrMalformed, "empty"},
		"typeless resource": {systemItem("rx", 2, ""), protocol.ErrMalformed, "empty"},
		"session key":       {systemItem("s123", 2, ""), protocol.ErrMalformed, "malformed"},
		"session 0":         {sessionItem(0, 2, 10*second, 0), protocol.ErrMalformed, "malformed"},
		"session too early": {sessionItem(8, 7, 10*second, 0), protocol.ErrMalformed, "before"},
		"session's timeout": {sessionItem(8, 8, 2*uint64(time.Hour), 0), protocol.ErrMalformed, "malformed"},
		"session's time":    {sessionItem(8, 8, 10*second, 1<<63-1), protocol.ErrMalformed, "malformed"},
		"session's rest":    {sessionItem(8, 8, 10*second, 0, 1), protocol.ErrMalformed, "malformed"},
		"session cut off":   {sessionItem(8, 8, 10*second), protocol.ErrMalformed, "malformed"},
		"no session":        {windowItem(4, 9, 1, slot(0, 0, lost)), protocol.ErrCorrupt, "not there"},
		"window's key":      {systemItem("x123", 9, "\x01"), protocol.ErrMalformed, "malformed"},
		"too early":         {windowItem(8, 8, 1, slot(0, 0, lost)), protocol.ErrMalformed, "malformed"},
		"slot too early":    {windowItem(8, 11, 1, slot(0, 3, lost)), protocol.ErrMalformed, "malformed"},
		"below 0":           {windowItem(8, 11, 1, slot(0, 11, lost)), protocol.ErrMalformed, "malformed"},
		"window of nothing": {windowItem(8, 11, 1), protocol.ErrMalformed, "malformed"},
		"floor 0":           {windowItem(8, 11, 0), protocol.ErrMalformed, "malformed"},
		"huge floor":        {windowItem(8, 11, protocol.SequenceMax+1), protocol.ErrMalformed, "malformed"},
		"huge sequence":     {windowItem(8, 11, protocol.SequenceMax, slot(1, 0, lost)), protocol.ErrMalformed, "malformed"},
		"beyond the window": {windowItem(8, 11, 2, slot(protocol.SessionWindow, 0, lost)), protocol.ErrMalformed, "malformed"},
		"beyond, together":  {windowItem(8, 11, 2, slot(9, 1, lost), slot(protocol.SessionWindow-9, 0, lost)), protocol.ErrMalformed, "malformed"},
		"wraps around":      {windowItem(8, 11, 2, slot(9, 1, lost), slot(1<<64-2, 0, lost)), protocol.ErrMalformed, "malformed"},
		"slot twice":        {windowItem(8, 11, 2, slot(1, 1, lost), slot(0, 0, lost)), protocol.ErrMalformed, "malformed"},
		"no answer":         {windowItem(8, 11, 2, slot(1, 0)), protocol.ErrMalformed, "malformed"},
		"empty answer":      {windowItem(8, 11, 2, slot(1, 0, 0)), protocol.ErrMalformed, "malformed"},
		"unknown answer":    {windowItem(8, 11, 2, slot(1, 0, 24)), protocol.ErrMalformed, "malformed"},
		"answer cut off":    {windowItem(8, 11, 2, slot(1, 0, 3, 0, 'a')), protocol.ErrMalformed, "malformed"},
		"code cut off":      {windowItem(8, 11, 2, slot(1, 0, 3, 3, 'a', 'b')), protocol.ErrMalformed, "malformed"},
		"window cut off":    {windowItem(8, 11, 2, []byte{1}), protocol.ErrMalformed, "malformed"},
		"answer's key":      {systemItem("y123", 9, strings.Repeat("\x00", 24)), protocol.ErrMalformed, "malformed"},
		"short answer":      {answerItem(3, 5, 10, 23), protocol.ErrMalformed, "malformed"},
		"answer's session":  {answerItem(4, 5, 10, 24), protocol.ErrCorrupt, "not there"},
		"no window":         {answerItem(7, 5, 10, 24), protocol.ErrCorrupt, "not there"},
		"not known of":      {answerItem(3, 4, 9, 24), protocol.ErrCorrupt, "knows of none"},
		"not known of, too": {answerItem(3, 9, 9, 24), protocol.ErrCorrupt, "knows of none"},
		"another index":     {answerItem(3, 5, 12, 24), protocol.ErrCorrupt, "knows of none"},
		"answer lacks":      {windowItem(3, 13, 2, slot(1, 3, apart), slot(2, 3, apart)), protocol.ErrCorrupt, "is not there"},
		"too many answers":  {answerItem(3, 5, 10, protocol.SessionAnswersBytesMax+1), protocol.ErrMalformed, "limit"},
	} {
		for k := range 2 { // in front and at the end
			items := append(sound(), bad.item)
			if k == 0 {
				items = append([]machine.CheckpointItem{bad.item}, sound()...)
			}
			if k == 0 && (slices.Contains([]string{"twice, older", "twice", "another index", "answer lacks"}, what) || bad.item.Space == "" && len(bad.item.Key) == 1) {
				continue // this way round it is the other one
			}
			err := load(items, 20)
			if !errors.Is(err, bad.want) || !strings.Contains(err.Error(), bad.text) {
				t.Errorf("%s: got %v, want %v: ...%s...", what, err, bad.want, bad.text)
			}
		}
	}
	larger := append(sound(), windowItem(3, 13, 2, slot(3, 3, apart), slot(1, 0, apart)), answerItem(3, 6, 13, protocol.SessionAnswersBytesMax))
	if err := load(larger, 20); !errors.Is(err, protocol.ErrCorrupt) || !strings.Contains(err.Error(), "bytes of answers") {
		t.Errorf("too many answers together: got %v", err)
	}
	if err := load(sound(), 0); !errors.Is(err, protocol.ErrMalformed) {
		t.Errorf("at index 0: got %v", err)
	}
	if err := load(slices.Delete(sound(), 2, 3), 20); !errors.Is(err, protocol.ErrCorrupt) {
		t.Errorf("without the catalogue: got %v", err)
	}
}

// TestDeletionOfAnUnknownKeyIsHarmless: Changed may tell of keys that the base
// never had.
func TestDeletionOfAnUnknownKeyIsHarmless(t *testing.T) {
	m := newTracked(t)
	l, plain := m.NewLoader(), m.NewLoader()
	for k, item := range sound() {
		for _, loader := range []*machine.Loader{l, plain} {
			if err := loader.Add(item); err != nil {
				t.Fatal(err)
			}
		}
		gone := machine.CheckpointItem{Space: item.Space, Key: append([]byte("x"), item.Key...), Deleted: true}
		if k%2 == 0 {
			gone.Space = "nowhere"
		}
		if err := l.Add(gone); err != nil {
			t.Fatal(err)
		}
	}
	got, err := l.Finish(20)
	want, _ := plain.Finish(20)
	if err != nil || got != want {
		t.Errorf("got %v %v, want %v", got, err, want)
	}
	bad := machine.CheckpointItem{Space: "m", Deleted: true}
	if err := m.NewLoader().Add(bad); !errors.Is(err, protocol.ErrMalformed) {
		t.Errorf("the deletion of no key: got %v", err)
	}
}

// TestUnknownTypeStopsAfterALoad is counterexample 34 for a checkpoint: the
// state is kept whole, and nothing is applied to it.
func TestUnknownTypeStopsAfterALoad(t *testing.T) {
	l := newLocal(t, kvmap.Type, journal)
	l.note(l.open(t, time.Hour), 1, 1, "kept")
	put(t, l, "m", "k", "v")
	snapshot := l.m.Snapshot()
	defer snapshot.Close()
	registry, err := resources.NewRegistry(kvmap.Type)
	if err != nil {
		t.Fatal(err)
	}
	m := machine.New(machine.Config{Registry: registry, Logger: slog.New(slog.DiscardHandler)})
	defer m.Close()
	loader := m.NewLoader()
	for item := range snapshot.All() {
		if err := loader.Add(item); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := loader.Finish(snapshot.Index()); err != nil || got != snapshot.Digest() || !errors.Is(loader.Missing(), protocol.ErrUnknownType) {
		t.Fatalf("got %v %v, missing %v", got, err, loader.Missing())
	}
	waiting := make(chan error, 1)
	go func() { waiting <- m.WaitApplied(t.Context(), snapshot.Index()+1) }()
	m.Install(loader)
	stopped := m.Stopped()
	if !errors.Is(stopped, protocol.ErrUnknownType) || !strings.Contains(stopped.Error(), "journal") {
		t.Fatalf("got %v, want a stop that names the type", stopped)
	}
	if err := <-waiting; err != stopped {
		t.Errorf("a waiter got %v, want %v", err, stopped)
	}
	if got := m.Apply([]protocol.Entry{{Index: snapshot.Index() + 1, Kind: protocol.EntryNoop}}, nil); len(got) != 0 {
		t.Error("it went on")
	}
	if err := m.EndSessions(100); err != stopped {
		t.Errorf("to end sessions: got %v", err)
	}
	v, err := m.View("m", "map")
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if got, _, err := v.Get([]byte("k")); string(got) != "v" || err != nil {
		t.Errorf("a resource of another type: got %q %v", got, err)
	}
	again := m.Snapshot()
	defer again.Close()
	if err := full(t, again).equal(full(t, snapshot)); err != nil {
		t.Errorf("data was lost: %v", err)
	}
}

// FuzzLoader: any item is refused, or loaded and told again as it was.
func FuzzLoader(f *testing.F) {
	for _, item := range sound() {
		f.Add(item.Space, item.Key, uint64(item.Index), item.Value)
	}
	registry, err := resources.NewRegistry(kvmap.Type)
	if err != nil {
		f.Fatal(err)
	}
	m := machine.New(machine.Config{Registry: registry, Logger: slog.New(slog.DiscardHandler)})
	f.Fuzz(func(t *testing.T, space string, key []byte, i uint64, value []byte) {
		l := m.NewLoader()
		item := machine.CheckpointItem{Space: space, Key: key, Index: protocol.Index(i), Value: value}
		items := append(sound(), item)
		for _, item := range items {
			if l.Add(item) != nil {
				return
			}
		}
		if _, err := l.Finish(20); err != nil {
			return
		}
		other := machine.New(machine.Config{Registry: m.Registry(), Logger: slog.New(slog.DiscardHandler)})
		other.Install(l)
		found := false
		s := other.Snapshot()
		defer s.Close()
		for got := range s.All() {
			found = found || got.Space == space && bytes.Equal(got.Key, key) && uint64(got.Index) == i && bytes.Equal(got.Value, value)
		}
		if !found {
			t.Errorf("%+v is lost", item)
		}
		e := protocol.Entry{Index: 21, Term: 1, Time: 1 << 62, Kind: protocol.EntryTick}
		other.Apply([]protocol.Entry{e}, nil)
		if counted, kept := other.Verify(); counted != kept {
			t.Errorf("after one entry: counted %v, kept %v", counted, kept)
		}
	})
}

func TestLoaderNamesWhatItRefuses(t *testing.T) {
	l := newTracked(t).NewLoader()
	err := l.Add(machine.CheckpointItem{Space: "m", Key: []byte(strings.Repeat("k", 5000)), Index: 1})
	if got := fmt.Sprint(err); len(got) > 200 {
		t.Errorf("got a text of %d bytes", len(got))
	}
}
