package protocol

import (
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
)

func TestCheckName(t *testing.T) {
	for _, c := range []struct {
		name string
		want *Error
		says string
	}{
		{"a", nil, ""},
		{"Zz09-_.", nil, ""},
		{strings.Repeat("n", NameBytesMax), nil, ""},
		{"", ErrInvalid, "the name of a lock is empty: names have 1 to 255 "},
		{strings.Repeat("n", NameBytesMax+1), ErrTooLarge, `the name of a lock, "` + strings.Repeat("n", 40) + `"..., has 256 bytes, the limit is 255`},
		{"bad name", ErrInvalid, `the name of a lock, "bad name", has the character " ": names have `},
		{"a/b", ErrInvalid, `has the character "/"`},
		{"caf\u00e9", ErrInvalid, "has the character \"\u00e9\""},
		{"\u202ename", ErrInvalid, `the name of a lock, "\u202ename", has the character "\u202e"`},
		{"line\nbreak", ErrInvalid, `"line\nbreak", has the character "\n"`},
		{"bytes\xff", ErrInvalid, `"bytes\xff", has the character "\xff"`},
		{strings.Repeat("n", 39) + "\u00e9 and on", ErrInvalid, `"` + strings.Repeat("n", 39) + `"..., has the character "é"`},
	} {
		err := CheckName("the name of a lock", c.name)
		switch {
		case c.want == nil && err != nil:
			t.Errorf("%q: got %v", c.name, err)
		case c.want != nil && (!errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says)):
			t.Errorf("%q: got %v (%T), want %s and %q", c.name, err, err, c.want.Code, c.says)
		}
	}
}

// invalidRequests are those that no member takes, with why.
func invalidRequests() map[string]struct {
	request Request
	want    *Error
	says    string
} {
	type refused = struct {
		request Request
		want    *Error
		says    string
	}
	long := strings.Repeat("n", NameBytesMax+1)
	command := func(change func(*Command)) Request {
		c := Command{Resource: "r", Type: "t", Operation: "o"}
		change(&c)
		return Request{Kind: RequestCommand, Command: &c}
	}
	query := func(change func(*Query)) Request {
		q := Query{Resource: "r", Type: "t", Operation: "o"}
		change(&q)
		return Request{Kind: RequestQuery, Query: &q}
	}
	watch := func(change func(*Watch)) Request {
		w := Watch{Resource: "r", Type: "t"}
		change(&w)
		return Request{Kind: RequestWatch, Watch: &w}
	}
	seats := func(s MembershipChange) Request { return Request{Kind: RequestMembershipChange, MembershipChange: &s} }
	large := make([]byte, CommandBytesMax+1)
	return map[string]refused{
		"command, no resource":        {command(func(c *Command) { c.Resource = "" }), ErrInvalid, "the name of a resource is empty"},
		"command, long resource":      {command(func(c *Command) { c.Resource = long }), ErrTooLarge, "the name of a resource"},
		"command, long type":          {command(func(c *Command) { c.Type = long }), ErrTooLarge, "the name of a type"},
		"command, no operation":       {command(func(c *Command) { c.Operation = "" }), ErrInvalid, "the name of an operation is empty"},
		"command, bad operation":      {command(func(c *Command) { c.Operation = "a b" }), ErrInvalid, `the name of an operation, "a b"`},
		"command, large argument":     {command(func(c *Command) { c.Argument = large }), ErrTooLarge, `the argument of o for t "r" has 1048577 bytes, the limit is 1048576`},
		"command, a session's name":   {command(func(c *Command) { c.Type = SessionType }), ErrInvalid, `the resource "r" with an operation on sessions`},
		"command, alone in a session": {command(func(c *Command) { c.OneShot.Number[0], c.Session = 1, 2 }), ErrInvalid, "belongs to no session"},
		"command, alone, numbered":    {command(func(c *Command) { c.OneShot.Number[0], c.Sequence = 1, 2 }), ErrInvalid, "belongs to no session"},
		"command, alone, on sessions": {command(func(c *Command) { c.OneShot.Number[0], c.Resource, c.Type = 1, "", SessionType }), ErrInvalid, "belongs to no session"},
		"command, nothing":            {Request{Kind: RequestCommand}, ErrInvalid, "does not say what it asks for"},
		"query, no resource":          {query(func(q *Query) { q.Resource = "" }), ErrInvalid, "the name of a resource is empty"},
		"query, bad type":             {query(func(q *Query) { q.Type = "\x00" }), ErrInvalid, `the name of a type, "\x00"`},
		"query, long operation":       {query(func(q *Query) { q.Operation = long }), ErrTooLarge, "the name of an operation"},
		"query, large argument":       {query(func(q *Query) { q.Argument = large }), ErrTooLarge, "the argument of o"},
		"query, unknown level":        {query(func(q *Query) { q.Consistency = MaxStale + 1 }), ErrInvalid, "unknown level 4"},
		"query, negative age":         {query(func(q *Query) { q.Consistency, q.MaxAge = MaxStale, -1 }), ErrInvalid, "not -1ns"},
		"query of the system's space": {query(func(q *Query) { q.Resource, q.Type = "", SessionType }), ErrInvalid, "the name of a resource is empty"},
		"watch, no resource":          {watch(func(w *Watch) { w.Resource = "" }), ErrInvalid, "the name of a resource is empty"},
		"watch, bad resource":         {watch(func(w *Watch) { w.Resource = "bad name" }), ErrInvalid, `"bad name"`},
		"watch, long type":            {watch(func(w *Watch) { w.Type = long }), ErrTooLarge, "the name of a type"},
		"watch, long prefix":          {watch(func(w *Watch) { w.Prefix = large[:KeyBytesMax+1] }), ErrTooLarge, `for a watch of t "r" has 4098 bytes, the limit is 4097`},
		"watch, index too high":       {watch(func(w *Watch) { w.From = IndexMax + 1 }), ErrInvalid, `a watch of t "r" after index 4611686018427387905: the highest that a log can have is 4611686018427387904`},
		"watch, nothing":              {Request{Kind: RequestWatch}, ErrInvalid, "does not say"},
		"seats, negative target":      {seats(MembershipChange{Target: -1}), ErrInvalid, "not -1"},
		"seats, large target":         {seats(MembershipChange{Target: ActivesMax + 1}), ErrInvalid, "not 65"},
		"seats, many":                 {seats(MembershipChange{Remove: make([]MemberID, 2*ActivesMax+1)}), ErrInvalid, "not 129"},
		"seats, autopilot":            {seats(MembershipChange{Autopilot: &Autopilot{Floor: -1}}), ErrInvalid, "floor"},
		"seats, nothing":              {Request{Kind: RequestMembershipChange}, ErrInvalid, "does not say"},
		"unknown kind":                {Request{Kind: RequestAge + 1}, ErrUnsupported, "requests of kind 13 are not known here"},
		"no kind":                     {Request{}, ErrUnsupported, "requests of kind 0"},
	}
}

func TestValidateSaysFieldGivenAndLimit(t *testing.T) {
	for name, c := range invalidRequests() {
		err := c.request.Validate()
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %v, want %s and %q", name, err, c.want.Code, c.says)
		}
		if err != nil && len(err.Error()) > 400 {
			t.Errorf("%s: the text has %d bytes", name, len(err.Error()))
		}
	}
}

// What Validate lets through the codec of the log and of the links takes, too:
// nothing that was accepted can break a connection later.
func TestValidateTakesWhatIsWithinTheLimits(t *testing.T) {
	name := strings.Repeat("n", NameBytesMax)
	full := make([]byte, CommandBytesMax)
	samples := sampleRequests()
	samples[0].Command.OneShot = OneShot{}
	for _, q := range append(samples,
		&Request{Kind: RequestCommand, Command: &Command{
			Session: math.MaxUint64, Sequence: math.MaxUint64, Floor: math.MaxUint64, Version: math.MaxUint32,
			Resource: name, Type: name, Operation: name, Argument: full,
		}},
		&Request{Kind: RequestCommand, Command: &Command{
			OneShot: OneShot{Number: OneShotNumber{0xff}, Seen: math.MaxUint64}, Resource: name, Type: name, Operation: name, Argument: full,
		}},
		&Request{Kind: RequestCommand, Command: &Command{Type: SessionType, Operation: SessionOpen}},
		&Request{Kind: RequestQuery, Query: &Query{Resource: name, Type: name, Operation: name, Argument: full, Consistency: MaxStale, MaxAge: math.MaxInt64}},
		&Request{Kind: RequestWatch, Watch: &Watch{Resource: name, Type: name, Prefix: full[:KeyBytesMax], From: IndexMax}},
		&Request{Kind: RequestMembershipChange, MembershipChange: &MembershipChange{Target: ActivesMax}},
	) {
		if err := q.Validate(); err != nil {
			t.Errorf("%+v: %v", q, err)
		}
		src := AppendRequest(nil, q)
		if got, err := DecodeRequest(src); err != nil || !reflect.DeepEqual(got.made(), q) {
			t.Errorf("kind %d: %v", q.Kind, err)
		}
		if len(src) > EntryBytesMax {
			t.Errorf("kind %d: %d bytes, the limit of a frame from a client is %d", q.Kind, len(src), EntryBytesMax)
		}
		if q.Command != nil {
			if _, err := DecodeCommand(EncodeCommand(q.Command)); err != nil {
				t.Errorf("the command cannot be read from the log: %v", err)
			}
		}
	}
}

// A request that is refused is known by its id and kind, whatever is wrong with
// its body, so that its sender alone is told.
func TestARefusedRequestIsKnownByItsID(t *testing.T) {
	for name, c := range invalidRequests() {
		q := c.request
		q.ID = 1 << 33
		if q.Kind == RequestCommand && q.Command == nil || q.Kind == RequestWatch && q.Watch == nil || q.Kind == RequestMembershipChange && q.MembershipChange == nil {
			continue // has no encoding
		}
		src := AppendRequest(nil, &q)
		got, err := DecodeRequest(src)
		if got == nil || got.ID != q.ID || got.Kind != q.Kind {
			t.Errorf("%s: got %+v, %v, want its id and kind", name, got, err)
			continue
		}
		if err == nil {
			err = got.Validate()
		}
		// What the codec alone can tell has no code of its own.
		if !errors.Is(err, c.want) && !(q.Kind == RequestMembershipChange && errors.Is(err, ErrMalformed)) {
			t.Errorf("%s: got %v, want %s", name, err, c.want.Code)
		}
		head, err := DecodeRequestHead(src[:min(len(src), RequestHeadBytesMax)])
		if err != nil || head.ID != q.ID || head.Kind != q.Kind {
			t.Errorf("%s: the head is read as %+v, %v", name, head, err)
		}
	}
	src := AppendRequest(nil, sampleRequests()[0])
	for n := range src {
		got, err := DecodeRequest(src[:n])
		if !errors.Is(err, ErrMalformed) || (got == nil) != (n < 5) {
			t.Errorf("cut to %d: got %+v, %v", n, got, err)
		}
	}
}

// A response of a kind that is not known here answers a request that was
// refused.
func TestARefusalOfAnUnknownKindIsRead(t *testing.T) {
	want := &Response{ID: 7, Kind: 200, Result: Failed(ErrUnsupported)}
	got, err := DecodeResponse(AppendResponse(nil, want))
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
}

// An error without a code is still an error on the other side.
func TestAnErrorWithoutACodeIsNotSuccess(t *testing.T) {
	r := Failed(&Error{Text: "oops"})
	if err := r.Err(); !errors.Is(err, ErrInvalid) || err.Error() != "oops" {
		t.Errorf("got %v (%q), want %s", err, r.Code, ErrInvalid.Code)
	}
}
