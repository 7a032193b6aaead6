package protocol

import (
	"encoding/hex"
	"errors"
	"testing"
)

// The level has one form, stands behind everything else, and a log at the first one is what
// it was before there were levels.
func TestALevelKeepsItsForm(t *testing.T) {
	const line = "9194" + "c410" + "01000000000000000000000000000000" + "a161" + "a3683a31" + "02"
	held := oneVoter().At(3)
	held.Autopilot.HoldLevel = true
	for _, test := range []struct {
		c    Configuration
		want string
	}{
		{oneVoter().At(1), "93" + "03" + "05" + line},
		{oneVoter().At(2), "95" + "03" + "05" + line + "94c2000000" + "02"},
		{held, "95" + "03" + "05" + line + "96c200000000c3" + "03"},
	} {
		if got := hex.EncodeToString(EncodeConfiguration(test.c)); got != test.want {
			t.Errorf("got  %s\nwant %s", got, test.want)
		}
		got, err := DecodeConfiguration(EncodeConfiguration(test.c))
		if err != nil || !got.Equal(test.c) || got.Level != test.c.Level {
			t.Errorf("got %+v, %v, want %+v", got, err, test.c)
		}
	}
	if oneVoter().Equal(oneVoter().At(2)) {
		t.Error("two levels are said to be equal")
	}
	for _, text := range []string{
		"95" + "03" + "05" + line + "94c2000000" + "01",     // the first, and said so
		"95" + "03" + "05" + line + "94c2000000" + "cc80",   // above all that there can be
		"96" + "03" + "05" + line + "94c2000000" + "0203",   // something behind
		"94" + "03" + "05" + line + "96c200000000c2",        // held, and not
		"94" + "03" + "05" + line + "97c200000000c3" + "01", // settings with something behind
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

// [S] A level that could be taken back, or raised by two, or with the seats, would have
// entries of one format in a log of another.
func TestALevelRisesByOneAndByItself(t *testing.T) {
	two := oneVoter().At(2)
	other := two
	other.Target = 4
	for _, test := range []struct {
		what         string
		before, next Configuration
		ok           bool
	}{
		{"as it is", two, two, true}, {"something else", two, other, true}, {"by one", two, two.At(3), true}, {"from the first", oneVoter(), two, true},
		{"back", two, oneVoter(), false}, {"by two", two, two.At(4), false}, {"with something else", two, other.At(3), false},
	} {
		if err := test.next.CheckLevel(test.before); (err == nil) != test.ok || err != nil && !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: got %v", test.what, err)
		}
	}
	joint := two.Toward(other.With(ActiveMember{ID: MemberID{2}, Suffrage: SuffrageVoter}))
	if joint.Level != 2 || joint.Final().Level != 2 {
		t.Errorf("a joint configuration is at level %d and leads to %d, want 2", joint.Level, joint.Final().Level)
	}
}

// A raise that is cut off takes its level with it, and one that the log's head took leaves
// it there.
func TestTheLevelStandsWhereTheConfigurationStands(t *testing.T) {
	c := NewConfigurations(ConfigurationAt{1, oneVoter()}, ConfigurationAt{5, oneVoter().At(2)}, ConfigurationAt{9, oneVoter().At(3)})
	levels := func(what string, known FormatLevel, appliesTo Index, at map[Index]int) {
		t.Helper()
		if got := c.AppliesTo(known); got != appliesTo {
			t.Errorf("%s: who knows %d applies it up to %d, want %d", what, known, got, appliesTo)
		}
		for i, want := range at {
			if got := c.LevelAt(i).Number(); got != want {
				t.Errorf("%s: level %d above %d, want %d", what, got, i, want)
			}
		}
	}
	levels("whole", 1, 5, map[Index]int{0: 1, 4: 1, 5: 2, 8: 2, 9: 3, 100: 3})
	levels("whole", 2, 9, nil)
	levels("whole", 3, IndexMax, nil)
	c.DropHead(7)
	levels("without its head", 2, 9, map[Index]int{7: 2, 9: 3})
	c.TruncateAfter(8)
	levels("cut back", 2, IndexMax, map[Index]int{8: 2, 100: 2})
}

// [S] An entry of a kind that the level in force has not is nobody's; above a level that
// this code does not know any may be right.
func TestWhichKindsALevelHas(t *testing.T) {
	unknown := EntryKindMax
	for k := EntryNoop; k <= EntryConfirmation; k++ {
		if !FormatLevel(0).Has(k) || !FormatFirst.Has(k) || !FormatKnown.Has(k) {
			t.Errorf("%s has no place in a log of the first level", k)
		}
	}
	if FormatFirst.Has(unknown) || FormatKnown.Has(unknown) {
		t.Error("a kind that nobody knows has a place in a log")
	}
	if !FormatKnown.Next().Has(unknown) {
		t.Error("a kind of a later level has no place in a log of that level")
	}
	e := []Entry{{Index: 1, Term: 1, Kind: EntryNoop}}
	src := EncodeEntries(e)
	src[4] = byte(unknown)
	if got, _, err := DecodeEntry(src); err != nil || got.Kind != unknown {
		t.Errorf("got %v, %v: it cannot be kept", got, err)
	}
}
