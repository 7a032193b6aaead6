package starling_test

import (
	"context"
	"errors"
	"math"
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
		{starling.Config{Election: -1}, "from 15ms to 1m0s"},
		{starling.Config{Timing: "slow", Election: 30 * time.Millisecond, Heartbeat: 20 * time.Millisecond}, "three heartbeats of 20ms"},
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

// Every number of a Config has bounds, and one below and one above is refused with its
// name and its range.
func TestEveryNumberOfAConfigHasBounds(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	for field, list := range map[string][]func(*starling.Config){
		"Heartbeat": {
			func(c *starling.Config) { c.Heartbeat = -1 }, func(c *starling.Config) { c.Heartbeat = time.Millisecond },
			func(c *starling.Config) { c.Heartbeat, c.Election = 10*time.Minute, time.Hour }, func(c *starling.Config) { c.Heartbeat = math.MaxInt64 },
		},
		"Election": {
			func(c *starling.Config) { c.Election = -1 }, func(c *starling.Config) { c.Heartbeat, c.Election = 5*time.Millisecond, 14*time.Millisecond },
			func(c *starling.Config) { c.Election = 61 * time.Second }, func(c *starling.Config) { c.Election = 10000 * time.Hour }, func(c *starling.Config) { c.Election = math.MaxInt64 },
		},
		"CheckpointBytes":   {func(c *starling.Config) { c.CheckpointBytes = -1 }, func(c *starling.Config) { c.CheckpointBytes = 1 }, func(c *starling.Config) { c.CheckpointBytes = math.MaxInt }},
		"CheckpointEvery":   {func(c *starling.Config) { c.CheckpointEvery = 1 }, func(c *starling.Config) { c.CheckpointEvery = math.MaxInt64 }},
		"RetainBytes":       {func(c *starling.Config) { c.RetainBytes = math.MaxInt }},
		"ChangesBytes":      {func(c *starling.Config) { c.ChangesBytes = 1 << 20 }},
		"DiskLow":           {func(c *starling.Config) { c.DiskLow = math.MaxUint64 }, func(c *starling.Config) { c.DiskLow, c.DiskHigh = 8, 7 }},
		"DiskHigh":          {func(c *starling.Config) { c.DiskHigh = math.MaxUint64 }, func(c *starling.Config) { c.DiskHigh = 7 }},
		"StartTimeout":      {func(c *starling.Config) { c.StartTimeout = -1 }, func(c *starling.Config) { c.StartTimeout = math.MaxInt64 }},
		"Actives":           {func(c *starling.Config) { c.Actives = -1 }, func(c *starling.Config) { c.Actives = 65 }},
		"Expect":            {func(c *starling.Config) { c.Expect = -1 }, func(c *starling.Config) { c.Expect = 65 }},
		"GossipFanout":      {func(c *starling.Config) { c.GossipFanout = -1 }, func(c *starling.Config) { c.GossipFanout = 65 }},
		"GossipProbability": {func(c *starling.Config) { c.GossipProbability = nan }, func(c *starling.Config) { c.GossipProbability = inf }, func(c *starling.Config) { c.GossipProbability = -inf }, func(c *starling.Config) { c.GossipProbability = 1.5 }},
		"Advertise": {
			func(c *starling.Config) { c.Advertise = "0.0.0.0:7600" }, func(c *starling.Config) { c.Advertise = "[::]:7600" },
			func(c *starling.Config) { c.Advertise = ":7600" }, func(c *starling.Config) { c.Advertise = "224.0.0.1:7600" }, func(c *starling.Config) { c.Advertise = "255.255.255.255:7600" },
		},
		"Join": {func(c *starling.Config) { c.Join = []string{"0.0.0.0:7600"} }, func(c *starling.Config) { c.Join = []string{":7600"} }},
		"Dir":  {func(c *starling.Config) { c.Dir = "a\x00b" }},
	} {
		for i, change := range list {
			cfg := starling.Config{Name: "a", Bootstrap: true, Insecure: true, Join: []string{"127.0.0.1:1"}}
			if err := cfg.Validate(); err != nil {
				t.Fatal(err)
			}
			change(&cfg)
			err := cfg.Validate()
			if !errors.Is(err, starling.ErrInvalid) || !strings.Contains(err.Error(), field) {
				t.Errorf("%s, %d: got %v, want one that names it", field, i, err)
			}
		}
	}
	for what, cfg := range map[string]starling.Config{
		"never, and none": {CheckpointEvery: math.MinInt64, RetainBytes: math.MinInt},
		"the least":       {Heartbeat: 5 * time.Millisecond, Election: 15 * time.Millisecond, CheckpointEvery: 100 * time.Millisecond, CheckpointBytes: 4096, RetainBytes: 1, DiskLow: 1, DiskHigh: 1, GossipProbability: 0.01, StartTimeout: 100 * time.Millisecond},
		"the most": {
			Heartbeat: 20 * time.Second, Election: time.Minute, CheckpointEvery: 8760 * time.Hour, CheckpointBytes: 1 << 40, RetainBytes: 1 << 40,
			DiskLow: 1 << 62, DiskHigh: 1 << 62, GossipProbability: 1, GossipFanout: 64, Actives: 64, StartTimeout: 8760 * time.Hour,
		},
		"0 that is negative": {GossipProbability: math.Copysign(0, -1)},
	} {
		cfg.Name, cfg.Bootstrap = "a", true
		if err := cfg.Validate(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// Members in one process have as many ports as they need, on this machine.
func TestEveryNumberOfALocalConfigHasBounds(t *testing.T) {
	for field, cfg := range map[string]starling.LocalConfig{
		"Actives is -1": {Actives: -1}, "Actives is 65": {Actives: 65}, "Passives is -1": {Passives: -1}, "Passives is 1000000": {Passives: 1e6},
		"Bind 127.0.0.1:65530 leaves no ports for 9": {Actives: 9, Bind: "127.0.0.1:65530"}, "HTTP 127.0.0.1:65535 leaves no ports": {HTTP: "127.0.0.1:65535"},
		"Bind 10.0.0.1:1 is not of this machine": {Bind: "10.0.0.1:1"}, "HTTP 0.0.0.0:1 is not of this machine": {HTTP: "0.0.0.0:1"},
		"Election is 10000h0m0s": {Election: 10000 * time.Hour}, "GossipProbability is NaN": {GossipProbability: math.NaN()},
	} {
		if err := cfg.Validate(); !errors.Is(err, starling.ErrInvalid) || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: got %v", field, err)
		}
	}
	for field, cfg := range map[string]starling.ClientConfig{
		"DialTimeout is -1ns": {DialTimeout: -1}, "PingTimeout is 1ns": {PingTimeout: 1}, "SessionTimeout is 2540400h0m0s": {SessionTimeout: 2540400 * time.Hour}, "Cluster is": {Cluster: "x"},
	} {
		cfg.Addresses = []string{"127.0.0.1:1"}
		if err := cfg.Validate(); !errors.Is(err, starling.ErrInvalid) || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: got %v", field, err)
		}
	}
}
