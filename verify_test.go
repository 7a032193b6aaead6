package starling

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/starlinghq/starling/protocol"
)

// seen is a member as others list it, with what it reports, if anything.
func seen(name, seat string, r *protocol.DigestReport) verified {
	m := verified{status: protocol.MemberStatus{ID: protocol.MemberID{name[0], name[1]}, Name: name, Role: "active", Suffrage: seat, Alive: true}, report: r}
	if seat == "" {
		m.status.Role = "passive"
	}
	if r != nil {
		r.Role = m.status.Role
	}
	return m
}

// has is a report of a digest at index 10.
func has(digest byte) *protocol.DigestReport {
	return &protocol.DigestReport{Index: 10, Applied: 12, Known: true, Digest: [16]byte{digest}, State: "serving"}
}

func TestVerifyJudgesByTheMajorityOfTheActives(t *testing.T) {
	quarantined := &protocol.DigestReport{Index: 10, Applied: 9, State: "quarantined", Reason: "it has diverged"}
	late := &protocol.DigestReport{Index: 10, Applied: 5, State: "serving"}
	otherLog := has(1)
	otherLog.SumKnown, otherLog.Sum = true, protocol.LogSum{9}
	sound := has(1)
	sound.SumKnown = true
	dead := seen("a3", "voter", nil)
	dead.status.Alive = false
	for name, c := range map[string]struct {
		members []verified
		equal   bool
		want    string // verdicts by role and name
	}{
		"all equal":               {[]verified{seen("a1", "voter", has(1)), seen("a2", "voter", has(1)), seen("p1", "", has(1))}, true, "equal equal equal"},
		"a passive differs":       {[]verified{seen("p1", "", has(2)), seen("a1", "voter", has(1))}, false, "equal differs"},
		"the passives are more":   {[]verified{seen("a1", "voter", has(1)), seen("p1", "", has(2)), seen("p2", "", has(2)), seen("p3", "", has(2))}, false, "equal differs differs differs"},
		"one of three differs":    {[]verified{seen("a1", "voter", has(2)), seen("a2", "voter", has(1)), seen("a3", "voter", has(1))}, false, "differs equal equal"},
		"no majority":             {[]verified{seen("a1", "voter", has(1)), seen("a2", "voter", has(2)), seen("a3", "voter", has(3)), seen("p1", "", has(1))}, false, "differs differs differs differs"},
		"two dead of three":       {[]verified{seen("a1", "voter", has(1)), dead, dead}, false, "unconfirmed absent absent"},
		"one dead of three":       {[]verified{seen("a1", "voter", has(1)), seen("a2", "voter", has(1)), dead}, true, "equal equal absent"},
		"one in quarantine":       {[]verified{seen("a1", "voter", quarantined), seen("a2", "voter", has(1)), seen("a3", "voter", has(1))}, false, "quarantined equal equal"},
		"one behind":              {[]verified{seen("a1", "voter", has(1)), seen("p1", "", late)}, false, "equal behind"},
		"one that does not speak": {[]verified{seen("a1", "voter", has(1)), seen("p1", "", nil)}, false, "equal unreachable"},
		"another log":             {[]verified{seen("a1", "voter", sound), seen("p1", "", otherLog)}, false, "equal differs"},
	} {
		v := verifier{members: c.members}
		out := v.conclude(10)
		var got []string
		for _, m := range out.Members {
			got = append(got, m.Verdict)
			if (m.Reason == "") != (m.Verdict == VerdictEqual) {
				t.Errorf("%s: %s is %s because of %q", name, m.Name, m.Verdict, m.Reason)
			}
		}
		if got, want := len(out.Missing), strings.Count(c.want, VerdictAbsent); got != want {
			t.Errorf("%s: missing are %v, want %d", name, out.Missing, want)
		}
		if out.Equal != c.equal || strings.Join(got, " ") != c.want {
			t.Errorf("%s: got %v, equal %t; want %s, %t", name, got, out.Equal, c.want, c.equal)
		}
	}
}

// Who was replaced is missed by nobody: the seat is its successor's, of the same name.
func TestVerifyMissesNobodyWhoWasReplaced(t *testing.T) {
	ghost := seen("a3", "", nil)
	ghost.status.Alive = false
	for seat, missing := range map[string]int{"": 0, "voter": 1} {
		ghost.status.Suffrage = seat
		v := verifier{members: []verified{seen("a1", "voter", has(1)), seen("a2", "voter", has(1)), seen("a3", "voter", has(1)), ghost}}
		if out := v.conclude(10); len(out.Missing) != missing || !out.Equal || out.Sound != (missing == 0) {
			t.Errorf("the seat of the one before %q: missing are %v, equal %t, sound %t; want %d, true", seat, out.Missing, out.Equal, out.Sound, missing)
		}
	}
}

func TestVerifyFindsACommonIndexWhileOthersWrite(t *testing.T) {
	ctx := t.Context()
	c, err := OpenLocal(ctx, LocalConfig{Actives: 1, Passives: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	client, err := Dial(ctx, ClientConfig{Addresses: c.addresses()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	counter := NewCounter(client, "n")
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				if _, err := counter.Add(ctx, 1); err != nil {
					t.Error(err)
					return
				}
			}
		}
	}()
	for range 5 {
		v, err := client.Verify(ctx)
		if err != nil || !v.Equal || len(v.Members) != 2 || v.Index == 0 {
			t.Errorf("got %+v, %v; want two equal members", v, err)
		}
	}
	close(stop)
	<-stopped
}

func TestVerifyNamesWhoseIDIsHeldTwice(t *testing.T) {
	twice := seen("a2", "voter", has(1))
	twice.status.Other = "h:2"
	v := verifier{members: []verified{seen("a1", "voter", has(1)), twice}}
	out := v.conclude(10)
	if !out.Equal || len(out.Doubled) != 1 || out.Doubled[0] != "a2" {
		t.Errorf("got equal %v, held twice %v; want the states equal, and a2", out.Equal, out.Doubled)
	}
	if got := out.Members[1].Reason; !strings.Contains(got, "h:2") {
		t.Errorf("the line says %q, want the other address", got)
	}
}

// What a member has not said is no number: a script took 0 for what it had applied.
func TestVerificationLeavesOpenWhatIsNotSaid(t *testing.T) {
	for verdict, want := range map[string]string{VerdictAbsent: `"applied":null`, VerdictUnreachable: `"applied":null`, VerdictBehind: `"applied":0`} {
		got, err := json.Marshal(Verification{Members: []VerifiedMember{{Name: "a1", Verdict: verdict}}})
		if err != nil || !strings.Contains(string(got), want) || !strings.Contains(string(got), `"name":"a1"`) {
			t.Errorf("%s: got %s, %v; want %s", verdict, got, err, want)
		}
	}
}
