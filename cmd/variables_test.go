package cmd

import (
	"context"
	"strings"
	"testing"
)

// A variable that was meant for this program and that no flag reads is said, with the nearest
// that one does; so is an empty one, which counts as not set. What others put there is not.
func TestVariablesThatDoNothingAreSaid(t *testing.T) {
	const unread, empty = "is read by no flag of starling ", " is empty, and counts as not set"
	for _, row := range []struct {
		name, value, command string
		says                 string // empty: nothing
	}{
		{"STARLING_AGENT_DIRR", "x", "agent", unread + "agent, did you mean STARLING_AGENT_DIR?"},
		{"STARLING_AGENT_ELECTON", "1s", "agent", unread + "agent, did you mean STARLING_AGENT_ELECTION?"},
		{"STARLING_AGENT_QQQQQQQQ", "1", "agent", unread + "agent\n"},
		{"STARLING_AGNT_DIR", "x", "agent", unread + "agent, did you mean STARLING_AGENT_DIR?"},
		{"STARLING_DIR", "x", "agent", unread + "agent, did you mean STARLING_AGENT_DIR?"},
		{"STARLING_AGENT_BIND", "", "agent", "STARLING_AGENT_BIND" + empty},
		{"STARLING_AGENT_ACTIVES", "", "agent", "STARLING_AGENT_ACTIVES" + empty},
		{"STARLING_AGENT_BOOTSTRAP", "", "agent", "STARLING_AGENT_BOOTSTRAP" + empty},
		{"STARLING_DEV_PASSIVE", "1", "dev", unread + "dev, did you mean STARLING_DEV_PASSIVES?"},
		{"STARLING_ADR", "x", "status", unread + "status, did you mean STARLING_ADDR?"},
		{"STARLING_ADDRESS", "x", "map get", unread + "map get, did you mean STARLING_ADDR?"},
		{"STARLING_ADDR", "", "map get", "STARLING_ADDR" + empty},
		{"STARLING_AGENT_DIRR", "x", "status", ""},
		{"STARLING_DEV_PASSIVE", "1", "agent", ""},
		{"STARLING_PORT_7600_TCP", "x", "status", ""},
		{"STARLING_SERVICE_HOST", "x", "agent", ""},
		{"STARLING_DIR", "x", "status", ""},
	} {
		t.Run(row.name+" of "+row.command, func(t *testing.T) {
			t.Setenv(row.name, row.value)
			args := append(strings.Fields(row.command), "--bind", "nowhere")
			if row.command != "agent" && row.command != "dev" {
				args = append(strings.Fields(row.command), "--addr", "nowhere", "--timeout", "100ms", "m", "k")
				if row.value == "" {
					args = append(strings.Fields(row.command), "--timeout", "100ms", "m", "k")
				}
			}
			if row.name == "STARLING_AGENT_BIND" {
				args = []string{"agent", "--dir", t.TempDir(), "--http", "nowhere"}
			}
			_, stderr, code := run(context.Background(), "", args...)
			if code == 0 {
				t.Fatalf("exit code 0: %s", stderr)
			}
			got := ""
			for line := range strings.Lines(stderr) {
				if strings.Contains(line, "environment variable") {
					got += line
				}
			}
			if (got == "") != (row.says == "") || !strings.Contains(got, row.says) {
				t.Errorf("says %q, want %q", got, row.says)
			}
			if row.name == "STARLING_AGENT_BIND" && strings.Contains(stderr, "STARLING_AGENT_BIND is host:port") {
				t.Errorf("the empty variable is taken for a value: %s", stderr)
			}
		})
	}
}
