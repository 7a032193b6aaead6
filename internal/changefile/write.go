package changefile

import "github.com/starlinghq/starling/protocol"

// News rings when there is something to write.
func (f *File) News() <-chan struct{} { return f.wake }

// Step writes the next block, and reports whether there was one.
func (f *File) Step() bool {
	f.mu.Lock()
	over, rests := f.over, f.rests
	f.next = max(f.next, f.first)
	n := f.next - f.first
	if over || rests || n >= uint64(len(f.blocks)) {
		f.mu.Unlock()
		return false
	}
	b := f.blocks[n]
	f.mu.Unlock()
	if f.o.Spare != nil && f.o.Spare() < int64(b.bytes) {
		f.rest()
		return false
	}
	if err := f.write(&b); err != nil {
		f.giveUp(err)
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.next >= f.first { // else it was forgotten meanwhile
		f.blocks[f.next-f.first].data = nil
		f.waiting -= b.bytes
	}
	f.next++
	return true
}

func (f *File) write(b *block) error {
	f.mu.Lock()
	file := f.file
	f.mu.Unlock()
	if file == nil {
		made, err := f.fsys.Create(f.name)
		if err != nil {
			return err
		}
		f.mu.Lock()
		file, f.file = made, made
		f.mu.Unlock()
	}
	_, err := file.WriteAt(b.data, b.at%f.o.Bytes)
	return err
}

// Look gives back what the file takes of the disk if others lack room, though nothing is put: they may write
// nothing because they lack it. It has the file begin anew if there is room for all of it.
func (f *File) Look() {
	if f.o.Spare == nil {
		return
	}
	spare := f.o.Spare()
	f.mu.Lock()
	if f.rests && spare >= f.o.Bytes {
		f.rests = false
		f.begin(f.last)
	}
	lacks := !f.rests && f.file != nil && spare < 0
	f.mu.Unlock()
	if lacks {
		f.rest()
	}
}

// rest gives back what the file takes of the disk.
func (f *File) rest() {
	f.mu.Lock()
	f.rests = true
	f.begin(f.last)
	file := f.file
	f.mu.Unlock()
	f.o.Logger.Info("no room on the disk for the file of changes: it begins anew when there is", "file", f.name)
	if file == nil {
		return
	}
	if err := file.Truncate(0); err != nil {
		f.giveUp(err)
	}
}

// giveUp has no file any more.
func (f *File) giveUp(err error) {
	f.o.Logger.Warn("no file of changes any more: watches that are further behind than the changes in memory end as compacted, until this member is started again",
		"file", f.name, "err", err)
	f.Close()
}

// Close forgets everything for good. The file is gone.
func (f *File) Close() {
	f.mu.Lock()
	file := f.file
	f.over, f.file = true, nil
	f.begin(f.last)
	f.mu.Unlock()
	if file != nil {
		_ = file.Close()
		_ = f.remove() // what stays is removed at the next start
	}
}

// From returns the index after which everything that was put is here.
func (f *File) From() protocol.Index {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.from
}

// Keeps reports whether what is put is kept, now or, at least, when there is room.
func (f *File) Keeps() (now, later bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.over && !f.rests, !f.over
}
