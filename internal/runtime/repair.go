package runtime

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/starlinghq/starling/internal/machine"
	"github.com/starlinghq/starling/internal/repair"
	"github.com/starlinghq/starling/internal/security"
	"github.com/starlinghq/starling/internal/snapshotter"
	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
	"github.com/starlinghq/starling/storage/wal"
)

// listenTries and listenPause are for the port, which is given back and taken again.
const listenTries, listenPause = 40, 50 * time.Millisecond

// repairLog repairs the log, if it is damaged or does not say who is active, before
// there is any role: [S] until it is repaired this member neither votes nor
// acknowledges, because it does not know what it has promised. It blocks as long
// as it takes, or until ctx ends. The sockets serve meanwhile; they are given
// back, or closed if there is an error.
func (m opening) repairLog(ctx context.Context, tcp net.Listener, udp net.PacketConn) (net.Listener, net.PacketConn, error) {
	address := tcp.Addr().String()
	for try := 1; ; try++ {
		rec := m.log.Opened()
		if !repair.Needed(m.identity.Member, &rec) {
			return tcp, udp, nil
		}
		err := error(rec.Damage)
		if rec.Damage == nil {
			err = protocol.ErrCorrupt.With("damaged data: the log does not say who is active at its commit index")
		}
		log, onDisk := m.log.(*wal.Log)
		switch {
		case !onDisk || try > repair.Tries:
			err = fmt.Errorf("the log was repaired %d times and is damaged again, replace the disk: %w", try-1, err)
		default:
			m.logger.Error("the log is damaged; it is repaired from the other members before this one starts", "dir", m.cfg.Dir, "err", err)
			err = m.repairOnce(ctx, log, &rec, tcp, udp)
		}
		// Whoever served on the sockets has closed them.
		_ = tcp.Close()
		_ = udp.Close()
		if err == nil {
			tcp, udp, err = listenAgain(ctx, m.cfg.Security, address)
		}
		if err != nil {
			return nil, nil, err
		}
	}
}

// repairOnce asks for what is damaged, writes the repaired log, and opens it.
func (m opening) repairOnce(ctx context.Context, log *wal.Log, rec *storage.Opened, tcp net.Listener, udp net.PacketConn) error {
	began := m.clock.Now()
	o := snapshotter.Options{Progress: m.logProgress("reading the checkpoint"), Tell: m.tellStart}
	own, err := snapshotter.Sound(ctx, m.checkpoints.store, m.emptyMachine(), o)
	if err != nil {
		return err
	}
	if err := log.CountStart(); err != nil {
		return err
	}
	m.identity = log.Identity()
	if err := m.newRun(); err != nil {
		return err
	}
	g := newRepairing(m.Member, log, rec, own)
	plan, err := g.run(ctx, tcp, udp)
	if err != nil {
		return m.deadLog(err)
	}
	_ = log.Close() // nothing was written
	m.logger.Info("writing the repaired log", "dir", m.cfg.Dir, "entries to", plan.Last)
	err = wal.Repair(ctx, m.cfg.logDisk, m.cfg.Dir, m.cfg.walOptions(), *plan)
	switch {
	case ctx.Err() != nil:
		return g.interrupted(ctx)
	case errors.Is(err, protocol.ErrCorrupt), errors.Is(err, protocol.ErrInvalid):
		// More than was known has turned out to be damaged: once more.
		m.logger.Error("the log could not be repaired", "err", err)
	case err != nil:
		return err
	default:
		m.logger.Warn("the log is repaired", "from", strings.Join(g.helpers, ","), "last", plan.Last, "took", m.clock.Now().Sub(began))
	}
	again, err := wal.Open(m.cfg.logDisk, m.cfg.Dir, m.cfg.walOptions())
	if err != nil {
		return m.deadLog(err)
	}
	m.opened(again)
	return nil
}

// deadLog adds the way out to the error of a directory whose member cannot live
// on.
func (m opening) deadLog(err error) error {
	if !errors.Is(err, protocol.ErrCorrupt) {
		return err
	}
	return protocol.ErrCorrupt.With(fmt.Sprintf(
		"%s cannot be used any more, and nothing in it was changed: run `starling remove %s` at a running member, move the directory away, and start this one with --join and an empty directory: it comes back as a new member and fetches everything",
		m.cfg.Dir, m.cfg.Name)).Because(err)
}

// newRun draws the number of this run.
func (m opening) newRun() error {
	var run [8]byte
	if _, err := rand.Read(run[:]); err != nil {
		return err
	}
	m.run = protocol.RunID(binary.BigEndian.Uint64(run[:]))
	return nil
}

// emptyMachine returns a state machine to read checkpoints with.
func (m *Member) emptyMachine() *machine.Machine {
	return machine.New(machine.Config{Registry: m.cfg.Registry, Logger: m.logger})
}

// listenAgain opens the port that was just closed. Somebody may be on it for a
// moment: a connection of another process that got the number by chance.
func listenAgain(ctx context.Context, secure *security.Security, address string) (net.Listener, net.PacketConn, error) {
	for try := 1; ; try++ {
		tcp, udp, err := listen(ctx, secure, address)
		if err == nil || try == listenTries {
			return tcp, udp, err
		}
		select {
		case <-time.After(listenPause):
		case <-ctx.Done():
			return nil, nil, err
		}
	}
}
