package checkpoint

import (
	"context"
	"errors"
	"io/fs"
	"math"
	"slices"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
	"github.com/starlinghq/starling/storage/vfs"
)

const installName = "install"

// Install gathers the chunks of one checkpoint in the spool and at the end writes
// a new store. It implements storage.CheckpointInstall.
type Install struct {
	s       *Store
	d       storage.Manifest
	wanted  map[storage.ChunkSum]int // how many chunks have the sum; it is one, unless somebody made it up
	spool   *spool
	missing int
	from    int // no chunk below is missing
	over    bool
}

var _ storage.CheckpointInstall = (*Install)(nil)

// Install implements storage.CheckpointStore.
func (s *Store) Install(ctx context.Context, d storage.Manifest) (storage.CheckpointInstall, error) {
	if err := d.Validate(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	if under, err := s.mayInstall(&d); under != nil || err != nil {
		s.mu.Unlock()
		return under, err
	}
	in, err := s.beginInstall(d)
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	return in, in.borrow(ctx)
}

func same(a, b *storage.Manifest) bool {
	return string(storage.EncodeManifest(*a)) == string(storage.EncodeManifest(*b))
}

// Installing implements storage.CheckpointStore.
func (s *Store) Installing() (storage.Manifest, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.install == nil {
		return storage.Manifest{}, false
	}
	return s.install.d, true
}

// mayInstall returns the installation of that checkpoint if it is under way, and
// why there cannot be one. The caller holds the lock.
func (s *Store) mayInstall(d *storage.Manifest) (storage.CheckpointInstall, error) {
	switch {
	case s.closed:
		return nil, protocol.ErrClosed
	case s.inspects:
		return nil, errInspects
	case s.failed != nil:
		return nil, s.failed
	case len(s.kept) > 0 && d.Index <= s.kept[0].manifest.Index:
		return nil, protocol.ErrStaleVersion.With("a checkpoint at or above index " + itoa(uint64(d.Index)) + " is kept: give it up first")
	case s.install != nil && same(&s.install.d, d):
		return s.install, nil
	}
	return nil, nil
}

// beginInstall takes the place of an installation that is under way, and takes
// over its chunks. The caller holds the lock.
func (s *Store) beginInstall(d storage.Manifest) (*Install, error) {
	var p *spool
	if s.install != nil {
		p = s.install.spool
		s.install.over, s.install = true, nil
	}
	const what = "beginning to install a checkpoint"
	in, err := s.newInstall(d, p)
	if err != nil {
		return nil, unusable(what, err)
	}
	if err = in.makeRoom(); err == nil {
		if err = vfs.WriteFile(s.fsys, s.path(installName), storage.EncodeManifest(d)); err == nil {
			err = s.fsys.SyncDir(s.dir)
		}
	}
	if err != nil {
		in.close()
		return nil, unusable(what, err)
	}
	s.install = in
	return in, nil
}

// newInstall is the installation of a checkpoint from a spool, or, if that is
// nil, from what an earlier run has left in it: of this checkpoint, or of another.
func (s *Store) newInstall(d storage.Manifest, p *spool) (*Install, error) {
	if p == nil {
		var err error
		if p, err = s.openSpool(); err != nil {
			return nil, err
		}
	}
	in := &Install{s: s, d: d, spool: p, wanted: make(map[storage.ChunkSum]int, len(d.Chunks))}
	for _, sum := range d.Chunks {
		in.wanted[sum]++
	}
	in.count()
	return in, nil
}

// count counts the chunks that are missing.
func (in *Install) count() {
	in.missing, in.from = 0, 0
	for n := range in.d.Chunks {
		if !in.has(n) {
			in.missing++
		}
	}
}

// makeRoom bounds what the spool has of other checkpoints by the size of this one,
// and looks whether spool and store find room beside one another. Where they do
// not, nothing of other checkpoints stays.
func (in *Install) makeRoom() error {
	p := in.spool
	mine := p.bytes(in.d.Chunks)
	need := func() error {
		rest := uint64(max(int64(in.d.Bytes)-mine, 0))
		return in.s.checkSpace(rest+writeFactor*in.d.Bytes, in.s.o.SpaceReserve)
	}
	short := need()
	if p.end == mine || short == nil && p.end-mine <= int64(in.d.Bytes) {
		return short
	}
	err := p.pack(in.d.Chunks)
	in.count()
	if err != nil {
		return err
	}
	return need()
}

// borrow copies the chunks that a kept checkpoint of this member shares with the
// one that is to be installed. What cannot be read is fetched like the others.
func (in *Install) borrow(ctx context.Context) error {
	for _, k := range in.s.Kept() {
		for n, sum := range k.Chunks {
			if _, held := in.spool.held[sum]; held || in.wanted[sum] == 0 {
				continue
			}
			data, err := in.s.ReadChunk(ctx, k.Index, n)
			if e := ctx.Err(); e != nil {
				return e
			}
			if err != nil {
				in.s.o.Logger.Warn("a checkpoint gives no chunks to the one that is being installed", "index", k.Index, "installed", in.d.Index, "error", err)
				break
			}
			if err := in.keep(sum, data); err != nil {
				return err
			}
		}
	}
	return nil
}

// dropInstall removes the installation under way, if there is one, its
// manifest first. The caller holds the lock, or is alone.
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

// outgrown removes an installation that a checkpoint of this member's own has
// reached: nobody goes on with it. What cannot be removed is found after the next
// checkpoint, or at the next start, and is below what is kept then.
func (s *Store) outgrown(index protocol.Index) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.install != nil && s.install.d.Index > index {
		return
	}
	later(s.o.Logger, s.dropInstall())
}

// resumeInstall finds an installation that an earlier run began. One that has
// become a checkpoint, or is below one, is removed.
func (s opening) resumeInstall() error {
	b, err := vfs.ReadFile(s.fsys, s.path(installName), storage.ManifestBytesMax+1)
	if errors.Is(err, fs.ErrNotExist) || vfs.Damaged(err) { // it is fetched again
		later(s.o.Logger, s.dropInstall())
		return nil
	}
	if err != nil {
		return err
	}
	d, err := storage.DecodeManifest(b)
	if err != nil || len(s.kept) > 0 && d.Index <= s.kept[0].manifest.Index {
		later(s.o.Logger, s.dropInstall())
		return nil
	}
	s.install, err = s.newInstall(d, nil)
	return err
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

// has reports whether a chunk is there.
func (in *Install) has(n int) bool {
	_, held := in.spool.held[in.d.Chunks[n]]
	return held
}

// Missing implements storage.CheckpointInstall.
func (in *Install) Missing(limit int) []int {
	var out []int
	for n := in.from; n < len(in.d.Chunks) && len(out) < limit; n++ {
		if !in.has(n) {
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
	if n < 0 || n >= len(in.d.Chunks) {
		return protocol.ErrNotFound.With("the checkpoint has no such chunk")
	}
	if in.has(n) {
		return nil
	}
	if len(data) > storage.ChunkBytesLimit || sumOf(data) != in.d.Chunks[n] {
		return corrupt("a chunk is not the one that its checkpoint describes")
	}
	return in.keep(in.d.Chunks[n], data)
}

// keep adds a chunk to the spool, which does not have it.
func (in *Install) keep(sum storage.ChunkSum, data []byte) error {
	if err := in.s.checkSpace(uint64(len(data)), in.s.o.SpaceReserve); err != nil {
		return err
	}
	if err := in.spool.add(sum, data); err != nil {
		return unusable("keeping a part of a checkpoint that is being installed", err)
	}
	in.missing -= in.wanted[sum]
	return nil
}

// lose notes that a chunk is not there any more.
func (in *Install) lose(sum storage.ChunkSum) {
	if _, held := in.spool.held[sum]; held {
		delete(in.spool.held, sum)
		in.missing += in.wanted[sum]
		in.from = 0
	}
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
	for _, sum := range in.d.Chunks {
		if err := ctx.Err(); err != nil {
			return err
		}
		data, err := in.spool.read(in.spool.held[sum])
		if err != nil || sumOf(data) != sum {
			in.lose(sum)
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
	x, err := s.begin(ctx, nil, in.d.Index, writeFactor*in.d.Bytes)
	if err != nil {
		return err
	}
	defer x.leave()
	t, err := in.fill(ctx, x)
	if err != nil {
		return err
	}
	d := in.d
	d.Installed = true
	if err := x.publish(ctx, d, t); err != nil {
		return err
	}
	s.outgrown(in.d.Index)
	return nil
}

// fill writes all items to a store and reads them back.
func (in *Install) fill(ctx context.Context, x *session) (*table, error) {
	var changes []change
	bytes := 0
	write := func() error {
		if err := in.s.checkSpace(uint64(writeFactor*bytes), in.s.o.SpaceReserve); err != nil {
			return err
		}
		some := changes
		changes, bytes = nil, 0
		return x.do(ctx, func() error { return x.write(some) })
	}
	err := in.each(ctx, WorkInstall, func(_ storage.Item, key, value []byte) error {
		changes = append(changes, change{slices.Clone(key), append(make([]byte, 0, len(value)), value...)})
		if bytes += len(key) + len(value); bytes < storage.ChunkBytesMax {
			return nil
		}
		return write()
	})
	if err == nil {
		err = write()
	}
	if err == nil {
		err = x.flush(ctx)
	}
	if err != nil {
		return nil, err
	}
	cur := x.db.Cursor()
	defer cur.Close()
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
			return unusable("removing an installation", err)
		}
	}
	return nil
}

func (in *Install) close() {
	if !in.over {
		in.over = true
		_ = in.spool.file.Close()
	}
}
