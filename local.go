package starling

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/starlinghq/starling/internal/config"
	"github.com/starlinghq/starling/internal/naming"
	"github.com/starlinghq/starling/internal/runtime"
	"github.com/starlinghq/starling/protocol"
)

// LocalConfig says what OpenLocal opens. The zero value of a field means the
// default that its comment names.
type LocalConfig struct {
	// Actives and Passives are how many members of each kind there are; they
	// are named a1, a2, ... and p1, p2, ... Defaults: 3 and 0.
	Actives, Passives int
	// Dir holds one directory for each member. Default "": in memory.
	Dir string
	// Bind is the loopback host:port of the first member; the others have the
	// ports that follow. Default: 127.0.0.1:0, and each picks a port.
	Bind string
	// HTTP is Bind for HTTP. Default "": none.
	HTTP string
	// GossipMode, GossipFanout and GossipProbability are those of Config, and so
	// are their defaults.
	GossipMode        string
	GossipFanout      int
	GossipProbability float64
	// Types are the resource types beside map, queue and counter.
	Types []*Type
	// Logger gets what is worth telling. Default: nothing is logged.
	Logger *slog.Logger
	// Timing, Heartbeat and Election are those of Config. Default: 50 ms and
	// 250 ms, with more than 16 members the default of Config.
	Timing              string
	Heartbeat, Election time.Duration
	// CheckpointBytes, CheckpointEvery and RetainBytes are those of Config, and so
	// are their defaults.
	CheckpointBytes int
	CheckpointEvery time.Duration
	RetainBytes     int
	// DiskLow and DiskHigh are those of Config.
	DiskLow, DiskHigh uint64
	// Member, if not nil, gets the configuration of each member before it is opened, and
	// may change what it likes: whatever Config has and LocalConfig has not, such as keys,
	// or what only one member is to have. Name, Dir, Bind, Role, Bootstrap, Join, Expect
	// and Actives are OpenLocal's own: to change them is ErrInvalid. It may be called
	// more than once for a member.
	Member func(cfg *Config)
}

// Cluster is a whole cluster in this process, over real loopback sockets.
type Cluster struct {
	// Nodes are the actives, then the passives. The first one bootstrapped.
	Nodes []*Node
	// Client is dialled to the cluster as a remote client would be.
	Client *Client
}

// Local opens a cluster of n active members in this process, in memory, that
// know the given types beside the built-in ones: for first steps and for
// tests. It returns when all of them vote; ctx bounds that. With anything more, a
// Logger or a directory for example, it is OpenLocal.
func Local(ctx context.Context, n int, types ...*Type) (*Cluster, error) {
	return OpenLocal(ctx, LocalConfig{Actives: n, Types: types})
}

// OpenLocal opens a cluster in this process, as Open opens a member: what is to be
// otherwise than in Local is said in a LocalConfig, and in LocalConfig.Member whatever a
// Config can say. It returns when all actives vote and all passives serve; ctx bounds
// that.
func OpenLocal(ctx context.Context, cfg LocalConfig) (*Cluster, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	configs, again, err := cfg.members()
	if err != nil {
		return nil, err
	}
	c := &Cluster{Nodes: make([]*Node, len(configs))}
	// The first member of a new cluster has to be there before others join
	// it. Members that have been there before need a majority to be ready.
	first := 1
	if again {
		first = len(configs)
	}
	configs[0].Join = nil
	atOnce := max(openAtOnce, cfg.Actives) // a majority of them waits for one another
	if err = c.open(ctx, configs[:first], atOnce); err == nil {
		for i := range configs {
			configs[i].Join = []string{c.Nodes[0].Addr()}
		}
		err = c.open(ctx, configs[first:], atOnce)
	}
	if err == nil {
		err = c.settle(ctx, cfg.Actives)
	}
	if err == nil {
		c.Client, err = Dial(ctx, ClientConfig{Addresses: c.addresses()})
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// Validate reports all mistakes at once, each with its way out.
func (cfg LocalConfig) Validate() error {
	cfg.fill()
	var wrong naming.Faults
	wrong.Add(cfg.check())
	if len(wrong) > 0 { // what else is wrong is found in a cluster that differs in that only
		cfg.Actives, cfg.Passives, cfg.Dir, cfg.Bind, cfg.HTTP = 1, 0, "", loopback, ""
	}
	wrong.Add(cfg.fits())
	configs, _, err := cfg.members()
	if err != nil {
		wrong.Add(err)
		return config.Invalid(wrong)
	}
	configs[0].Join = nil
	if cfg.Member == nil {
		wrong.Add(configs[0].Validate()) // the others differ by name and port only
		return config.Invalid(wrong)
	}
	for i := range configs {
		if i > 0 {
			configs[i].Join = []string{BindDefault} // where the first one is is known when it runs
		}
		if err := configs[i].Validate(); err != nil {
			wrong = append(wrong, fmt.Errorf("%s: %w", configs[i].Name, err))
		}
	}
	return config.Invalid(wrong)
}

// loopback lets each member pick a port.
const loopback = "127.0.0.1:0"

// fill fills in defaults.
func (cfg *LocalConfig) fill() {
	if cfg.Actives == 0 {
		cfg.Actives = ActivesDefault
	}
	if cfg.Bind == "" {
		cfg.Bind = loopback
	}
}

// members returns the configuration of each member, and whether they have been
// opened before.
func (cfg *LocalConfig) members() (configs []Config, again bool, err error) {
	cfg.fill()
	if cfg.Election == 0 && cfg.Heartbeat == 0 && cfg.Timing == "" && cfg.Actives+cfg.Passives <= openAtOnce {
		cfg.Heartbeat, cfg.Election = 50*time.Millisecond, 250*time.Millisecond
	}
	for i := range cfg.Actives + cfg.Passives {
		m := Config{
			Name: "a" + strconv.Itoa(i+1), Role: Active, Actives: cfg.Actives, Bootstrap: i == 0,
			GossipMode: cfg.GossipMode, GossipFanout: cfg.GossipFanout, GossipProbability: cfg.GossipProbability,
			Neighbours: cfg.Actives + cfg.Passives - 1,
			Types:      cfg.Types, Timing: cfg.Timing, Heartbeat: cfg.Heartbeat, Election: cfg.Election,
			CheckpointBytes: cfg.CheckpointBytes, CheckpointEvery: cfg.CheckpointEvery, RetainBytes: cfg.RetainBytes,
			DiskLow: cfg.DiskLow, DiskHigh: cfg.DiskHigh,
			Bind: nthAddress(cfg.Bind, i), HTTP: nthAddress(cfg.HTTP, i), Logger: cfg.Logger,
			Join: []string{nthAddress(cfg.Bind, 0)}, // OpenLocal knows better if that is port 0
		}
		if i >= cfg.Actives {
			m.Name, m.Role = "p"+strconv.Itoa(i-cfg.Actives+1), Passive
		}
		if cfg.Dir != "" {
			m.Dir = filepath.Join(cfg.Dir, m.Name)
			again = again || (i == 0 && hasFiles(m.Dir))
		}
		if err := cfg.change(&m); err != nil {
			return nil, false, err
		}
		configs = append(configs, m)
	}
	return configs, again, nil
}

// localPassivesMax bounds the passives of a cluster in one process.
const localPassivesMax = 10_000

// check reports what is wrong with the fields that no member's configuration has as they
// are.
func (cfg *LocalConfig) check() error {
	const bind = naming.Field("Bind")
	var wrong naming.Faults
	config.CheckCount(&wrong, "Actives", cfg.Actives, 1, protocol.ActivesMax)
	config.CheckCount(&wrong, "Passives", cfg.Passives, 0, localPassivesMax)
	config.CheckDir(&wrong, cfg.Dir)
	checkLocal(&wrong, bind, cfg.Bind, cfg.Actives+cfg.Passives)
	if cfg.HTTP != "" {
		checkLocal(&wrong, "HTTP", cfg.HTTP, cfg.Actives+cfg.Passives)
	}
	if cfg.Dir != "" && nthAddress(cfg.Bind, 1) == cfg.Bind {
		wrong.Addf("members with directories find each other again by their addresses: say in %s at which port they begin", bind)
	}
	return config.Invalid(wrong)
}

// checkLocal checks the address of the first of some members, which have the ports that
// follow.
func checkLocal(wrong *naming.Faults, what naming.Field, first string, members int) {
	if err := config.CheckAddress(what, first, true); err != nil {
		wrong.Add(err)
		return
	}
	if !config.Loopback(first) {
		wrong.Addf("%s %s is not of this machine alone: a local cluster listens at 127.0.0.1", what, first)
		return
	}
	if last := nthAddress(first, members-1); config.CheckAddress(what, last, true) != nil {
		wrong.Addf("%s %s leaves no ports for %d members", what, first, members)
	}
}

// change lets Member change the configuration of a member.
func (cfg *LocalConfig) change(m *Config) error {
	if cfg.Member == nil {
		return nil
	}
	own := *m
	own.Join = slices.Clone(own.Join)
	cfg.Member(m)
	if m.Name != own.Name || m.Dir != own.Dir || m.Bind != own.Bind || m.Role != own.Role || m.Bootstrap != own.Bootstrap ||
		m.Expect != own.Expect || m.Actives != own.Actives || !slices.Equal(m.Join, own.Join) {
		return protocol.ErrInvalid.With(fmt.Sprintf(
			"Member has changed the Name, Dir, Bind, Role, Bootstrap, Join, Expect or Actives of %s, which OpenLocal decides: say it in the LocalConfig, or open the members with Open", own.Name))
	}
	return nil
}

// fits says what the directory holds if that is a cluster with another number of
// actives: how many there are is in their log, and the others would be waited for in
// vain. Passives come and go.
func (cfg *LocalConfig) fits() error {
	if cfg.Dir == "" {
		return nil
	}
	held := 0
	for hasFiles(filepath.Join(cfg.Dir, "a"+strconv.Itoa(held+1))) {
		held++
	}
	if held == 0 || held == cfg.Actives {
		return nil
	}
	return protocol.ErrInvalid.With(fmt.Sprintf(
		"%s holds a cluster of %d actives (a1 to a%d), not %d: say %d, and change it while it runs with `starling promote`, `starling demote` and agents of their own; or begin another cluster in an empty directory",
		cfg.Dir, held, held, cfg.Actives, held))
}

// nthAddress returns the address n ports above; port 0 stays 0.
func nthAddress(addr string, n int) string {
	host, port, err := net.SplitHostPort(addr)
	if p, convErr := strconv.Atoi(port); err == nil && convErr == nil && p != 0 {
		return net.JoinHostPort(host, strconv.Itoa(p+n))
	}
	return addr
}

// hasFiles reports whether a directory is there and not empty.
func hasFiles(dir string) bool {
	entries, err := os.ReadDir(dir)
	return err == nil && len(entries) > 0
}

// openAtOnce is how many members are opened side by side, at least: each has to
// hear of all the others, from the members that are there already.
const openAtOnce = 16

// open opens members, a number of them side by side, and puts them into their
// places. After the first error no more are begun.
func (c *Cluster) open(ctx context.Context, configs []Config, atOnce int) error {
	offset := 0
	for offset < len(c.Nodes) && c.Nodes[offset] != nil {
		offset++
	}
	errs := make([]error, len(configs))
	var failed atomic.Bool
	places := make(chan struct{}, atOnce)
	var all sync.WaitGroup
	for i, cfg := range configs {
		places <- struct{}{}
		if failed.Load() {
			break
		}
		all.Go(func() {
			defer func() { <-places }()
			n, err := Open(ctx, cfg)
			if err != nil {
				errs[i] = fmt.Errorf("%s: %w", cfg.Name, err)
				failed.Store(true)
				return
			}
			c.Nodes[offset+i] = n
		})
	}
	all.Wait()
	return errors.Join(errs...)
}

// settle waits until all members serve and hold the configuration in which all actives
// vote: before, who stops a member may stop all others.
func (c *Cluster) settle(ctx context.Context, actives int) error {
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for {
		var waits []error
		for _, n := range c.Nodes {
			if err := cmp.Or(n.Ready(), runtime.IsNamed(n.member, actives)); err != nil {
				waits = append(waits, fmt.Errorf("%s: %w", n.Name(), err))
			}
		}
		if len(waits) == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return protocol.ErrUnavailable.With(fmt.Sprintf("%d of %d members do not serve, or not with %d actives that vote", len(waits), len(c.Nodes), actives)).
				Because(errors.Join(append(waits, ctx.Err())...))
		case <-poll.C:
		}
	}
}

func (c *Cluster) addresses() []string {
	var out []string
	for _, n := range c.Nodes {
		out = append(out, n.Addr())
	}
	return out
}

// Close closes the client and all members.
func (c *Cluster) Close() error {
	if c == nil {
		return nil // OpenLocal has closed what it had opened
	}
	var errs []error
	if c.Client != nil {
		errs = append(errs, c.Client.Close())
	}
	closing := make([]error, len(c.Nodes))
	var all sync.WaitGroup
	for i, n := range c.Nodes {
		if n != nil {
			all.Go(func() { closing[i] = n.Close() })
		}
	}
	all.Wait()
	return errors.Join(append(errs, closing...)...)
}
