package study

import "time"

// JSON is the study for a script; times are in milliseconds.
func JSON(all []Series, seed uint64) map[string]any {
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	lines := make([]map[string]any, 0, len(all))
	for i := range all {
		s := &all[i]
		lines = append(lines, map[string]any{
			"rules": s.Rules.String(), "timeout_least_ms": ms(s.Setting.Least), "timeout_most_ms": ms(s.Setting.Most), "lower_plot": s.Setting.Lower,
			"trials": len(s.Times), "no_leader": s.Unfinished,
			"least_ms": ms(s.Times[0]), "median_ms": ms(s.Quantile(0.5)), "mean_ms": ms(s.Mean()),
			"p99_ms": ms(s.Quantile(0.99)), "worst_ms": ms(s.Quantile(1)), "paper": s.Setting.Paper,
		})
	}
	return map[string]any{
		"seed": seed, "servers": Servers, "broadcast_ms": ms(Broadcast),
		"give_up_ms": ms(GiveUp), "settings": lines, "differences": Differences(),
	}
}
