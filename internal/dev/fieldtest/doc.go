// Package fieldtest runs members as processes of their own on file systems and
// networks of their own, and breaks those: the power of a file system is cut,
// a disk is full to the last byte, a process is stopped for seconds, a link
// works in one direction only, a directory is copied. It has no code for the
// product.
//
// The tests need root on Linux. They begin by entering namespaces of their own
// for processes, mounts and the network, so that whatever happens to them,
// nothing is left mounted, attached or running, and no packet leaves them.
// Without root, or where the kernel refuses, they are skipped and say why.
//
// A cut is the file system's shutdown ioctl: nothing that is dirty in memory
// reaches the disk any more, not even the journal, as when the power fails.
// What it does not show is a drive that lies about its own cache.
//
//	STARLING_CUTS=100 go test ./internal/dev/fieldtest -run PowerCut -v -timeout 60m
//
// runs a hundred cuts of each kind on each file system.
//
//	STARLING_ROUNDS=10 STARLING_TIMING=fast go test ./internal/dev/fieldtest -run RunningClients -v -timeout 60m
//
// has a leader killed, stopped and cut off in two ways, ten rounds each, while
// clients write and read. It judges what the clients saw, and prints
// after how long they went on: the median of their next writes may take 1.3 times
// what the next leader took for its first commit, and 50 ms. Without
// STARLING_TIMING members have the command's times. The machine should have
// nothing else to do; without STARLING_ROUNDS nothing depends on the time.
//
//	STARLING_GREY=10 go test ./internal/dev/fieldtest -run "HalfWell|PacketLoss" -v -timeout 120m
//
// has five actives and four passives go through spells in which nobody is dead, ten rounds of
// each, with clients at all nine: UDP or TCP blocked for a minute, or for as long as
// STARLING_GREY_LASTS says; a leader whose disk is slow, or that hardly runs; passives that are
// cut off; one or all stopped for longer than sessions last. Each round compares what all clients
// saw, and how old members say that their states are with what had been acknowledged. A fifth of
// the packets is lost for 12 s at a time, once with an election timeout that nothing outlasts and once with
// the command's, and the slots of 100 ms in which something was acknowledged are compared. It
// needs nft, and loop mounts for the disk.
//
//	STARLING_COPIES=1 go test ./internal/dev/fieldtest -run 'StartedTwice|HasNoVote' -v -timeout 60m
//	STARLING_MIXTURES=32 go test ./internal/dev/fieldtest -run Mixtures -v -timeout 60m
//
// start copies of every member's directory beside the original, idle and under
// load, with the command itself and its defaults; and members with all mixtures of
// directories from before some writes and from after them.
//
//	STARLING_DISK_FAULTS=all go test ./internal/dev/fieldtest -run OneFailedCall -v -timeout 90m
//	STARLING_DISK_SCHEDULES=30 go test ./internal/dev/fieldtest -run AllMembersAtOnce -v -timeout 60m
//	STARLING_DISK_HOURS=2h go test ./internal/dev/fieldtest -run PassingErrors -v -timeout 3h
//
// make system calls of members fail: one of one member, one of each kind at each of
// three, and passing errors for hours. docs/disks.md says what is judged.
//
//	STARLING_OUTSIDE=1 go test ./internal/dev/fieldtest -run NothingOutside -v -timeout 30m
//
// takes from members what is outside their core: descriptors, the reader of their log,
// room on their disks, their directory and the folders in it; and has a disk that does not
// answer, a command that does not return, as many idle clients as there are slots, and a
// client with as many watches. Each lasts for a minute, or as long as the variable says
// (5s). docs/readiness.md says what members are to say of it, and when.
//
//	STARLING_TRANSPORTS=20s go test ./internal/dev/fieldtest -run "WithoutUDP|IdleStream|NarrowLinks" -v -timeout 10m
//
// blocks UDP from the start and under load, and TCP between two whose streams rest, for so long.
//
//	STARLING_WATCHES=30m go test ./internal/dev/fieldtest -run HistoriesOfWatches -v -timeout 60m
//
// has programs watch a cluster in trouble, round after round for so long, and holds what each was
// told against what was acknowledged. The machine should have nothing else to do: a watch that says
// nothing for five seconds fails it, which it does not without the variable.
package fieldtest
