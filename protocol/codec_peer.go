package protocol

import "fmt"

// AppendPeer appends what a member announces of itself through membership:
// all of Peer but Address, which membership knows itself, and the version
// of the protocol.
func AppendPeer(dst []byte, p *Peer) []byte {
	dst = appendArray(dst, 9)
	dst = appendUint(dst, Version)
	dst = appendID(dst, p.ID)
	dst = appendString(dst, p.Name)
	dst = appendUint(dst, uint64(p.Role))
	dst = appendBool(dst, p.Eligible)
	dst = appendBool(dst, p.Wishes)
	dst = appendString(dst, p.Zone)
	dst = appendString(dst, p.HTTP)
	return appendString(dst, p.Host)
}

// DecodePeer reads what AppendPeer wrote. Another version: ErrWrongVersion.
func DecodePeer(src []byte) (Peer, error) {
	r := reader{src: src}
	r.array(9)
	if v := r.uint(); r.err == nil && v != Version {
		return Peer{}, ErrWrongVersion.With(fmt.Sprintf("a member speaks version %d of the protocol, this one version %d", v, Version))
	}
	p := Peer{
		ID: r.member(), Name: r.name(), Role: Role(r.uintTo(uint64(RoleReserve))), Eligible: r.bool(), Wishes: r.bool(), Zone: r.name(), HTTP: r.name(), Host: r.name(),
	}
	if r.err == nil && p.ID.IsZero() {
		r.fail("a member without an id")
	}
	if err := r.end(); err != nil {
		return Peer{}, err
	}
	return p, nil
}
