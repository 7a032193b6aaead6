package protocol

import "math"

// allocatedMax is how many elements of a list without a limit of its own are
// allocated on its word; more are allocated as they come.
const allocatedMax = 256

// AppendResponse appends the encoding of a response. Beside the result it
// carries what its kind has: Changes, Status, Join or Autopilot, which may be nil.
func AppendResponse(dst []byte, p *Response) []byte {
	dst = appendArray(dst, 6)
	dst = appendUint(dst, p.ID)
	dst = appendUint(dst, uint64(p.Kind))
	dst = p.Result.append(dst)
	dst = appendString(dst, p.Leader)
	dst = appendUint(dst, uint64(p.Term))
	switch {
	case p.Kind == RequestWatch && p.Changes != nil:
		return p.Changes.append(dst)
	case p.Kind == RequestStatus && p.Status != nil:
		return p.Status.append(dst)
	case p.Kind == RequestJoin && p.Join != nil:
		return p.Join.append(dst)
	case p.Kind == RequestAutopilot && p.Autopilot != nil:
		return p.Autopilot.append(dst)
	case p.Kind == RequestDigest && p.Digest != nil:
		return p.Digest.append(dst)
	}
	return appendNil(dst)
}

// DecodeResponse reads what AppendResponse wrote. Data, keys and values alias
// src. A response of a kind that is not known has a result only: such a request
// was refused.
func DecodeResponse(src []byte) (*Response, error) {
	r := reader{src: src}
	r.message(6)
	p := &Response{ID: r.uint(), Kind: RequestKind(r.uintTo(0xff)), Result: r.result(), Leader: r.name(), Term: r.term()}
	switch has := !r.isNil(); {
	case has && p.Kind == RequestWatch:
		p.Changes = r.changes()
	case has && p.Kind == RequestStatus:
		p.Status = r.status()
	case has && p.Kind == RequestJoin:
		p.Join = r.join()
	case has && p.Kind == RequestAutopilot:
		p.Autopilot = r.autopilotReport()
	case has && p.Kind == RequestDigest:
		p.Digest = r.digestReport()
	case has:
		r.fail("a response with a body that its kind has not")
	}
	if err := r.end(); err != nil {
		return nil, err
	}
	return p, nil
}

// ResponseSize returns about how many bytes AppendResponse adds: exactly what
// data, keys and values take, and a little more than the rest.
func ResponseSize(p *Response) int {
	n := 1 + 2*9 + 1 + p.Result.size() + 3 + len(p.Leader)
	if p.Changes != nil {
		n += 1 + 9 + 1 + 5
		for i := range p.Changes.Changes {
			n += 17 + len(p.Changes.Changes[i].Key) + len(p.Changes.Changes[i].Value) + len(p.Changes.Changes[i].Previous)
		}
	}
	if p.Status != nil {
		n += 256 + len(p.Status.LevelReason) + 128*len(p.Status.Members) + 512*len(p.Status.Ahead) + 20*len(p.Status.Unknown) + 48*len(p.Status.Counts)
	}
	if p.Join != nil {
		n += 128 + 64*(len(p.Join.Configuration.Configuration.Members)+len(p.Join.Names)) + p.Join.Founding.size()
	}
	if d := p.Digest; d != nil {
		n += 128 + len(d.Name) + len(d.Role) + len(d.State) + len(d.Reason)
	}
	if a := p.Autopilot; a != nil {
		n += 128 + 64*(len(a.Configuration.Configuration.Members)+len(a.Names)) + len(a.Reason)
	}
	return n
}

func (p *Result) size() int {
	return 1 + 3 + len(p.Code) + 3 + min(len(p.Text), TextBytesMax) + 5 + len(p.Data) + 9 + 9
}

func (p *Result) append(dst []byte) []byte {
	dst = appendArray(dst, 5)
	dst = appendString(dst, string(p.Code))
	dst = appendText(dst, p.Text)
	dst = appendBin(dst, p.Data)
	dst = appendUint(dst, uint64(p.Index))
	return appendAge(dst, p.AgeKnown, p.Age)
}

func (r *reader) result() (p Result) {
	r.array(5)
	p.Code, p.Text, p.Data, p.Index = r.code(), r.text(), r.bin(ResultBytesMax), r.index()
	p.AgeKnown, p.Age = r.age()
	return p
}

// appendAge writes an age that may be unknown.
func appendAge(dst []byte, known bool, nanos int64) []byte {
	if !known {
		return appendNil(dst)
	}
	return appendUint(dst, uint64(max(nanos, 0)))
}

func (r *reader) age() (known bool, nanos int64) {
	if r.isNil() {
		return false, 0
	}
	return true, r.nanos()
}

func (c *Changes) append(dst []byte) []byte {
	dst = appendArray(dst, 3)
	dst = appendUint(dst, uint64(c.Index))
	return appendAll(appendBool(dst, c.More), c.Changes, (*Change).append)
}

// append writes what is known of the key before as a part more: nil if there was no such key.
func (c *Change) append(dst []byte) []byte {
	parts := 3
	if c.PreviousKind != PreviousUnknown {
		parts = 4
	}
	dst = append(appendArray(dst, parts), byte(c.Kind))
	dst = appendBin(appendBin(dst, c.Key), c.Value)
	switch c.PreviousKind {
	case PreviousNone:
		return appendNil(dst)
	case PreviousValue:
		return appendBin(dst, c.Previous)
	}
	return dst
}

func (r *reader) changes() *Changes {
	more := r.grows(3)
	c := &Changes{Index: r.index(), More: r.bool(), Changes: readAll(r, FrameBytesMax, 1+1+2+2, readChange)}
	r.skip(more)
	return c
}

func readChange(r *reader) Change {
	parts := r.arrayTo(4, 1)
	c := Change{Kind: ChangeKind(r.uintTo(uint64(ChangeDelete))), Key: r.bin(KeyBytesMax), Value: r.bin(ValueBytesMax)}
	switch {
	case parts < 3 || c.Kind == 0:
		r.fail("a change without a kind, a key or a value")
	case parts == 4 && r.isNil():
		c.PreviousKind = PreviousNone
	case parts == 4:
		c.PreviousKind, c.Previous = PreviousValue, r.bin(ValueBytesMax)
	}
	return c
}

func (j *JoinInfo) append(dst []byte) []byte {
	dst = appendArray(dst, 7)
	dst = appendID(dst, j.Cluster)
	dst = appendID(dst, j.Member)
	dst = appendString(dst, j.Name)
	dst = appendUint(dst, uint64(j.Configuration.Index))
	if len(j.Configuration.Configuration.Members) == 0 {
		dst = appendNil(dst) // a member that does not know it
	} else {
		dst = AppendConfiguration(dst, j.Configuration.Configuration)
	}
	dst = appendAll(dst, j.Names, (*NameInUse).append)
	if j.Founding == nil {
		return appendNil(dst)
	}
	return j.Founding.append(dst)
}

func (n *NameInUse) append(dst []byte) []byte {
	dst = appendArray(dst, 4)
	dst = appendString(dst, n.Name)
	dst = appendID(dst, n.Member)
	dst = appendString(dst, n.Address)
	return appendBool(dst, n.Named)
}

func (r *reader) join() *JoinInfo {
	more := r.grows(7)
	j := &JoinInfo{Cluster: r.id(), Member: r.member(), Name: r.name()}
	j.Configuration.Index = r.index()
	if !r.isNil() {
		j.Configuration.Configuration = r.configuration()
	}
	j.Names = readNames(r)
	if !r.isNil() {
		j.Founding = readFounding(r)
	}
	r.skip(more)
	return j
}

func readNames(r *reader) []NameInUse {
	return readAll(r, FrameBytesMax, 1+1+1+1+1, readNameInUse)
}

func readNameInUse(r *reader) NameInUse {
	more := r.grows(4)
	n := NameInUse{Name: r.name(), Member: r.member(), Address: r.name(), Named: r.bool()}
	r.skip(more)
	return n
}

func (s *Status) append(dst []byte) []byte {
	dst = appendArray(dst, 36)
	dst = appendID(dst, s.Cluster)
	dst = appendID(dst, s.ID)
	dst = appendString(dst, s.Name)
	dst = appendString(dst, s.Address)
	dst = appendString(dst, s.HTTP)
	dst = appendString(dst, s.Role)
	dst = appendString(dst, s.RaftRole)
	dst = appendUint(dst, uint64(s.Term))
	dst = appendID(dst, s.LeaderID)
	dst = appendString(dst, s.Leader)
	dst = appendUint(dst, uint64(s.Commit))
	dst = appendUint(dst, uint64(s.Applied))
	dst = appendUint(dst, uint64(s.First))
	dst = appendString(dst, s.Digest)
	dst = appendAge(dst, s.AgeKnown, s.AgeNanos)
	dst = appendString(dst, s.Version)
	dst = appendUint(dst, uint64(max(s.Uptime, 0)))
	dst = appendBool(dst, s.Serving)
	dst = appendText(dst, s.Reason)
	dst = appendUint(dst, uint64(max(s.Sessions, 0)))
	dst = appendUint(dst, uint64(max(s.Keys, 0)))
	dst = appendUint(dst, uint64(s.Checkpoint))
	dst = appendUint(dst, uint64(s.Installing))
	dst = appendUint(dst, uint64(max(s.Chunks, 0)))
	dst = appendUint(dst, uint64(max(s.ChunksLeft, 0)))
	dst = appendUint(dst, s.Refused)
	dst = appendUint(dst, s.LogLost)
	dst = appendAll(dst, s.Members, (*MemberStatus).append)
	dst = appendAll(dst, s.Ahead, (*AheadStatus).append)
	dst = appendAll(dst, s.Unknown, (*KindCount).append)
	dst = appendAll(dst, s.Counts, (*Count).append)
	dst = appendText(appendUint(appendUint(dst, uint64(s.Level)), uint64(s.LevelKnown)), s.LevelReason)
	return appendUint(appendUint(dst, uint64(max(s.StateBytes, 0))), uint64(max(s.StateLimit, 0)))
}

func (r *reader) status() *Status {
	more := r.grows(30)
	s := &Status{
		Cluster: r.id(), ID: r.member(), Name: r.name(), Address: r.name(), HTTP: r.name(), Role: r.name(),
		RaftRole: r.name(), Term: r.term(), LeaderID: r.member(), Leader: r.name(), Commit: r.index(),
		Applied: r.index(), First: r.index(), Digest: r.name(),
	}
	s.AgeKnown, s.AgeNanos = r.age()
	s.Version, s.Uptime, s.Serving, s.Reason = r.name(), r.nanos(), r.bool(), r.text()
	s.Sessions, s.Keys = int(r.uintTo(math.MaxInt)), int(r.uintTo(math.MaxInt))
	s.Checkpoint, s.Installing = r.index(), r.index()
	s.Chunks, s.ChunksLeft = int(r.uintTo(math.MaxInt)), int(r.uintTo(math.MaxInt))
	s.Refused, s.LogLost = r.uint(), r.uint()
	s.Members = readAll(r, FrameBytesMax, memberStatusBytesMin, (*reader).memberStatus)
	s.Ahead = readAll(r, FrameBytesMax, aheadBytesMin, (*reader).ahead)
	s.Unknown = readAll(r, 0x100, 4, (*reader).kindCount)
	if more > 0 { // none of a member that counts nothing by names
		s.Counts, more = readAll(r, FrameBytesMax, countBytesMin, readCount), more-1
	}
	if more > 2 { // nor levels of one that knows the first only
		s.Level, s.LevelKnown = FormatLevel(r.uintTo(uint64(FormatLevelMax))), FormatLevel(r.uintTo(uint64(FormatLevelMax)))
		s.LevelReason, more = r.text(), more-3
	}
	if more > 1 { // nor bytes of one that knows no limit
		s.StateBytes, s.StateLimit, more = int64(r.uintTo(math.MaxInt64)), int64(r.uintTo(math.MaxInt64)), more-2
	}
	r.skip(more)
	return s
}

const countBytesMin = 3

func (c *Count) append(dst []byte) []byte {
	return appendUint(appendString(appendArray(dst, 2), c.Name), c.Value)
}

func readCount(r *reader) Count {
	more := r.grows(2)
	c := Count{Name: r.name(), Value: r.uint()}
	r.skip(more)
	return c
}

const aheadBytesMin = 7

func (a *AheadStatus) append(dst []byte) []byte {
	dst = appendArray(dst, 6)
	dst = appendID(dst, a.ID)
	dst = appendString(dst, a.Name)
	dst = appendUint(dst, uint64(a.Holds))
	dst = appendUint(dst, uint64(a.Ends))
	dst = appendUint(dst, uint64(a.Diverged))
	return appendText(dst, a.Text)
}

func (r *reader) ahead() (a AheadStatus) {
	more := r.grows(6)
	a.ID, a.Name = r.member(), r.name()
	a.Holds, a.Ends, a.Diverged, a.Text = r.index(), r.index(), r.index(), r.text()
	r.skip(more)
	return a
}

const memberStatusBytesMin = 14

func (m *MemberStatus) append(dst []byte) []byte {
	dst = appendArray(dst, 14)
	dst = appendID(dst, m.ID)
	dst = appendString(dst, m.Name)
	dst = appendString(dst, m.Address)
	dst = appendString(dst, m.Role)
	dst = appendString(dst, m.Suffrage)
	dst = appendBool(dst, m.Alive)
	dst = appendBool(dst, m.Leader)
	dst = appendUint(dst, uint64(m.Applied))
	dst = appendAge(dst, m.Known, m.Said)
	dst = appendAge(dst, m.AgeKnown, m.AgeNanos)
	dst = appendAge(dst, m.SilenceKnown, m.Silence)
	dst = appendBool(dst, m.Moved)
	dst = appendString(dst, m.Configured)
	return appendString(dst, m.Other)
}

func (r *reader) memberStatus() (m MemberStatus) {
	more := r.grows(14)
	m.ID, m.Name, m.Address, m.Role, m.Suffrage = r.member(), r.name(), r.name(), r.name(), r.name()
	m.Alive, m.Leader, m.Applied = r.bool(), r.bool(), r.index()
	m.Known, m.Said = r.age()
	m.AgeKnown, m.AgeNanos = r.age()
	m.SilenceKnown, m.Silence = r.age()
	m.Moved, m.Configured = r.bool(), r.name()
	m.Other = r.name()
	r.skip(more)
	return m
}
