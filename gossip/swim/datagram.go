package swim

import (
	"encoding/binary"
	"hash/crc32"
	"net/netip"

	"github.com/starlinghq/starling/protocol"
)

// Our datagrams go past memberlist, on the same socket: through it each would
// cross three goroutines, be copied four times, and have its address written
// out and parsed again. They are most of what an idle member does, so that is
// most of what a passive costs.
//
// A datagram of ours is datagramMagic, a CRC-32C of what follows, the version of the
// protocol that sender and receiver speak, the cluster, the sender, and the bytes. memberlist's packets begin with its label's 0xf4,
// or with a message type below 16.
const (
	datagramMagic = 0xf5
	// DatagramHead is how many bytes a datagram takes besides its own.
	DatagramHead = 1 + 4 + 1 + 16 + 16
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// appendDatagram appends a datagram with its head.
func appendDatagram(dst []byte, version uint8, cluster protocol.ClusterID, from protocol.MemberID, data []byte) []byte {
	at := len(dst)
	dst = append(dst, datagramMagic, 0, 0, 0, 0, version)
	dst = append(dst, cluster[:]...)
	dst = append(dst, from[:]...)
	dst = append(dst, data...)
	binary.BigEndian.PutUint32(dst[at+1:], crc32.Checksum(dst[at+5:], castagnoli))
	return dst
}

// parseDatagram returns what is in a packet: ours says that it is no packet of
// memberlist's, ok that it is a sound one of this cluster's, of a version that is spoken
// here. data aliases b.
func parseDatagram(b []byte, spoken protocol.Versions, cluster protocol.ClusterID) (from protocol.MemberID, data []byte, ours, ok bool) {
	if len(b) == 0 || b[0] != datagramMagic {
		return from, nil, false, false
	}
	if len(b) < DatagramHead || binary.BigEndian.Uint32(b[1:]) != crc32.Checksum(b[5:], castagnoli) || !spoken.Speaks(b[5]) || [16]byte(b[6:22]) != cluster {
		return from, nil, true, false
	}
	return protocol.MemberID(b[22:38]), b[DatagramHead:], true, true
}

// addressOf returns where a member's packets go.
func addressOf(ip []byte, port uint16) netip.AddrPort {
	addr, _ := netip.AddrFromSlice(ip) // the zero address cannot be sent to
	return netip.AddrPortFrom(addr.Unmap(), port)
}
