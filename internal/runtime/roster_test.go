package runtime

import (
	"fmt"
	"testing"
	"time"

	"github.com/starlinghq/starling/gossip"
	"github.com/starlinghq/starling/gossip/swim"
	"github.com/starlinghq/starling/protocol"
)

// Who has a seat is listed for ever, who has none for as long as it may come back; what one
// said of itself has grown older by the time that has passed since.
func TestARosterListsWhoMayComeBack(t *testing.T) {
	id := func(n byte) protocol.MemberID { return protocol.MemberID{n} }
	wall := time.Unix(1_700_000_000, 0)
	x := roster{
		now: protocol.Instant(10 * time.Second), wall: wall, leader: id(2),
		conf: protocol.Configuration{Members: []protocol.ActiveMember{
			{ID: id(1), Name: "a1", Address: "h:1", Suffrage: protocol.SuffrageVoter}, {ID: id(2), Name: "a2", Address: "h:2", Suffrage: protocol.SuffrageVoter},
		}},
		peers: []protocol.Peer{{ID: id(3), Name: "p1", Address: "h:3", Role: protocol.RolePassive}},
		heard: []gossip.Heard{{ID: id(3), Applied: 7, At: protocol.Instant(8 * time.Second), AgeKnown: true, Age: time.Second}},
		unheard: []swim.Known{
			{ID: id(2), Name: "a2", Heard: wall.Add(-2 * protocol.ListedFor)},
			{ID: id(4), Name: "p2", Heard: wall.Add(-protocol.ListedFor), Role: protocol.RolePassive},
			{ID: id(5), Name: "p3", Heard: wall.Add(-protocol.ListedFor - 1), Role: protocol.RolePassive},
		},
		twin: func(who protocol.MemberID) string {
			if who == id(3) {
				return "h:9"
			}
			return ""
		},
	}
	got := ""
	for _, m := range x.list(&protocol.Status{ID: id(1), Name: "a1", Address: "h:1", Role: "active", Applied: 8}) {
		got += fmt.Sprintf("%s alive=%t leads=%t applied=%d age=%v silent=%v twin=%q\n", m.Name, m.Alive, m.Leader, m.Applied, time.Duration(m.AgeNanos), time.Duration(m.Silence), m.Other)
	}
	want := `a1 alive=true leads=false applied=8 age=0s silent=0s twin=""
a2 alive=false leads=true applied=0 age=0s silent=48h0m0s twin=""
p1 alive=true leads=false applied=7 age=3s silent=0s twin="h:9"
p2 alive=false leads=false applied=0 age=0s silent=24h0m0s twin=""
`
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}
