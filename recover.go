package starling

import (
	"context"
	"log/slog"

	"github.com/starlinghq/starling/internal/recovery"
	"github.com/starlinghq/starling/protocol"
)

// Survivor says how far the data directory of a stopped member reaches.
type Survivor struct {
	Dir, Name, Cluster, ID string
	// Term and Last are those of the last entry. The survivor with the highest
	// Term, and among those the highest Last, has everything that any of them
	// has of what was acknowledged.
	Term, Last uint64
	// Commit is what the member knew to be committed, Checkpoint the index of
	// its newest checkpoint, or 0.
	Commit, Checkpoint uint64
	// Fault says why nothing can be begun from it, or is nil.
	Fault error
	// Best marks one of those that were looked at.
	Best bool
}

// Survivors looks into the directories of stopped members, changes nothing, and
// marks the one to begin a new cluster from. See [Recover].
func Survivors(ctx context.Context, dirs ...string) ([]Survivor, error) {
	list := make([]Survivor, len(dirs))
	best := -1
	var bestOf recovery.Survivor
	for i, dir := range dirs {
		s, err := recovery.Survey(ctx, dir)
		if err != nil {
			return nil, err
		}
		list[i] = Survivor{
			Dir: s.Dir, Name: s.Name, Cluster: s.Cluster.String(), ID: s.Member.String(), Term: uint64(s.Term), Last: uint64(s.Last),
			Commit: uint64(s.Commit), Checkpoint: uint64(s.Checkpoint), Fault: s.Fault,
		}
		if s.Fault == nil && (best < 0 || s.Compare(&bestOf) > 0) {
			best, bestOf = i, s
		}
	}
	if best >= 0 {
		list[best].Best = true
	}
	return list, nil
}

// RecoverConfig says what to begin a new cluster from.
type RecoverConfig struct {
	// Dir is the data directory of a stopped member, active or passive.
	Dir string
	// Types are the resource types beside map, queue and counter.
	Types []*Type
	// Refuse, if not 0, is the index of an entry that kills every member that
	// applies it: it has no effect in the new cluster.
	Refuse uint64
	// Actives is how many voters the new cluster aims at; 0: as the old one.
	Actives int
	Logger  *slog.Logger
	// Progress hears now and then how far the log has been applied.
	Progress func(applied, last uint64)
}

// Recovered is what came of a recovery.
type Recovered struct {
	Name, OldCluster, Cluster string
	// Last is the last index of the old cluster that is in the state. The new
	// one begins after Begin, far above, in Term.
	Last, Begin, Term uint64
	// Sessions counts those that were closed.
	Sessions int
	// Aside is where the old directory is now.
	Aside string
}

// Recover makes a stopped member the only one of a new cluster, after a
// majority of the voters of its old one was lost for good. It is the last
// resort: what no other than the lost members had is lost. Choose the directory
// with [Survivors]; start the member as always afterwards; every other member
// joins with an empty directory, and members of the old cluster are refused.
//
// The old directory is kept beside the new one. Indexes, and with them versions
// and fencing tokens, go on far above those of the old cluster; all sessions are
// closed. A crash before the end changes nothing.
//
// Errors: ErrDirectory, ErrCorrupt (choose another survivor), ErrUnknownType
// (this program lacks a type), ErrNotFound (the directory is empty), ErrNoSpace.
func Recover(ctx context.Context, cfg RecoverConfig) (Recovered, error) {
	types, err := newRegistry(cfg.Types)
	if err != nil {
		return Recovered{}, err
	}
	o := recovery.Options{Dir: cfg.Dir, Registry: types, Refuse: protocol.Index(cfg.Refuse), Target: cfg.Actives, Logger: cfg.Logger}
	if cfg.Progress != nil {
		o.Progress = func(applied, last protocol.Index) { cfg.Progress(uint64(applied), uint64(last)) }
	}
	r, err := recovery.Recover(ctx, o)
	return Recovered{
		Name: r.Name, OldCluster: r.Old.String(), Cluster: r.New.String(), Last: uint64(r.Last), Begin: uint64(r.Begin),
		Term: uint64(r.Term), Sessions: r.Sessions, Aside: r.Aside,
	}, err
}
