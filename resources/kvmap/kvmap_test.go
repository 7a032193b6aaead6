package kvmap_test

import (
	"context"
	"errors"
	"testing"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
	"github.com/starlinghq/starling/resources/kvmap"
	"github.com/starlinghq/starling/resources/resourcetest"
)

func TestPutGetDelete(t *testing.T) {
	ctx, c := context.Background(), resourcetest.NewCaller(t, kvmap.Type)
	version, err := kvmap.Put.Do(ctx, c, "users", kvmap.PutRequest{Key: []byte("alice"), Value: []byte("1")})
	if err != nil {
		t.Fatal(err)
	}
	var info resources.Info
	item, err := kvmap.Get.Do(ctx, c, "users", kvmap.KeyRequest("alice"), resources.Local, resources.WithInfo(&info))
	if err != nil || string(item.Value) != "1" || item.Version != version || info.Index != version {
		t.Errorf("got %q version %d at %d, %v, want 1 version %d", item.Value, item.Version, info.Index, err, version)
	}
	if got, err := kvmap.Size.Do(ctx, c, "users", struct{}{}); got != 1 || err != nil {
		t.Errorf("got size %d, %v, want 1", got, err)
	}
	if got, err := kvmap.Delete.Do(ctx, c, "users", kvmap.DeleteRequest{Key: []byte("alice")}); got != version || err != nil {
		t.Errorf("got %d, %v, want %d", got, err, version)
	}
	if _, err := kvmap.Get.Do(ctx, c, "users", kvmap.KeyRequest("alice")); !errors.Is(err, protocol.ErrNotFound) {
		t.Errorf("got %v, want not found", err)
	}
}
