package kvmap_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
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

func TestConditions(t *testing.T) {
	ctx, c := context.Background(), resourcetest.NewCaller(t, kvmap.Type)
	put := func(key string, condition kvmap.Condition, version protocol.Index) (protocol.Index, error) {
		return kvmap.Put.Do(ctx, c, "m", kvmap.PutRequest{Key: []byte(key), Value: []byte("v"), Condition: condition, Version: version})
	}
	remove := func(key string, condition kvmap.Condition, version protocol.Index) (protocol.Index, error) {
		return kvmap.Delete.Do(ctx, c, "m", kvmap.DeleteRequest{Key: []byte(key), Condition: condition, Version: version})
	}
	first, err := put("a", kvmap.IfAbsent, 0)
	if err != nil {
		t.Fatal(err)
	}
	refused := func(what string, got protocol.Index, err error, want protocol.Index) {
		t.Helper()
		if !errors.Is(err, protocol.ErrConditionFailed) || got != want {
			t.Errorf("%s: got %d, %v, want %d, refused", what, got, err, want)
		}
	}
	got, err := put("a", kvmap.IfAbsent, 0)
	refused("put if absent", got, err, first)
	got, err = put("b", kvmap.IfPresent, 0)
	refused("put if present", got, err, 0)
	got, err = put("a", kvmap.IfVersion, first+1)
	refused("put if another version", got, err, first)
	got, err = put("a", kvmap.IfVersion, 0)
	refused("put if version 0", got, err, first)
	got, err = remove("a", kvmap.IfVersion, first+1)
	refused("delete if another version", got, err, first)
	got, err = remove("b", kvmap.IfPresent, 0)
	refused("delete if present", got, err, 0)
	second, err := put("a", kvmap.IfVersion, first)
	if err != nil || second <= first {
		t.Errorf("put if version: got %d, %v, want above %d", second, err, first)
	}
	if got, err := put("b", kvmap.IfVersion, 0); err != nil {
		t.Errorf("put if version 0 of an absent key: got %d, %v", got, err)
	}
	if got, err := remove("a", kvmap.IfVersion, second); err != nil || got != second {
		t.Errorf("delete if version: got %d, %v, want %d", got, err, second)
	}
	if got, err := remove("a", kvmap.Always, 0); err != nil || got != 0 {
		t.Errorf("delete of nothing: got %d, %v, want 0", got, err)
	}
	if _, err := put("a", 9, 0); !errors.Is(err, protocol.ErrInvalid) {
		t.Errorf("got %v, want an unknown condition", err)
	}
	if _, err := put("", kvmap.Always, 0); !errors.Is(err, protocol.ErrInvalid) {
		t.Errorf("got %v, want an invalid key", err)
	}
	if _, err := put(strings.Repeat("k", protocol.KeyBytesMax+1), kvmap.Always, 0); !errors.Is(err, protocol.ErrTooLarge) {
		t.Errorf("got %v, want too large", err)
	}
}

func TestScanPages(t *testing.T) {
	ctx, c := context.Background(), resourcetest.NewCaller(t, kvmap.Type)
	var pairs kvmap.Pairs
	for k := range 2500 {
		pairs = append(pairs, kvmap.Pair{Key: fmt.Appendf(nil, "p/%04d", k), Value: make([]byte, k%3*100)})
	}
	pairs = append(pairs, kvmap.Pair{Key: []byte("o")}, kvmap.Pair{Key: []byte("p0")})
	if _, err := kvmap.PutAll.Do(ctx, c, "m", pairs); err != nil {
		t.Fatal(err)
	}
	for _, limit := range []int{0, 1, 7, 5000} {
		r, n, pages := kvmap.Prefix([]byte("p/")), 0, 0
		for r.Limit = limit; ; pages++ {
			page, err := kvmap.Scan.Do(ctx, c, "m", r)
			if err != nil {
				t.Fatal(err)
			}
			for _, item := range page.Items {
				if want := pairs[n]; !bytes.Equal(item.Key, want.Key) || !bytes.Equal(item.Value, want.Value) {
					t.Fatalf("item %d: got %q, want %q", n, item.Key, want.Key)
				}
				n++
			}
			if len(page.Next) == 0 {
				break
			}
			r.From = page.Next
		}
		if n != 2500 {
			t.Errorf("limit %d: got %d items on %d pages, want 2500", limit, n, pages+1)
		}
	}
	if _, err := kvmap.PutAll.Do(ctx, c, "m", kvmap.Pairs{{Key: []byte("z")}, {Key: nil}}); !errors.Is(err, protocol.ErrInvalid) {
		t.Errorf("got %v, want an invalid key", err)
	}
	if size, err := kvmap.Size.Do(ctx, c, "m", struct{}{}); size != 2502 || err != nil {
		t.Errorf("got size %d, %v, want 2502: all or none", size, err)
	}
}

func TestTypedWatch(t *testing.T) {
	ctx, c := context.Background(), resourcetest.NewCaller(t, kvmap.Type)
	events := kvmap.NewWatch[int, int]().Watch(ctx, c, "m", resources.WatchOptions{Previous: true, Bookmarks: true})
	for i, key := range []int{7, 8, 7} {
		value, _ := resources.AppendValue(nil, i)
		if _, err := kvmap.Put.Do(ctx, c, "m", kvmap.PutRequest{Key: kvmap.AppendKey(nil, key), Value: value}); err != nil {
			t.Fatal(err)
		}
	}
	kvmap.Delete.Do(ctx, c, "m", kvmap.DeleteRequest{Key: kvmap.AppendKey(nil, 7)})
	var got []string
	for e, err := range events {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, fmt.Sprint(e.Kind, e.Key, e.Value, e.PreviousKind, e.Previous))
		if e.Kind == resources.EventDelete {
			break
		}
	}
	if want := []string{"bookmark 0 0 unknown 0", "put 7 0 none 0", "put 8 1 none 0", "put 7 2 value 0", "delete 7 0 value 2"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestReplicates(t *testing.T) { resourcetest.Run(t, kvmap.Type, resourcetest.Options{}) }

func FuzzRequests(f *testing.F) {
	f.Add([]byte{0, 0, 1, 'a', 1, 'b'})
	f.Add([]byte{3, 5, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, src []byte) {
		rawAgain[kvmap.PutRequest](t, src)
		rawAgain[kvmap.DeleteRequest](t, src)
		rawAgain[kvmap.Pairs](t, src)
		rawAgain[kvmap.KeyRequest](t, src)
		rawAgain[kvmap.Item](t, src)
		rawAgain[kvmap.ScanRequest](t, src)
		rawAgain[kvmap.Page](t, src)
	})
}

// rawAgain demands that what can be read can be written and read again.
func rawAgain[T resources.RawCodec[T]](t *testing.T, src []byte) {
	t.Helper()
	value, err := resources.ParseValue[T](src)
	if err != nil {
		if !errors.Is(err, protocol.ErrMalformed) {
			t.Errorf("got %v, want malformed", err)
		}
		return
	}
	b, err := value.AppendRaw(nil)
	if err == nil {
		_, err = value.ParseRaw(b)
	}
	if err != nil {
		t.Errorf("%#v does not survive: %v", value, err)
	}
}
