package attempt

import (
	"fmt"
	"strings"

	"github.com/starlinghq/starling/protocol"
)

// Failures are what went wrong at each address. The zero value has none.
type Failures struct {
	texts   []string
	refusal error // the first
	others  bool  // some failed otherwise
}

// Add adds the failure at an address.
func (f *Failures) Add(address string, err error) {
	text := err.Error()
	if !strings.Contains(text, address) {
		text = address + " (" + text + ")"
	}
	f.texts = append(f.texts, text)
	switch {
	case !TurnedAway(err):
		f.others = true
	case f.refusal == nil:
		f.refusal = err
	case CodeIn(f.refusal) != CodeIn(err):
		f.others = true
	}
}

// Err is what all of it comes to when no member is left to ask, or the caller's context
// has ended, with this error.
func (f *Failures) Err(ended error) error {
	all := strings.Join(f.texts, "; ")
	if ended != nil {
		if all == "" {
			all = "no member was asked"
		}
		return &protocol.Error{Code: protocol.ErrUnavailable.Code, Text: "no member has answered in time: " + all + " (" + ended.Error() + ")", Cause: ended}
	}
	if f.refusal != nil && !f.others {
		return &protocol.Error{Code: CodeIn(f.refusal), Text: all, Cause: f.refusal}
	}
	return protocol.ErrUnavailable.With("no member answers: " + all +
		" (start a member there, or give the address of one that runs)")
}

func atAddress(address string, err error) error {
	if strings.Contains(err.Error(), address) {
		return err
	}
	return fmt.Errorf("%s: %w", address, err)
}
