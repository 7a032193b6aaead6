package wal

import (
	"errors"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage/vfs"
)

func TestAPromiseOutlivesAPowerCut(t *testing.T) {
	disk := vfs.NewMemory(1)
	lock, err := LockDir(disk, "d")
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	want := Promise{To: "h:1", Names: []string{"h:1", "i:2\nname \"j:3\""}, Addresses: []string{"10.0.0.1:1"}}
	if p, err := ReadPromise(disk, "d"); p != nil || err != nil {
		t.Fatalf("got %v, %v before it was given", p, err)
	}
	if err := WritePromise(disk, "d", want); err != nil {
		t.Fatal(err)
	}
	disk.Crash()
	if got, err := ReadPromise(disk, "d"); err != nil || !reflect.DeepEqual(*got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	if _, err := ReadIdentity(disk, "d"); !errors.Is(err, protocol.ErrNotFound) {
		t.Errorf("a directory with a promise: got %v, want %v", err, protocol.ErrNotFound)
	}
}

func TestADamagedPromiseIsOne(t *testing.T) {
	disk := vfs.NewMemory(1)
	if err := disk.MkdirAll("d"); err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"", "to \"h:1", "name \x00\n", "\n\n"} {
		if err := vfs.WriteFile(disk, filepath.Join("d", promiseFile), []byte(text)); err != nil {
			t.Fatal(err)
		}
		if p, err := ReadPromise(disk, "d"); err != nil || p == nil || len(p.Names) > 0 {
			t.Errorf("%q: got %v, %v, want a promise for a list that nobody has", text, p, err)
		}
	}
	if err := ForgetPromise(disk, "d"); err != nil {
		t.Fatal(err)
	}
	if p, err := ReadPromise(disk, "d"); p != nil || err != nil {
		t.Errorf("got %v, %v after it was taken out", p, err)
	}
	if err := ForgetPromise(disk, "d"); err != nil {
		t.Error(err)
	}
}
