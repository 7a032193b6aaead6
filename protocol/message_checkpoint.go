package protocol

// InstallCheckpoint is what a leader sends instead of an Append to a member whose next
// entry is below the beginning of its log. Manifest says what to install
// (storage.EncodeManifest); the content comes in chunks, from any member
// that has them. A core leaves Manifest empty; the owner of the checkpoints
// fills it in before it is sent.
type InstallCheckpoint struct {
	Term     Term
	Manifest []byte
}

// RepairWant asks any member for a part of its log, committed or not, to repair
// a damaged one. It asks for what is held of First..Last.
type RepairWant struct{ First, Last Index }

// Repair answers a RepairWant.
type Repair struct {
	// Active says that the sender runs Raft over a sound log: what it has
	// committed is the truth.
	Active bool
	// First and Commit are the lowest index that the sender holds and the
	// highest that it knows to be committed.
	First, Commit Index
	// Before is the log sum before the first entry. Entries may be fewer than
	// were asked for, or none.
	Before  LogSum
	Entries []Entry
}

// ManifestWant asks for the manifest of a checkpoint above an index.
type ManifestWant struct{ Above Index }

// Manifest answers a ManifestWant. It is empty if the sender has none. Signature signs
// the ManifestStatement; zero: the sender does not sign.
type Manifest struct {
	Manifest  []byte
	Signature Signature
}

// ChunkWant asks for chunks of the checkpoint at an index, of the log with that
// sum there. Each is answered by a Chunk, or all of them by a Busy.
type ChunkWant struct {
	Index   Index
	Sum     LogSum
	Numbers []uint32 // from 0; at most ChunkNumbersMax
}

// Chunk answers for one chunk. Without Data the sender does not have it.
type Chunk struct {
	Index  Index
	Sum    LogSum
	Number uint32
	Data   []byte
}

func (*InstallCheckpoint) Kind() MessageKind { return KindInstallCheckpoint }
func (*RepairWant) Kind() MessageKind        { return KindRepairWant }
func (*Repair) Kind() MessageKind            { return KindRepair }
func (*ManifestWant) Kind() MessageKind      { return KindManifestWant }
func (*Manifest) Kind() MessageKind          { return KindManifest }
func (*ChunkWant) Kind() MessageKind         { return KindChunkWant }
func (*Chunk) Kind() MessageKind             { return KindChunk }

func (*InstallCheckpoint) highest() Index { return 0 }
func (m *RepairWant) highest() Index      { return max(m.First, m.Last) }
func (m *Repair) highest() Index          { return max(m.First, m.Commit) }
func (m *ManifestWant) highest() Index    { return m.Above }
func (*Manifest) highest() Index          { return 0 }
func (m *ChunkWant) highest() Index       { return m.Index }
func (m *Chunk) highest() Index           { return m.Index }

// CheckpointEntry is the data of an EntryCheckpoint.
type CheckpointEntry struct {
	// Previous is the index of the checkpoint entry before, and Digest the digest of the
	// state there, as the leader has it: members that have another one have
	// diverged. Previous is 0 if there is none or the leader does not know it.
	Previous Index
	Digest   [16]byte
}

// EncodeCheckpointEntry returns the encoding of a checkpoint entry.
func EncodeCheckpointEntry(m CheckpointEntry) []byte {
	b := appendArray(make([]byte, 0, 1+9+18), 2)
	b = appendUint(b, uint64(m.Previous))
	return appendBin(b, m.Digest[:])
}

// DecodeCheckpointEntry reads what EncodeCheckpointEntry wrote, or returns ErrMalformed.
func DecodeCheckpointEntry(src []byte) (CheckpointEntry, error) {
	r := reader{src: src}
	r.array(2)
	m := CheckpointEntry{Previous: r.index()}
	m.Digest = digestBytes(&r)
	return m, r.end()
}

// Confirmation is the data of an EntryConfirmation: the digest that a majority of the actives
// had at a checkpoint entry. Who has another one there has diverged.
type Confirmation struct {
	Index  Index
	Digest [16]byte
}

// EncodeConfirmation returns the encoding of a confirmation.
func EncodeConfirmation(c Confirmation) []byte {
	b := appendArray(make([]byte, 0, 1+9+18), 2)
	return appendBin(appendUint(b, uint64(c.Index)), c.Digest[:])
}

// DecodeConfirmation reads what EncodeConfirmation wrote, or returns ErrMalformed.
func DecodeConfirmation(src []byte) (Confirmation, error) {
	r := reader{src: src}
	r.array(2)
	c := Confirmation{Index: r.index(), Digest: digestBytes(&r)}
	return c, r.end()
}
