package wire

import (
	"bytes"
	"errors"
	"io"
	"net"
	"runtime"
	"testing"

	"github.com/starlinghq/starling/protocol"
)

func chunk(n int) *protocol.Chunk {
	return &protocol.Chunk{Index: 9, Number: uint32(n), Data: bytes.Repeat([]byte{byte(n)}, 200<<10)}
}

// order reads n messages and returns their kinds.
func order(t *testing.T, far net.Conn, n int) []protocol.MessageKind {
	t.Helper()
	reader := newConn(far, newReader(far), protocol.Hello{}, protocol.Version, Options{}.withDefaults())
	defer reader.Close()
	var out []protocol.MessageKind
	for range n {
		m, err := reader.ReadMessage()
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, m.Kind())
	}
	return out
}

// Entries that are being replicated do not wait for the checkpoint of somebody
// who catches up, and that one gets its turns all the same.
func TestChunksGiveWayToEntries(t *testing.T) {
	c, far := pipePair(t, Options{})
	for i := range 10 {
		if err := c.SendMessage(chunk(i)); err != nil {
			t.Fatal(err)
		}
	}
	for range 20 {
		if err := c.SendMessage(&protocol.Append{Entries: someEntries(1, 100<<10)}); err != nil {
			t.Fatal(err)
		}
	}
	kinds := order(t, far, 30)
	chunks, run := 0, 0
	for i, k := range kinds {
		if k == protocol.KindChunk {
			chunks++
			run = 0
			if i > 2 && i < 20 && kinds[i-1] == k {
				t.Errorf("two chunks in a row at %d, while entries wait: %v", i, kinds)
			}
			continue
		}
		if run++; run > bulkTurns+1 && chunks < 10 {
			t.Errorf("%d frames of entries before a chunk had its turn: %v", run, kinds)
		}
	}
	if chunks != 10 {
		t.Errorf("%d chunks came, want 10", chunks)
	}
}

func TestBulkIsBounded(t *testing.T) {
	c, _ := pipePair(t, Options{QueueBytes: 1 << 20})
	for i := range 100 {
		if err := c.SendMessage(chunk(i)); err != nil {
			if !errors.Is(err, ErrQueueFull) || i < 3 || i > 8 {
				t.Errorf("after %d: got %v, want %v", i, err, ErrQueueFull)
			}
			for _, m := range []protocol.Message{&protocol.Heartbeat{}, &protocol.Append{Entries: someEntries(1, 10)}} {
				if err := c.SendMessage(m); err != nil {
					t.Errorf("a full bulk lane stops a %v: %v", m.Kind(), err)
				}
			}
			return
		}
	}
	t.Error("the queue took everything")
}

// A message belongs to its receiver: the bytes in it are not the connection's.
func TestMessagesDoNotShareTheirBytes(t *testing.T) {
	fill := func(n byte) []protocol.Message {
		data := bytes.Repeat([]byte{n}, 1000)
		return []protocol.Message{
			&protocol.Chunk{Data: data}, &protocol.Manifest{Manifest: data}, &protocol.InstallCheckpoint{Manifest: data},
			&protocol.Forward{Command: data}, &protocol.ForwardAnswer{Result: protocol.Result{Data: data}},
		}
	}
	bytesOf := func(m protocol.Message) []byte {
		switch m := m.(type) {
		case *protocol.Chunk:
			return m.Data
		case *protocol.Manifest:
			return m.Manifest
		case *protocol.InstallCheckpoint:
			return m.Manifest
		case *protocol.Forward:
			return m.Command
		case *protocol.ForwardAnswer:
			return m.Result.Data
		}
		return nil
	}
	for i, first := range fill(1) {
		c, far := pipePair(t, Options{})
		for _, m := range []protocol.Message{first, fill(2)[i]} {
			if err := c.SendMessage(m); err != nil {
				t.Fatal(err)
			}
		}
		reader := newConn(far, newReader(far), protocol.Hello{}, protocol.Version, Options{}.withDefaults())
		got, err := reader.ReadMessage()
		if err == nil {
			_, err = reader.ReadMessage()
		}
		if err != nil {
			t.Fatal(err)
		}
		if b := bytesOf(got); len(b) != 1000 || bytes.Count(b, []byte{1}) != 1000 {
			t.Errorf("the %v changed when the next message came", got.Kind())
		}
		reader.Close()
	}
}

// Behind a slow link the kernel would buffer megabytes of chunks, and heartbeats
// wait for all of them. The figure is what arrives between the heartbeat's being
// queued and itself.
func TestHeartbeatDoesNotWaitForTheKernelsBuffer(t *testing.T) {
	if runtime.GOOS != "linux" && runtime.GOOS != "darwin" {
		t.Skip("this kernel has no such limit")
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	near, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	_ = far.(*net.TCPConn).SetReadBuffer(64 << 10) // the link: what is under way
	tune(near, Options{}.withDefaults())
	c := newConn(near, nil, protocol.Hello{}, protocol.Version, Options{QueueBytes: 64 << 20}.withDefaults())
	defer c.Close()
	send := func(n int) {
		for i := range n {
			if err := c.SendMessage(chunk(i)); err != nil {
				t.Fatal(err)
			}
		}
	}
	send(150)
	// Let the buffers fill: read a little, so that the writer is in its stride.
	if _, err := io.CopyN(io.Discard, far, 4<<20); err != nil {
		t.Fatal(err)
	}
	beat := &protocol.Heartbeat{Term: 0x1122334455667788, Round: 0x99aabbccddeeff00}
	if err := c.SendMessage(beat); err != nil {
		t.Fatal(err)
	}
	frame := protocol.AppendMessage(nil, beat)
	waited, found := 0, false
	buf, tail := make([]byte, 64<<10), []byte{}
	for !found && waited < 32<<20 {
		n, err := far.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		waited += n
		tail = append(tail, buf[:n]...)
		found = bytes.Contains(tail, frame)
		tail = tail[max(0, len(tail)-len(frame)):]
	}
	t.Logf("a heartbeat waited for %d KiB of chunks", waited>>10)
	if !found || waited > 2<<20 {
		t.Errorf("a heartbeat waited for %d KiB of chunks", waited>>10)
	}
}
