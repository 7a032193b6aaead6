package cmd

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/starlinghq/starling"
)

// What a member has applied that has not answered is not known.
func TestVerifyShowsNoIndexOfAMemberThatDoesNotAnswer(t *testing.T) {
	for verdict, want := range map[string]string{starling.VerdictAbsent: "?", starling.VerdictUnreachable: "?", starling.VerdictBehind: "0"} {
		out := new(strings.Builder)
		v := starling.Verification{Index: 7, Members: []starling.VerifiedMember{{Name: "a", Role: "passive", Verdict: verdict}}}
		if err := (&Program{Stdout: out}).printVerification(v); err != nil {
			t.Fatal(err)
		}
		if line := strings.Fields(strings.Split(out.String(), "\n")[1]); line[2] != want {
			t.Errorf("%s: got %q, want %q", verdict, line, want)
		}
	}
}

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
