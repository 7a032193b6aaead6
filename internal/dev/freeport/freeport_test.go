package freeport

import (
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// childVariable makes this test binary a process that takes a port where it is told to.
const childVariable = "STARLING_TEST_TAKE"

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) == "" {
		os.Exit(m.Run())
	}
	for _, addr := range strings.Split(os.Getenv(childVariable), ",") {
		if l, err := net.Listen("tcp", addr); err == nil {
			_ = l.Close()
			os.Exit(1)
		}
	}
	os.Exit(0)
}

// guardOf returns the address of a port's guard.
func guardOf(t *testing.T, addr string) string {
	t.Helper()
	a, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return at(a.Port + count)
}

// A port is given once, in this process and in others, and again when its test has ended.
func TestAPortIsGivenOnce(t *testing.T) {
	list := []string{}
	t.Run("while a test runs", func(t *testing.T) {
		list = Addresses(t, 3)
		var held []string
		for _, addr := range list {
			if !free(addr) {
				t.Errorf("%s is not free", addr)
			}
			held = append(held, guardOf(t, addr))
		}
		path, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		c := exec.CommandContext(t.Context(), path)
		c.Env = append(os.Environ(), childVariable+"="+strings.Join(held, ","))
		if err := c.Run(); err != nil {
			t.Errorf("another process could have %v as well: %v", list, err)
		}
		place := portOf(t, list[0]) - first
		if again := take(t, place, 3); again != nil {
			t.Errorf("given twice: %v", again)
		}
	})
	if again := take(t, portOf(t, list[0])-first, 3); again == nil {
		t.Errorf("%v are held after the end of their test", list)
	}
}

func portOf(t *testing.T, addr string) int {
	t.Helper()
	a, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	return a.Port
}

// What somebody listens at is given to nobody, TCP or UDP, and nothing of a row that
// cannot be had whole stays taken.
func TestAPortInUseIsNotGiven(t *testing.T) {
	addr := Address(t)
	u, err := net.ListenPacket("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	if free(addr) {
		t.Error("a port that UDP has counts as free")
	}
	before := portOf(t, addr) - first - 1
	if before < 0 {
		t.Skip("the first port of all: there is none before it")
	}
	if list := take(t, before, 2); list != nil {
		t.Errorf("got %v, one of them is taken", list)
	}
	if l, err := net.Listen("tcp", at(guards+before)); err != nil {
		t.Error("the guard of the port before stayed")
	} else {
		_ = l.Close()
	}
}
