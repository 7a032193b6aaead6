package protocol

import "fmt"

// Versions is the range of versions of the wire protocol that somebody speaks. Two
// sides that meet tell each other theirs and speak the highest that both know. The
// zero value stands for what this code speaks.
type Versions struct{ Lowest, Highest uint8 }

// Spoken returns the versions that this code speaks.
func Spoken() Versions { return Versions{VersionLowest, Version} }

// orSpoken is the range that the zero value stands for.
func (v Versions) orSpoken() Versions {
	if v == (Versions{}) {
		return Spoken()
	}
	return v
}

// String returns "version 3" or "versions 3 to 5".
func (v Versions) String() string {
	v = v.orSpoken()
	if v.Lowest == v.Highest {
		return fmt.Sprintf("version %d", v.Highest)
	}
	return fmt.Sprintf("versions %d to %d", v.Lowest, v.Highest)
}

// Speaks reports whether a version is in the range.
func (v Versions) Speaks(version uint8) bool {
	v = v.orSpoken()
	return v.Lowest <= version && version <= v.Highest
}

// Agree returns the version that two sides speak: the highest that both know. If there
// is none it returns ErrWrongVersion, and who of the two is behind. other is what the
// other side is called.
func (v Versions) Agree(theirs Versions, other string) (uint8, error) {
	v, theirs = v.orSpoken(), theirs.orSpoken()
	version := min(v.Highest, theirs.Highest)
	if version >= v.Lowest && version >= theirs.Lowest {
		return version, nil
	}
	behind, needs := "this side", theirs.Lowest
	if v.Lowest > theirs.Highest {
		behind, needs = other, v.Lowest
	}
	return 0, ErrWrongVersion.With(fmt.Sprintf(
		"%s speaks %s of the protocol, this side %s: upgrade %s to a release that speaks version %d, by way of those between if there are some",
		other, theirs, v, behind, needs))
}

func (v Versions) append(dst []byte) []byte {
	v = v.orSpoken()
	return appendUint(appendUint(dst, uint64(v.Lowest)), uint64(v.Highest))
}

func (r *reader) versions() Versions {
	v := Versions{Lowest: uint8(r.uintTo(0xff)), Highest: uint8(r.uintTo(0xff))}
	if r.err == nil && (v.Lowest == 0 || v.Highest < v.Lowest) {
		r.fail("a range of versions that has none")
	}
	return v
}
