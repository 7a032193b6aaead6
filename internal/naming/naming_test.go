package naming

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// The same fault has the names that its reader knows, and no other text is taken for one.
func TestAFaultHasItsReadersNames(t *testing.T) {
	const low, high = Field("DiskLow"), Field("DiskHigh")
	var all, more Faults
	all.Add(nil)
	all.Addf("%s is %d, below %s", high, 7, low)
	more.Add(errors.New("DiskLow as a word"))
	more.Addf("%q of %s", "DiskHigh", low)
	all.Add(fmt.Errorf("wrapped: %w", more))
	if got, want := all.Error(), "DiskHigh is 7, below DiskLow\nDiskLow as a word\n\"DiskHigh\" of DiskLow"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	upper := func(f Field) string { return strings.ToUpper(string(f)) }
	if got, want := Say(fmt.Errorf("x: %w", all), upper), "DISKHIGH is 7, below DISKLOW\nDiskLow as a word\n\"DiskHigh\" of DISKLOW"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := Say(errors.New("DiskLow"), upper), "DiskLow"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
