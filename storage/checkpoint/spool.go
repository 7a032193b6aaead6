package checkpoint

import (
	"cmp"
	"encoding/binary"
	"errors"
	"io/fs"
	"slices"

	"github.com/zeebo/xxh3"

	"github.com/starlinghq/starling/storage"
	"github.com/starlinghq/starling/storage/vfs"
)

const (
	spoolName = "install-spool"
	// spoolHeader: a chunk in the spool follows its length and its sum.
	spoolHeader = 4 + 16
)

// spool is a file of chunks, in the order in which they came. They are told apart
// by their sums alone: what was fetched of one checkpoint is a part of the next
// one, too, as far as the two have the same chunks.
//
// The file is never synced: each chunk is compared with its sum when it comes,
// when the file is opened again, and when it is used. What a power cut took is
// missing again.
type spool struct {
	file vfs.File
	end  int64
	held map[storage.ChunkSum]spooled // the good chunks in the file, of whatever checkpoint
}

// spooled is where a chunk is.
type spooled struct {
	at    int64
	bytes int
}

func sumOf(data []byte) storage.ChunkSum { return xxh3.Hash128(data).Bytes() }

// openSpool opens the file, or makes it, and finds the good chunks in it, up to the
// first whose length is nonsense, or cannot be read: new ones go there.
func (s *Store) openSpool() (*spool, error) {
	file, err := s.fsys.OpenWrite(s.path(spoolName))
	if errors.Is(err, fs.ErrNotExist) {
		file, err = s.fsys.Create(s.path(spoolName))
	}
	if err != nil {
		return nil, err
	}
	p := &spool{file: file, held: map[storage.ChunkSum]spooled{}}
	if err := p.scan(); err != nil {
		_ = file.Close()
		return nil, err
	}
	return p, nil
}

func (p *spool) scan() error {
	size, err := p.file.Size()
	if err != nil {
		return err
	}
	for p.end+spoolHeader <= size {
		var head [spoolHeader]byte
		if _, err := p.file.ReadAt(head[:], p.end); vfs.Damaged(err) {
			return nil
		} else if err != nil {
			return err
		}
		length := int64(binary.LittleEndian.Uint32(head[:]))
		if length == 0 || length > storage.ChunkBytesLimit || p.end+spoolHeader+length > size {
			return nil
		}
		sum, at := storage.ChunkSum(head[4:]), spooled{p.end + spoolHeader, int(length)}
		p.end = at.at + length
		if data, err := p.read(at); err == nil && sumOf(data) == sum {
			p.held[sum] = at
		}
	}
	return nil
}

func (p *spool) read(at spooled) ([]byte, error) {
	data := make([]byte, at.bytes)
	_, err := p.file.ReadAt(data, at.at)
	return data, err
}

// add appends a chunk. After an error it is written again at the same place, if
// at all.
func (p *spool) add(sum storage.ChunkSum, data []byte) error {
	b := make([]byte, 0, spoolHeader+len(data))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(data)))
	b = append(b, sum[:]...)
	b = append(b, data...)
	if _, err := p.file.WriteAt(b, p.end); err != nil {
		return err
	}
	p.held[sum] = spooled{p.end + spoolHeader, len(data)}
	p.end += int64(len(b))
	return nil
}

// bytes returns how much of the file is chunks with these sums.
func (p *spool) bytes(sums []storage.ChunkSum) int64 {
	total := int64(0)
	for _, sum := range p.inPlace(sums) {
		total += spoolHeader + int64(p.held[sum].bytes)
	}
	return total
}

// pack keeps the chunks with these sums and no others: it moves them towards the
// beginning of the file and cuts off the rest. A crash in the middle of it costs
// what lies behind, which its sums show to be gone.
func (p *spool) pack(sums []storage.ChunkSum) error {
	order, held := p.inPlace(sums), p.held
	p.end, p.held = 0, make(map[storage.ChunkSum]spooled, len(order))
	for _, sum := range order {
		data, err := p.read(held[sum])
		if err != nil || sumOf(data) != sum {
			continue
		}
		if err := p.add(sum, data); err != nil {
			return err
		}
	}
	return p.file.Truncate(p.end)
}

// inPlace returns those of the sums whose chunks are in the file, each once, in
// the order in which they lie there.
func (p *spool) inPlace(sums []storage.ChunkSum) []storage.ChunkSum {
	var out []storage.ChunkSum
	seen := make(map[storage.ChunkSum]bool, len(sums))
	for _, sum := range sums {
		if _, held := p.held[sum]; held && !seen[sum] {
			seen[sum] = true
			out = append(out, sum)
		}
	}
	slices.SortFunc(out, func(a, b storage.ChunkSum) int { return cmp.Compare(p.held[a].at, p.held[b].at) })
	return out
}
