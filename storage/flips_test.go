package storage_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/zeebo/xxh3"

	"github.com/starlinghq/starling/internal/repair"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
	"github.com/starlinghq/starling/storage/checkpoint"
	"github.com/starlinghq/starling/storage/engine/badgerengine"
	"github.com/starlinghq/starling/storage/storagetest"
	"github.com/starlinghq/starling/storage/vfs"
	"github.com/starlinghq/starling/storage/wal"
)

// One bit is flipped somewhere in the directory of a stopped member; then
// everything is opened as a start does it, in a process of its own, because a
// damaged Badger may kill it. What is served must be what was written, or be
// refused. A log that is found damaged is then repaired from a twin.
//
//	STARLING_FLIPS=1000 go test ./storage -run FlippedBits -v -timeout 60m

const (
	flipsVariable  = "STARLING_FLIPS"
	childVariable  = "STARLING_FLIPS_CHILD" // "serve" or "make"
	folderVariable = "STARLING_FLIPS_FOLDER"

	flipsDefault = 24
	// startsMax is how often a member is started again that died of its store:
	// after three deaths the store is set aside.
	startsMax = 5
)

var (
	flipsMember  = wal.Identity{Cluster: protocol.ClusterID{1}, Member: protocol.MemberID{2}, Name: "a1"}
	flipsOptions = wal.Options{SegmentBytes: 16 << 10}
)

func flipsCheckpoints(dir string) (*checkpoint.Store, error) {
	return checkpoint.Open(vfs.OS(), filepath.Join(dir, checkpoint.Folder),
		badgerengine.New(badgerengine.Options{MemTableBytes: 8 << 20, BlockCacheBytes: 1 << 20}), checkpoint.Options{SpaceReserve: 1 << 20})
}

// flipsEntries are the entries of the member, the same in each process.
func flipsEntries() []protocol.Entry {
	r := rand.New(rand.NewPCG(77, 1))
	out := make([]protocol.Entry, 150)
	for i := range out {
		out[i] = protocol.Entry{Index: protocol.Index(i + 1), Term: 1 + protocol.Term(i/50), Kind: protocol.EntryCommand, Data: make([]byte, r.IntN(900))}
		for k := range out[i].Data {
			out[i].Data[k] = byte(r.Uint32())
		}
		if i == 0 || i == 70 {
			c := protocol.Configuration{Target: 3, Members: []protocol.ActiveMember{
				{ID: flipsMember.Member, Name: "a1", Address: "a:1", Suffrage: protocol.SuffrageVoter}}}
			out[i].Kind, out[i].Data = protocol.EntryConfiguration, protocol.EncodeConfiguration(c)
		}
	}
	protocol.EncodeEntries(out)
	protocol.SumEntries(protocol.LogSum{}, out)
	return out
}

// makeMember makes the directory. killed leaves it as the end of a process does.
func makeMember(dir string, killed bool) error {
	entries := flipsEntries()
	if err := wal.Init(vfs.OS(), dir, flipsMember, entries[:1], flipsOptions); err != nil {
		return err
	}
	for from := 1; from < len(entries); from += 50 { // three runs
		l, err := wal.Open(vfs.OS(), dir, flipsOptions)
		if err != nil {
			return err
		}
		for i := from; i < min(len(entries), from+50); i += 3 {
			part := entries[i:min(len(entries), from+50, i+3)]
			last := part[len(part)-1]
			state := protocol.HardState{Term: last.Term, Vote: protocol.MemberID{3}, Commit: part[0].Index - 1}
			err = errors.Join(l.Write(protocol.Write{State: state, First: part[0].Index, Last: last.Index}, part), l.Sync())
			if err != nil {
				return err
			}
		}
		if err := errors.Join(l.Idle(), l.Settle(), l.Close()); err != nil {
			return err
		}
	}
	s, err := flipsCheckpoints(dir)
	if err != nil {
		return err
	}
	content, r := storagetest.NewContent(), rand.New(rand.NewPCG(78, 1))
	was := map[protocol.Index]*storagetest.Content{}
	for index := protocol.Index(60); index <= 120; index += 20 {
		content.Change(r, 200, index-20, index)
		was[index] = content.Clone()
		changes := content.Items()
		var w storage.CheckpointWriter
		if kept := s.Kept(); len(kept) == 2 {
			changes = content.Since(was[kept[1].Index], r)
			w, err = s.BeginIncremental(context.Background(), index, kept[1])
		} else {
			w, err = s.BeginFull(context.Background(), index, 0)
		}
		if err != nil {
			return err
		}
		if err = w.Write(context.Background(), changes); err != nil {
			return err
		}
		d := storagetest.Describe(index)
		h := newItemHash()
		for _, it := range content.Items() {
			h.add(it)
		}
		d.Term, d.LogSum, d.Digest = entries[index-1].Term, entries[index-1].Sum, h.sum()
		if _, err = w.Commit(context.Background(), d); err != nil {
			return err
		}
	}
	if killed {
		return nil
	}
	return s.Close()
}

// itemHash is the owner's digest of a state.
type itemHash struct{ h *xxh3.Hasher }

func newItemHash() itemHash { return itemHash{xxh3.New()} }

func (h itemHash) add(it storage.Item) {
	var n [8]byte
	binary.LittleEndian.PutUint64(n[:], uint64(it.Index))
	fmt.Fprintf(h.h, "%d %d %d ", len(it.Space), len(it.Key), len(it.Value))
	h.h.Write(append([]byte(it.Space), it.Key...))
	h.h.Write(n[:])
	h.h.Write(it.Value)
}

func (h itemHash) sum() [16]byte { return h.h.Sum128().Bytes() }

// served is what a started member would go on with.
type served struct {
	Identity wal.Identity
	// Refused says why it does not start; Damage what its log says of itself.
	Refused, Damage string
	State           protocol.HardState
	First, Last     protocol.Index
	Configurations  string
	Entries         map[protocol.Index]string // sum and hash of the bytes
	Kept            []servedCheckpoint
	Aside           int
	Died            int
}

type servedCheckpoint struct {
	Description storage.Manifest
	// Refused says why it cannot be used; else Digest is of what it holds.
	Refused string
	Digest  [16]byte
	Items   uint64
}

// serve opens a directory as a start does.
func serve(dir string) served {
	out := served{Entries: map[protocol.Index]string{}}
	id, err := wal.ReadIdentity(vfs.OS(), dir)
	if err != nil {
		return served{Refused: err.Error()}
	}
	out.Identity = id
	out.Identity.Starts = 0
	l, err := wal.Open(vfs.OS(), dir, flipsOptions)
	if err != nil {
		out.Refused = err.Error()
		return out
	}
	defer l.Close()
	rec := l.Opened()
	out.State, out.First, out.Last = rec.State, rec.LogTerms.FirstIndex(), rec.LogTerms.LastIndex()
	out.Configurations = fmt.Sprint(rec.Configurations.All())
	if rec.Damage != nil {
		out.Damage = rec.Damage.Error()
	}
	for i := protocol.Index(1); i <= 200; i++ {
		if got, err := l.Read(i, i, 0); err == nil {
			out.Entries[i] = fmt.Sprintf("%s %x", got[0].Sum, xxh3.Hash(got[0].Raw))
		}
	}
	s, err := flipsCheckpoints(dir)
	if err != nil {
		out.Refused = err.Error()
		return out
	}
	defer s.Close()
	for _, d := range s.Kept() {
		c, h := servedCheckpoint{Description: d}, newItemHash()
		err := s.Iterate(context.Background(), d.Index, func(it storage.Item) error {
			h.add(it)
			c.Items++
			return nil
		})
		if c.Digest = h.sum(); err == nil && c.Digest != d.Digest {
			err = errors.New("the digest is another one")
		}
		if err != nil {
			c.Refused = err.Error()
		}
		out.Kept = append(out.Kept, c)
	}
	out.Aside = len(s.Aside())
	return out
}

func TestChildProcess(t *testing.T) {
	dir := os.Getenv(folderVariable)
	switch os.Getenv(childVariable) {
	case "serve":
		b, err := json.Marshal(serve(dir))
		if err != nil {
			panic(err)
		}
		fmt.Printf("\nserved %s\n", b)
		os.Exit(0)
	case "make":
		if err := makeMember(dir, true); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
}

func runChild(t *testing.T, what, dir string) ([]byte, error) {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^TestChildProcess$")
	cmd.Env = append(os.Environ(), childVariable+"="+what, folderVariable+"="+dir)
	return cmd.CombinedOutput()
}

// serveApart runs serve in processes, as often as one dies.
func serveApart(t *testing.T, dir string) (out served, ok bool) {
	t.Helper()
	for died := range startsMax {
		b, err := runChild(t, "serve", dir)
		_, line, found := strings.Cut(string(b), "\nserved ")
		if err == nil && found {
			line, _, _ = strings.Cut(line, "\n")
			if err := json.Unmarshal([]byte(line), &out); err != nil {
				t.Fatal(err)
			}
			out.Died = died
			return out, true
		}
		if died == startsMax-1 {
			t.Logf("the last words: %s", b[max(0, len(b)-2000):])
		}
	}
	return out, false
}

// wrongIn returns what of got is neither right nor refused, and whether
// something was found.
func wrongIn(got, want *served) (wrong string, detected bool) {
	if got.Died > 0 {
		detected = true
	}
	if got.Refused != "" {
		return "", true
	}
	if got.Identity != want.Identity {
		return fmt.Sprintf("identity %+v", got.Identity), detected
	}
	if got.State != want.State {
		return fmt.Sprintf("hard state %+v", got.State), detected
	}
	for i, e := range got.Entries {
		if want.Entries[i] != e {
			return fmt.Sprintf("entry %d", i), detected
		}
	}
	if got.Damage != "" {
		detected = true
	} else if got.Last != want.Last || got.First != want.First || len(got.Entries) != len(want.Entries) || got.Configurations != want.Configurations {
		return fmt.Sprintf("a log from %d to %d with %d entries", got.First, got.Last, len(got.Entries)), detected
	}
	for i, c := range got.Kept {
		if c.Refused != "" {
			detected = true
			continue
		}
		k := slices.IndexFunc(want.Kept, func(w servedCheckpoint) bool { return w.Description.Index == c.Description.Index })
		if k < 0 || want.Kept[k].Digest != c.Digest || want.Kept[k].Items != c.Items ||
			!slices.Equal(storage.EncodeManifest(c.Description), storage.EncodeManifest(want.Kept[k].Description)) {
			return fmt.Sprintf("checkpoint %d at %d", i, c.Description.Index), detected
		}
	}
	if len(got.Kept) < len(want.Kept) {
		detected = true // a pointer is damaged, or a store set aside: both are told
	}
	return "", detected
}

func TestFlippedBitsInAMembersDirectory(t *testing.T) {
	flips, err := strconv.Atoi(os.Getenv(flipsVariable))
	if err != nil {
		flips = flipsDefault
	}
	if testing.Short() {
		flips = min(flips, 8)
	}
	const seed = 4242
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	for _, killed := range []bool{false, true} {
		name := "stopped"
		if killed {
			name = "killed"
		}
		t.Run(name, func(t *testing.T) {
			home := filepath.Join(t.TempDir(), "home")
			if killed {
				if out, err := runChild(t, "make", home); err != nil {
					t.Fatalf("%v: %s", err, out)
				}
			} else if err := makeMember(home, false); err != nil {
				t.Fatal(err)
			}
			flipAndServe(t, r, home, (flips+1)/2)
		})
	}
}

func flipAndServe(t *testing.T, r *rand.Rand, home string, flips int) {
	work := filepath.Join(filepath.Dir(home), "work")
	copyTree(t, home, work)
	want, ok := serveApart(t, work)
	if wrong, detected := wrongIn(&want, &want); !ok || wrong != "" || detected || len(want.Kept) != 2 || want.Last != 150 {
		t.Fatalf("the sound directory: %v, %q, refused %v, %d checkpoints, %d entries", ok, wrong, want.Refused, len(want.Kept), want.Last)
	}
	files := filesIn(t, home)
	counts := map[string]int{}
	for n := range flips {
		copyTree(t, home, work)
		file := files[r.IntN(len(files))]
		bit := flipIn(t, r, filepath.Join(work, file))
		got, ok := serveApart(t, work)
		if !ok {
			t.Errorf("flip %d: %s, bit %d: it never starts again", n, file, bit)
			continue
		}
		wrong, detected := wrongIn(&got, &want)
		switch {
		case wrong != "":
			t.Errorf("flip %d: %s, bit %d: SERVED WRONG: %s", n, file, bit, wrong)
		case detected:
			counts["detected"]++
		default:
			counts["harmless"]++
		}
		if got.Died > 0 {
			counts["died, then started"]++
		}
		if got.Damage != "" {
			counts["log repaired from a twin"]++
			repairFromTwin(t, work)
			again, ok := serveApart(t, work)
			if wrong, _ := wrongIn(&again, &want); !ok || wrong != "" || again.Damage != "" || again.Last != want.Last {
				t.Errorf("flip %d: %s, bit %d: after repairing: %q, damage %q", n, file, bit, wrong, again.Damage)
			}
		}
	}
	t.Logf("%d flips in %d files: %v", flips, len(files), counts)
}

// twin is a log in memory.
type twin []protocol.Entry

func (l twin) Read(first, last protocol.Index, _ int) ([]protocol.Entry, error) {
	return l[first-1 : min(last, protocol.Index(len(l)))], nil
}

// repairFromTwin brings the log in a directory back from another member.
func repairFromTwin(t *testing.T, dir string) {
	t.Helper()
	l, err := wal.Open(vfs.OS(), dir, flipsOptions)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	rec := l.Opened()
	entries := twin(flipsEntries())
	other := protocol.MemberID{9}
	c := repair.New(0, repair.Config{ID: flipsMember.Member}, &rec, l, nil)
	c.SetPeers(0, []protocol.Peer{{ID: other}})
	for range 100 {
		for _, e := range c.Ready().Messages {
			want := e.Message.(*protocol.RepairWant)
			c.Receive(0, other, repair.Answer(entries, repair.Held{Last: 150, Commit: 149, Active: true}, want))
		}
	}
	plan := c.Verdict().Plan
	if plan == nil {
		t.Fatalf("no plan: %+v", c.Verdict())
	}
	l.Close()
	if err := wal.Repair(context.Background(), vfs.OS(), dir, flipsOptions, *plan); err != nil {
		t.Fatal(err)
	}
}

// filesIn lists the files of a directory that have bits, relative to it.
func filesIn(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Size() > 0 {
			name, _ := filepath.Rel(dir, path)
			out = append(out, name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// flipIn flips a random bit of a file. Half of the time it is one among the
// bytes that are not zero: most of some files is.
func flipIn(t *testing.T, r *rand.Rand, path string) int64 {
	t.Helper()
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		t.Fatal(err)
	}
	var at int64
	var b [1]byte
	used := r.IntN(2) == 0
	for try := 0; try == 0 || used && b[0] == 0 && try < 20000; try++ {
		at = r.Int64N(info.Size())
		if _, err := f.ReadAt(b[:], at); err != nil {
			t.Fatal(err)
		}
	}
	bit := r.IntN(8)
	b[0] ^= 1 << bit
	if _, err := f.WriteAt(b[:], at); err != nil {
		t.Fatal(err)
	}
	return at*8 + int64(bit)
}

// copyTree makes to a copy of from. Zeros are not written: some files are large
// and nearly empty.
func copyTree(t *testing.T, from, to string) {
	t.Helper()
	if err := os.RemoveAll(to); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(from, path)
		if d.IsDir() {
			return os.MkdirAll(filepath.Join(to, name), 0o750)
		}
		return copySparse(path, filepath.Join(to, name))
	})
	if err != nil {
		t.Fatal(err)
	}
}

func copySparse(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	defer out.Close()
	buf := make([]byte, 1<<20)
	for at := int64(0); ; {
		n, err := in.ReadAt(buf, at)
		if slices.ContainsFunc(buf[:n], func(b byte) bool { return b != 0 }) {
			if _, err := out.WriteAt(buf[:n], at); err != nil {
				return err
			}
		}
		at += int64(n)
		if err == io.EOF {
			return out.Truncate(at)
		}
		if err != nil {
			return err
		}
	}
}
