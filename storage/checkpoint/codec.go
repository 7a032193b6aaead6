package checkpoint

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/zeebo/xxh3"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
)

// A stored key is the space with 0 written as (0, 255), then (0, 1), then the
// key. Bytewise order of stored keys is then the order of (space, key), and no
// pair of them reads like another.
const (
	zeroEscape    = 0xff
	zeroEnd       = 0x01
	storedKeyMax  = 2*storage.SpaceBytesMax + 2 + protocol.KeyBytesMax
	indexBytes    = 8
	storedItemMax = storage.ItemValueBytesMax + indexBytes
)

func appendStoredKey(dst []byte, space string, key []byte) []byte {
	for i := range len(space) {
		dst = append(dst, space[i])
		if space[i] == 0 {
			dst = append(dst, zeroEscape)
		}
	}
	return append(append(dst, 0, zeroEnd), key...)
}

// splitStoredKey is its inverse. The key aliases b; the space is last if that
// is the same, so that a run of one space allocates one string.
func splitStoredKey(b []byte, last string) (space string, key []byte, ok bool) {
	end := bytes.IndexByte(b, 0)
	if end < 0 || end+1 >= len(b) {
		return "", nil, false
	}
	name := b[:end]
	if b[end+1] != zeroEnd {
		if name, end, ok = unescape(b, end); !ok {
			return "", nil, false
		}
	}
	if key = b[end+2:]; len(key) == 0 || len(key) > protocol.KeyBytesMax || len(name) > storage.SpaceBytesMax {
		return "", nil, false
	}
	if string(name) == last {
		return last, key, true
	}
	return string(name), key, true
}

// unescape reads a space with zeros in it, the first of them at from.
func unescape(b []byte, from int) (name []byte, end int, ok bool) {
	name = append(name, b[:from]...)
	for i := from; i+1 < len(b); i++ {
		switch {
		case b[i] != 0:
			name = append(name, b[i])
		case b[i+1] == zeroEnd:
			return name, i, true
		case b[i+1] == zeroEscape:
			name = append(name, 0)
			i++
		default:
			return nil, 0, false
		}
	}
	return nil, 0, false
}

// checkItem refuses what could not be kept, or read back, as it is.
func checkItem(it *storage.Item, at protocol.Index, full bool) error {
	switch {
	case len(it.Space) > storage.SpaceBytesMax:
		return tooLarge("a space", len(it.Space), storage.SpaceBytesMax)
	case len(it.Key) == 0:
		return protocol.ErrInvalid.With("an item of a checkpoint has an empty key")
	case len(it.Key) > protocol.KeyBytesMax:
		return tooLarge("a key", len(it.Key), protocol.KeyBytesMax)
	case len(it.Value) > storage.ItemValueBytesMax:
		return tooLarge("a value", len(it.Value), storage.ItemValueBytesMax)
	case it.Deleted && full:
		return protocol.ErrInvalid.With("a full checkpoint cannot say that a key is gone")
	case !it.Deleted && (it.Index == 0 || it.Index > at):
		return protocol.ErrInvalid.With(fmt.Sprintf("an item of a checkpoint at %d was changed at %d", at, it.Index))
	}
	return nil
}

func tooLarge(what string, n, limit int) error {
	return protocol.ErrTooLarge.With(fmt.Sprintf("%s of a checkpoint has %d bytes, the limit is %d", what, n, limit))
}

// appendStoredValue writes the key's own index of last change before the value.
func appendStoredValue(dst []byte, index protocol.Index, value []byte) []byte {
	return append(binary.BigEndian.AppendUint64(dst, uint64(index)), value...)
}

// decodeItem is the inverse of appendStoredKey and appendStoredValue.
func decodeItem(key, value []byte, at protocol.Index, lastSpace string) (it storage.Item, ok bool) {
	if len(key) > storedKeyMax || len(value) < indexBytes || len(value) > storedItemMax {
		return it, false
	}
	it.Space, it.Key, ok = splitStoredKey(key, lastSpace)
	it.Index = protocol.Index(binary.BigEndian.Uint64(value))
	it.Value = value[indexBytes:]
	return it, ok && it.Index > 0 && it.Index <= at
}

// A pointer file: magic, format, the store's number, from format 2 on marks (1: the checkpoint was
// installed, 2: it is confirmed), the manifest, a sum of all that.
const (
	pointerMagic    = "STARCKPT"
	pointerFormat   = 2
	pointerFixed    = 8 + 4 + 8 + 8
	pointerBytesMax = pointerFixed + 1 + storage.ManifestBytesMax
)

// pointer says where a checkpoint is, and what.
type pointer struct {
	store    uint64
	manifest storage.Manifest
}

func encodePointer(p pointer) []byte {
	le := binary.LittleEndian
	d := storage.EncodeManifest(p.manifest)
	b := make([]byte, 0, pointerFixed+1+len(d))
	b = append(b, pointerMagic...)
	b = le.AppendUint32(b, pointerFormat)
	b = le.AppendUint64(b, p.store)
	marks := byte(0)
	if p.manifest.Installed {
		marks |= 1
	}
	if p.manifest.Confirmed {
		marks |= 2
	}
	b = append(b, marks)
	b = append(b, d...)
	return le.AppendUint64(b, xxh3.Hash(b))
}

// decodePointer returns protocol.ErrCorrupt for a damaged file and
// protocol.ErrDirectory for one of a newer format.
func decodePointer(b []byte) (pointer, error) {
	le := binary.LittleEndian
	n := len(b)
	if n < pointerFixed || string(b[:8]) != pointerMagic || le.Uint64(b[n-8:]) != xxh3.Hash(b[:n-8]) {
		return pointer{}, protocol.ErrCorrupt.With("damaged data: pointer of a checkpoint")
	}
	f := le.Uint32(b[8:])
	if f > pointerFormat {
		return pointer{}, protocol.ErrDirectory.With(fmt.Sprintf(
			"the checkpoints have format %d, this program knows formats up to %d: use a newer version", f, pointerFormat))
	}
	marks, rest := byte(0), b[20:n-8]
	if f >= 2 && len(rest) > 0 {
		marks, rest = rest[0], rest[1:]
	}
	d, err := storage.DecodeManifest(rest)
	if err != nil || marks > 3 {
		return pointer{}, protocol.ErrCorrupt.Because(err)
	}
	d.Installed, d.Confirmed = marks&1 != 0, marks&2 != 0
	return pointer{store: le.Uint64(b[12:]), manifest: d}, nil
}

// A marker counts deaths: magic, count, boot id, sum.
const (
	markerMagic    = "STARMARK"
	markerBytesMax = 1 << 10
)

func encodeMarker(boot string, deaths uint32) []byte {
	le := binary.LittleEndian
	b := append([]byte(nil), markerMagic...)
	b = append(le.AppendUint32(b, deaths), boot...)
	return le.AppendUint64(b, xxh3.Hash(b))
}

// decodeMarker returns the deaths in a boot: none if the marker is damaged or
// of another one, because then the machine has lost its power in between.
func decodeMarker(b []byte, boot string) uint32 {
	le := binary.LittleEndian
	n := len(b)
	if n < 8+4+8 || string(b[:8]) != markerMagic || le.Uint64(b[n-8:]) != xxh3.Hash(b[:n-8]) || string(b[12:n-8]) != boot {
		return 0
	}
	return le.Uint32(b[8:])
}
