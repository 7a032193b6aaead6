package protocol

import "time"

// memberBytesMin is the smallest encoded line of a configuration.
const memberBytesMin = 1 + 18 + 1 + 1 + 1

// outgoingBit stands beside the seat of an outgoing voter.
const outgoingBit = 4

// EncodeConfiguration returns the encoding of a configuration, the data of an
// EntryConfiguration. The configuration must be valid (see Validate).
func EncodeConfiguration(c Configuration) []byte { return AppendConfiguration(nil, c) }

// AppendConfiguration appends what EncodeConfiguration returns.
func AppendConfiguration(dst []byte, c Configuration) []byte {
	dst = appendArray(dst, 3)
	dst = appendUint(dst, uint64(c.Target))
	dst = appendUint(dst, uint64(c.Lease))
	dst = appendArray(dst, len(c.Members))
	for i := range c.Members {
		m := &c.Members[i]
		dst = appendArray(dst, 4)
		dst = appendID(dst, m.ID)
		dst = appendString(dst, m.Name)
		dst = appendString(dst, m.Address)
		seat := uint64(m.Seat)
		if m.Outgoing {
			seat |= outgoingBit
		}
		dst = appendUint(dst, seat)
	}
	return dst
}

// DecodeConfiguration reads what EncodeConfiguration wrote. A configuration
// that is not valid is malformed. The result does not alias src.
func DecodeConfiguration(src []byte) (Configuration, error) {
	r := reader{src: src}
	c := r.configuration()
	return c, r.end()
}

func (r *reader) configuration() (c Configuration) {
	r.array(3)
	c.Target = int(r.uintTo(ActivesMax))
	c.Lease = time.Duration(r.uintTo(uint64(LeaseMax)))
	n := r.arrayTo(ActivesMax, memberBytesMin)
	c.Members = make([]ActiveMember, 0, n)
	for range n {
		r.array(4)
		m := ActiveMember{ID: r.member(), Name: r.name(), Address: r.name()}
		seat := r.uintTo(uint64(SeatVoter) | outgoingBit)
		m.Seat, m.Outgoing = Seat(seat&^outgoingBit), seat&outgoingBit != 0
		c.Members = append(c.Members, m)
	}
	if r.err == nil {
		if err := c.Validate(); err != nil {
			r.fail(err.Error())
		}
	}
	if r.err != nil {
		return Configuration{}
	}
	return c
}
