package cmd

import "testing"

func TestSuggestsWhatIsNear(t *testing.T) {
	known := []string{"map", "members", "status", "--addr", "--timeout"}
	for given, want := range map[string]string{
		"mpa": ", did you mean map?", "mem": ", did you mean members?", "stauts": ", did you mean status?",
		"--adr": ", did you mean --addr?", "xyz": "", "": "", "quite-something-else": "",
	} {
		if got := suggest(given, known); got != want {
			t.Errorf("suggest(%q): got %q, want %q", given, got, want)
		}
	}
}
