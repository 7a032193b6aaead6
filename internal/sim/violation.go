package sim

import "fmt"

// Violation is a promise that a run has broken.
type Violation struct {
	// Rule names the promise: one of the Rule constants.
	Rule string
	// Text gives the numbers.
	Text string
}

// Error returns the rule and the numbers.
func (v *Violation) Error() string { return v.Rule + ": " + v.Text }

// The rules. The first five are those of the Raft paper, Figure 3.
const (
	RuleElectionSafety     = "election safety"
	RuleAppendOnly         = "leader append-only"
	RuleLogMatching        = "log matching"
	RuleLeaderCompleteness = "leader completeness"
	RuleStateMachine       = "state machine safety"

	RulePromise      = "nothing is promised before it is durable"
	RuleOwnTerm      = "only entries of its own term does a leader commit by counting"
	RuleMajority     = "committed without a durable majority"
	RuleNotTruncated = "truncation at or below commit"
	RulePassive      = "a passive's log is a prefix of the committed log"
	RuleHardState    = "hard state never goes back"
	RuleDurable      = "what was synced survives"
	RuleOrder        = "applied in order, without gaps"
	RuleDigest       = "equal digests at equal index"
	RuleOnce         = "nothing is executed twice"
	RuleRefused      = "what a client is told has not happened does not happen"
	RuleState        = "results follow the commands"
	RuleAcknowledged = "an acknowledged write survives"
	RuleAge          = "the reported age is never below the true one"
	RuleRead         = "a linearizable read is never older than an acknowledged write"
	RuleLocalRead    = "a local read returns the state at its index"
	RuleLinearizable = "histories are linearizable"
	RuleLiveness     = "the cluster recovers when faults stop"
	RuleTogether     = "members that live find each other when faults stop"
	RuleDeterminism  = "the same seed gives the same trace"
	RuleRolledBack   = "a directory that has gone back is refused"
	RuleTwin         = "one id has one run"
	RuleEnds         = "every step ends"
	RuleSession      = "a session never reads backwards"
	RulePause        = "a pause of a leader is no time for sessions"
	RuleStale        = "a read at the level stale is never older than it may be"
	RuleQuarantine   = "a state that has diverged is found, serves nobody and heals"
	RuleHistory      = "nobody takes a member of one history for one of another"
	RuleRepairing    = "a member that repairs its log takes no part"
	RuleWatch        = "watches tell what the log has changed, all of it, once, and in order"
	RulePanic        = "no member panics"
	RuleFault        = "a member stops for a cause only"
)

func violated(rule, format string, args ...any) error {
	return &Violation{Rule: rule, Text: fmt.Sprintf(format, args...)}
}
