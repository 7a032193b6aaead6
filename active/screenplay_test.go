package active

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/starlinghq/starling/internal/invariant"
	"github.com/starlinghq/starling/protocol"
)

var update = flag.Bool("update", false, "rewrite the screenplays in testdata with what happens now")

// TestScreenplays plays testdata/*.txt. A play is a list of scenes, separated
// by blank lines: commands, a line "----", and the whole conversation that
// follows from them. Lines that begin with # are for the reader. Run with
// -update after a change, and read the diff.
//
//	named                       members listen to whom their log names, from now on
//	cluster a b c               three voters with empty logs
//	add a log=1,1,4 term=8      a voter of the base with that log on disk
//	base a b c                  the base for add
//	passive d                   a member that no configuration names
//	campaign a                  its election timeout passes
//	propose a x y               two commands at the leader a
//	change a +d ^d -d version=3 d becomes learner, voter, nothing
//	change a lease=450ms        lease reads
//	transfer a b                a hands its leadership over to b, or to the best
//	take over d a first=4 last=9    d is brought entries of a by the flock
//	window messages=4 bytes=100 uncommitted=9 inflight=400   limits of members from now on
//	compact a 9                 a's checkpoint at 9 is durable: its log begins at 10
//	fetch b a 9                 b begins to install a's checkpoint at 9 (what was offered, without)
//	install b                   it is in place; with dropped: it is given up
//	read a 7                    read-index request 7 at a
//	send a->b vote term=3 ...   a message out of the blue
//	deliver a->b                what is under way, once; * for anybody
//	drop, keep, duplicate a->b  lose it; put it aside (late: give it back); copy it
//	partition a | b c, cut a->b, heal
//	async a on, persist a       writes wait; the write in flight is done
//	copy a, putback a           a's disk is copied; the copy is put back and started
//	crash a, restart a          what is not durable is lost
//	tick 100ms a                time passes in one step, for all or for some
//	later 15ms                  time passes, and nobody is woken
//	wall a 1h                   a's wall clock is that far ahead of its boot time
//	pass 2s                     time passes, everything is delivered
//	stabilize, status, log, wire
//	quiet ...                   the command, without the conversation
func TestScreenplays(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no screenplays: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) { playFile(t, file) })
	}
}

func playFile(t *testing.T, file string) {
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s := &stage{}
	var out strings.Builder
	for _, scene := range strings.Split(strings.TrimRight(string(data), "\n"), "\n\n") {
		var commands []string
		script, _, played := strings.Cut(scene, "\n----")
		for line := range strings.SplitSeq(script, "\n") {
			if !strings.HasPrefix(line, "#") && line != "" {
				commands = append(commands, line)
			}
		}
		if out.Len() > 0 {
			out.WriteString("\n")
		}
		out.WriteString(script + "\n")
		if len(commands) == 0 && !played {
			continue
		}
		out.WriteString("----\n")
		for _, command := range commands {
			out.WriteString(s.play(command))
		}
	}
	if strings.Contains(out.String(), "VIOLATION") {
		t.Errorf("%s: an invariant is violated", file)
	}
	if *update {
		if err := os.WriteFile(file, []byte(out.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, want := strings.Split(out.String(), "\n"), strings.Split(string(data), "\n")
	for i := range got {
		if i >= len(want) || got[i] != want[i] {
			t.Fatalf("%s:%d:\ngot:\n%s\nwant:\n%s", file, i+1, around(got, i), around(want, i))
		}
	}
	if len(want) > len(got) {
		t.Fatalf("%s: the play ends at line %d of %d", file, len(got), len(want))
	}
}

func around(lines []string, i int) string {
	lo, hi := min(max(0, i-3), len(lines)), min(len(lines), i+6)
	return "  " + strings.Join(lines[lo:hi], "\n  ")
}

// stage is where a play is played.
type stage struct {
	c    *cluster
	kept []protocol.Envelope

	named bool // see Config.NamedOnly
	out   strings.Builder
}

func (s *stage) say(format string, args ...any) { fmt.Fprintf(&s.out, format+"\n", args...) }

// play runs one command and returns the conversation.
func (s *stage) play(line string) (said string) {
	s.out.Reset()
	defer func() {
		switch v := recover().(type) {
		case nil:
		case invariant.Violation:
			s.say("VIOLATION %s", v.Text)
		default:
			panic(fmt.Sprintf("%s: %v", line, v))
		}
		said = s.out.String()
	}()
	words := strings.Fields(line)
	if quiet := words[0] == "quiet"; quiet {
		words = words[1:]
		s.command(words)
		s.out.Reset()
		return
	}
	s.command(words)
	return
}

func (s *stage) command(words []string) {
	verb, args := words[0], words[1:]
	switch verb {
	case "named":
		s.named = true
	case "cluster", "base":
		s.c = newCluster()
		s.c.tune = func(cfg *Config) { cfg.NamedOnly = s.named }
		s.c.loud, s.c.trace = true, s.say
		s.c.base.Configuration = configurationOf(args...)
		for _, name := range args {
			if verb == "cluster" {
				s.c.add(name, image{})
			}
		}
	case "add", "passive":
		v := valuesOf(args[1:])
		disk := image{log: logOf(v.terms("log")...)}
		disk.state = protocol.HardState{Term: protocol.Term(v.number("term")), Commit: protocol.Index(v.number("commit")), Vote: idOf(v["vote"])}
		s.c.add(args[0], disk)
	case "window":
		v := valuesOf(args)
		s.tune(v)
	case "propose":
		first, err := s.c.propose(args[0], args[1:]...)
		s.report(first, err)
	case "change":
		s.change(args[0], args[1:])
	case "transfer":
		n, to := s.c.node(args[0]), protocol.MemberID{}
		if len(args) > 1 {
			to = idOf(args[1])
		}
		err := n.m.Transfer(s.c.now, to)
		s.c.settle(n)
		if err != nil {
			s.report(0, err)
		}
	case "catch-up":
		to, from := s.c.node(args[0]), s.c.node(args[1])
		v := valuesOf(args[2:])
		first, last := protocol.Index(1), protocol.Index(len(from.log))
		if _, ok := v["first"]; ok {
			first, last = protocol.Index(v.number("first")), protocol.Index(v.number("last"))
		}
		leaderless := to.m != nil && to.m.IsLeaderless(s.c.now)
		if !trusts(to, from) {
			s.say("%s (leaderless: %t): %s is nobody whom it believes", to.name, leaderless, from.name)
			break
		}
		s.say("%s (leaderless: %t): %s", to.name, leaderless, s.c.adopt(to, from, first, last))
	case "read":
		n := s.c.node(args[0])
		request, _ := strconv.Atoi(args[1])
		n.m.ReadIndex(s.c.now, protocol.ReadIndex{Origin: n.id, Run: n.m.cfg.Run, Request: uint64(request)})
		s.c.settle(n)
	case "send":
		from, to := ends(args[0])
		s.c.send(protocol.Envelope{From: idOf(from), To: idOf(to), Message: messageOf(args[1], valuesOf(args[2:]))})
	case "deliver", "drop", "keep", "duplicate", "late":
		s.wire(verb, args)
	default:
		s.world(verb, args)
	}
}

// world runs the commands that concern members and time.
func (s *stage) world(verb string, args []string) {
	c := s.c
	switch verb {
	case "campaign":
		c.campaign(args[0])
	case "partition":
		var sides [][]string
		for side := range strings.SplitSeq(strings.Join(args, " "), "|") {
			sides = append(sides, strings.Fields(side))
		}
		c.partition(sides...)
	case "cut":
		for _, link := range args {
			from, to := ends(link)
			c.cut[[2]protocol.MemberID{idOf(from), idOf(to)}] = true
		}
	case "heal":
		c.heal()
	case "compact":
		i, _ := strconv.Atoi(args[1])
		c.compact(c.node(args[0]), protocol.Index(i))
	case "fetch":
		n := c.node(args[0])
		o := n.offered
		if len(args) > 1 {
			i, _ := strconv.Atoi(args[2])
			o = &offer{from: idOf(args[1]), index: protocol.Index(i)}
		}
		s.say("%s", c.fetch(n, o))
	case "install":
		n := c.node(args[0])
		if len(args) > 1 {
			c.giveUp(n)
		} else {
			s.say("%s", c.install(n))
		}
	case "async":
		c.node(args[0]).async = args[1] == "on"
	case "persist":
		n := c.node(args[0])
		c.persist(n)
		c.settle(n)
	case "crash":
		c.crash(c.node(args[0]))
	case "copy":
		n := c.node(args[0])
		n.old = &image{n.durable.state, slices.Clone(n.durable.log), n.durable.begin}
	case "putback":
		n := c.node(args[0])
		c.crash(n)
		c.tampered, n.durable = true, *n.old
		c.start(n, true)
	case "restart":
		c.crash(c.node(args[0]))
		c.start(c.node(args[0]), true)
	case "wall":
		d, err := time.ParseDuration(args[1])
		if err != nil {
			panic(err)
		}
		c.member(args[0]).SetWallAhead(d)
	case "tick", "pass", "later":
		d, err := time.ParseDuration(args[0])
		if err != nil {
			panic(err)
		}
		if verb == "later" {
			c.now = c.now.Add(d)
		} else if verb == "tick" {
			c.tick(d, args[1:]...)
		} else {
			c.pass(d)
		}
	case "stabilize":
		c.stabilize()
	case "status":
		for _, n := range c.nodes {
			if len(args) == 0 || slices.Contains(args, n.name) {
				s.say("%s", describeStatus(n))
			}
		}
	case "log":
		for _, n := range c.nodes {
			if len(args) == 0 || slices.Contains(args, n.name) {
				s.say("%s %v", n.name, termsOf(n.log))
			}
		}
	case "wire":
		for _, e := range c.wire {
			s.say("%s->%s %s", nameOf(e.From), nameOf(e.To), describe(e.Message))
		}
	default:
		panic("unknown command " + verb)
	}
}

// tune sets limits of members that start from now on.
func (s *stage) tune(v values) {
	s.c.tune = func(cfg *Config) {
		cfg.InflightMax, cfg.AppendBytesMax = v.number("messages"), v.number("bytes")
		cfg.InflightBytesMax = v.number("inflight")
		cfg.UncommittedMax = v.number("uncommitted")
	}
}

func (s *stage) report(i protocol.Index, err error) {
	if err != nil {
		code, text := protocol.CodeOf(err)
		s.say("error %s: %s", code, text)
		return
	}
	s.say("index %d", i)
}

func (s *stage) change(name string, words []string) {
	n := s.c.node(name)
	next, version := n.m.current.Configuration, n.m.current.Index
	for _, w := range words {
		if number, ok := strings.CutPrefix(w, "version="); ok {
			v, _ := strconv.Atoi(number)
			version = protocol.Index(v)
			continue
		}
		if lease, ok := strings.CutPrefix(w, "lease="); ok {
			next.Lease, _ = time.ParseDuration(lease)
			continue
		}
		line := protocol.ActiveMember{ID: idOf(w[1:]), Name: w[1:], Suffrage: protocol.SuffrageLearner}
		switch w[0] {
		case '+':
			next = next.With(line)
		case '^':
			line.Suffrage = protocol.SuffrageVoter
			next = next.With(line)
		case '-':
			next = next.Without(line.ID)
		}
	}
	i, err := n.m.ProposeConfiguration(s.c.now, version, next)
	s.c.settle(n)
	s.report(i, err)
}

// wire handles what is under way and matches one of the links.
func (s *stage) wire(verb string, links []string) {
	c := s.c
	if verb == "late" {
		c.wire = append(c.wire, s.kept...)
		s.kept = nil
		return
	}
	matches := func(e protocol.Envelope) bool {
		return len(links) == 0 || slices.ContainsFunc(links, func(link string) bool {
			from, to := ends(link)
			return (from == "*" || idOf(from) == e.From) && (to == "*" || idOf(to) == e.To)
		})
	}
	if verb == "deliver" {
		for n, i := len(c.wire), 0; n > 0; n-- {
			if matches(c.wire[i]) {
				c.deliver(i)
			} else {
				i++
			}
		}
		return
	}
	var rest, copies []protocol.Envelope
	for _, e := range c.wire {
		switch {
		case !matches(e):
			rest = append(rest, e)
		case verb == "drop":
			s.say("lost: %s->%s %s", nameOf(e.From), nameOf(e.To), describe(e.Message))
		case verb == "keep":
			s.kept = append(s.kept, e)
		case verb == "duplicate":
			rest, copies = append(rest, e), append(copies, copyOf(e))
		}
	}
	c.wire = append(rest, copies...)
}

func ends(link string) (from, to string) {
	from, to, ok := strings.Cut(link, "->")
	if !ok {
		panic("not a link: " + link)
	}
	return from, to
}

// values are the key=value words of a command.
type values map[string]string

func valuesOf(words []string) values {
	v := values{}
	for _, w := range words {
		key, value, _ := strings.Cut(w, "=")
		v[key] = value
	}
	return v
}

func (v values) number(key string) int {
	n, _ := strconv.Atoi(v[key])
	return n
}

// place reads index@term.
func (v values) place(key string) (protocol.Index, protocol.Term) {
	i, t, _ := strings.Cut(v[key], "@")
	index, _ := strconv.Atoi(i)
	term, _ := strconv.Atoi(t)
	return protocol.Index(index), protocol.Term(term)
}

func (v values) terms(key string) []int {
	var terms []int
	for w := range strings.SplitSeq(v[key], ",") {
		if t, err := strconv.Atoi(w); err == nil {
			terms = append(terms, t)
		}
	}
	return terms
}

// messageOf makes a message out of the blue.
func messageOf(kind string, v values) protocol.Message {
	high, _ := strconv.ParseUint(v["term"], 10, 64)
	term := protocol.Term(high)
	switch kind {
	case "vote", "pre-vote":
		m := &protocol.Vote{Term: term, Pre: kind == "pre-vote", Transfer: v["transfer"] != ""}
		m.LastIndex, m.LastTerm = v.place("last")
		return m
	case "append":
		m := &protocol.Append{Term: term, Commit: protocol.Index(v.number("commit"))}
		m.PrevIndex, m.PrevTerm = v.place("prev")
		for i, t := range v.terms("terms") {
			e := logOf(make([]int, int(m.PrevIndex)+i+1)...)[int(m.PrevIndex)+i:]
			e[0].Term, e[0].Data = protocol.Term(t), fmt.Appendf(nil, "%d@%d", e[0].Index, t)
			protocol.EncodeEntries(e)
			m.Entries = append(m.Entries, e[0])
		}
		return m
	case "vote-answer":
		return &protocol.VoteAnswer{Term: term, Pre: v["pre"] != "", Granted: v["granted"] != ""}
	case "heartbeat":
		return &protocol.Heartbeat{Term: term, Commit: protocol.Index(v.number("commit")), Round: 1}
	case "heartbeat-answer":
		return &protocol.HeartbeatAnswer{Term: term, Round: uint64(v.number("round"))}
	case "checkpoint":
		return &protocol.InstallCheckpoint{Term: term, Manifest: []byte("9")}
	case "ack":
		return &protocol.AppendAnswer{Term: term, Index: protocol.Index(v.number("index")), Run: protocol.RunID(v.number("run"))}
	case "append-reject":
		m := &protocol.AppendAnswer{Term: term, Reject: true, Index: protocol.Index(v.number("prev")), Run: protocol.RunID(v.number("run"))}
		m.HintIndex, m.HintTerm = v.place("hint")
		return m
	case "passive-ack":
		return &protocol.AppendAnswer{Term: term, Passive: true, Index: protocol.Index(v.number("last"))}
	case "read-index":
		return &protocol.ReadIndex{Origin: idOf(v["origin"]), Run: protocol.RunID(v.number("run")), Request: uint64(v.number("request")), Held: protocol.Index(v.number("held"))}
	case "timeout-now":
		return &protocol.TimeoutNow{Term: term}
	case "read-index-answer":
		return &protocol.ReadIndexAnswer{Run: protocol.RunID(v.number("run")), Request: uint64(v.number("request")), Index: protocol.Index(v.number("index"))}
	}
	panic("unknown message " + kind)
}
