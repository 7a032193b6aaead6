package wire

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/starlinghq/starling/internal/security"
	"github.com/starlinghq/starling/protocol"
)

// greeting is what somebody says who speaks a range of versions.
func greeting(t *testing.T, hello protocol.Hello, refused protocol.Code) string {
	t.Helper()
	hello.Refused = refused
	buf := protocol.AppendHello(beginFrame([]byte(Magic), greetingVersion, FrameHello), &hello)
	if err := endFrame(buf, len(Magic)); err != nil {
		t.Fatal(err)
	}
	return string(buf)
}

// Two sides without a common version would hang up on each other, and nobody would know
// which of them to upgrade.
func TestWithoutACommonVersionBothSidesSayWhoIsBehind(t *testing.T) {
	for name, of := range map[string]struct {
		theirs protocol.Versions
		behind string
		needs  string
	}{
		"newer": {protocol.Versions{Lowest: protocol.Version + 8, Highest: protocol.Version + 9}, "this side", "version 9"},
		"older": {protocol.Versions{Lowest: 2, Highest: 3}, "member n9", "version 4"},
	} {
		t.Run(name, func(t *testing.T) {
			own := protocol.Spoken()
			if name == "older" {
				own = protocol.Versions{Lowest: 4, Highest: 6}
			}
			says := func(what string, err error) {
				t.Helper()
				if !errors.Is(err, protocol.ErrWrongVersion) {
					t.Fatalf("%s: got %v, want %v", what, err, protocol.ErrWrongVersion)
				}
				for _, want := range []string{of.theirs.String(), own.String(), "upgrade " + of.behind + " ", of.needs} {
					if !strings.Contains(err.Error(), want) {
						t.Errorf("%s: %q does not say %q", what, err, want)
					}
				}
			}
			hello := protocol.Hello{Versions: of.theirs, Member: memberB, Name: "n9", Cluster: cluster}
			// The side that is dialled.
			refused := make(chan error, 1)
			_, address := serve(t, &handler{}, func(cfg *ServerConfig) {
				before := cfg.Hello
				cfg.Hello = func() protocol.Hello {
					h := before()
					h.Versions = own
					return h
				}
				cfg.Refused = func(_ protocol.Hello, _ net.Addr, err error) { refused <- err }
			})
			answer := rawDial(t, address, greeting(t, hello, protocol.OK))
			says("dialled", receive(t, refused))
			if !strings.Contains(answer, string(protocol.ErrWrongVersion.Code)) {
				t.Errorf("the refusal is %q", answer)
			}
			// The side that dials, whatever the other one says of it.
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			go func() {
				c, err := l.Accept()
				if err != nil {
					return
				}
				_, _ = io.WriteString(c, greeting(t, hello, protocol.ErrWrongVersion.Code))
				_, _ = io.Copy(io.Discard, c)
				_ = c.Close()
			}()
			_, err = DialClient(testContext(t), l.Addr().String(), ClientConfig{Dial: security.Plaintext().Dial, Hello: protocol.Hello{Versions: own}})
			says("dials", err)
		})
	}
}

// A member of the next version would be refused by all others, and a cluster could only
// be upgraded as a whole.
func TestTheHighestCommonVersionIsSpoken(t *testing.T) {
	for _, of := range []struct {
		client, server protocol.Versions
		want           uint8
	}{
		{protocol.Versions{}, protocol.Versions{}, protocol.Version},
		{protocol.Versions{Lowest: 1, Highest: 4}, protocol.Versions{Lowest: 1, Highest: 2}, 2},
		{protocol.Versions{Lowest: 2, Highest: 3}, protocol.Versions{Lowest: 1, Highest: 9}, 3},
		{protocol.Versions{Lowest: 3, Highest: 3}, protocol.Versions{Lowest: 3, Highest: 5}, 3},
	} {
		_, address := serve(t, &handler{serve: echo}, func(cfg *ServerConfig) {
			before := cfg.Hello
			cfg.Hello = func() protocol.Hello {
				h := before()
				h.Versions = of.server
				return h
			}
		})
		c, err := DialClient(testContext(t), address, ClientConfig{Dial: security.Plaintext().Dial, Hello: protocol.Hello{Versions: of.client}})
		if err != nil {
			t.Fatal(err)
		}
		if got := c.conn.Version(); got != of.want {
			t.Errorf("%s and %s: got version %d, want %d", of.client, of.server, got, of.want)
		}
		if _, err := c.Do(testContext(t), command([]byte("x"))); err != nil {
			t.Errorf("%s and %s: %v", of.client, of.server, err)
		}
		_ = c.Close()
	}
}

// What an older member does not know would end the stream on which it comes, and with it
// what else was on its way: in a cluster of two versions, again and again.
func TestAMessageOfALaterVersionDoesNotEndTheStream(t *testing.T) {
	h := &handler{}
	_, address := serve(t, h, nil)
	c := handshaken(t, address, protocol.Hello{Cluster: cluster, Member: memberB})
	defer c.Close()
	frame := func(payload []byte) {
		b := append(beginFrame(nil, protocol.Version, FrameMessage), payload...)
		if err := endFrame(b, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	frame([]byte{63, 0x91, 1})
	frame(append([]byte{127, 0x92, 7}, protocol.AppendMessage(nil, &protocol.Prune{Index: 1})[1:]...))
	heartbeat := &protocol.Heartbeat{Term: 3, Round: 4}
	frame(protocol.AppendMessage(nil, heartbeat))
	for i, want := range []protocol.MessageKind{63, 127, protocol.KindHeartbeat} {
		if got := receive(t, h.messages); got.Kind() != want {
			t.Errorf("message %d: got %s, want %s", i, got.Kind(), want)
		}
	}
}
