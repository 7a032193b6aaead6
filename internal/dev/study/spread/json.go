package spread

import "time"

// Milliseconds is a duration for a script, in milliseconds; null for one that never
// came.
func Milliseconds(d time.Duration) any {
	if d < 0 {
		return nil
	}
	return float64(d.Microseconds()) / 1000
}

// shareOf is a share for a script; null if the mode has none.
func shareOf(share float64) any {
	if share < 0 {
		return nil
	}
	return share
}

// JSON is the setting for a script; times are in milliseconds.
func (s *Setting) JSON() map[string]any {
	return map[string]any{
		"mode": s.Mode.String(), "members": s.Members, "actives": Actives, "loss": s.Loss, "delay_ms": Milliseconds(s.Delay), "dead": s.Dead, "slow": s.Slow,
		"zones": s.Zones, "zone_delay_ms": Milliseconds(s.ZoneDelay), "rate": s.Rate, "bytes": s.Bytes, "for_ms": Milliseconds(s.For), "seed": s.Seed,
	}
}

// JSON is one run for a script.
func (f *Figures) JSON() map[string]any {
	out := f.Setting.JSON()
	out["entries"] = f.Entries
	out["copies_per_member"], out["pulled_per_member"] = f.Copies, f.PulledCopies
	out["leader_copies_per_frame"], out["leader_pulled_per_frame"], out["actives_copies_per_frame"] = f.LeaderCopies, f.LeaderPulls, f.ActiveCopies
	out["leader_control_bytes_per_s"], out["leader_control_share"] = f.LeaderControl, shareOf(f.LeaderControlShare)
	out["crossing_per_frame"] = f.Crossing
	out["coverage_push"], out["coverage"], out["repair_share"] = shareOf(f.CoveragePush), f.Coverage, shareOf(f.RepairShare)
	out["t99_ms"], out["t100_ms"], out["t100_worst_ms"], out["bound_ms"] = Milliseconds(f.T99), Milliseconds(f.T100), Milliseconds(f.T100Worst), Milliseconds(f.Setting.Bound())
	out["lag_p50_ms"], out["lag_p99_ms"], out["lag_max_ms"] = Milliseconds(f.LagP50), Milliseconds(f.LagP99), Milliseconds(f.LagMax)
	out["age_p50_ms"], out["age_p99_ms"] = any(nil), any(nil)
	if f.AgeKnown {
		out["age_p50_ms"], out["age_p99_ms"] = Milliseconds(f.AgeP50), Milliseconds(f.AgeP99)
	}
	out["ages_read"], out["ages_too_low"] = f.AgesRead, f.AgesTooLow
	if f.Setting.Mode == Flood {
		out["coverage_theory"] = f.Setting.Theory()
	}
	return out
}
