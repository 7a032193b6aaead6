package recovery

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/starlinghq/starling/internal/witness"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage/vfs"
	"github.com/starlinghq/starling/storage/wal"
)

func idOf(name string) protocol.MemberID { return protocol.MemberID{1: name[0], 2: name[1]} }

// voters is a configuration of "a1 a2 a3*": a star marks a learner, a minus a
// voter that leaves, a plus one that comes.
func voters(index protocol.Index, text string) protocol.ConfigurationAt {
	c := protocol.Configuration{Target: 3}
	joint := strings.ContainsAny(text, "+-")
	for _, word := range strings.Fields(text) {
		m := protocol.ActiveMember{ID: idOf(word), Name: word[:2], Address: word[:2] + ":7600", Suffrage: protocol.SuffrageVoter, Outgoing: joint}
		switch word[2:] {
		case "*":
			m.Suffrage, m.Outgoing = protocol.SuffrageLearner, false
		case "-":
			m.Suffrage = protocol.SuffrageNone
		case "+":
			m.Outgoing = false
		}
		c = c.With(m)
	}
	return protocol.ConfigurationAt{Index: index, Configuration: c}
}

// sound is a directory that nothing is wrong with, opened five times, with the
// log of three voters.
func sound(name string) Survivor {
	return Survivor{
		Dir: "/" + name, Name: name, Member: idOf(name), Term: 2, Last: 100, Starts: 5, DurableSequence: 50, Configuration: voters(1, "a1 a2 a3"),
	}
}

func but(name string, change func(*Survivor)) Survivor {
	s := sound(name)
	change(&s)
	return s
}

func remembers(names string, starts uint64, sequence protocol.Sequence) func(*Survivor) {
	return func(s *Survivor) {
		for _, name := range strings.Fields(names) {
			s.Seen = append(s.Seen, witness.Watermark{Member: idOf(name), Starts: starts, Run: 7, Sequence: sequence})
		}
	}
}

func TestJudge(t *testing.T) {
	damaged := func(s *Survivor) { s.Fault = protocol.ErrCorrupt.With("damaged data: byte 7") }
	marked := func(s *Survivor) { s.Refusal = &wal.Refusal{Text: "a9 says so"} }
	under := func(c protocol.ConfigurationAt) func(*Survivor) { return func(s *Survivor) { s.Configuration = c } }
	joint := voters(90, "a1- a2 a3 a4+ a5+") // {a1 a2 a3} => {a2 a3 a4 a5}
	for _, test := range []struct {
		name    string
		list    []Survivor
		verdict string // intact, refusing, damaged, or none
		text    string
	}{
		{"all", []Survivor{sound("a1"), sound("a2"), sound("a3")}, "intact", "a majority is here and sound, a1, a2 and a3.\nStart a1, a2 and a3 as they are: nothing is lost"},
		{"a majority", []Survivor{sound("a3"), sound("a1")}, "intact", "of the voters a1, a2 and a3 (configuration 1) a majority is here and sound, a1 and a3.\nStart a1 and a3 as they are"},
		{"half of four", []Survivor{but("a1", under(voters(1, "a1 a2 a3 a4"))), but("a2", under(voters(1, "a1 a2 a3 a4")))}, "none", "no majority is here, only a1 and a2"},
		{"one", []Survivor{sound("a2")}, "none", "no majority is here, only a2"},
		{"a passive that reaches further", []Survivor{sound("a1"), sound("a2"), sound("a3"), but("p1", func(s *Survivor) { s.Term, s.Last, s.Commit = 3, 69, 69 })}, "intact",
			"Start a1, a2 and a3 as they are. But p1 (/p1) reaches further than all of them, to 69 in term 3"},
		{"passives do not count", []Survivor{sound("a1"), sound("p1"), sound("p2")}, "none", "only a1"},
		{"passives only", []Survivor{sound("p1")}, "none", "Of the voters a1, a2 and a3 (configuration 1) none is here.\nIf"},
		{"a learner does not count", []Survivor{but("a1", under(voters(1, "a1 a2 a3*"))), but("a3", under(voters(1, "a1 a2 a3*")))}, "none", "only a1"},
		{"the only voter", []Survivor{but("a1", under(voters(1, "a1")))}, "intact", "Start a1 as it is: nothing is lost"},
		{"the only voter is not here", []Survivor{but("p1", under(voters(1, "a1")))}, "none", "none is here"},
		{"both halves of a joint one", []Survivor{but("a2", under(joint)), but("a3", under(joint)), but("a4", under(joint))}, "intact", "of the voters a1, a2, a3, a4 and a5 (configuration 90)"},
		{"the outgoing half only", []Survivor{but("a1", under(joint)), but("a2", under(joint)), but("a3", under(joint))}, "none", "no majority"},
		{"the incoming half only", []Survivor{but("a2", under(joint)), but("a4", under(joint)), but("a5", under(joint))}, "none", "no majority"},
		{"the latest configuration counts", []Survivor{
			sound("a1"), sound("a2"), but("a3", func(s *Survivor) { s.Last, s.Configuration = 101, voters(101, "a3 a4 a5") }),
		}, "none", "Of the voters a3, a4 and a5 (configuration 101) no majority is here, only a3"},
		{"a configuration of an older term was never in force", []Survivor{
			sound("a1"), sound("a2"), but("a3", func(s *Survivor) { s.Term, s.Last, s.Configuration = 1, 200, voters(150, "a3 a4 a5") }),
		}, "intact", "configuration 1"},
		{"a damaged one does not count", []Survivor{sound("a1"), but("a2", damaged)}, "damaged", "a2 (/a2): damaged data: byte 7.\nFirst"},
		{"all but one are damaged", []Survivor{sound("a1"), but("a2", damaged), but("a3", damaged)}, "damaged", "First start all of them"},
		{"a damaged one beside a majority", []Survivor{sound("a1"), but("a2", damaged), sound("a3")}, "intact", "Start a1 and a3 as they are"},
		{"one is refused, a majority goes on", []Survivor{but("a1", remembers("a2", 6, 60)), sound("a2"), sound("a3")}, "intact",
			"sound, a1 and a3\n  a2 (/a2): a1 refuses it, because it has seen start 6 and record 60 of a directory that is now at start 5 and record 50"},
		{"they refuse one another", []Survivor{but("a1", remembers("a2", 6, 60)), sound("a2")}, "refusing", "a1 refuses it"},
		{"put back to different days", []Survivor{but("a1", remembers("a2 a3", 7, 90)), but("a2", remembers("a3", 6, 60)), sound("a3")}, "refusing",
			"a majority is here, a1, a2 and a3, but as they are they can never go on"},
		{"only the log is shorter", []Survivor{but("a1", remembers("a2", 5, 51)), sound("a2")}, "refusing", "seen start 5 and record 51"},
		{"opened as often as was seen", []Survivor{but("a1", remembers("a2", 5, 50)), sound("a2")}, "intact", ""},
		{"opened less often than was seen", []Survivor{but("a1", remembers("a2", 6, 50)), sound("a2")}, "refusing", "seen start 6"},
		{"a voter of another opinion that is not here is not asked", []Survivor{sound("a1"), sound("a2")}, "intact", ""},
		{"what a passive remembers does not count", []Survivor{sound("a1"), sound("a2"), but("p1", remembers("a1 a2", 9, 90))}, "intact", ""},
		{"what a learner remembers counts", []Survivor{
			but("a1", under(voters(1, "a1 a2 a4*"))), but("a2", under(voters(1, "a1 a2 a4*"))),
			but("a4", func(s *Survivor) { under(voters(1, "a1 a2 a4*"))(s); remembers("a2", 9, 90)(s) }),
		}, "refusing", "a4 refuses it"},
		{"marked", []Survivor{sound("a1"), but("a2", marked)}, "refusing", "a2 (/a2): its directory was refused: a9 says so"},
		{"a marked one beside a majority", []Survivor{sound("a1"), but("a2", marked), sound("a3")}, "intact", "Start a1 and a3"},
		{"a copy of one that is here is no second voter", []Survivor{sound("a1"), but("a1", func(s *Survivor) { s.Dir = "/copy" })}, "none", "only a1"},
		{"an old copy beside the original", []Survivor{but("a2", remembers("a1", 5, 50)), but("a1", func(s *Survivor) { s.Dir, s.Starts, s.DurableSequence = "/copy", 3, 30 }), sound("a1")}, "intact", "Start a1 and a2"},
		{"one whose state alone has diverged votes", []Survivor{sound("a1"), but("a2", func(s *Survivor) { s.Fault, s.Votes = protocol.ErrCorrupt, true })}, "intact", "Start a1 and a2"},
		{"no log says", []Survivor{{Dir: "/e1", Member: idOf("e1")}}, "none", "Nobody knows who the voters are"},
	} {
		q := QuorumOf(test.list)
		got := "none"
		switch {
		case q.Intact:
			got = "intact"
		case q.Refusing:
			got = "refusing"
		case q.Damaged:
			got = "damaged"
		}
		if got != test.verdict || !strings.Contains(q.Text(), test.text) {
			t.Errorf("%s: got %s, want %s with %q:\n%s", test.name, got, test.verdict, test.text, q.Text())
		}
	}
}

// The directories of a majority: nothing is begun, and nothing changed, unless it
// is said that it is to be although the quorum is intact.
func TestRecoverRefusesWhereTheQuorumIsIntact(t *testing.T) {
	a1, a2, a3 := newMember(t, oldCluster, "a1"), newMember(t, oldCluster, "a2"), newMember(t, oldCluster, "a3")
	for _, m := range []*member{a1, a2, a3} {
		m.put(2, "k", "v")
		m.log.Close()
	}
	before, err := wal.ReadIdentity(vfs.OS(), a1.dir)
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Dir: a1.dir, Others: []string{a2.dir, a3.dir, a1.dir, a2.dir}, Registry: registry(t)}
	_, err = Recover(t.Context(), o)
	if !errors.Is(err, protocol.ErrQuorumIntact) || !strings.Contains(err.Error(), "Start a1, a2 and a3 as they are") {
		t.Fatalf("got %v, want %v", err, protocol.ErrQuorumIntact)
	}
	if after, err := wal.ReadIdentity(vfs.OS(), a1.dir); err != nil || after != before {
		t.Errorf("got identity %+v, %v; want %+v", after, err, before)
	}
	if _, err := os.Stat(a1.dir + ".recovered"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("something was begun: %v", err)
	}
	a3.open()
	if _, err := Recover(t.Context(), o); !errors.Is(err, protocol.ErrDirectory) || !strings.Contains(err.Error(), a3.dir+" is in use") {
		t.Errorf("while a3 runs: got %v, want %v", err, protocol.ErrDirectory)
	}
	a3.log.Close()
	stranger := newMember(t, protocol.ClusterID{9}, "a3")
	stranger.log.Close()
	other := o
	other.Others = []string{stranger.dir}
	if _, err := Recover(t.Context(), other); !errors.Is(err, protocol.ErrWrongCluster) {
		t.Errorf("a member of another cluster: got %v, want %v", err, protocol.ErrWrongCluster)
	}
	o.AlthoughIntact = true
	replayed := 0
	o.Progress = func(protocol.Index, protocol.Index) {
		replayed++
		for _, dir := range []string{a1.dir, a2.dir, a3.dir} {
			if lock, err := wal.LockDir(vfs.OS(), dir); err == nil {
				lock.Close()
				t.Errorf("%s could be started meanwhile", dir)
			}
		}
	}
	r, err := Recover(t.Context(), o)
	if err != nil || !r.Quorum.Intact || len(r.Quorum.Voters) != 3 || r.Quorum.Voters[1].Address != "h:2" {
		t.Errorf("got %+v, %v; want a new cluster, and who the old voters were", r.Quorum, err)
	}
	if replayed == 0 {
		t.Error("nothing was looked at while it was begun")
	}
}

// A majority of directories that were put back to different days: none of their
// members can lead the others, and a new cluster is begun without a further word.
func TestRecoverFromDirectoriesThatRefuseOneAnother(t *testing.T) {
	a1, a2 := newMember(t, oldCluster, "a1"), newMember(t, oldCluster, "a2")
	old := filepath.Join(t.TempDir(), "a2")
	if err := os.CopyFS(old, os.DirFS(a2.dir)); err != nil { // while it runs
		t.Fatal(err)
	}
	for _, m := range []*member{a1, a2} {
		m.put(2, "k", "v")
	}
	// The last record is durable, and nothing on the disk says so yet.
	e := []protocol.Entry{{Index: a2.next, Term: 2, Kind: protocol.EntryNoop}}
	protocol.EncodeEntries(e)
	protocol.SumEntries(a2.sum, e)
	w := protocol.Write{State: protocol.HardState{Term: 2, Commit: a2.next - 1}, First: a2.next, Last: a2.next}
	if err := errors.Join(a2.log.Write(w, e), a2.log.Sync()); err != nil {
		t.Fatal(err)
	}
	seen := witness.Watermark{Member: a2.id.Member, Starts: a2.log.Identity().Starts, Run: 3, Sequence: a2.log.DurableSequence()}
	if err := os.WriteFile(filepath.Join(a1.dir, witness.File), witness.Encode([]witness.Watermark{seen}), 0o600); err != nil {
		t.Fatal(err)
	}
	crashed := filepath.Join(t.TempDir(), "a2") // after a crash it holds what it said
	if err := os.CopyFS(crashed, os.DirFS(a2.dir)); err != nil {
		t.Fatal(err)
	}
	a1.log.Close()
	_, err := Recover(t.Context(), Options{Dir: a1.dir, Others: []string{crashed}, Registry: registry(t)})
	if !errors.Is(err, protocol.ErrQuorumIntact) {
		t.Fatalf("a2 as it was: got %v, want %v", err, protocol.ErrQuorumIntact)
	}
	r, err := Recover(t.Context(), Options{Dir: a1.dir, Others: []string{old}, Registry: registry(t)})
	if err != nil || !r.Quorum.Refusing || r.Name != "a1" {
		t.Errorf("a2 of an earlier day: got %+v, %v", r, err)
	}
}
