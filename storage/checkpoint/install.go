package checkpoint

import (
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"math"

	"github.com/zeebo/xxh3"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
	"github.com/starlinghq/starling/storage/vfs"
)

const (
	installName = "install"
	spoolName   = "install-spool"
	// spoolHeader: a chunk in the spool follows its number and length.
	spoolHeader = 4 + 4
)

// Install gathers the chunks of one checkpoint in a file, in the order in which
// they come, and at the end writes a new store. It implements
// storage.CheckpointInstall.
//
// The file is never synced: each chunk is compared with the description when it
// comes, when the file is opened again, and when it is used. What a power cut
// took is missing again.
type Install struct {
	s       *Store
	d       storage.Description
	spool   vfs.File
	end     int64
	place   []spooled // per chunk
	missing int
	from    int // no chunk below is missing
	over    bool
}

// spooled is where a chunk is; no bytes: it is missing.
type spooled struct {
	at    int64
	bytes int
}

var _ storage.CheckpointInstall = (*Install)(nil)

// Install implements storage.CheckpointStore.
func (s *Store) Install(ctx context.Context, d storage.Description) (storage.CheckpointInstall, error) {
	if err := d.Validate(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return nil, protocol.ErrClosed
	case s.failed != nil:
		return nil, s.failed
	case len(s.kept) > 0 && d.Index <= s.kept[0].description.Index:
		return nil, protocol.ErrStaleVersion.With("a checkpoint at or above index " + itoa(uint64(d.Index)) + " is kept: give it up first")
	case s.install != nil && same(&s.install.d, &d):
		return s.install, nil
	}
	// Spool and store are there at once.
	if err := s.checkSpace((1+writeFactor)*d.Bytes, s.o.SpaceReserve); err != nil {
		return nil, err
	}
	if err := s.dropInstall(); err != nil {
		return nil, s.fail(err)
	}
	in, err := s.beginInstall(d)
	if err != nil {
		return nil, s.fail(err)
	}
	s.install = in
	return in, nil
}

func same(a, b *storage.Description) bool {
	return string(storage.EncodeDescription(*a)) == string(storage.EncodeDescription(*b))
}

// Installing implements storage.CheckpointStore.
func (s *Store) Installing() (storage.Description, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.install == nil {
		return storage.Description{}, false
	}
	return s.install.d, true
}

// beginInstall writes the description after an empty spool is there, so that a
// spool never goes with another description.
func (s *Store) beginInstall(d storage.Description) (*Install, error) {
	spool, err := s.fsys.Create(s.path(spoolName))
	if err != nil {
		return nil, err
	}
	if err = vfs.WriteFile(s.fsys, s.path(installName), storage.EncodeDescription(d)); err == nil {
		err = s.fsys.SyncDir(s.dir)
	}
	if err != nil {
		spool.Close()
		return nil, err
	}
	return s.newInstall(d, spool), nil
}

func (s *Store) newInstall(d storage.Description, spool vfs.File) *Install {
	return &Install{s: s, d: d, spool: spool, place: make([]spooled, len(d.Chunks)), missing: len(d.Chunks)}
}

// dropInstall removes the installation under way, if there is one, its
// description first. The caller holds the lock, or is alone.
func (s *Store) dropInstall() error {
	if s.install != nil {
		s.install.close()
		s.install = nil
	}
	for _, name := range []string{installName, spoolName} {
		err := s.fsys.Remove(s.path(name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if err := s.fsys.SyncDir(s.dir); err != nil {
			return err
		}
	}
	return nil
}

// resumeInstall finds an installation that an earlier run began. One that has
// become a checkpoint, or is below one, is removed.
func (s *Store) resumeInstall() error {
	b, err := vfs.ReadFile(s.fsys, s.path(installName), storage.DescriptionBytesMax+1)
	if errors.Is(err, fs.ErrNotExist) {
		return s.dropInstall()
	}
	if err != nil {
		return err
	}
	d, err := storage.DecodeDescription(b)
	if err != nil || len(s.kept) > 0 && d.Index <= s.kept[0].description.Index {
		return s.dropInstall()
	}
	spool, err := s.fsys.OpenWrite(s.path(spoolName))
	if errors.Is(err, fs.ErrNotExist) {
		return s.dropInstall()
	}
	if err != nil {
		return err
	}
	s.install = s.newInstall(d, spool)
	return s.install.rescan()
}

// rescan finds the good chunks of a spool, up to the first that says nonsense
// of its own length: new ones go there.
func (in *Install) rescan() error {
	size, err := in.spool.Size()
	if err != nil {
		return err
	}
	for in.end+spoolHeader <= size {
		var head [spoolHeader]byte
		if _, err := in.spool.ReadAt(head[:], in.end); err != nil {
			return err
		}
		n, length := int(binary.LittleEndian.Uint32(head[:])), int(binary.LittleEndian.Uint32(head[4:]))
		if n >= len(in.place) || length == 0 || length > storage.ChunkBytesLimit || in.end+spoolHeader+int64(length) > size {
			return nil
		}
		at := spooled{in.end + spoolHeader, length}
		in.end = at.at + int64(length)
		if data, err := in.read(at); err == nil && sumOf(data) == in.d.Chunks[n] {
			in.have(n, at)
		}
	}
	return nil
}

func sumOf(data []byte) storage.ChunkSum { return xxh3.Hash128(data).Bytes() }

func (in *Install) have(n int, at spooled) {
	if in.place[n].bytes == 0 {
		in.missing--
	}
	in.place[n] = at
}

func (in *Install) lose(n int) {
	if in.place[n].bytes != 0 {
		in.missing++
	}
	in.place[n], in.from = spooled{}, min(in.from, n)
}

func (in *Install) read(at spooled) ([]byte, error) {
	data := make([]byte, at.bytes)
	_, err := in.spool.ReadAt(data, at.at)
	return data, err
}

func (in *Install) usable() error {
	in.s.mu.Lock()
	defer in.s.mu.Unlock()
	switch {
	case in.s.closed:
		return protocol.ErrClosed
	case in.over:
		return protocol.ErrInvalid.With("the installation is over")
	}
	return in.s.failed
}

// Missing implements storage.CheckpointInstall.
func (in *Install) Missing(limit int) []int {
	var out []int
	for n := in.from; n < len(in.place) && len(out) < limit; n++ {
		if in.place[n].bytes == 0 {
			out = append(out, n)
		} else if n == in.from {
			in.from++
		}
	}
	return out
}

// Add implements storage.CheckpointInstall.
func (in *Install) Add(n int, data []byte) error {
	if err := in.usable(); err != nil {
		return err
	}
	if n < 0 || n >= len(in.place) {
		return protocol.ErrNotFound.With("the checkpoint has no such chunk")
	}
	if in.place[n].bytes > 0 {
		return nil
	}
	if len(data) > storage.ChunkBytesLimit || sumOf(data) != in.d.Chunks[n] {
		return corrupt("a chunk is not the one that its checkpoint describes")
	}
	if err := in.s.checkSpace(uint64(len(data)), in.s.o.SpaceReserve); err != nil {
		return err
	}
	b := make([]byte, 0, spoolHeader+len(data))
	b = binary.LittleEndian.AppendUint32(b, uint32(n))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(data)))
	b = append(b, data...)
	if _, err := in.spool.WriteAt(b, in.end); err != nil {
		return diskError(err) // written again at the same place, if at all
	}
	in.have(n, spooled{in.end + spoolHeader, len(data)})
	in.end += int64(len(b))
	return nil
}

// Iterate implements storage.CheckpointInstall.
func (in *Install) Iterate(ctx context.Context, fn func(storage.Item) error) error {
	return in.each(ctx, WorkRead, func(it storage.Item, _, _ []byte) error { return fn(it) })
}

// each goes through all chunks in order.
func (in *Install) each(ctx context.Context, work Work, fn func(it storage.Item, key, value []byte) error) error {
	if err := in.usable(); err != nil {
		return err
	}
	if in.missing > 0 {
		return protocol.ErrInvalid.With("the installation is not complete")
	}
	p := Progress{Work: work, Index: in.d.Index, Total: in.d.Items}
	var last []byte
	for n, at := range in.place {
		if err := ctx.Err(); err != nil {
			return err
		}
		data, err := in.read(at)
		if err != nil || sumOf(data) != in.d.Chunks[n] {
			in.lose(n)
			return corrupt("a chunk of an installation was damaged on disk and has to be fetched again")
		}
		last, err = decodeChunk(data, in.d.Index, last, func(it storage.Item, key, value []byte) error {
			p.Done++
			return fn(it, key, value)
		})
		if err != nil {
			return err
		}
		in.s.o.OnProgress(p)
	}
	if p.Done != in.d.Items {
		return corrupt("a checkpoint has another number of items than it describes")
	}
	return nil
}

// Commit implements storage.CheckpointInstall. It never writes into a store
// that is there: versions left in one would show through.
func (in *Install) Commit(ctx context.Context) error {
	if err := in.usable(); err != nil {
		return err
	}
	s := in.s
	if err := s.checkSpace(min(writeFactor*in.d.Bytes, math.MaxInt64), s.o.SpaceReserve); err != nil {
		return err
	}
	if err := s.claim(in.d.Index); err != nil {
		return err
	}
	defer s.unclaim()
	h, err := s.newHome()
	if err != nil {
		return err
	}
	t, err := in.fill(ctx, h)
	if err == nil {
		err = s.publish(h, in.d, t)
	}
	if err != nil {
		s.release(h)
		return err
	}
	s.release(h)
	return in.remove()
}

// fill writes all items to a store and reads them back.
func (in *Install) fill(ctx context.Context, h *home) (*table, error) {
	b := h.db.batch(uint64(in.d.Index))
	unspaced := 0
	err := in.each(ctx, WorkInstall, func(_ storage.Item, key, value []byte) error {
		if unspaced += len(key) + len(value); unspaced > storage.ChunkBytesMax {
			if err := in.s.checkSpace(uint64(writeFactor*unspaced), in.s.o.SpaceReserve); err != nil {
				return err
			}
			unspaced = 0
		}
		return in.written(b.set(key, value))
	})
	if err != nil {
		b.cancel()
		return nil, err
	}
	if err := in.written(b.flush()); err != nil {
		return nil, err
	}
	cur := h.db.cursor(uint64(in.d.Index))
	defer cur.close()
	p := Progress{Work: WorkVerify, Index: in.d.Index, Total: in.d.Items}
	t, err := tabulate(ctx, cur, in.s.o.ChunkBytes, func(items uint64) {
		p.Done += items
		in.s.o.OnProgress(p)
	})
	if err != nil {
		return nil, err
	}
	read := in.d
	t.describe(&read)
	if !same(&read, &in.d) {
		return nil, corrupt("an installed checkpoint reads back as another one than described")
	}
	return t, nil
}

func (in *Install) written(err error) error {
	if err == nil {
		return nil
	}
	in.s.mu.Lock()
	defer in.s.mu.Unlock()
	return in.s.fail(err)
}

// Abort implements storage.CheckpointInstall.
func (in *Install) Abort() error {
	if in.over {
		return nil
	}
	return in.remove()
}

func (in *Install) remove() error {
	in.s.mu.Lock()
	defer in.s.mu.Unlock()
	if in.s.install == in {
		if err := in.s.dropInstall(); err != nil {
			return in.s.fail(err)
		}
	}
	return nil
}

func (in *Install) close() {
	if !in.over {
		in.over = true
		in.spool.Close()
	}
}
