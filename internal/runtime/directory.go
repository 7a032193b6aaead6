package runtime

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"slices"
	"strings"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage/checkpoint"
	"github.com/starlinghq/starling/storage/engine/badgerengine"
	"github.com/starlinghq/starling/storage/vfs"
	"github.com/starlinghq/starling/storage/wal"
)

// openDirectory finds out who this member is, and opens its log.
//
//   - A directory with an identity is resumed; what was said of joining and
//     beginning does nothing then.
//   - Otherwise a cluster that answers at Join is joined, or begun: see
//     internal/founding.
func (m opening) openDirectory(ctx context.Context, tcp net.Listener) error {
	if m.cfg.Dir == "" {
		return m.openMemory(ctx, tcp)
	}
	fs := m.cfg.logDisk
	held, err := wal.ReadIdentity(fs, m.cfg.Dir)
	switch {
	case err == nil:
		if held.Name != m.cfg.Name {
			return protocol.ErrDirectory.With(fmt.Sprintf(
				"%s belongs to member %q, not %q: start it with --name %s, or choose another directory", m.cfg.Dir, held.Name, m.cfg.Name, held.Name))
		}
		if err := m.dirs.checkRefused(); err != nil {
			return err
		}
	case errors.Is(err, protocol.ErrNotFound):
		if err := m.newDirectory(ctx, tcp); err != nil {
			return err
		}
	default:
		return m.deadLog(err)
	}
	log, err := wal.Open(fs, m.cfg.Dir, m.cfg.walOptions())
	if err != nil {
		return m.deadLog(err)
	}
	m.opened(log)
	return nil
}

// opened takes a log, and tells what its opening has dropped or passed over.
func (m *Member) opened(log *wal.Log) {
	m.identity, m.log = log.Identity(), log
	for _, note := range log.Opened().Notes {
		m.logger.Warn(note, "dir", m.cfg.Dir)
	}
}

// newDirectory makes the directory a member's, once it is clear of which cluster.
// It is held from the beginning: a promise may be written there.
func (m opening) newDirectory(ctx context.Context, tcp net.Listener) error {
	fs := m.cfg.logDisk
	lock, err := wal.LockDir(fs, m.cfg.Dir)
	if err != nil {
		return err
	}
	defer lock.Close()
	promise, err := wal.ReadPromise(fs, m.cfg.Dir)
	if err != nil {
		return err
	}
	if promise != nil && m.cfg.ForgetPromise {
		m.logger.Warn("a promise not to begin a cluster is lifted, as was asked for", "to", promise.To, "members", strings.Join(promise.Names, ","))
		if err := wal.ForgetPromise(fs, m.cfg.Dir); err != nil {
			return err
		}
		promise = nil
	}
	// Before others promise anything to this one, and again before a cluster begins: who
	// then finds its name wrong has begun one that nobody can join.
	if err := checkOwnName(ctx, m.Member, true); err != nil {
		return err
	}
	id, first, err := m.newIdentity(ctx, tcp, promise)
	if err == nil {
		err = checkOwnName(ctx, m.Member, false)
	}
	if err != nil {
		return err
	}
	return wal.InitHeld(fs, m.cfg.Dir, id, first, m.cfg.walOptions())
}

// openCheckpoints opens the store of checkpoints. What kills the process there is
// met by the first use of a checkpoint, and counted, so that it costs no more
// than that one.
func (m opening) openCheckpoints() error {
	o := checkpoint.Options{Logger: m.logger, SpaceReserve: m.cfg.reserve(), ChunkBytes: m.cfg.chunkBytes}
	var s *checkpoint.Store
	var err error
	if m.cfg.Dir == "" {
		s, err = checkpoint.NewMemory(o)
	} else {
		s, err = checkpoint.Open(vfs.OS(), filepath.Join(m.cfg.Dir, checkpoint.Folder), badgerengine.New(badgerengine.Options{Logger: m.logger}), o)
	}
	if err == nil { // or there would be a nil store in the interface
		m.checkpoints.store = s
	}
	return err
}

// reserveMax is the free space that checkpoints leave at most.
const reserveMax = 128 << 20

// reserve is the free space that checkpoints leave: half of the limit below which nothing
// is written, since with all of that limit no checkpoint was ever taken, and the log
// filled the disk. 0: the store's own.
func (c *Config) reserve() uint64 {
	if c.spaceReserve != 0 || c.DiskLow == 0 {
		return c.spaceReserve
	}
	return min(max(c.DiskLow/2, 1), reserveMax)
}

// openMemory makes a member that lives as long as its process.
func (m opening) openMemory(ctx context.Context, tcp net.Listener) error {
	if err := checkOwnName(ctx, m.Member, true); err != nil {
		return err
	}
	id, first, err := m.newIdentity(ctx, tcp, nil)
	if err == nil {
		err = checkOwnName(ctx, m.Member, false)
	}
	if err != nil {
		return err
	}
	id.Starts = 1
	m.identity = id
	log := wal.NewMemory()
	m.log = log
	if len(first) == 0 {
		return nil
	}
	last := first[len(first)-1]
	w := protocol.Write{State: protocol.HardState{Term: last.Term, Commit: last.Index}, First: first[0].Index, Last: last.Index}
	if err := log.Write(w, first); err != nil {
		return err
	}
	if err := log.Sync(); err != nil {
		return err
	}
	m.log = log.Reopen()
	return nil
}

// newIdentity joins a cluster or begins one. The entries are what a new cluster
// begins with.
func (m opening) newIdentity(ctx context.Context, tcp net.Listener, promise *wal.Promise) (wal.Identity, []protocol.Entry, error) {
	member, err := protocol.NewMemberID(rand.Reader)
	if err != nil {
		return wal.Identity{}, nil, err
	}
	id := wal.Identity{Member: member, Name: m.cfg.Name}
	found, err := seek(ctx, m.Member, tcp, promise)
	if err != nil {
		return id, nil, err
	}
	if info := found.Join; info != nil {
		id.Cluster = info.Cluster
		return id, nil, checkName(ctx, m.Member, member, info)
	}
	if id.Cluster, err = protocol.NewClusterID(rand.Reader); err != nil {
		return id, nil, err
	}
	text := "beginning a new cluster"
	if m.cfg.Dir != "" && m.cfg.Actives > 1 && len(m.cfg.Join) == 0 {
		text += ", and nobody was asked whether there is one: when others have joined, name them in --join, or take --bootstrap out; with a lost directory this member would begin a second cluster"
	}
	m.logger.Info(text, "cluster", id.Cluster.String(), "actives", m.cfg.Actives)
	return id, m.cfg.firstEntries(member, m.advertise, found.Level), nil
}

// firstEntries is the log of a new cluster: a configuration with one voter, and the format
// level.
func (c *Config) firstEntries(self protocol.MemberID, address string, level protocol.FormatLevel) []protocol.Entry {
	conf := protocol.Configuration{
		Members: []protocol.ActiveMember{{ID: self, Name: c.Name, Address: address, Suffrage: protocol.SuffrageVoter}},
		Target:  c.Actives, StateBytes: int64(c.StateBytes),
	}
	first := []protocol.Entry{{Index: 1, Term: 1, Kind: protocol.EntryConfiguration, Data: protocol.EncodeConfiguration(conf.At(level))}}
	protocol.EncodeEntries(first)
	protocol.SumEntries(protocol.LogSum{}, first)
	return first
}

// askedMax bounds how many addresses are asked, one after the other, before the
// membership runs.
const askedMax = 64

// otherAddresses are where to look for the others before the membership runs:
// the addresses given, those of the configuration in the log, and of those
// remembered where somebody was heard last.
func (m *Member) otherAddresses() []string {
	list := slices.Clone(m.given)
	rec := m.log.Opened()
	if at, ok := rec.Configurations.Latest(); ok {
		for _, a := range at.Configuration.Members {
			if a.ID != m.identity.Member {
				list = append(list, a.Address)
			}
		}
	}
	for _, k := range m.known {
		list = append(list, k.Address)
	}
	var others []string
	for _, a := range list {
		if a != "" && a != m.advertise && len(others) < askedMax && !slices.Contains(others, a) {
			others = append(others, a)
		}
	}
	return others
}
