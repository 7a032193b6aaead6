package swim

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// exchange begins an exchange of the membership: label, kind, and a head that
// announces nodes and bytes.
func exchange(nodes, user uint32) []byte {
	label := cluster.String()
	b := append([]byte{scanLabel, byte(len(label))}, label...)
	b = append(b, scanExchange, 0x83)
	put := func(key string, value ...byte) { b = append(append(append(b, 0xa0|byte(len(key))), key...), value...) }
	number := func(n uint32) []byte { return []byte{0xce, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)} }
	put("Nodes", number(nodes)...)
	put("UserStateLen", number(user)...)
	put("Join", 0xc3)
	return b
}

// node appends a node whose meta has n bytes.
func appendNode(b []byte, n int) []byte {
	b = append(b, 0x82, 0xa4)
	b = append(b, "Name"...)
	b = append(b, 0xa1, 'x', 0xa4)
	b = append(b, "Meta"...)
	b = append(b, 0xda, byte(n>>8), byte(n))
	return append(b, make([]byte, n)...)
}

func TestWhatAStreamAnnouncesIsBounded(t *testing.T) {
	long := append(exchange(1, 0), 0x81, 0xdb, 0x7f, 0xff, 0xff, 0xff)
	for name, c := range map[string]struct {
		send []byte
		want string
	}{
		"an exchange":              {appendNode(appendNode(exchange(2, 0), 500), 0), ""},
		"many nodes":               {exchange(1<<20, 0), "announced"},
		"many bytes":               {exchange(1, 20<<20), "announced"},
		"the most of both":         {exchange(1<<32-1, 1<<32-1), "announced"},
		"a long name":              {long, "part"},
		"a large map":              {append(exchange(1, 0), 0xdf, 0xff, 0xff, 0xff, 0xff), "part"},
		"deep":                     {append(exchange(1, 0), bytes.Repeat([]byte{0x91}, 100)...), "part"},
		"compressed":               {append(exchange(0, 0)[:2+len(cluster.String())], 9), "kind"},
		"encrypted":                {append(exchange(0, 0)[:2+len(cluster.String())], 10), "kind"},
		"without a label":          {[]byte{scanExchange}, "label"},
		"an extension of msgpack":  {append(exchange(1, 0), 0xc9), "value"},
		"a number of a later node": {append(appendNode(exchange(2, 0), 1), 0x81, 0xa1, 'I', 0xce, 0xff, 0xff, 0xff, 0xff), ""},
	} {
		for _, piece := range []int{1, 7, len(c.send)} {
			s := &scanner{announcedMax: func() int { return announcedMin }}
			var err error
			for rest := c.send; len(rest) > 0 && err == nil; {
				n := min(piece, len(rest))
				_, err = s.pass(rest[:n])
				rest = rest[n:]
			}
			if c.want == "" && err != nil || c.want != "" && (!errors.Is(err, protocol.ErrMalformed) || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%s, in pieces of %d: got %v, want %q", name, piece, err, c.want)
			}
		}
	}
}

// A stream that announces too much ends before the announced room is made.
func TestStreamThatAnnouncesTooMuchEnds(t *testing.T) {
	a := start(t, 1, nil)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 4 {
		c, err := net.Dial("tcp", a.address)
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(patience))
		_, _ = c.Write(exchange(1<<20, 0))
		if _, err := io.Copy(io.Discard, c); err != nil && !strings.Contains(err.Error(), "reset") {
			t.Errorf("the stream stays open: %v", err)
		}
		_ = c.Close()
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 64<<20 {
		t.Errorf("%d MiB were allocated for four heads", got>>20)
	}
}

// A stream that has just begun does not give way: the next one waits.
func TestStreamHasItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := &transport{ctx: t.Context(), streams: map[*stream]struct{}{}}
		began := time.Now()
		for range incomingMax + 2 {
			near, far := net.Pipe()
			defer near.Close()
			if s, ok := tr.accept(far); ok {
				defer s.Close()
			}
		}
		if got := time.Since(began); got != streamMin {
			t.Errorf("two streams too many were taken after %v, want %v", got, streamMin)
		}
	})
}

// Exchanges that are never finished share one bound; the oldest gives way.
func TestUnfinishedExchangesAreBounded(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	tr := &transport{ctx: ctx, streams: map[*stream]struct{}{}}
	var all []*stream
	send := exchange(announcedMin, 0)
	for range announcedMin / 2 {
		send = appendNode(send, 500)
	}
	for range 64 {
		near, far := net.Pipe()
		defer near.Close()
		s, ok := tr.accept(far)
		if !ok {
			t.Fatal("a stream was refused")
		}
		all = append(all, s)
		go func() { _, _ = near.Write(send) }()
		if _, err := io.ReadFull(s, make([]byte, len(send))); err != nil {
			t.Errorf("the newest exchange was given up: %v", err)
		}
		if tr.held > streamBytesMax {
			t.Errorf("%d bytes are held, the limit is %d", tr.held, streamBytesMax)
		}
	}
	if all[0].at != nil || all[len(all)-1].at == nil || tr.dropped.Load() == 0 {
		t.Error("the oldest is still there, or the newest is not")
	}
	for _, s := range all {
		_ = s.Close()
	}
	if tr.held != 0 || len(tr.streams) != 0 || tr.incoming.Len() != 0 {
		t.Errorf("%d bytes of %d streams are held in the end", tr.held, len(tr.streams))
	}
}

// Whoever sits in all streams, and comes back at once, keeps nobody out.
func TestFloodOfStreamsKeepsNobodyOut(t *testing.T) {
	a := start(t, 1, nil)
	ctx, cancel := context.WithCancel(t.Context())
	var sitters, seated sync.WaitGroup
	seated.Add(streamsMax)
	for range streamsMax {
		sitters.Go(func() {
			for first := true; ctx.Err() == nil; {
				var d net.Dialer
				c, err := d.DialContext(ctx, "tcp", a.address)
				if err == nil {
					stop := context.AfterFunc(ctx, func() { _ = c.Close() })
					_, _ = c.Write(exchange(1, 0))
					if first {
						seated.Done()
						first = false
					}
					_, _ = io.Copy(io.Discard, c)
					stop()
					_ = c.Close()
				}
			}
		})
	}
	defer sitters.Wait()
	defer cancel()
	seated.Wait()
	b := start(t, 2, nil)
	for tries := 0; ; tries++ {
		if _, err := b.Join(t.Context(), []string{a.address}); err == nil {
			break
		} else if tries == 20 {
			t.Fatal(err)
		}
	}
	if a.transport.dropped.Load() == 0 {
		t.Error("no stream gave way")
	}
}

// Whatever comes, in whatever pieces, the scanner says the same of it.
func FuzzScanner(f *testing.F) {
	f.Add(appendNode(appendNode(exchange(2, 0), 500), 0), uint8(3))
	f.Add(exchange(1<<32-1, 1), uint8(1))
	f.Fuzz(func(t *testing.T, data []byte, piece uint8) {
		scan := func(piece int) (announced int, failed bool) {
			s := &scanner{announcedMax: func() int { return announcedMin }}
			for rest := data; len(rest) > 0; {
				n := min(max(piece, 1), len(rest))
				more, err := s.pass(rest[:n])
				if err != nil {
					return 0, true
				}
				announced, rest = announced+more, rest[n:]
			}
			if announced > announcedMin || len(s.open) > scanDepthMax || s.skip > scanBytesMax {
				t.Errorf("%d nodes are announced, %d values open, %d bytes to come", announced, len(s.open), s.skip)
			}
			return announced, false
		}
		all, failed := scan(len(data))
		some, failedToo := scan(int(piece))
		if all != some || failed != failedToo {
			t.Errorf("as a whole: %d nodes, failed %t; in pieces of %d: %d, %t", all, failed, piece, some, failedToo)
		}
	})
}
