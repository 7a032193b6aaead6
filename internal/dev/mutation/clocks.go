package mutation

// clocks are bugs in which clock a promise goes by.
func clocks() []Mutation {
	return []Mutation{
		{
			Name: "pledge-by-the-wall-clock", Breaks: "a wall clock that is set forward ends a pledge while the leader's lease runs on",
			File: "active/lease.go", Tests: []string{"./active"},
			Old: "return m.now < m.heard.Add(lease)",
			New: "return m.Longest(m.now) < m.heard.Add(lease)",
		},
		{
			Name: "lease-by-boot-time-alone", Breaks: "a leader whose host has hidden a pause from boot time answers from a lease that is over",
			File: "active/lease.go", Tests: []string{"./active"},
			Old: "m.Longest(m.now) < l.leaseFrom",
			New: "m.now < l.leaseFrom",
		},
		{
			Name: "round-renews-over-a-pause", Breaks: "a round that was sent before a hidden pause renews the lease as if it had been sent after it",
			File: "active/lease.go", Tests: []string{"./active"},
			Old: "l.leased, l.leaseFrom = true, r.at",
			New: "l.leased, l.leaseFrom = true, r.at.Add(m.Longest(m.now).Sub(m.now))",
		},
		{
			Name: "age-by-boot-time-alone", Breaks: "a pause that is hidden from boot time makes states younger than they are",
			File: "gossip/owner.go", Tests: []string{"./gossip"},
			Old: "return c.fresh.age(c.Longest(now), applied)",
			New: "return c.fresh.age(now, applied)",
		},
		{
			Name: "pause-is-cluster-time", Breaks: "a leader that stood still puts the whole pause into its next entry: sessions end of clients that had nobody to whom to say that they live",
			File: "active/time.go", Tests: []string{"./active"},
			Old: "min(now.Sub(m.now), m.cfg.timeStep())",
			New: "now.Sub(m.now)",
		},
		{
			Name: "instants-by-the-wall-clock", Breaks: "a wall clock that is set forward moves all that was promised to others",
			File: "internal/runtime/clock.go", Tests: []string{"./internal/runtime"},
			Old: "protocol.Instant(time.Second).Add(at + seen.slept), seen.ahead",
			New: "protocol.Instant(time.Second).Add(at + seen.slept + seen.ahead), seen.ahead",
		},
		{
			Name: "sleep-is-seen-late", Breaks: "for as long as the boot clock is not read, a machine that has slept answers from a lease that is over",
			File: "internal/runtime/clock.go", Tests: []string{"./internal/runtime"},
			Old: " || moved.Abs() > sleepSlack",
			New: " || moved.Abs() < 0",
		},
	}
}
