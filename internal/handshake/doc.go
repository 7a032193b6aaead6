// Package handshake decides what a greeting is answered with, and what to make of the
// answer. Two sides of a new stream tell each other who they are: their cluster, the
// versions of the protocol that they speak, and a member its id, its run and how far its
// directory has come. The side that dialled is a [Guest], the side that accepted a [Host].
//
//	guest                                  host
//	  │  Hello ─────────────────────────▶  │ versions, cluster     Host.Answer
//	  │                                    │ another run of it?    Holders, Rival
//	  │                                    │ its directory         Host.Welcome
//	  │ ◀───── Hello, or Hello with why not │
//	  │ who is meant, cluster, directory   │                       Guest.Judge
//
// There are no sockets, goroutines and clocks here: who asks the streams of another run
// whether they still answer, and waits for them, is a port ([Rival]). internal/wire runs
// this with sockets, internal/sim in virtual time.
package handshake
