package mutation

// histories are bugs in telling one history of the log from another, as after a
// restore of all actives from an old copy.
func histories() []Mutation {
	replica := []string{"./internal/replica"}
	return []Mutation{
		{
			Name: "read-below-what-was-held", Breaks: "a read is served although the actives' log ends below what this member had",
			File: "internal/replica/reads.go", Tests: replica,
			Old: "case g.index < g.held:",
			New: "case g.index < g.held && false:",
		},
		{
			Name: "read-below-what-came-meanwhile", Breaks: "an honest member takes itself for diverged because entries came while it asked",
			File: "internal/replica/reads.go", Tests: replica,
			Old: "case g.index < g.held:",
			New: "case g.index < q.log.applied:",
		},
		{
			Name: "read-of-any-history", Breaks: "a read index counts whatever log it is of",
			File: "internal/replica/reads.go", Tests: replica,
			Old: "case sum != g.sum:",
			New: "case sum != g.sum && false:",
		},
		{
			Name: "proof-of-anybody", Breaks: "a member stops serving on the word of somebody whom its log does not name",
			File: "internal/replica/reads.go", Tests: replica,
			Old: "if q.log.names(d.By) {",
			New: "if !d.By.IsZero() {",
		},
		{
			Name: "diverged-installs", Breaks: "what may be the only copy of acknowledged writes gives way to a checkpoint",
			File: "internal/replica/install.go", Tests: replica,
			Old: "if !x.standing.may(mayInstall) {\n\t\treturn // nothing takes",
			New: "if !x.standing.may(mayInstall) && !x.standing.may(mayApply) {\n\t\treturn // nothing takes",
		},
		{
			Name: "age-of-any-history", Breaks: "a claim of another history gives this one an age",
			File: "gossip/freshness.go", Tests: []string{"./gossip"},
			Old: "case sum.Head() != p.sum:",
			New: "case sum.Head() != p.sum && false:",
		},
		{
			Name: "age-below-what-was-held", Breaks: "a claim that nothing was written when this member already held more gives it an age",
			File: "gossip/freshness.go", Tests: []string{"./gossip"},
			Old: "return p.index < f.lastIndex && p.at > f.lastIndexAt",
			New: "return p.index < f.lastIndex && p.at < f.lastIndexAt && p.index == 0",
		},
		{
			Name: "lease-for-whoever-holds-more", Breaks: "an answer by a lease, which trusts clocks, is taken for proof of another history",
			File: "active/read.go", Tests: []string{"./active"},
			Old: "m.holdsLease() && r.Held <= m.hard.Commit:",
			New: "m.holdsLease():",
		},
	}
}

// forgottenVotes are bugs in finding out from its own log that a member's directory was put back.
func forgottenVotes() []Mutation {
	return []Mutation{
		{
			Name: "forgotten-vote-counts", Breaks: "the only voter of an old configuration, which has forgotten that it was one, elects itself",
			File: "active/histories.go", Tests: []string{"./active"},
			Old: "c.Index > commit || !c.Configuration.Needs(m.cfg.ID) {",
			New: "c.Index > commit || c.Index > 0 {",
		},
		{
			Name: "forgotten-vote-by-append", Breaks: "what a leader sends brings back a vote that was forgotten",
			File: "active/follower.go", Tests: []string{"./active"},
			Old: "if forgets(m, entries, configs, a.Commit) {",
			New: "if forgets(m, entries, nil, a.Commit) {",
		},
		{
			Name: "forgotten-vote-undecided", Breaks: "a configuration that is not committed ends the member that is to decide it",
			File: "active/follower.go", Tests: []string{"./active"},
			Old: "if forgets(m, entries, configs, a.Commit) {",
			New: "if forgets(m, entries, configs, last) {",
		},
		{
			Name: "forgotten-vote-of-a-passive", Breaks: "a passive that has forgotten that it was the only voter becomes that again",
			File: "passive/passive.go", Tests: []string{"./passive"},
			Old: "if c.Configuration.Needs(m.id) {",
			New: "if c.Configuration.Needs(m.id) && c.Index == 0 {",
		},
		{
			Name: "forgotten-vote-installed", Breaks: "a checkpoint brings back a vote that was forgotten",
			File: "internal/replica/install.go", Tests: []string{"./internal/replica"},
			Old: "if !c.Configuration.Needs(x.cfg.ID) ||",
			New: "if c.Index > 0 ||",
		},
		{
			Name: "forgotten-vote-tried-again", Breaks: "a directory whose own log shows that it was put back is started again",
			File: "internal/runtime/hands.go", Tests: []string{"./internal/runtime"},
			Old: "if replica.Refused(why) {",
			New: "if replica.Refused(why) && h.m == nil {",
		},
	}
}
