package runtime

import (
	"github.com/starlinghq/starling/internal/repair"
	"github.com/starlinghq/starling/internal/replica"
	"github.com/starlinghq/starling/protocol"
)

// repairsMax is how many members that repair their logs may wait for an answer;
// more have to ask again.
const repairsMax = 16

// repairs answers members that repair their logs, one after the other and beside
// the loop: it reads the disk.
type repairs struct{ queue chan repairQuestion }

type repairQuestion struct {
	from protocol.MemberID
	want *protocol.RepairWant
	held repair.Held
}

func newRepairs() repairs { return repairs{make(chan repairQuestion, repairsMax)} }

// asked takes a question. What is held is asked of the loop.
func (r *repairs) asked(m *Member, from protocol.MemberID, want *protocol.RepairWant) {
	m.mailbox.put(func(in *mail) {
		if len(in.calls) >= mailMessagesMax {
			return
		}
		in.calls = append(in.calls, func() {
			select {
			case r.queue <- repairQuestion{from, want, heldBy(m)}:
			default: // it asks again
			}
		})
	})
}

// heldBy says what a member can answer from. The loop's.
func heldBy(m *Member) repair.Held {
	h := m.replica.Held()
	// [S] Only an active whose log is not in doubt may say what was committed.
	h.Active = h.Active && m.suspended.Load() == nil
	return h
}

// answer is the goroutine that answers.
func (r *repairs) answer(m *Member) {
	for {
		select {
		case q := <-r.queue:
			answer := protocol.Envelope{From: m.identity.Member, To: q.from, Message: repair.Answer(m.log, q.held, q.want)}
			m.mailbox.put(func(in *mail) {
				in.calls = append(in.calls, func() { m.transport.send([]replica.Send{{Envelope: answer}}) })
			})
		case <-m.stop:
			return
		}
	}
}
