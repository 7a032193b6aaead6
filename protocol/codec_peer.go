package protocol

// AppendPeer appends what a member announces of itself through membership:
// all of Peer but Address, which membership knows itself.
func AppendPeer(dst []byte, p *Peer) []byte {
	dst = p.Versions.append(appendArray(dst, 12))
	dst = appendID(dst, p.ID)
	dst = appendString(dst, p.Name)
	dst = appendUint(dst, uint64(p.Role))
	dst = appendBool(dst, p.Eligible)
	dst = appendBool(dst, p.Wishes)
	dst = appendString(dst, p.Zone)
	dst = appendString(dst, p.HTTP)
	dst = appendBool(appendString(dst, p.Host), p.Signs)
	return appendUint(dst, uint64(p.Level))
}

// DecodePeer reads what AppendPeer wrote, also of a member of another version: that the
// two can talk is for Versions.Agree to say.
func DecodePeer(src []byte) (Peer, error) {
	r := reader{src: src}
	r.message(12)
	p := Peer{
		Versions: r.versions(), ID: r.member(), Name: r.name(), Role: Role(r.uintTo(uint64(RoleReserve))), Eligible: r.bool(), Wishes: r.bool(), Zone: r.name(), HTTP: r.name(), Host: r.name(), Signs: r.bool(),
		Level: FormatLevel(r.uintTo(uint64(FormatLevelMax))),
	}
	if r.err == nil && p.ID.IsZero() {
		r.fail("a member without an id")
	}
	if err := r.end(); err != nil {
		return Peer{}, err
	}
	return p, nil
}
