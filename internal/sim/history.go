package sim

import (
	"fmt"
	"math"
	"sort"
	"time"

	"github.com/anishathalye/porcupine"
)

// judgeTime bounds the search for a linearization of one object, in real time.
// A history that takes longer is not taken for good.
const judgeTime = 20 * time.Second

// linearizable checks what the clients saw, object by object: every answered
// command and linearizable read, and the commands whose answer never came but
// which the committed log shows to have taken effect. (One that took none is
// left out: any history may be completed so.)
func (s *state) linearizable() error {
	objects := map[int][]porcupine.Operation{}
	for i, k := range s.history {
		if k.op.command() && k.op.executed == 0 {
			continue
		}
		returned := int64(k.returned)
		if k.unanswered {
			returned = math.MaxInt64
		}
		objects[k.op.object] = append(objects[k.op.object], porcupine.Operation{
			ClientId: i, Input: k.op, Output: k.op.got, Call: int64(k.invoked), Return: returned,
		})
	}
	numbers := make([]int, 0, len(objects))
	for n := range objects {
		numbers = append(numbers, n)
	}
	sort.Ints(numbers)
	for _, n := range numbers {
		if s.beat != nil {
			s.beat()
		}
		switch porcupine.CheckOperationsTimeout(specification(), objects[n], judgeTime) {
		case porcupine.Illegal:
			return violated(RuleLinearizable, "no order explains the %d operations on %s", len(objects[n]), objectName(n))
		case porcupine.Unknown:
			return violated(RuleLinearizable, "no verdict on the %d operations on %s within %v", len(objects[n]), objectName(n), judgeTime)
		}
	}
	return nil
}

// specification is what porcupine needs of op.step.
func specification() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return &cell{} },
		Step: func(state, input, got any) (bool, any) {
			want, after := input.(*op).step(*state.(*cell))
			return want == got.(output), &after
		},
		Equal:             func(a, b any) bool { return a.(*cell).equal(b.(*cell)) },
		DescribeOperation: func(input, got any) string { return fmt.Sprintf("%s -> %+v", input.(*op), got) },
	}
}
