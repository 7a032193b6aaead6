package lint

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

// retired are words that had a better known one, which stands beside each: they do not
// come back, in code, comments or docs.
var retired = map[string]string{
	"adrift": "leaderless", "heirs?": "transferee, Raft's word", "astray": "diverged",
	"glance": "weak read", "truce": "fault-free window", "sightings?": "watermark",
	"overtaken": "superseded", "mend(?:ing|ed|s)?": "repair",
}

// words are where one word of a name ends and the next begins.
var words = regexp.MustCompile(`([a-z0-9])_?([A-Z])`)

func TestRetiredWordsDoNotComeBack(t *testing.T) {
	var names []string
	for _, p := range load(t).Packages {
		for _, f := range p.Files {
			names = append(names, f.Name)
		}
	}
	pages, err := filepath.Glob("../../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range pages {
		names = append(names, "docs/"+filepath.Base(p))
	}
	for word, now := range retired {
		re := regexp.MustCompile(`(?i)\b` + word + `\b`)
		for _, name := range names {
			if name == "internal/dev/lint/retired_test.go" {
				continue
			}
			text, err := os.ReadFile(filepath.Join("../../..", name))
			if err != nil {
				t.Fatal(err)
			}
			text = []byte(words.ReplaceAllString(string(text), "$1 $2"))
			if m := re.Find(text); m != nil {
				t.Errorf("%s says %q: the word is %s", name, m, now)
			}
		}
	}
}
