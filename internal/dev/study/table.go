package study

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Differences says what is not as in the paper, one sentence each.
func Differences() []string {
	return []string{
		"The core has a pre-vote, which the paper has not: one more round trip of " + milliseconds(2*OneWay) + " ms, and fewer split votes. \"" + Paper.String() + "\" grants it at once, \"" + PreVote.String() + "\" is the core as it runs.",
		"Time is virtual. A message takes " + milliseconds(OneWay) + " ms in the mean and a sync " + milliseconds(Sync) + " ms; a round of votes, with a sync at both ends, makes the paper's broadcast time of about " + milliseconds(Broadcast) + " ms. How the paper's is made up it does not say.",
		"A request reaches the others " + milliseconds(Broadcast/2) + " ms after the timeout; whoever times out within that splits the vote. With 5 ms of randomness that is more often than the paper's servers did.",
		"A trial without a leader ends after " + strconv.Itoa(int(GiveUp.Seconds())) + " s and counts as that.",
	}
}

// Table returns the figures of all series beside the paper's.
func Table(all []Series) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-16s %-11s %7s %9s %9s %9s %9s %9s  %9s  %s\n", "rules", "timeouts", "trials", "least", "median", "mean", "99 %", "worst", "no leader", "the paper")
	for i := range all {
		s := &all[i]
		if i > 0 && s.Setting.Lower != all[i-1].Setting.Lower {
			b.WriteString("\n")
		}
		paper := s.Setting.Paper
		if s.Rules != Paper {
			paper = ""
		}
		line := fmt.Sprintf("%-16s %-11s %7d %9s %9s %9s %9s %9s  %9d  %s", s.Rules, s.Setting, len(s.Times),
			spell(s.Times[0]), spell(s.Quantile(0.5)), spell(s.Mean()), spell(s.Quantile(0.99)), spell(s.Quantile(1)), s.Unfinished, paper)
		b.WriteString(strings.TrimRight(line, " ") + "\n")
	}
	return b.String()
}

// spell writes a time for people.
func spell(d time.Duration) string {
	switch {
	case d >= GiveUp:
		return ">" + strconv.Itoa(int(GiveUp.Seconds())) + " s"
	case d >= 10*time.Second:
		return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + " s"
	}
	return strconv.Itoa(int(d.Round(time.Millisecond).Milliseconds())) + " ms"
}

// milliseconds writes a number of milliseconds without its unit.
func milliseconds(d time.Duration) string {
	return strconv.FormatFloat(float64(d)/float64(time.Millisecond), 'f', -1, 64)
}
