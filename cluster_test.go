package starling_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/starlinghq/starling"
)

// TestAClientDemandsACluster dials with the id of the cluster that is there, and with
// another one.
func TestAClientDemandsACluster(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c, err := starling.Local(ctx, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	own := c.Nodes[0].Status().Cluster
	client, err := starling.Dial(ctx, starling.ClientConfig{Addresses: []string{c.Nodes[0].Addr()}, Cluster: own})
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Close(); err != nil {
		t.Error(err)
	}
	other := strings.Repeat("ab", 16)
	client, err = starling.Dial(ctx, starling.ClientConfig{Addresses: []string{c.Nodes[0].Addr()}, Cluster: other})
	if err == nil {
		client.Close()
	}
	if !errors.Is(err, starling.ErrWrongCluster) || !strings.Contains(err.Error(), own) || !strings.Contains(err.Error(), other) {
		t.Errorf("got %v, want %v that names %s and %s", err, starling.ErrWrongCluster, own, other)
	}
	for _, bad := range []string{"ab", strings.Repeat("0", 32), "x" + other[1:]} {
		if err := (starling.ClientConfig{Addresses: []string{"127.0.0.1:1"}, Cluster: bad}).Validate(); !errors.Is(err, starling.ErrInvalid) {
			t.Errorf("%q: got %v, want %v", bad, err, starling.ErrInvalid)
		}
	}
}
