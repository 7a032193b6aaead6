package vfs

// Written returns where what was ever written of a file of a size ends: from there on it was only
// reserved, has nothing on the disk, and reads as zeros. It is the word of the file system, which
// may say the size; one that has no word for it does.
func Written(f File, size int64) int64 {
	w, ok := f.(interface{ Written() (int64, bool) })
	if !ok {
		return size
	}
	end, ok := w.Written()
	if !ok {
		return size
	}
	return min(end, size)
}

// Written goes by pages: zeros at the end were never written, as far as anybody can tell, but for
// those that the disk does not give.
func (f *memoryFile) Written() (int64, bool) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	if f.usable("read", false) != nil {
		return 0, false
	}
	p := (int64(len(f.node.data)) + pageBytes - 1) / pageBytes
	for ; p > 0; p-- {
		if f.m.faults.unreadable(f.node, (p-1)*pageBytes, p*pageBytes) != nil || !zero(f.node.page(p-1)) {
			break
		}
	}
	return p * pageBytes, true
}

func zero(b []byte) bool {
	for _, x := range b {
		if x != 0 {
			return false
		}
	}
	return true
}
