package resources

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/starlinghq/starling/protocol"
)

func TestLevelsOfARead(t *testing.T) {
	second, minute := MaxStale(time.Second), MaxStale(time.Minute)
	for what, one := range map[string]struct {
		opts []ReadOption
		want options
	}{
		"none":                     {nil, options{}},
		"nil":                      {[]ReadOption{nil}, options{}},
		"one":                      {[]ReadOption{Local}, options{level: level{protocol.Local, 0}}},
		"twice the same":           {[]ReadOption{second, second}, options{level: level{protocol.MaxStale, time.Second}}},
		"an index":                 {[]ReadOption{AtLeast(7)}, options{level: level{protocol.Session, 0}, seen: 7}},
		"two indexes":              {[]ReadOption{AtLeast(7), AtLeast(5)}, options{level: level{protocol.Session, 0}, seen: 7}},
		"an index, own writes":     {[]ReadOption{AtLeast(7), OwnWrites}, options{level: level{protocol.Session, 0}, seen: 7}},
		"an index, stale":          {[]ReadOption{second, AtLeast(7)}, options{level: level{protocol.MaxStale, time.Second}, seen: 7}},
		"by default":               {[]ReadOption{Otherwise(protocol.Session)}, options{level: level{protocol.Session, 0}}},
		"not by default":           {[]ReadOption{Otherwise(protocol.Session), Linearizable}, options{}},
		"by default with an index": {[]ReadOption{Otherwise(protocol.Local), AtLeast(7)}, options{level: level{protocol.Session, 0}, seen: 7}},
		"no forwarding":            {[]ReadOption{NoForwarding, second}, options{level: level{protocol.MaxStale, time.Second}, noForwarding: true}},
	} {
		got, err := readOptions(one.opts)
		if err != nil || got.level != one.want.level || got.seen != one.want.seen || got.noForwarding != one.want.noForwarding {
			t.Errorf("%s: got %+v, %v, want %+v", what, got, err, one.want)
		}
	}
	for text, opts := range map[string][]ReadOption{
		"Local was asked for beside another":        {Linearizable, Local},
		"Linearizable was asked for beside":         {OwnWrites, Linearizable},
		"MaxStale(1m0s) was asked for beside":       {second, minute},
		"AtLeast goes with OwnWrites, which it is ": {Linearizable, AtLeast(7)},
		"and with MaxStale, not with Local":         {AtLeast(7), Local},
	} {
		if _, err := readOptions(opts); !errors.Is(err, protocol.ErrInvalid) || !strings.Contains(err.Error(), text) {
			t.Errorf("got %v, want ErrInvalid with %q", err, text)
		}
	}
}
