// Package mutation holds planted bugs: exact replacements of text in this
// repository's own code, each of which breaks one promise. A test suite that
// does not notice them proves nothing. The runner below this package applies
// them one at a time, in a copy of the tree, and tells what found each.
package mutation

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Mutation is one planted bug.
type Mutation struct {
	// Name is short and in kebab case.
	Name string
	// Breaks says what goes wrong, in a clause.
	Breaks string
	// File is the path in the repository, with slashes.
	File string
	// Old stands in the file exactly once; New takes its place.
	Old, New string
	// Tests are the packages whose directed tests are meant to notice.
	Tests []string
}

// Applied returns the file's text with the bug in it. It fails unless Old
// stands in the text exactly once: a mutation that no longer fits the code
// would silently plant nothing.
func (m *Mutation) Applied(text string) (string, error) {
	if n := strings.Count(text, m.Old); n != 1 {
		return "", fmt.Errorf("%s: its text stands %d times in %s, once is meant:\n%s", m.Name, n, m.File, m.Old)
	}
	return strings.Replace(text, m.Old, m.New, 1), nil
}

// Plant writes the bug into a copy of the tree and returns how to take it out
// again.
func (m *Mutation) Plant(root string) (restore func() error, err error) {
	path := filepath.Join(root, filepath.FromSlash(m.File))
	sound, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", m.Name, err)
	}
	broken, err := m.Applied(string(sound))
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(path, []byte(broken), 0o644); err != nil {
		return nil, fmt.Errorf("%s: %w", m.Name, err)
	}
	return func() error { return os.WriteFile(path, sound, 0o644) }, nil
}

// All returns every planted bug, those of Raft first.
func All() []Mutation {
	var all []Mutation
	all = append(all, elections()...)
	all = append(all, logs()...)
	all = append(all, reads()...)
	all = append(all, roles()...)
	all = append(all, stores()...)
	all = append(all, checkpoints()...)
	all = append(all, healing()...)
	all = append(all, heeded()...)
	all = append(all, waits()...)
	all = append(all, fillsUp()...)
	all = append(all, reports()...)
	all = append(all, takingTurns()...)
	all = append(all, levels()...)
	all = append(all, flows()...)
	all = append(all, carriers()...)
	all = append(all, smallAnswers()...)
	all = append(all, identified()...)
	all = append(all, foundings()...)
	all = append(all, directories()...)
	all = append(append(all, histories()...), forgottenVotes()...)
	all = append(all, clocks()...)
	all = append(all, watches()...)
	all = append(all, watchHistories()...)
	all = append(all, previousValues()...)
	all = append(all, watchAges()...)
	all = append(all, behindWatches()...)
	all = append(all, simulatedWatches()...)
	all = append(all, sharedWatches()...)
	all = append(all, turnsAtTheFile()...)
	all = append(all, outcomes()...)
	all = append(all, windows()...)
	all = append(all, answered()...)
	all = append(all, alone()...)
	all = append(all, rebuilt()...)
	all = append(all, versions()...)
	all = append(all, driven()...)
	all = append(all, formats()...)
	all = append(append(append(append(all, paces()...), votes()...), reunions()...), tails()...)
	all = append(all, pulses()...)
	return append(all, successions()...)
}
