package checkpoint

import (
	"context"
	"testing"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
	"github.com/starlinghq/starling/storage/engine"
	"github.com/starlinghq/starling/storage/engine/flat"
	"github.com/starlinghq/starling/storage/vfs"
)

// slowEngine makes stores whose end takes as long as the test likes.
type slowEngine struct {
	engine.Engine
	closing chan struct{} // one value per close that has begun
	proceed chan struct{} // one value per close that may end
}

func (e slowEngine) View(s engine.Complete) (engine.View, error) {
	v, err := e.Engine.View(s)
	return slowView{v, e}, err
}

type slowView struct {
	engine.View
	e slowEngine
}

func (v slowView) Close() error {
	v.e.closing <- struct{}{}
	<-v.e.proceed
	return v.View.Close()
}

func sampleDescription(index protocol.Index) storage.Manifest {
	return storage.Manifest{Index: index, Term: 1, Configuration: protocol.ConfigurationAt{Index: 1,
		Configuration: protocol.Configuration{Target: 1, Members: []protocol.ActiveMember{{ID: protocol.MemberID{1}, Suffrage: protocol.SuffrageVoter}}}}}
}

func takeFull(s *Store, index protocol.Index) error {
	w, err := s.BeginFull(context.Background(), index, 0)
	if err != nil {
		return err
	}
	defer w.Abort()
	if err := w.Write(context.Background(), []storage.Item{{Key: []byte("k"), Index: index}}); err != nil {
		return err
	}
	_, err = w.Commit(context.Background(), sampleDescription(index))
	return err
}

// Closing a large store takes its time: whoever asks what is kept, the member's
// loop among them, does not wait for it. Close does.
func TestKeptDoesNotWaitForTheEndOfAnOldStore(t *testing.T) {
	disk := vfs.NewMemory(1)
	disk.SetCapacity(1 << 40)
	e := slowEngine{flat.New(disk), make(chan struct{}), make(chan struct{}, 10)}
	s, err := Open(disk, "/c", e, Options{BootID: "b", SpaceReserve: 1})
	if err != nil {
		t.Fatal(err)
	}
	for index := protocol.Index(1); index <= 2; index++ {
		if err := takeFull(s, index); err != nil {
			t.Fatal(err)
		}
	}
	taken := make(chan error)
	go func() { taken <- takeFull(s, 3) }()
	<-e.closing // the store of 1 is being closed, and stays so
	if kept := s.Kept(); len(kept) != 2 || kept[0].Index != 3 {
		t.Fatalf("got %d kept", len(kept))
	}
	if _, err := s.ReadChunk(context.Background(), 2, 0); err != nil {
		t.Fatal(err)
	}
	release, err := s.Pin(2)
	if err != nil {
		t.Fatal(err)
	}
	release()
	e.proceed <- struct{}{}
	if err := <-taken; err != nil {
		t.Fatal(err)
	}
	names, err := disk.ReadDir("/c")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if name == storeName(1) {
			t.Error("the old store is still there")
		}
	}
	for range 2 {
		e.proceed <- struct{}{}
	}
	go func() {
		for range 2 {
			<-e.closing
		}
	}()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
