package runtime

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/starlinghq/starling/internal/keys"
	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/protocol"
)

// keyOf returns a key that is the same in each run.
func keyOf(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
}

// trusts makes a member check signatures of the keys 1 to 3, and signsWith makes it
// sign with one of them.
func trusts(cfg *Config) {
	for n := range byte(3) {
		cfg.TrustedKeys = append(cfg.TrustedKeys, keys.PublicOf(keyOf(n+1)))
	}
}

func signsWith(n byte) func(*Config) { return func(cfg *Config) { cfg.SigningKey = keyOf(n) } }

// tells keeps what a member logs.
func tells(j *journal) func(*Config) {
	return func(cfg *Config) {
		cfg.Logger = slog.New(slog.NewTextHandler(j, &slog.HandlerOptions{Level: slog.LevelInfo}))
	}
}

// lying makes a member's every digest come with a frame of entries that nobody
// proposed, which goes on where its log ends, and answer every question with
// the youngest age there is.
func lying(m *Member, list []replica.Send) []replica.Send {
	var out []replica.Send
	for _, s := range list {
		if h, ok := s.Message.(*protocol.Have); ok {
			if h.AnswerTo != 0 {
				h.FreshKnown, h.FreshIndex, h.FreshAge = true, 1, 0
				h.Signature = protocol.Signature{Key: [8]byte(keys.PublicOf(keyOf(1))[:8]), Bytes: [64]byte{1}}
			}
			if f := forgedBy(m); f != nil {
				out = append(out, replica.Send{Envelope: protocol.Envelope{From: s.From, To: s.To, Message: f}, Datagram: true})
			}
		}
		out = append(out, s)
	}
	return out
}

func forgedBy(m *Member) *protocol.Frame {
	s := m.replica.Status(m.clock.Now())
	before, known := m.replica.SumAt(s.Commit)
	if !known || s.Leader.IsZero() {
		return nil
	}
	entries := []protocol.Entry{{Index: s.Commit + 1, Term: s.Term, Kind: protocol.EntryNoop}}
	protocol.EncodeEntries(entries)
	return &protocol.Frame{
		Origin: s.Leader, Before: before, Commit: s.Commit + 1, Entries: entries,
		Signature: protocol.Signature{Key: [8]byte(keys.PublicOf(keyOf(1))[:8]), Bytes: [64]byte{2}},
	}
}

// Over real sockets: members that joined as passives become voters where frames
// are signed, a hostile passive's frames and ages are refused and it is named,
// and all honest states are equal.
func TestLyingPassiveHarmsNobodyWhereFramesAreSigned(t *testing.T) {
	c := newCluster(t)
	for n, name := range []string{"a1", "a2", "a3"} {
		c.start(name, protocol.RoleActive, trusts, signsWith(byte(n+1)))
	}
	c.voters(3)
	said := map[string]*journal{"p1": new(journal), "p2": new(journal)}
	for name, j := range said {
		c.start(name, protocol.RolePassive, trusts, tells(j))
	}
	c.start("villain", protocol.RolePassive, trusts, func(cfg *Config) { cfg.twist = lying })
	caller := c.client(c.members["p1"])
	for i := range 100 {
		c.put(caller, fmt.Sprint("k", i), "v")
	}
	for name, j := range said {
		c.eventually(name+" names the villain", func() error {
			s := c.members[name].Status()
			if s.Refused == 0 || !j.has("msg=forged") || !j.has("with=villain") {
				return fmt.Errorf("%d refused; it said: %s", s.Refused, j.tail(5))
			}
			if !s.AgeKnown {
				return errors.New("no age")
			}
			return nil
		})
	}
	for i := range 20 {
		c.put(caller, fmt.Sprint("k", i), "w")
	}
	c.equal()
	for name := range said {
		if got := c.get(c.client(c.members[name]), "k7"); got != "w" {
			t.Errorf("%s: got %q, want w", name, got)
		}
	}
}

// An active without a key is named by those that check; they follow the others.
func TestActiveThatDoesNotSignIsNamed(t *testing.T) {
	c := newCluster(t)
	c.start("a1", protocol.RoleActive, signsWith(1), func(cfg *Config) { cfg.Actives = 2 })
	c.start("a2", protocol.RoleActive)
	c.voters(2)
	j := new(journal)
	p := c.start("p1", protocol.RolePassive, trusts, tells(j))
	caller := c.client(c.members["a1"])
	c.eventually("a2 is named", func() error {
		c.put(caller, "k", "v")
		if !j.has("carries no signature") || !j.has("with=a2") {
			return fmt.Errorf("it said: %s", j.tail(5))
		}
		return nil
	})
	c.equal()
	if s := p.Status(); s.Refused == 0 || !s.AgeKnown {
		t.Errorf("got %d refused, age known: %v", s.Refused, s.AgeKnown)
	}
}

// Where the leader checks signatures, a member without a key gets no seat, of the policy or
// by hand. The last word says why, and so does a warning.
func TestMemberWithoutAKeyGetsNoSeat(t *testing.T) {
	c := newCluster(t)
	j := new(journal)
	m := c.start("a1", protocol.RoleActive, trusts, signsWith(1), tells(j), func(cfg *Config) { cfg.Actives = 2 })
	mute := c.start("a2", protocol.RoleActive)
	var now *protocol.AutopilotReport
	c.eventually("a2 is passed over", func() error {
		got, err := answerOf(c.ctx, m, protocol.Request{Kind: protocol.RequestAutopilot})
		if err != nil {
			return err
		}
		if now = got.Autopilot; !strings.Contains(now.Reason, "a2 has no key") {
			return fmt.Errorf("the last word is %q", now.Reason)
		}
		if !j.has("level=WARN msg=barred") || !j.has("with=a2") {
			return fmt.Errorf("it said: %s", j.tail(5))
		}
		return nil
	})
	got, err := m.Do(c.ctx, &protocol.Request{Kind: protocol.RequestMembershipChange, MembershipChange: &protocol.MembershipChange{Version: now.Configuration.Index, Promote: []protocol.MemberID{mute.ID()}}})
	if err != nil || got.Result.Code != protocol.ErrNotEligible.Code || !strings.Contains(got.Result.Text, "a2 has no key") {
		t.Errorf("by hand: got %+v, %v, want %v", got, err, protocol.ErrNotEligible)
	}
	c.start("a3", protocol.RoleActive, trusts, signsWith(2))
	c.eventually("a3 has a key, and gets the seat", func() error {
		conf := m.configuration()
		if len(conf.Voters()) != 2 || conf.Names(mute.ID()) {
			return fmt.Errorf("the voters are %v", conf)
		}
		return nil
	})
}

// A newcomer whose entries nobody has any more installs a checkpoint that an
// active has signed the description of.
func TestNewcomerInstallsASignedCheckpoint(t *testing.T) {
	c := newCluster(t)
	a := c.start("a1", protocol.RoleActive, compacting, trusts, signsWith(1), in(c.dir()), func(cfg *Config) { cfg.Actives = 1 })
	c.fill(c.client(a), "x", 100)
	c.compacted("a1", 50)
	p := c.start("p1", protocol.RolePassive, compacting, trusts, in(c.dir()))
	c.equal()
	if s := p.Status(); s.First <= 1 || s.Refused != 0 {
		t.Errorf("its log begins at %d, %d refused", s.First, s.Refused)
	}
}
