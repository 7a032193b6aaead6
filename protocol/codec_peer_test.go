package protocol

import (
	"bytes"
	"errors"
	"testing"
)

func TestPeerRoundTrip(t *testing.T) {
	want := Peer{Versions: Versions{2, 9}, ID: idA, Name: "n", HTTP: "h:1", Zone: "z", Host: "n.example:1", Role: RoleActive, Eligible: true, Wishes: true, Signs: true, Level: 9}
	src := AppendPeer(nil, &want)
	if got, err := DecodePeer(src); err != nil || got != want {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
	isMsgpack(t, "peer", src)
	src[1] = 11
	if _, err := DecodePeer(src); !errors.Is(err, ErrMalformed) {
		t.Errorf("got %v, want %v", err, ErrMalformed)
	}
}

func FuzzDecodePeer(f *testing.F) {
	f.Add(AppendPeer(nil, &Peer{ID: idA, Name: "n"}))
	f.Fuzz(func(t *testing.T, src []byte) {
		p, err := DecodePeer(src)
		if err != nil {
			return
		}
		if got := AppendPeer(nil, &p); len(got) >= len(src) && !bytes.Equal(got, src) {
			t.Fatalf("got %x, want %x", got, src)
		}
	})
}
