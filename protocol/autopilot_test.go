package protocol

import (
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"
)

func oneVoter() Configuration {
	return Configuration{Target: 3, Lease: 5}.With(ActiveMember{ID: MemberID{1}, Name: "a", Address: "h:1", Suffrage: SuffrageVoter})
}

// Logs and checkpoints hold configurations: their form does not change by
// accident, and one that says nothing of the policy has the form from before
// there was a policy to be told anything, or a limit.
func TestConfigurationKeepsItsForm(t *testing.T) {
	const line = "9194" + "c410" + "01000000000000000000000000000000" + "a161" + "a3683a31" + "02"
	plain, set, more := oneVoter(), oneVoter(), oneVoter()
	set.Autopilot = Autopilot{Off: true, Stable: 7, FailedAfter: time.Second, Floor: 2}
	more.Autopilot = set.Autopilot
	more.Autopilot.Passives = 200
	limited, all := oneVoter(), more
	limited.StateBytes, all.StateBytes, all.Level = 1<<20, 1<<30, 2
	for _, test := range []struct {
		c    Configuration
		want string
	}{
		{plain, "93" + "03" + "05" + line},
		{set, "94" + "03" + "05" + line + "94" + "c3" + "07" + "ce3b9aca00" + "02"},
		{more, "94" + "03" + "05" + line + "95" + "c3" + "07" + "ce3b9aca00" + "02" + "ccc8"},
		{limited, "96" + "03" + "05" + line + "94" + "c2" + "00" + "00" + "00" + "00" + "ce00100000"},
		{all, "96" + "03" + "05" + line + "95" + "c3" + "07" + "ce3b9aca00" + "02" + "ccc8" + "02" + "ce40000000"},
	} {
		if got := hex.EncodeToString(EncodeConfiguration(test.c)); got != test.want {
			t.Errorf("got  %s\nwant %s", got, test.want)
		}
		got, err := DecodeConfiguration(EncodeConfiguration(test.c))
		if err != nil || !got.Equal(test.c) {
			t.Errorf("got %+v, %v, want %+v", got, err, test.c)
		}
	}
	if plain.Equal(set) || set.Equal(more) || plain.Equal(limited) {
		t.Error("two that tell the policy different things are said to be equal")
	}
	for _, text := range []string{
		"92" + "03" + "05",                                        // no members
		"94" + "03" + "05" + line + "94c2000000",                  // one form for each configuration
		"95" + "03" + "05" + line + "94c307000200",                // too many parts
		"94" + "03" + "05" + line + "93c30700",                    // settings cut short
		"94" + "03" + "05" + line + "94c207000241",                // something behind
		"94" + "03" + "05" + line + "95c307000200",                // no passives wanted, and said so
		"96" + "03" + "05" + line + "94c200000000" + "00",         // no limit, and said so
		"96" + "03" + "05" + line + "94c200000001" + "ce00100000", // the first level, and said so
		"96" + "03" + "05" + line + "94c200000000" + "10",         // a limit that none can be
	} {
		src, err := hex.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		if c, err := DecodeConfiguration(src); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: got %+v, %v, want %v", text, c, err, ErrMalformed)
		}
	}
}

func TestAutopilotHasLimits(t *testing.T) {
	for _, test := range []struct {
		a    Autopilot
		want string
	}{
		{Autopilot{}, ""},
		{Autopilot{Off: true, Stable: 1, FailedAfter: AutopilotFailedMin, Floor: 1}, ""},
		{Autopilot{Stable: AutopilotTimeMax, FailedAfter: AutopilotTimeMax, Floor: ActivesMax}, ""},
		{Autopilot{Stable: -1}, "stable"},
		{Autopilot{Stable: AutopilotTimeMax + 1}, "stable"},
		{Autopilot{FailedAfter: -1}, "failed"},
		{Autopilot{FailedAfter: AutopilotFailedMin - 1}, "failed"},
		{Autopilot{FailedAfter: AutopilotTimeMax + 1}, "failed"},
		{Autopilot{Floor: -1}, "floor"},
		{Autopilot{Floor: ActivesMax + 1}, "floor"},
		{Autopilot{Passives: AutopilotPassivesMax}, ""},
		{Autopilot{Passives: -1}, "passives"},
		{Autopilot{Passives: AutopilotPassivesMax + 1}, "passives"},
	} {
		c := oneVoter()
		c.Autopilot = test.a
		err := c.Validate()
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: got %v, want %q", test.a, err, test.want)
		}
	}
}
