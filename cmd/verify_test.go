package cmd

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/starlinghq/starling"
)

func TestVerifyComparesAllMembers(t *testing.T) {
	at := local(t)
	out, stderr, code := run(context.Background(), "", "verify", at)
	if code != 0 || strings.Count(out, "equal") != 2 || !strings.Contains(out, "VERDICT") {
		t.Errorf("exit code %d, %s%s; want 0 and two equal members", code, out, stderr)
	}
	out, _, code = run(context.Background(), "", "verify", at, "-o", "json")
	var v starling.Verification
	if err := json.Unmarshal([]byte(out), &v); err != nil || code != 0 || !v.Equal || len(v.Members) != 2 {
		t.Errorf("exit code %d, %v, %s; want two equal members", code, err, out)
	}
}
