package protocol

func (f *Founding) append(dst []byte) []byte {
	dst = appendArray(dst, 11)
	dst = appendID(dst, f.ID)
	dst = appendString(dst, f.Name)
	dst = appendString(dst, f.Address)
	dst = appendListed(dst, f.Names)
	dst = appendListed(dst, f.Addresses)
	dst = appendBool(dst, f.Told)
	dst = appendUint(dst, uint64(max(f.Expect, 0)))
	dst = appendBool(dst, f.Begins)
	dst = appendBool(dst, f.Promise)
	return appendUint(appendText(dst, f.Why), uint64(f.Level))
}

func readFounding(r *reader) *Founding {
	r.array(11)
	return &Founding{
		ID: r.member(), Name: r.name(), Address: r.name(), Names: readListed(r), Addresses: readListed(r),
		Told: r.bool(), Expect: int(r.uintTo(FoundingMax)), Begins: r.bool(), Promise: r.bool(), Why: r.text(),
		Level: FormatLevel(r.uintTo(uint64(FormatLevelMax))),
	}
}

func appendListed(dst []byte, list []string) []byte {
	return appendAll(dst, list, func(name *string, dst []byte) []byte { return appendString(dst, *name) })
}

func readListed(r *reader) []string { return readAll(r, FoundingMax, 1, (*reader).name) }

// size is about what append adds, and not less; 0 for none.
func (f *Founding) size() int {
	if f == nil {
		return 0
	}
	n := 128 + len(f.Name) + len(f.Address) + len(f.Why)
	for _, name := range f.Names {
		n += 3 + len(name)
	}
	for _, address := range f.Addresses {
		n += 3 + len(address)
	}
	return n
}
