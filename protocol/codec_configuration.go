package protocol

import "time"

// memberBytesMin is the smallest encoded line of a configuration.
const memberBytesMin = 1 + 18 + 1 + 1 + 1

// outgoingBit stands beside the seat of an outgoing voter.
const outgoingBit = 4

// EncodeConfiguration returns the encoding of a configuration, the data of an
// EntryConfiguration. The configuration must be valid (see Validate).
func EncodeConfiguration(c Configuration) []byte { return AppendConfiguration(nil, c) }

// AppendConfiguration appends what EncodeConfiguration returns. What the policy
// goes by, the format level and the limit of the state stand at the end, as far as somebody
// has changed the first, the second is above the first level and there is a limit: logs
// from before there were such things stay what they were, byte for byte.
//
// [S] The encoding does not change with the level: members that do not know the level in
// force read it, to know who votes.
func AppendConfiguration(dst []byte, c Configuration) []byte {
	limited := c.StateBytes != 0
	raised := c.Level > FormatFirst || limited
	set := c.Autopilot != Autopilot{}
	parts := 3
	switch {
	case limited:
		parts = 6
	case raised:
		parts = 5
	case set:
		parts = 4
	}
	dst = appendArray(dst, parts)
	dst = appendUint(dst, uint64(c.Target))
	dst = appendUint(dst, uint64(c.Lease))
	dst = appendArray(dst, len(c.Members))
	for i := range c.Members {
		m := &c.Members[i]
		dst = appendArray(dst, 4)
		dst = appendID(dst, m.ID)
		dst = appendString(dst, m.Name)
		dst = appendString(dst, m.Address)
		seat := uint64(m.Suffrage)
		if m.Outgoing {
			seat |= outgoingBit
		}
		dst = appendUint(dst, seat)
	}
	if set || raised {
		dst = c.Autopilot.append(dst)
	}
	if raised {
		dst = appendUint(dst, uint64(c.At(c.Level).Level))
	}
	if limited {
		dst = appendUint(dst, uint64(c.StateBytes))
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
	parts := r.arrayTo(6, 1)
	if parts < 3 {
		r.fail("a configuration of fewer than three parts")
	}
	c.Target = int(r.uintTo(ActivesMax))
	c.Lease = time.Duration(r.uintTo(uint64(LeaseMax)))
	n := r.arrayTo(ActivesMax, memberBytesMin)
	c.Members = make([]ActiveMember, 0, n)
	for range n {
		r.array(4)
		m := ActiveMember{ID: r.member(), Name: r.name(), Address: r.name()}
		seat := r.uintTo(uint64(SuffrageVoter) | outgoingBit)
		m.Suffrage, m.Outgoing = Suffrage(seat&^outgoingBit), seat&outgoingBit != 0
		c.Members = append(c.Members, m)
	}
	if parts > 3 {
		if c.Autopilot = r.autopilot(); parts == 4 && c.Autopilot == (Autopilot{}) {
			r.fail("settings of the policy that say nothing")
		}
	}
	if parts > 4 {
		if c.Level = FormatLevel(r.uintTo(uint64(FormatLevelMax))); r.err == nil && (c.Level == FormatFirst || parts == 5 && c.Level == 0) {
			r.fail("a format level that says nothing")
		}
	}
	if parts == 6 {
		if c.StateBytes = int64(r.uintTo(StateBytesMax)); r.err == nil && c.StateBytes == 0 {
			r.fail("a limit of the state that says nothing")
		}
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
