package protocol

import "fmt"

func appendCheckpointing(dst []byte, m Message) []byte {
	switch m := m.(type) {
	case *Checkpoint:
		dst = appendArray(dst, 2)
		dst = appendUint(dst, uint64(m.Term))
		return appendBin(dst, m.Description)
	case *Types:
		dst = appendArray(dst, len(m.List))
		for _, t := range m.List {
			dst = appendArray(dst, 2)
			dst = appendString(dst, t.Name)
			dst = appendUint(dst, uint64(t.Version))
		}
		return dst
	case *RepairWant:
		dst = appendArray(dst, 2)
		dst = appendUint(dst, uint64(m.First))
		return appendUint(dst, uint64(m.Last))
	case *Repair:
		dst = appendArray(dst, 5)
		dst = appendBool(dst, m.Active)
		dst = appendUint(dst, uint64(m.First))
		dst = appendUint(dst, uint64(m.Commit))
		dst = appendSum(dst, m.Before)
		return appendEntries(dst, m.Entries)
	case *DigestQuestion:
		return appendDigest(dst, m.Index, m.Known, m.Digest)
	case *DigestAnswer:
		return appendDigest(dst, m.Index, m.Known, m.Digest)
	case *Describe:
		dst = appendArray(dst, 1)
		return appendUint(dst, uint64(m.Above))
	case *Description:
		dst = appendArray(dst, sealed(1, &m.Seal))
		dst = appendBin(dst, m.Description)
		return appendSeal(dst, &m.Seal)
	case *ChunkWant:
		dst = appendArray(dst, 3)
		dst = appendUint(dst, uint64(m.Index))
		dst = appendSum(dst, m.Sum)
		dst = appendArray(dst, len(m.Numbers))
		for _, n := range m.Numbers {
			dst = appendUint(dst, uint64(n))
		}
		return dst
	case *Chunk:
		dst = appendArray(dst, 4)
		dst = appendUint(dst, uint64(m.Index))
		dst = appendSum(dst, m.Sum)
		dst = appendUint(dst, uint64(m.Number))
		return appendBin(dst, m.Data)
	}
	panic(fmt.Sprintf("protocol: message %T has no encoding", m))
}

func (r *reader) checkpointing(kind MessageKind) Message {
	switch kind {
	case KindCheckpoint:
		r.array(2)
		return &Checkpoint{Term: r.term(), Description: r.bin(DescriptionBytesMax)}
	case KindTypes:
		m := &Types{}
		for range r.arrayTo(TypesMax, 3) {
			r.array(2)
			m.List = append(m.List, TypeVersion{Name: r.name(), Version: uint32(r.uintTo(1<<32 - 1))})
		}
		return m
	case KindRepairWant:
		r.array(2)
		return &RepairWant{First: r.index(), Last: r.index()}
	case KindRepair:
		r.array(5)
		return &Repair{Active: r.bool(), First: r.index(), Commit: r.index(), Before: r.sum(), Entries: r.entries()}
	case KindDigestQuestion:
		m := &DigestQuestion{}
		m.Index, m.Known, m.Digest = r.digest()
		return m
	case KindDigestAnswer:
		m := &DigestAnswer{}
		m.Index, m.Known, m.Digest = r.digest()
		return m
	case KindDescribe:
		r.array(1)
		return &Describe{Above: r.index()}
	case KindDescription:
		signed := r.arrayOr(1, 2)
		m := &Description{Description: r.bin(DescriptionBytesMax)}
		if signed {
			m.Seal = r.seal()
		}
		return m
	case KindChunkWant:
		r.array(3)
		m := &ChunkWant{Index: r.index(), Sum: r.sum()}
		for range r.arrayTo(ChunkNumbersMax, 1) {
			m.Numbers = append(m.Numbers, uint32(r.uintTo(1<<32-1)))
		}
		return m
	case KindChunk:
		r.array(4)
		return &Chunk{Index: r.index(), Sum: r.sum(), Number: uint32(r.uintTo(1<<32 - 1)), Data: r.bin(ChunkBytesMax)}
	}
	r.fail("unknown kind " + kind.String())
	return nil
}

// checkpointingSize is MessageSize for the messages with much in them.
func checkpointingSize(m Message) int {
	switch m := m.(type) {
	case *Checkpoint:
		return 1 + 1 + 9 + 5 + len(m.Description)
	case *Description:
		return 1 + 1 + 5 + len(m.Description) + sealSize(&m.Seal)
	case *Repair:
		return 1 + 1 + 1 + 2*9 + 18 + 5 + RawSize(m.Entries)
	case *ChunkWant:
		return 1 + 1 + 9 + 18 + 5 + 5*len(m.Numbers)
	case *Chunk:
		return 1 + 1 + 9 + 18 + 5 + 5 + len(m.Data)
	case *Types:
		n := 1 + 5
		for _, t := range m.List {
			n += 1 + 3 + len(t.Name) + 5
		}
		return n
	}
	return messageBytesMax
}
