// Package invariant stops a member whose state contradicts itself: a bug or
// damage must not spread. The checks are always on.
package invariant

import "fmt"

// Violation is the value of the panic.
type Violation struct{ Text string }

// Error returns what was violated, with the numbers.
func (v Violation) Error() string { return "invariant violated: " + v.Text }

// Check panics with a Violation if ok is false. The format says what must hold
// and gives the numbers.
func Check(ok bool, format string, args ...any) {
	if !ok {
		panic(Violation{Text: fmt.Sprintf(format, args...)})
	}
}
