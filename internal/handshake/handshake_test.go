package handshake

import (
	"errors"
	"strings"
	"testing"

	"github.com/starlinghq/starling/protocol"
)

var ours, theirs = protocol.ClusterID{1}, protocol.ClusterID{2}

func memberOf(cluster protocol.ClusterID, id byte, run protocol.RunID) protocol.Hello {
	return protocol.Hello{Cluster: cluster, Member: protocol.MemberID{id}, Name: string('a' + rune(id)), Run: run}
}

// scripted is another run that gives an answer when it is asked.
type scripted struct {
	answer     Answer
	err        error
	superseded bool
}

func (r *scripted) Ask() (Answer, error) { return r.answer, r.err }
func (r *scripted) At() string           { return "far:1" }
func (r *scripted) Supersede()           { r.superseded = true }

// host is one that has seen a directory at fault if that is set, with another run of
// everybody if rival is.
func host(own protocol.Hello, rival *scripted, fault error) (h *Host, entered *int) {
	n, h := 0, &Host{Own: own, Welcome: func(protocol.Hello) error { return fault }}
	h.Enter = func(protocol.Hello) (Rival, error) {
		if rival != nil && !rival.superseded {
			return rival, nil
		}
		n++
		return nil, nil
	}
	h.Leave = func(protocol.Hello) { n-- }
	return h, &n
}

func TestWhatAGreetingIsAnsweredWith(t *testing.T) {
	later := memberOf(ours, 2, 1)
	later.Versions = protocol.Versions{Lowest: 200, Highest: 201}
	for name, c := range map[string]struct {
		own, peer protocol.Hello
		rival     *scripted
		fault     error
		want      *protocol.Error
		entered   int
	}{
		"a member":                    {own: memberOf(ours, 1, 1), peer: memberOf(ours, 2, 1), entered: 1},
		"a client":                    {own: memberOf(ours, 1, 1), peer: protocol.Hello{}},
		"another cluster":             {own: memberOf(ours, 1, 1), peer: memberOf(theirs, 2, 1), want: protocol.ErrWrongCluster},
		"another version":             {own: memberOf(ours, 1, 1), peer: later, want: protocol.ErrWrongVersion},
		"no cluster named":            {own: memberOf(ours, 1, 1), peer: memberOf(protocol.ClusterID{}, 2, 1), want: protocol.ErrInvalid},
		"not yet a cluster":           {own: memberOf(protocol.ClusterID{}, 1, 1), peer: memberOf(ours, 2, 1), want: protocol.ErrNotServing},
		"a directory put back":        {own: memberOf(ours, 1, 1), peer: memberOf(ours, 2, 1), fault: protocol.ErrRolledBack, want: protocol.ErrRolledBack},
		"a copy":                      {own: memberOf(ours, 1, 1), peer: memberOf(ours, 2, 2), rival: &scripted{answer: Answers}, want: protocol.ErrTwin},
		"a restart":                   {own: memberOf(ours, 1, 1), peer: memberOf(ours, 2, 2), rival: &scripted{answer: Silent}, entered: 1},
		"a rival that cannot be told": {own: memberOf(ours, 1, 1), peer: memberOf(ours, 2, 2), rival: &scripted{err: protocol.ErrUnavailable}, want: protocol.ErrUnavailable},
	} {
		h, entered := host(c.own, c.rival, c.fault)
		_, err := h.Answer(c.peer)
		if c.want == nil && err != nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
		if *entered != c.entered {
			t.Errorf("%s: %d streams are counted, want %d", name, *entered, c.entered)
		}
	}
}

// Whoever would be refused in any case ends nobody's streams.
func TestWhoIsRefusedSupersedesNobody(t *testing.T) {
	rival := &scripted{answer: Silent}
	h, _ := host(memberOf(ours, 1, 1), rival, protocol.ErrRolledBack)
	if _, err := h.Answer(memberOf(ours, 2, 2)); !errors.Is(err, protocol.ErrRolledBack) || rival.superseded {
		t.Errorf("got %v, superseded %v; want %v, and nobody superseded", err, rival.superseded, protocol.ErrRolledBack)
	}
}

// A client has no directory that it could empty, and a member is told no flag of clients.
func TestAClientOfAnotherClusterIsToldAClientsWayOut(t *testing.T) {
	h, _ := host(memberOf(ours, 1, 1), nil, nil)
	_, err := h.Answer(protocol.Hello{Cluster: theirs})
	guest := Guest{Own: protocol.Hello{Cluster: theirs}}
	_, judged := guest.Judge(memberOf(ours, 1, 1))
	for _, err := range []error{err, judged} {
		if !errors.Is(err, protocol.ErrWrongCluster) || !strings.Contains(err.Error(), "--cluster") || strings.Contains(err.Error(), "directory") {
			t.Errorf("got %v", err)
		}
	}
}

func TestAMemberOfAnotherClusterIsToldAMembersWayOut(t *testing.T) {
	h, _ := host(memberOf(ours, 1, 1), nil, nil)
	_, err := h.Answer(memberOf(theirs, 2, 1))
	guest := Guest{Own: memberOf(theirs, 2, 1)}
	_, judged := guest.Judge(memberOf(ours, 1, 1))
	for _, err := range []error{err, judged} {
		if !errors.Is(err, protocol.ErrWrongCluster) || !strings.Contains(err.Error(), "empty directory") || strings.Contains(err.Error(), "--cluster") {
			t.Errorf("got %v", err)
		}
	}
}

// [S] What another member refuses than the one that was dialled has no code.
func TestOnlyWhoWasMeantCounts(t *testing.T) {
	other := memberOf(ours, 3, 1)
	refusing := other
	refusing.Refused, refusing.Text = protocol.ErrRolledBack.Code, "seen 9"
	meant := memberOf(ours, 1, 1)
	meant.Refused, meant.Text = protocol.ErrRolledBack.Code, "seen 9"
	guest := Guest{Own: memberOf(ours, 2, 1), Meant: protocol.MemberID{1}, Check: func(protocol.Hello) error { return nil }}
	newer, unnamed := other, memberOf(ours, 0, 1)
	newer.Versions = protocol.Versions{Lowest: 99, Highest: 99}
	unnamed.Member, unnamed.Versions = protocol.MemberID{}, newer.Versions
	for _, peer := range []protocol.Hello{other, refusing, newer} {
		if _, err := guest.Judge(peer); !errors.Is(err, protocol.ErrUnavailable) || errors.Is(err, protocol.ErrRolledBack) {
			t.Errorf("got %v, want %v", err, protocol.ErrUnavailable)
		}
	}
	if _, err := guest.Judge(unnamed); !errors.Is(err, protocol.ErrWrongVersion) {
		t.Errorf("got %v, want %v", err, protocol.ErrWrongVersion)
	}
	if _, err := guest.Judge(meant); !errors.Is(err, protocol.ErrRolledBack) {
		t.Errorf("got %v, want %v", err, protocol.ErrRolledBack)
	}
	if _, err := guest.Judge(memberOf(ours, 1, 1)); err != nil {
		t.Error(err)
	}
}
