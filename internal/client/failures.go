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

// failures are what went wrong at each address.
type failures struct {
	texts   []string
	refusal error // the first, as long as all are refusals
	others  bool
}

func (f *failures) add(address string, err error) {
	text := err.Error()
	if !strings.Contains(text, address) {
		text = address + " (" + text + ")"
	}
	f.texts = append(f.texts, text)
	if !refusesUs(err) {
		f.others = true
	} else if f.refusal == nil {
		f.refusal = err
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
