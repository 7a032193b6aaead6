package handshake

import (
	"fmt"

	"github.com/starlinghq/starling/protocol"
)

// Host is the side that accepted. It belongs to one handshake.
type Host struct {
	// Own is the host's Hello.
	Own protocol.Hello
	// Welcome judges who has come by what else the host knows, of directories above all.
	// It may be called more than once.
	Welcome func(peer protocol.Hello) error
	// Enter counts the stream of a member for its run, or returns the other run that has
	// streams, which is asked; see [Holders.Arrive]. A stream that was counted and is not
	// welcome is taken away by Leave. Nil: every run is let in.
	Enter func(peer protocol.Hello) (Rival, error)
	Leave func(peer protocol.Hello)
}

// Answer decides what a greeting is answered with: the version to speak from now on, or
// the refusal that the other side is told.
func (h *Host) Answer(peer protocol.Hello) (version uint8, err error) {
	if version, err = agree(h.Own, peer); err != nil {
		return 0, err
	}
	if err := sameCluster(peer, h.Own); err != nil {
		return 0, err
	}
	switch {
	case peer.Member.IsZero():
		return version, h.Welcome(peer)
	case peer.Cluster.IsZero():
		return 0, protocol.ErrInvalid.With("a member's stream must name its cluster")
	case h.Own.Cluster.IsZero():
		if err := h.Welcome(peer); err != nil { // which hears who calls
			return 0, err
		}
		return 0, protocol.ErrNotServing.With("this member has not joined a cluster yet")
	case h.Enter == nil:
		return version, h.Welcome(peer)
	}
	return version, h.letIn(peer)
}

// letIn lets in a run that has no rival, and whose directory is right.
func (h *Host) letIn(peer protocol.Hello) error {
	welcome := func() error { return h.Welcome(peer) }
	err := Settle(peer, func() (Rival, error) { return h.Enter(peer) }, welcome)
	if err != nil {
		return err
	}
	if err := welcome(); err != nil {
		h.Leave(peer)
		return err
	}
	return nil
}

// Rival is another run of a member, which has streams.
type Rival interface {
	// Ask finds out whether the run still answers; it may wait. An error says that this
	// was not to be found out.
	Ask() (Answer, error)
	// At says where the run that answers is, for people.
	At() string
	// Supersede takes the run's streams away, if they are still those that were asked.
	Supersede()
}

// Answer is what came of asking a rival.
type Answer uint8

// The answers.
const (
	// Gone says that the streams that were asked have ended.
	Gone Answer = iota
	// Silent says that all of them are there, and none has answered.
	Silent
	// Answers says that one has answered.
	Answers
)

// Settle tries until a run has no rival any more. [S] A rival that answers holds the id,
// and the newcomer is refused as its copy. One that is silent is superseded, once welcome
// says that the newcomer would be let in: or it would end streams for nobody.
func Settle(peer protocol.Hello, try func() (Rival, error), welcome func() error) error {
	for {
		rival, err := try()
		if rival == nil || err != nil {
			return err
		}
		answer, err := rival.Ask()
		if err != nil {
			return err
		}
		switch answer {
		case Answers:
			return Twin(peer, rival.At())
		case Silent:
			if err := welcome(); err != nil {
				return err
			}
			rival.Supersede()
		}
	}
}

// Guest is the side that dialled.
type Guest struct {
	// Own is the guest's Hello.
	Own protocol.Hello
	// Meant is the member that was dialled; zero: whoever answers.
	Meant protocol.MemberID
	// Check, if not nil, judges who answers by what else the guest knows.
	Check func(peer protocol.Hello) error
}

// Judge decides what to make of the answer to a greeting: the version to speak, or why
// there is no stream. [S] What another member says than the one that was meant counts for
// nothing, its refusal above all: it has no code. Nor do the versions that it speaks: they
// are no word of the one that was meant. Who cannot be told by its greeting may be that one.
func (g *Guest) Judge(peer protocol.Hello) (version uint8, err error) {
	version, err = agree(g.Own, peer)
	if err == nil && peer.Refused != protocol.OK {
		err = &protocol.Error{Code: peer.Refused, Text: "refused: " + peer.Text}
	}
	if !g.Meant.IsZero() && peer.Member != g.Meant && (err == nil || peer.Refused != protocol.OK || !peer.Member.IsZero()) {
		err = g.other(peer)
	}
	if err == nil {
		err = sameCluster(g.Own, peer)
	}
	if err == nil && g.Check != nil {
		err = g.Check(peer)
	}
	return version, err
}

// other is the error of an answer by another member. What that one refuses is for people.
func (g *Guest) other(peer protocol.Hello) error {
	text := fmt.Sprintf("member %s answers there, not %s", peer.Member.Short(), g.Meant.Short())
	if peer.Refused != protocol.OK {
		text += ", and refuses: " + peer.Text
	}
	return protocol.ErrUnavailable.With(text)
}

// agree returns the version that two sides speak, or why there is none.
func agree(own, peer protocol.Hello) (uint8, error) {
	other := "the client"
	switch {
	case !peer.Member.IsZero() && peer.Name == "":
		other = "member " + peer.Member.Short()
	case !peer.Member.IsZero():
		other = "member " + peer.Name
	case peer.Name != "":
		other += " " + peer.Name
	}
	return own.Versions.Agree(peer.Versions, other)
}

// sameCluster compares the clusters that the two sides belong to. Who names none, a
// client or a newcomer, may talk to any. The way out is the caller's: a member changes its
// cluster with its directory, a client is told another one.
func sameCluster(caller, answers protocol.Hello) error {
	if caller.Cluster == answers.Cluster || caller.Cluster.IsZero() || answers.Cluster.IsZero() {
		return nil
	}
	who, way := "this client", "check the address; a client that is to talk to that cluster is given its id (--cluster, or Cluster in a program) or none, and its addresses alone"
	if !caller.Member.IsZero() {
		who, way = "the calling member", "check the address, or start the member with an empty directory to have it join the other cluster"
	}
	return protocol.ErrWrongCluster.With(fmt.Sprintf("%s belongs to cluster %s, the member that answers to cluster %s; %s",
		who, caller.Cluster, answers.Cluster, way))
}
