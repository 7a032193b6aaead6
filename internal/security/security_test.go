package security

import (
	"io"
	"testing"
)

// What is listened for can be dialled, and each side knows where the other is.
func TestPlaintextConnects(t *testing.T) {
	s := Plaintext()
	l, err := s.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	near, err := s.Dial(t.Context(), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	far, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer far.Close()
	if got, want := Who(far).String(), near.LocalAddr().String(); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if _, err := near.Write([]byte("word")); err != nil {
		t.Fatal(err)
	}
	_ = near.Close()
	if got, err := io.ReadAll(far); err != nil || string(got) != "word" {
		t.Errorf("got %q, %v", got, err)
	}
}

// Who was given no security reaches nobody.
func TestWithoutSecurityNobodyIsReached(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a nil Security has dialled")
		}
	}()
	_, _ = (*Security)(nil).Dial(t.Context(), "127.0.0.1:1")
}
