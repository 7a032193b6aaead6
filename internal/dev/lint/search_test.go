package lint

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// searched are words that readers bring along from other systems and papers. Each is on
// the page of words, and, where one package is what they look for, in its doc comment.
var searched = []struct{ word, dir string }{
	{"snapshot", "storage/checkpoint"},
	{"InstallSnapshot", "active"},
	{"membership change", "active"},
	{"match index", "active"},
	{"staleness", "passive"},
	{"standby", "passive"},
	{"Plumtree", "gossip"},
	{"eager", "gossip"},
	{"lazy", "gossip"},
	{"anti-entropy", "gossip"},
	{"incarnation", "gossip/swim"},
	{"log compaction", ""},
	{"log truncation", ""},
	{"write-ahead log", ""},
	{"next index", ""},
	{"PreVote", ""},
	{"check quorum", ""},
	{"ReadIndex", ""},
	{"lease read", ""},
	{"quorum", ""},
	{"linearizable", ""},
	{"follower read", ""},
	{"read replica", ""},
	{"observer", ""},
	{"high watermark", ""},
	{"ISR", ""},
	{"reconfiguration", ""},
	{"joint consensus", ""},
	{"leadership transfer", ""},
	{"TimeoutNow", ""},
	{"leader hint", ""},
	{"redirect", ""},
	{"autopilot", ""},
	{"bootstrap", ""},
	{"split brain", ""},
	{"fencing", ""},
	{"disaster recovery", ""},
	{"snapshot restore", ""},
	{"backup", ""},
	{"tombstone", ""},
	{"client session", ""},
	{"exactly once", ""},
	{"epidemic broadcast", ""},
	{"suspicion", ""},
	{"failure detector", ""},
	{"state machine", ""},
	{"FSM", ""},
	{"MVCC", ""},
	{"CAS", ""},
	{"deterministic simulation", ""},
	{"availability zone", ""},
	{"feature gate", ""},
}

// TestWordsOfOthersAreFound: who greps or searches for them comes to the right place.
func TestWordsOfOthersAreFound(t *testing.T) {
	tree := load(t)
	words := spaced(page(t, "glossary.md"))
	for _, s := range searched {
		if !strings.Contains(words, strings.ToLower(s.word)) {
			t.Errorf("docs/glossary.md does not have %q", s.word)
		}
		if s.dir == "" {
			continue
		}
		found := false
		for _, f := range tree.byDir[s.dir].Files {
			if f.Syntax.Doc != nil && !f.Test {
				found = found || strings.Contains(spaced(f.Syntax.Doc.Text()), strings.ToLower(s.word))
			}
		}
		if !found {
			t.Errorf("the doc comment of %s does not have %q", s.dir, s.word)
		}
	}
}

// spaced is a text in lower case in which a line's end is a space.
func spaced(text string) string { return strings.ToLower(strings.Join(strings.Fields(text), " ")) }

// The table of other systems' words in the glossary names files and packages: each of
// them is there.
func TestTheGlossaryPointsAtWhatIsThere(t *testing.T) {
	_, table, found := strings.Cut(page(t, "glossary.md"), "## Words of other systems")
	if !found {
		t.Fatal("docs/glossary.md has no table of other systems' words")
	}
	root := os.DirFS(filepath.Join("..", "..", ".."))
	pointers := 0
	for i, quoted := range strings.Split(table, "`") {
		if i%2 == 0 || !strings.Contains(quoted, "/") || strings.ContainsAny(quoted, " *<") {
			continue
		}
		pointers++
		if _, err := fs.Stat(root, quoted); err != nil {
			t.Errorf("docs/glossary.md points at %s: %v", quoted, err)
		}
	}
	if pointers < 10 {
		t.Errorf("%d pointers found in the table, want 10 at least", pointers)
	}
}
