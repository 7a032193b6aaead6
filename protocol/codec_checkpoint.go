package protocol

func (m *InstallCheckpoint) append(dst []byte) []byte {
	dst = appendUint(appendArray(dst, 2), uint64(m.Term))
	return appendBin(dst, m.Manifest)
}

func (m *InstallCheckpoint) size() int { return 1 + 1 + 9 + 5 + len(m.Manifest) }

func decodeInstallCheckpoint(r *reader) Message {
	r.message(2)
	return &InstallCheckpoint{Term: r.term(), Manifest: r.bin(ManifestBytesMax)}
}

func (m *Types) append(dst []byte) []byte {
	dst = appendArray(appendArray(dst, 1), len(m.List))
	for _, t := range m.List {
		dst = appendArray(dst, 2)
		dst = appendString(dst, t.Name)
		dst = appendUint(dst, uint64(t.Version))
	}
	return dst
}

func (m *Types) size() int {
	n := 1 + 1 + 5
	for _, t := range m.List {
		n += 1 + 3 + len(t.Name) + 5
	}
	return n
}

func decodeTypes(r *reader) Message {
	r.message(1)
	m := &Types{}
	for range r.arrayTo(TypesMax, 3) {
		r.array(2)
		m.List = append(m.List, TypeVersion{Name: r.name(), Version: uint32(r.uintTo(1<<32 - 1))})
	}
	return m
}

func (m *Formats) append(dst []byte) []byte {
	return appendUint(appendUint(appendArray(dst, 2), uint64(m.Run)), uint64(m.Level))
}

func decodeFormats(r *reader) Message {
	r.message(2)
	return &Formats{Run: RunID(r.uint()), Level: FormatLevel(r.uintTo(uint64(FormatLevelMax)))}
}

func (m *RepairWant) append(dst []byte) []byte {
	dst = appendUint(appendArray(dst, 2), uint64(m.First))
	return appendUint(dst, uint64(m.Last))
}

func decodeRepairWant(r *reader) Message {
	r.message(2)
	return &RepairWant{First: r.index(), Last: r.index()}
}

func (m *Repair) append(dst []byte) []byte {
	dst = appendArray(dst, 5)
	dst = appendBool(dst, m.Active)
	dst = appendUint(dst, uint64(m.First))
	dst = appendUint(dst, uint64(m.Commit))
	dst = appendSum(dst, m.Before)
	return appendEntries(dst, m.Entries)
}

func (m *Repair) size() int { return 1 + 1 + 1 + 2*9 + 18 + 5 + RawSize(m.Entries) }

func decodeRepair(r *reader) Message {
	r.message(5)
	return &Repair{Active: r.bool(), First: r.index(), Commit: r.index(), Before: r.sum(), Entries: r.entries()}
}

func (m *ManifestWant) append(dst []byte) []byte {
	return appendUint(appendArray(dst, 1), uint64(m.Above))
}

func decodeManifestWant(r *reader) Message {
	r.message(1)
	return &ManifestWant{Above: r.index()}
}

func (m *Manifest) append(dst []byte) []byte {
	dst = appendArray(dst, 2)
	dst = appendBin(dst, m.Manifest)
	return appendSignature(dst, &m.Signature)
}

func (m *Manifest) size() int { return 1 + 1 + 5 + len(m.Manifest) + signatureSize(&m.Signature) }

func decodeManifest(r *reader) Message {
	r.message(2)
	return &Manifest{Manifest: r.bin(ManifestBytesMax), Signature: r.signature()}
}

func (m *ChunkWant) append(dst []byte) []byte {
	dst = appendArray(dst, 3)
	dst = appendUint(dst, uint64(m.Index))
	dst = appendSum(dst, m.Sum)
	dst = appendArray(dst, len(m.Numbers))
	for _, n := range m.Numbers {
		dst = appendUint(dst, uint64(n))
	}
	return dst
}

func (m *ChunkWant) size() int { return 1 + 1 + 9 + 18 + 5 + 5*len(m.Numbers) }

func decodeChunkWant(r *reader) Message {
	r.message(3)
	m := &ChunkWant{Index: r.index(), Sum: r.sum()}
	for range r.arrayTo(ChunkNumbersMax, 1) {
		m.Numbers = append(m.Numbers, uint32(r.uintTo(1<<32-1)))
	}
	return m
}

func (m *Chunk) append(dst []byte) []byte {
	dst = appendArray(dst, 4)
	dst = appendUint(dst, uint64(m.Index))
	dst = appendSum(dst, m.Sum)
	dst = appendUint(dst, uint64(m.Number))
	return appendBin(dst, m.Data)
}

func (m *Chunk) size() int { return 1 + 1 + 9 + 18 + 5 + 5 + len(m.Data) }

func decodeChunk(r *reader) Message {
	r.message(4)
	return &Chunk{Index: r.index(), Sum: r.sum(), Number: uint32(r.uintTo(1<<32 - 1)), Data: r.bin(ChunkBytesMax)}
}
