package protocol

import (
	"fmt"
	"slices"
)

// FormatLevel numbers the formats of what is stored, summed and applied: which kinds of
// entries there are, what is in commands, marks and items, and what they do to the state.
// The level in force is a part of the configuration, and rises with it, by one at a time.
// Levels count from 1; 0 stands for 1.
//
// [S] What a member needs to keep its log and its vote is of no level, and never changes
// with one: the envelope of an entry, the encoding of a configuration, the headers of the
// log and the manifest of a checkpoint. A member that does not know the level in force
// still has to read those.
type FormatLevel uint8

const (
	// FormatFirst is the level of the first release.
	FormatFirst FormatLevel = 1
	// FormatLevelMax bounds the levels that there can be.
	FormatLevelMax FormatLevel = 127
)

// Number returns the level as people count it, from 1 on.
func (l FormatLevel) Number() int { return int(max(l, FormatFirst)) }

// Covers reports whether who knows the levels up to l knows the level in force.
func (l FormatLevel) Covers(inForce FormatLevel) bool { return max(l, FormatFirst) >= inForce }

// Next returns the level above.
func (l FormatLevel) Next() FormatLevel { return max(l, FormatFirst) + 1 }

// OrKnown returns the level, or, of 0, the highest that this code knows: how far a member
// goes that was told nothing.
func (l FormatLevel) OrKnown() FormatLevel {
	if l == 0 {
		return FormatKnown
	}
	return l
}

// Has reports whether an entry of a kind may stand in a log above the entry that brought
// the level in force, as far as this code can tell: of a level that it does not know, any.
func (l FormatLevel) Has(k EntryKind) bool {
	return !FormatKnown.Covers(l) || k.Known() && l.Covers(k.level())
}

// level is the one that has brought the kind; 0: this code does not know it.
func (k EntryKind) level() FormatLevel {
	if k >= EntryNoop && k <= EntryRuling {
		return FormatFirst
	}
	return nextLevel(k)
}

// At returns the configuration with another level in force.
func (c Configuration) At(level FormatLevel) Configuration {
	if c.Level = level; level <= FormatFirst {
		c.Level = 0 // as it is decoded
	}
	return c
}

// raises reports whether a configuration differs from the one before in nothing but its
// level, which is the next one.
func (c Configuration) raises(before Configuration) bool {
	return c.Level == before.Level.Next() && c.At(before.Level).Equal(before)
}

// CheckLevel refuses a configuration that takes the level back, or raises it by more than
// one, or with something else beside it. [S] What was written at a level is in the log, and
// members that switch at different entries apply the same one in two ways.
func (c Configuration) CheckLevel(before Configuration) error {
	if c.Level.Number() == before.Level.Number() || c.raises(before) {
		return nil
	}
	return ErrInvalid.With(fmt.Sprintf("the format level is %d: a change goes to %d, and it rises by one, by itself", before.Level.Number(), c.Level.Number()))
}

// LevelAt returns the format level in force for the entry above an index: the first, where
// the log knows no configuration.
func (c *Configurations) LevelAt(i Index) FormatLevel {
	at, _ := c.At(i)
	return at.Configuration.Level
}

// AppliesTo returns up to which index somebody can apply a log who knows the levels up to
// known: to the entry that brings a higher one, and that one still.
func (c *Configurations) AppliesTo(known FormatLevel) Index {
	i := slices.IndexFunc(c.list, func(at ConfigurationAt) bool { return !known.Covers(at.Configuration.Level) })
	if i < 0 {
		return IndexMax
	}
	return c.list[i].Index
}

// BeyondLevel says why who knows the levels up to known can do nothing with what is of a
// higher one, and what helps. subject is what is of it, as in "the log".
func BeyondLevel(subject string, level, known FormatLevel) string {
	return fmt.Sprintf("%s is at format level %d, and this release knows the levels up to %d: start it with a release that knows level %d (`starling version` says up to which one does)",
		subject, level.Number(), known.Number(), level.Number())
}
