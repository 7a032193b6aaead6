package starling

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/starlinghq/starling/internal/client"
	"github.com/starlinghq/starling/internal/security"
	"github.com/starlinghq/starling/protocol"
)

const (
	// verifyParallel is how many members are asked at a time.
	verifyParallel = 16
	// verifyPatience is for how long an index is sought at which all members
	// have their digest at hand.
	verifyPatience = 10 * time.Second
)

// Verdicts of a Verification.
const (
	// VerdictEqual: the state is the one that most actives have.
	VerdictEqual = "equal"
	// VerdictDiffers: it is another one, or there is none that most have.
	VerdictDiffers = "differs"
	// VerdictUnconfirmed: all that answer have one state, and too few of the actives
	// answer to say that it is the right one.
	VerdictUnconfirmed = "unconfirmed"
	// VerdictQuarantined: the member has found out that its state had diverged,
	// serves nobody, and fetches it anew from the others.
	VerdictQuarantined = "quarantined"
	// VerdictInstalling: its state comes from other members.
	VerdictInstalling = "installing"
	// VerdictBehind: it did not come to the index in time, or was past it.
	VerdictBehind = "behind"
	// VerdictUnreachable: it is thought to be alive and gave no answer.
	VerdictUnreachable = "unreachable"
	// VerdictAbsent: it is missing, see Verification.Missing. It does not count.
	VerdictAbsent = "absent"
)

// Verification is a comparison of the members' states at one index. As JSON it
// is what `starling verify -o json` prints; fields are added, never renamed.
type Verification struct {
	// Index is the one at which the digests were compared; 0: nobody has said a digest, and
	// nothing was compared.
	Index Index `json:"index"`
	// Equal says that every live member has the same digest there, and, as far
	// as it is at hand, the same sum of the log.
	Equal bool `json:"equal"`
	// Sound says that Equal is true, that nobody is missing and no id is held twice:
	// what the exit code of `starling verify` says.
	Sound bool `json:"sound"`
	// Missing are the names of members that are not heard and whose states are
	// therefore not compared: those with a seat, and others that were heard in the
	// last 24 hours and have neither left by their own will nor been removed, nor left
	// their names to others that are heard.
	Missing []string `json:"missing"`
	// Doubled are the names of members whose ids are held at two addresses, as far as
	// the member that was asked knows: the states of only one of each are compared.
	Doubled []string         `json:"doubled"`
	Members []VerifiedMember `json:"members"`
}

// VerifiedMember is what one member has.
type VerifiedMember struct {
	Name    string `json:"name"`
	ID      string `json:"id"`
	Address string `json:"address"`
	Role    string `json:"role"`
	Leader  bool   `json:"leader"`
	// Voter says that the member counts where a majority of the actives does.
	Voter bool `json:"voter"`
	// Applied is the index that it has applied; in JSON null where it has not said, which
	// the verdicts VerdictAbsent and VerdictUnreachable tell.
	Applied Index `json:"applied"`
	// Digest and LogSum are of the index compared; empty if not at hand.
	Digest  string `json:"digest,omitempty"`
	LogSum  string `json:"log_sum,omitempty"`
	Verdict string `json:"verdict"`
	// Reason says why, and what happens about it.
	Reason string `json:"reason,omitempty"`
}

// said reports whether the member has answered.
func (m *VerifiedMember) said() bool {
	return m.Verdict != VerdictAbsent && m.Verdict != VerdictUnreachable
}

// MarshalJSON leaves open what a member has not said.
func (m VerifiedMember) MarshalJSON() ([]byte, error) {
	type fields VerifiedMember
	line := struct {
		fields
		Applied *Index `json:"applied"`
	}{fields: fields(m)}
	if m.said() {
		line.Applied = &m.Applied
	}
	return json.Marshal(line)
}

// Verify asks all live members for the digests of their states at a common
// index, and compares them; it names those that are not heard. Under load that may take a moment: a member has the
// digests of the last 1,024 indexes at hand. It changes nothing.
//
// ErrUnavailable: no member can be asked. ErrNotServing: the one that is asked has no cluster
// yet. That members differ is no error.
func (c *Client) Verify(ctx context.Context) (Verification, error) {
	status, err := c.half().Status(ctx)
	if err != nil {
		return Verification{}, err
	}
	if status.Cluster.IsZero() { // nothing would be compared, and all that is would be equal
		return Verification{}, protocol.ErrNotServing.With("this member has no cluster yet: " + status.Reason)
	}
	v := newVerifier(ctx, c.security, status)
	defer v.close()
	ctx, cancel := context.WithTimeout(ctx, verifyPatience)
	defer cancel()
	v.ask(ctx, 0)
	for {
		at := v.highest()
		v.ask(ctx, at)
		if v.complete() || ctx.Err() != nil {
			return v.conclude(at), nil
		}
	}
}

// verifier asks the members, each by itself.
type verifier struct {
	members []verified
}

type verified struct {
	status protocol.MemberStatus
	remote *client.Remote // nil: not reached
	report *protocol.DigestReport
	err    error
}

func newVerifier(ctx context.Context, secure *security.Security, status *protocol.Status) *verifier {
	v := &verifier{}
	for _, m := range status.Members {
		if m.Role != Reserve.String() { // those hold nothing
			v.members = append(v.members, verified{status: m})
		}
	}
	v.each(func(m *verified) {
		if m.status.Alive {
			m.remote, m.err = client.NewRemote(ctx, client.RemoteConfig{Security: secure, Addresses: []string{m.status.Address}, Cluster: status.Cluster})
		}
	})
	return v
}

// each does something for all members, a few at a time.
func (v *verifier) each(do func(*verified)) {
	var wait sync.WaitGroup
	room := make(chan struct{}, verifyParallel)
	for k := range v.members {
		room <- struct{}{}
		wait.Go(func() {
			do(&v.members[k])
			<-room
		})
	}
	wait.Wait()
}

func (v *verifier) close() {
	v.each(func(m *verified) {
		if m.remote != nil {
			_ = m.remote.Close()
		}
	})
}

// ask asks all for their digests at an index, 0: at what they have applied.
func (v *verifier) ask(ctx context.Context, at protocol.Index) {
	v.each(func(m *verified) {
		if m.remote == nil {
			return
		}
		response, err := m.remote.Do(ctx, &protocol.Request{Kind: protocol.RequestDigest, At: at})
		if err == nil {
			err = response.Result.Err()
		}
		if err == nil && response.Digest != nil {
			m.report, m.err = response.Digest, nil
		} else if m.report == nil {
			m.err = err
		}
	})
}

// highest returns the highest index that anybody has applied: the others come
// to it, and whoever has it has not gone far beyond.
func (v *verifier) highest() (at protocol.Index) {
	for k := range v.members {
		if d := v.members[k].report; d != nil && d.State != VerdictQuarantined {
			at = max(at, d.Applied)
		}
	}
	return at
}

// complete reports whether nothing better would come of asking again.
func (v *verifier) complete() bool {
	for k := range v.members {
		if d := v.members[k].report; d != nil && !d.Known && d.State != VerdictQuarantined && d.State != VerdictInstalling {
			return false
		}
	}
	return true
}

// heard reports whether a member of a name is alive.
func (v *verifier) heard(name string) bool {
	return slices.ContainsFunc(v.members, func(m verified) bool { return m.status.Alive && m.status.Name == name })
}

// conclude compares what the members have at an index with what most voters have.
func (v *verifier) conclude(at protocol.Index) Verification {
	voters, count, states := 0, map[[16]byte]int{}, map[[16]byte]bool{}
	for k := range v.members {
		m := &v.members[k]
		if m.knows(at) {
			states[m.report.Digest] = true
		}
		if m.status.Suffrage == protocol.SuffrageVoter.String() {
			voters++
			if m.knows(at) {
				count[m.report.Digest]++
			}
		}
	}
	var right [16]byte
	found := false
	for digest, n := range count { // at most one has a majority
		if 2*n > voters {
			right, found = digest, true
		}
	}
	sum, sums := v.commonSum(at)
	out := Verification{Index: at, Equal: true, Missing: []string{}, Doubled: []string{}}
	for k := range v.members {
		m := &v.members[k]
		line := m.line(at)
		if line.Verdict == "" {
			line.Verdict, line.Reason = m.compare(right, found, len(states) == 1, sum, sums)
		}
		out.Equal = out.Equal && (line.Verdict == VerdictEqual || line.Verdict == VerdictAbsent)
		switch {
		case line.Verdict != VerdictAbsent:
		case m.status.Suffrage == "" && v.heard(line.Name): // it was replaced
			line.Reason = "another member has its name"
		default:
			out.Missing = append(out.Missing, line.Name)
		}
		if m.status.Other != "" {
			out.Doubled = append(out.Doubled, line.Name)
			line.Reason = strings.TrimPrefix(line.Reason+"; its id is held at "+m.status.Other+" as well", "; ")
		}
		out.Members = append(out.Members, line)
	}
	out.Sound = out.Equal && len(out.Missing)+len(out.Doubled) == 0
	slices.Sort(out.Missing)
	slices.Sort(out.Doubled)
	slices.SortFunc(out.Members, func(a, b VerifiedMember) int {
		return cmp.Or(cmp.Compare(a.Role, b.Role), cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
	})
	return out
}

// commonSum returns the log sum of the first member that has it at hand.
func (v *verifier) commonSum(at protocol.Index) (sum protocol.LogSum, known bool) {
	for k := range v.members {
		if m := &v.members[k]; m.knows(at) && m.report.SumKnown {
			return m.report.Sum, true
		}
	}
	return sum, false
}

func (m *verified) knows(at protocol.Index) bool {
	return m.report != nil && m.report.Known && m.report.Index == at
}

// line is what is known of a member, without a verdict if it is to be compared.
func (m *verified) line(at protocol.Index) VerifiedMember {
	s := &m.status
	line := VerifiedMember{Name: s.Name, ID: s.ID.String(), Address: s.Address, Role: s.Role, Leader: s.Leader, Voter: s.Suffrage == protocol.SuffrageVoter.String()}
	d := m.report
	switch {
	case !s.Alive:
		line.Verdict, line.Reason = VerdictAbsent, "it is not heard"
		if s.SilenceKnown {
			line.Reason = fmt.Sprintf("it has not been heard for %v", time.Duration(s.Silence).Round(time.Second))
			if note := goneNote(s); note != "" {
				line.Reason += "; " + note
			}
		}
		return line
	case d == nil:
		line.Verdict, line.Reason = VerdictUnreachable, "it does not answer"
		if m.err != nil {
			line.Reason = m.err.Error()
		}
		return line
	}
	line.Role, line.Leader, line.Applied = d.Role, d.Leader, d.Applied
	if m.knows(at) {
		line.Digest = fmt.Sprintf("%x", d.Digest)
		if d.SumKnown {
			line.LogSum = d.Sum.String()
		}
		return line
	}
	switch d.State {
	case VerdictQuarantined, VerdictInstalling:
		line.Verdict, line.Reason = d.State, d.Reason
	default:
		line.Verdict, line.Reason = VerdictBehind, fmt.Sprintf("it has applied %d and has no digest of %d at hand", d.Applied, at)
	}
	return line
}

// compare says whether a digest is the right one, and what happens if not.
func (m *verified) compare(right [16]byte, found, agreed bool, sum protocol.LogSum, sums bool) (verdict, reason string) {
	d := m.report
	switch {
	case sums && d.SumKnown && d.Sum != sum:
		return VerdictDiffers, "its log is another one: it finds out when the next entries come"
	case !found && agreed:
		return VerdictUnconfirmed, "all that answer have this state, and too few of the actives answer to confirm it"
	case !found:
		return VerdictDiffers, "no majority of the actives has one state: it is not known which one is right, and nobody acts"
	case d.Digest != right:
		return VerdictDiffers, "its state has diverged: it finds out at the next checkpoint, then serves nobody until it has fetched its state anew"
	}
	return VerdictEqual, ""
}
