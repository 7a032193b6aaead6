package resources_test

import (
	"testing"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources"
	"github.com/starlinghq/starling/resources/counter"
	"github.com/starlinghq/starling/resources/kvmap"
	"github.com/starlinghq/starling/resources/queue"
)

// Which commands free space is what their authors have declared.
func TestWhichCommandsFreeSpace(t *testing.T) {
	nothing := func(*resources.Tx, string) (int, error) { return 0, nil }
	own := resources.NewType("own", 1, resources.NewCommand("drop", nothing).Frees(), resources.NewCommand("keep", nothing))
	registry, err := resources.NewRegistry(kvmap.Type, queue.Type, counter.Type, own)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		kind, operation string
		want            bool
	}{
		{"map", "put", false}, {"map", "putall", false}, {"map", "delete", true},
		{"queue", "push", false}, {"queue", "pop", true}, {"counter", "add", false},
		{protocol.CatalogueType, "delete", true},
		{protocol.SessionType, protocol.SessionOpen, true}, {protocol.SessionType, protocol.SessionKeepAlive, true}, {protocol.SessionType, protocol.SessionClose, true},
		{"own", "drop", true}, {"own", "keep", false}, {"own", "unknown", false}, {"unknown", "drop", false},
	} {
		version := uint32(1)
		if x.kind == protocol.CatalogueType {
			version = protocol.CatalogueVersion
		}
		c := &protocol.Command{Type: x.kind, Version: version, Operation: x.operation}
		if got := registry.Frees(c); got != x.want {
			t.Errorf("%s.%s: got %v, want %v", x.kind, x.operation, got, x.want)
		}
	}
}
