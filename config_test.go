package starling_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/starlinghq/starling"
	"github.com/starlinghq/starling/resources/kvmap"
)

func TestConfigReportsAllMistakesAtOnce(t *testing.T) {
	err := starling.Config{
		Name: "a,b", Bind: "8.8.8.8:1", HTTP: "x", Join: []string{"127.0.0.1:0"}, Actives: 65,
		GossipProbability: 2, Heartbeat: time.Second, Election: time.Second, Zone: " ",
	}.Validate()
	if !errors.Is(err, starling.ErrInvalid) {
		t.Fatalf("got %v", err)
	}
	for _, want := range []string{"Name", "Bind 8.8.8.8:1 is beyond", "HTTP is host:port", "Join", "Actives is 65", "GossipProbability is 2", "three heartbeats", "Zone"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want also %q", err, want)
		}
	}
}

func TestConfigDefaultsAreEnough(t *testing.T) {
	for what, cfg := range map[string]starling.Config{
		"bootstrap in memory": {Name: "a", Bootstrap: true},
		"restart":             {Name: "a", Dir: "d"},
		"join":                {Name: "a", Join: []string{"[::1]:7600"}, Bind: "[::1]:0"},
		"a trusted network":   {Name: "a", Dir: "d", Bind: "0.0.0.0:7600", Advertise: "10.0.0.1:7600", Insecure: true},
	} {
		if err := cfg.Validate(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	for what, cfg := range map[string]starling.Config{
		"neither directory, bootstrap nor join": {Name: "a"},
		"a gossip mode that is not there":       {Name: "a", Dir: "d", GossipMode: "carrier-pigeon"},
		"no address to advertise":               {Name: "a", Dir: "d", Bind: ":7600", Insecure: true},
	} {
		if err := cfg.Validate(); !errors.Is(err, starling.ErrInvalid) {
			t.Errorf("%s: got %v", what, err)
		}
	}
}

func TestTimingIsAPresetWhoseTimesCanBeReplaced(t *testing.T) {
	for _, one := range []struct {
		cfg  starling.Config
		want string // in the error; empty: none
	}{
		{starling.Config{Timing: "fast"}, ""},
		{starling.Config{Timing: "lan"}, ""},
		{starling.Config{Timing: "wan", Election: 2 * time.Second}, ""},
		{starling.Config{Election: time.Second}, ""},
		{starling.Config{Timing: "fast", Heartbeat: 20 * time.Millisecond}, ""},
		{starling.Config{Timing: "slow"}, "fast, lan or wan"},
		{starling.Config{Election: 200 * time.Millisecond}, "three heartbeats of 100ms"},
		{starling.Config{Timing: "fast", Heartbeat: 60 * time.Millisecond}, "three heartbeats of 60ms"},
		{starling.Config{Election: -1}, "above 0"},
	} {
		one.cfg.Name, one.cfg.Bootstrap = "a", true
		err := one.cfg.Validate()
		if one.want == "" && err != nil || one.want != "" && (err == nil || !strings.Contains(err.Error(), one.want)) {
			t.Errorf("%q, %v, %v: got %v, want %q", one.cfg.Timing, one.cfg.Heartbeat, one.cfg.Election, err, one.want)
		}
	}
}

func TestOpenRefusesTypesThatCollide(t *testing.T) {
	_, err := starling.Open(context.Background(), starling.Config{Name: "a", Bootstrap: true, Bind: "127.0.0.1:0", Types: []*starling.Type{kvmap.Type}})
	if !errors.Is(err, starling.ErrInvalid) || !strings.Contains(err.Error(), "registered twice") {
		t.Errorf("got %v", err)
	}
}

func TestDialFailsAtOnceWhereNobodyAnswers(t *testing.T) {
	_, err := starling.Dial(context.Background(), starling.ClientConfig{Addresses: []string{"127.0.0.1:1"}})
	if !errors.Is(err, starling.ErrUnavailable) || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("got %v", err)
	}
	if _, err := starling.Dial(context.Background(), starling.ClientConfig{}); !errors.Is(err, starling.ErrInvalid) {
		t.Errorf("got %v", err)
	}
}
