package starling

import (
	"context"
	"log/slog"

	"github.com/starlinghq/starling/internal/config"
	"github.com/starlinghq/starling/internal/recovery"
)

// Survivor says how far the data directory of a stopped member reaches.
type Survivor struct {
	Dir, Name, Cluster, ID string
	// InUse says that a running process has the directory. What stands here may have
	// changed since, and the member has to be stopped first.
	InUse bool
	// Term and Last are those of the last entry. The survivor with the highest
	// Term, and among those the highest Last, has everything that any of them
	// has of what was acknowledged.
	Term uint64
	Last Index
	// Commit is what the member knew to be committed, Checkpoint the index of
	// its newest checkpoint, or 0.
	Commit, Checkpoint Index
	// Fault says why nothing can be begun from it, or is nil.
	Fault error
	// Note says why newer checkpoints in it do not count: its state had diverged. Empty: all do.
	Note string
	// Best marks one of those that were looked at.
	Best bool
}

// Quorum says of directories that were looked at together whether their cluster
// can still go on.
type Quorum struct {
	// Version is that of the latest configuration among them, which names the
	// Voters; 0: none is known, or the directories are not of one cluster.
	Version Index
	Voters  []OldVoter
	// At most one of these is true. Intact: a majority of the voters is here and may
	// take part; when those are started the cluster goes on, and nothing is lost.
	// Refusing: a majority is here, but with directories that were put back to older
	// copies, or are copies, so that they refuse one another: a new cluster is the way
	// out. Damaged: a majority is here, and what is damaged they may repair when they are
	// all started.
	Intact, Refusing, Damaged bool
	// Text says for people what the verdict is, why, and what to do.
	Text string
}

// OldVoter is a voter of the cluster that the directories belong to.
type OldVoter struct {
	Name, ID, Address string
	// Dir is its directory, empty if it is not among those that were looked at.
	Dir string
	// Fault says why the directory cannot be used as it is, Refused why its member
	// would not take part; both are empty if it would.
	Fault, Refused string
}

// Survey is what [Survivors] has found.
type Survey struct {
	// Survivors are in the order of the directories.
	Survivors []Survivor
	Quorum    Quorum
}

// Survivors looks into the directories of stopped members, changes nothing, marks
// the one to begin a new cluster from, and says whether that is needed: give it all
// directories that there are. If they are of more than one cluster none is marked, and
// nothing is said of a quorum. See [Recover].
func Survivors(ctx context.Context, dirs ...string) (Survey, error) {
	list := make([]recovery.Survivor, len(dirs))
	out := Survey{Survivors: make([]Survivor, len(dirs))}
	best, related := -1, true
	for i, dir := range dirs {
		s, err := recovery.Survey(ctx, dir)
		if err != nil {
			return Survey{}, err
		}
		list[i] = s
		out.Survivors[i] = Survivor{
			Dir: s.Dir, InUse: s.InUse, Name: s.Name, Cluster: s.Cluster.String(), ID: s.Member.String(), Term: uint64(s.Term), Last: s.Last,
			Commit: s.Commit, Checkpoint: s.Checkpoint, Fault: s.Fault, Note: s.Note(),
		}
		if s.Fault == nil && (best < 0 || s.Compare(&list[best]) > 0) {
			best = i
		}
		related = related && s.Cluster == list[0].Cluster
	}
	if related {
		if best >= 0 {
			out.Survivors[best].Best = true
		}
		out.Quorum = quorumOf(recovery.QuorumOf(list))
	}
	return out, nil
}

// RefusedEntries says which commands [Recover] would leave out of what begins from a
// directory, and changes nothing. ErrInvalid: not all of them are commands of a resource
// type in its log, above its checkpoint; it names all that are not.
func RefusedEntries(ctx context.Context, dir string, refuse []Index) ([]RefusedEntry, error) {
	s, err := recovery.Survey(ctx, dir)
	if err != nil {
		return nil, err
	}
	list, err := recovery.LeaveOut(&s, refuse)
	return refusedEntries(list), err
}

func refusedEntries(list []recovery.Refusal) (out []RefusedEntry) {
	for _, e := range list {
		out = append(out, RefusedEntry{Index: e.Index, Type: e.Type, Operation: e.Operation, Resource: e.Resource})
	}
	return out
}

func quorumOf(q recovery.Quorum) Quorum {
	out := Quorum{Version: q.Configuration.Index, Intact: q.Intact, Refusing: q.Refusing, Damaged: q.Damaged, Text: q.Text()}
	for _, v := range q.Voters {
		out.Voters = append(out.Voters, OldVoter{
			Name: v.Label(), ID: v.ID.String(), Address: v.Address, Dir: v.Dir, Fault: v.Fault, Refused: v.Refused,
		})
	}
	return out
}

// RecoverConfig says what to begin a new cluster from.
type RecoverConfig struct {
	// Dir is the data directory of a stopped member, active or passive.
	Dir string
	// Others are the directories of other stopped members of the same cluster, all
	// that are at hand. Nothing is changed in them; they are locked meanwhile. They
	// show whether the cluster can still go on: then nothing is begun, because a
	// cluster beside another one with the same data is the worst that can happen.
	Others []string
	// AlthoughQuorumIsIntact begins one nevertheless.
	AlthoughQuorumIsIntact bool
	// Types are the resource types beside map, queue and counter. Recover runs the
	// commands of the log, so it needs all types that are in use.
	Types []*Type
	// Refuse are the indexes of entries, 1,000 at most, whose commands kill every
	// member that applies them, or never return: they have no effect in the new
	// cluster, at any member. Each must be a command of a resource type in the log.
	Refuse []Index
	// Actives is how many voters the new cluster aims at; 0: as the old one.
	Actives int
	Logger  *slog.Logger
	// Progress hears now and then how far the log has been applied.
	Progress func(applied, last Index)
}

// Recovered is what came of a recovery.
type Recovered struct {
	Name, OldCluster, Cluster string
	// Last is the last index of the old cluster that is in the state. The new
	// one begins after Begin, far above, in Term.
	Last, Begin Index
	Term        uint64
	// Sessions counts those that were closed.
	Sessions int
	// Refused are the entries that were left out, by index.
	Refused []RefusedEntry
	// Aside is where the old directory is now.
	Aside string
	// Quorum is what the directories said of the old cluster. None of its voters may
	// run now, or ever be started again with its old directory.
	Quorum Quorum
}

// RefusedEntry is a command that a recovery has left out. The texts are empty if no
// program can decode it.
type RefusedEntry struct {
	Index                     Index
	Type, Operation, Resource string
}

// Recover makes a stopped member the only one of a new cluster, after a
// majority of the voters of its old one was lost for good, or was put back to old
// copies, so that those refuse one another. It is the last resort: what no other
// than the lost members had is lost. Choose the directory
// with [Survivors]; start the member as always afterwards; every other member
// joins with an empty directory, and members of the old cluster are refused.
//
// The old directory is kept beside the new one. Indexes, and with them versions
// and fencing tokens, go on far above those of the old cluster; all sessions are
// closed. A crash before the end changes nothing. When ctx ends, Recover returns within
// a second, with its error; a command that does not return is named in it, and its
// goroutine stays. It is logged before that, after five seconds.
//
// Errors: ErrQuorumIntact (start the old cluster instead), ErrDirectory, ErrCorrupt
// (choose another survivor), ErrWrongCluster (Others), ErrUnknownType (this program
// lacks a type), ErrInvalid (Refuse names what is no command in the log), ErrNotFound (the directory is empty), ErrNoSpace.
func Recover(ctx context.Context, cfg RecoverConfig) (Recovered, error) {
	types, err := config.Registry(cfg.Types)
	if err != nil {
		return Recovered{}, err
	}
	o := recovery.Options{
		Dir: cfg.Dir, Others: cfg.Others, AlthoughIntact: cfg.AlthoughQuorumIsIntact, Registry: types, Target: cfg.Actives, Logger: cfg.Logger,
		Refuse: cfg.Refuse, Progress: cfg.Progress,
	}
	r, err := recovery.Recover(ctx, o)
	return Recovered{
		Name: r.Name, OldCluster: r.Old.String(), Cluster: r.New.String(), Last: r.Last, Begin: r.Begin,
		Term: uint64(r.Term), Sessions: r.Sessions, Refused: refusedEntries(r.Refused), Aside: r.Aside,
		Quorum: quorumOf(r.Quorum),
	}, err
}
