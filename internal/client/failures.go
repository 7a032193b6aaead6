package client

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/starlinghq/starling/protocol"
)

// refusesUs reports whether a member has turned us away for good.
func refusesUs(err error) bool {
	return errors.Is(err, protocol.ErrWrongCluster) || errors.Is(err, protocol.ErrWrongVersion)
}

// turnedAway reports whether a member has answered, and has not let us in: for good, or
// because it has as many clients as it takes.
func turnedAway(err error) bool {
	return refusesUs(err) || errors.Is(err, protocol.ErrOverloaded)
}

// failures are what went wrong at each address.
type failures struct {
	texts   []string
	refusal error // the first
	others  bool  // some failed otherwise
}

func (f *failures) add(address string, err error) {
	text := err.Error()
	if !strings.Contains(text, address) {
		text = address + " (" + text + ")"
	}
	f.texts = append(f.texts, text)
	switch {
	case !turnedAway(err):
		f.others = true
	case f.refusal == nil:
		f.refusal = err
	case codeOf(f.refusal) != codeOf(err):
		f.others = true
	}
}

// err is what all of it comes to when no member is left to ask, or ctx has ended.
func (f *failures) err(ctx context.Context) error {
	all := strings.Join(f.texts, "; ")
	if ended := ctx.Err(); ended != nil {
		if all == "" {
			all = "no member was asked"
		}
		return &protocol.Error{Code: protocol.ErrUnavailable.Code, Text: "no member has answered in time: " + all + " (" + ended.Error() + ")", Cause: ended}
	}
	if f.refusal != nil && !f.others {
		return &protocol.Error{Code: codeOf(f.refusal), Text: all, Cause: f.refusal}
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
