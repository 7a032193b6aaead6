package storage

import (
	"encoding/binary"
	"fmt"

	"github.com/zeebo/xxh3"

	"github.com/starlinghq/starling/protocol"
)

const (
	// manifestVersion is the first byte of an encoded manifest.
	manifestVersion = 1
	// manifestFixed is what an encoded manifest has besides the
	// configuration and the chunk sums: version, index, term, log sum, digest,
	// items, bytes, the configuration's index and length, the number of chunks,
	// own sum.
	manifestFixed = 1 + 8 + 8 + 16 + 16 + 8 + 8 + 8 + 4 + 4 + 8
	// configurationBytesMax is above what a configuration at its limits takes.
	configurationBytesMax = protocol.ActivesMax*(2*protocol.NameBytesMax+64) + 64
	// ManifestBytesMax limits an encoded manifest.
	ManifestBytesMax = manifestFixed + configurationBytesMax + 16*ChunksMax
)

// Quarantine is what a member has on disk of its state's quarantine, so that its next run goes on
// with it.
type Quarantine struct {
	// At is the checkpoint entry at which a majority of the actives had another state, 1 if that is
	// not known. 0: there is no quarantine.
	At protocol.Index
	// Until is what has to be applied again; 0: not known.
	Until protocol.Index
	// Digest is that of the state that the majority had there.
	Digest [16]byte
}

// SinceUnknown reports whether there is a quarantine of which is not known any more where it began: no
// checkpoint entry is the first entry of a log.
func (q Quarantine) SinceUnknown() bool { return q.At == 1 }

// Validate reports the first violated invariant, as an ErrInvalid or, over a
// limit, an ErrTooLarge.
func (d *Manifest) Validate() error {
	switch {
	case d.Index == 0 || d.Term == 0:
		return invalid("a checkpoint has an index and a term, this one %d and %d", d.Index, d.Term)
	case d.Configuration.Index > d.Index:
		return invalid("a checkpoint at %d cannot have the configuration of %d", d.Index, d.Configuration.Index)
	case len(d.Chunks) > ChunksMax:
		return protocol.ErrTooLarge.With(fmt.Sprintf("a checkpoint has at most %d chunks, this one %d", ChunksMax, len(d.Chunks)))
	case (d.Items == 0) != (len(d.Chunks) == 0) || (d.Bytes == 0) != (len(d.Chunks) == 0),
		uint64(len(d.Chunks)) > d.Items, d.Bytes < d.Items, d.Bytes > uint64(len(d.Chunks))*ChunkBytesLimit:
		return invalid("a checkpoint cannot have %d items, %d bytes and %d chunks", d.Items, d.Bytes, len(d.Chunks))
	}
	if err := d.Configuration.Configuration.Validate(); err != nil {
		return protocol.ErrInvalid.Because(err)
	}
	return nil
}

func invalid(format string, args ...any) error {
	return protocol.ErrInvalid.With(fmt.Sprintf(format, args...))
}

// EncodeManifest returns the one encoding of a valid manifest: integers
// are little-endian, and an xxh3 sum of all that precedes it ends it.
func EncodeManifest(d Manifest) []byte {
	le := binary.LittleEndian
	b := make([]byte, 0, manifestFixed+256+16*len(d.Chunks))
	b = append(b, manifestVersion)
	b = le.AppendUint64(b, uint64(d.Index))
	b = le.AppendUint64(b, uint64(d.Term))
	b = le.AppendUint64(b, d.LogSum[0])
	b = le.AppendUint64(b, d.LogSum[1])
	b = append(b, d.Digest[:]...)
	b = le.AppendUint64(b, d.Items)
	b = le.AppendUint64(b, d.Bytes)
	b = le.AppendUint64(b, uint64(d.Configuration.Index))
	at := len(b)
	b = protocol.AppendConfiguration(le.AppendUint32(b, 0), d.Configuration.Configuration)
	le.PutUint32(b[at:], uint32(len(b)-at-4))
	b = le.AppendUint32(b, uint32(len(d.Chunks)))
	for i := range d.Chunks {
		b = append(b, d.Chunks[i][:]...)
	}
	return le.AppendUint64(b, xxh3.Hash(b))
}

// DecodeManifest reads what EncodeManifest wrote, from a disk or from
// another member. It returns protocol.ErrMalformed for anything else. The result
// does not alias src.
func DecodeManifest(src []byte) (Manifest, error) {
	le := binary.LittleEndian
	var d Manifest
	n := len(src)
	if n < manifestFixed || n > ManifestBytesMax || src[0] != manifestVersion {
		return d, malformed("its length or version")
	}
	if le.Uint64(src[n-8:]) != xxh3.Hash(src[:n-8]) {
		return d, malformed("its sum")
	}
	d.Index, d.Term = protocol.Index(le.Uint64(src[1:])), protocol.Term(le.Uint64(src[9:]))
	d.LogSum = protocol.LogSum{le.Uint64(src[17:]), le.Uint64(src[25:])}
	copy(d.Digest[:], src[33:])
	d.Items, d.Bytes = le.Uint64(src[49:]), le.Uint64(src[57:])
	d.Configuration.Index = protocol.Index(le.Uint64(src[65:]))
	size := uint64(le.Uint32(src[73:]))
	b := src[77 : n-8]
	if size+4 > uint64(len(b)) {
		return Manifest{}, malformed("its configuration is cut short")
	}
	var err error
	if d.Configuration.Configuration, err = protocol.DecodeConfiguration(b[:size]); err != nil {
		return Manifest{}, err
	}
	chunks := uint64(le.Uint32(b[size:]))
	if b = b[size+4:]; chunks*16 != uint64(len(b)) {
		return Manifest{}, malformed("the number of its chunks")
	}
	if chunks > 0 {
		d.Chunks = make([]ChunkSum, chunks)
	}
	for i := range d.Chunks {
		copy(d.Chunks[i][:], b[16*i:])
	}
	if err := d.Validate(); err != nil {
		return Manifest{}, malformed(err.Error())
	}
	return d, nil
}

func malformed(what string) error {
	return protocol.ErrMalformed.With("malformed manifest of a checkpoint: " + what)
}
