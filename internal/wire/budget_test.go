package wire

import (
	"errors"
	"net"
	"os"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/starlinghq/starling/protocol"
)

// held returns the bytes that unfinished frames hold.
func (b *budget) held() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.bytes[0] + b.bytes[1]
}

// appendFrame is a frame with one entry of n bytes.
func appendFrame(n int) []byte {
	frame := protocol.AppendMessage(beginFrame(nil, protocol.Version, FrameMessage), &protocol.Append{Term: 1, Entries: someEntries(1, n)})
	_ = endFrame(frame, 0)
	return frame
}

// unfinished has streams of members send all of a frame but its last byte, in
// order, and says which of them are still there.
type unfinished struct {
	s     *Server
	h     *handler
	conns []net.Conn
	frame []byte
}

func beginFrames(t *testing.T, limit, frameBytes int, ids ...byte) *unfinished {
	u := &unfinished{h: &handler{messages: make(chan protocol.Message, len(ids))}, frame: appendFrame(frameBytes)}
	u.s = NewServer(ServerConfig{
		Hello: helloOf(cluster, memberA), Handler: u.h, UnfinishedBytesMax: limit,
		Favours: func(id protocol.MemberID) bool { return id[0] <= 2 },
	})
	t.Cleanup(func() { _ = u.s.Close() })
	for _, id := range ids {
		near, far := net.Pipe()
		t.Cleanup(func() { _ = near.Close() })
		u.s.ServeConn(far)
		hello := helloOf(cluster, protocol.MemberID{id})()
		if id == 0 {
			hello = protocol.Hello{}
		}
		if _, err := greet(near, newReader(near), hello); err != nil {
			t.Fatal(err)
		}
		_, _ = near.Write(u.frame[:len(u.frame)-1])
		u.conns = append(u.conns, near)
		synctest.Wait()
		if held := u.s.budget.held(); held > limit {
			t.Errorf("%d bytes are held, the limit is %d", held, limit)
		}
	}
	return u
}

func (u *unfinished) alive() (alive []bool) {
	for _, c := range u.conns {
		_ = c.SetReadDeadline(time.Now().Add(time.Second))
		_, err := c.Read(make([]byte, 1))
		alive = append(alive, errors.Is(err, os.ErrDeadlineExceeded))
	}
	return alive
}

// The oldest frames of those that are never finished make room, and what begins
// later arrives.
func TestUnfinishedFramesHaveOneBudget(t *testing.T) {
	const size = 256 << 10
	for _, c := range []struct {
		ids  []byte
		want []bool
	}{
		// Strangers have half of what four frames take.
		{[]byte{11, 12, 13}, []bool{false, true, true}},
		{[]byte{11, 12, 13, 14, 15, 16}, []bool{false, false, false, false, true, true}},
		// The configuration's have the other half, and what strangers leave of theirs.
		{[]byte{1, 2, 11, 12, 13}, []bool{true, true, false, true, true}},
		{[]byte{1, 1, 2, 2}, []bool{true, true, true, true}},
		{[]byte{11, 12, 1, 2, 2}, []bool{false, true, true, true, true}},
		{[]byte{1, 1, 2, 2, 11}, []bool{true, true, true, true, false}},
	} {
		synctest.Test(t, func(t *testing.T) {
			u := beginFrames(t, 4*(size+1<<10), size, c.ids...)
			want, lost := c.want, 0
			got := u.alive()
			if !slices.Equal(got, want) {
				t.Errorf("%v: got %v, want %v", c.ids, got, want)
			}
			for i, conn := range u.conns {
				if !got[i] {
					lost++
					continue
				}
				if _, err := conn.Write(u.frame[len(u.frame)-1:]); err != nil {
					t.Error(err)
				}
				<-u.h.messages
			}
			synctest.Wait()
			if held, dropped := u.s.budget.held(), u.s.Drops().Frames; held != 0 || dropped != uint64(lost) {
				t.Errorf("%v: %d bytes are held in the end and %d frames were dropped, want none and %d", c.ids, held, dropped, lost)
			}
		})
	}
}

// One id, which anybody can claim, does not get the whole share.
func TestOneMemberDoesNotEatTheShare(t *testing.T) {
	b := &budget{}
	b.init(1<<30, func(protocol.MemberID) bool { return true })
	var claims []*claim
	for i := range 3 {
		near, far := net.Pipe()
		defer far.Close()
		conn := newConn(near, newReader(near), protocol.Hello{}, protocol.Version, Options{}.withDefaults())
		defer conn.Close()
		claims = append(claims, &claim{of: b, conn: conn, member: memberB})
		claims[i].need(protocol.FrameBytesMax)
	}
	for i, want := range []bool{true, false, false} {
		if got := claims[i].conn.Err() != nil; got != want {
			t.Errorf("frame %d of one member was given up: %t, want %t", i, got, want)
		}
	}
	if got, want := b.held(), claimBytesMax; got != want {
		t.Errorf("one member holds %d bytes, want %d", got, want)
	}
}

// An announced frame costs what has been sent of it.
func TestAnnouncedFrameCostsWhatWasSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		u := beginFrames(t, 64<<20, protocol.CommandBytesMax)
		for i := range 100 {
			near, far := net.Pipe()
			t.Cleanup(func() { _ = near.Close() })
			u.s.ServeConn(far)
			if _, err := greet(near, newReader(near), protocol.Hello{Cluster: cluster, Member: protocol.MemberID{11, byte(i)}}); err != nil {
				t.Fatal(err)
			}
			_, _ = near.Write(u.frame[:headerBytes+100])
		}
		synctest.Wait()
		if held := u.s.budget.held(); held > 100*64<<10 {
			t.Errorf("100 headers cost %d bytes", held)
		}
		_ = u.s.Close()
		if held := u.s.budget.held(); held != 0 {
			t.Errorf("%d bytes are held after the streams have ended", held)
		}
	})
}
