package lint

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// fixture is a small tree, and what the rule named must find in it: the text
// of the lines that end in "//! rule". A fixture without one must be clean.
type fixture struct {
	rule  string
	name  string
	files map[string]string
}

const mod = Module

func TestRules(t *testing.T) {
	for _, f := range slices.Concat(importFixtures, apartFixtures, dependencyFixtures, purityFixtures, socketFixtures, orderFixtures, shapeFixtures, globalFixtures, sleepFixtures, lengthFixtures, nameFixtures) {
		t.Run(f.rule+"/"+strings.ReplaceAll(f.name, " ", "-"), func(t *testing.T) { f.run(t) })
	}
}

func (f fixture) run(t *testing.T) {
	tree, err := Parse(f.files)
	if err != nil {
		t.Fatal(err)
	}
	rules := slices.DeleteFunc(Rules(), func(r Rule) bool { return r.Name != f.rule })
	if len(rules) != 1 {
		t.Fatalf("got %d rules named %q, want 1", len(rules), f.rule)
	}
	got := []string{}
	for _, v := range tree.Check(rules...) {
		got = append(got, fmt.Sprintf("%s:%d", v.Pos.Filename, v.Pos.Line))
	}
	want := []string{}
	for name, text := range f.files {
		for i, line := range strings.Split(text, "\n") {
			if strings.HasSuffix(line, "//!") {
				want = append(want, fmt.Sprintf("%s:%d", name, i+1))
			}
		}
	}
	slices.Sort(want)
	got = slices.Compact(got)
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("got violations at %v, want %v\n%v", got, want, tree.Check(rules...))
	}
}

// TestEveryRuleIsProved fails when a rule has no fixture that breaks it.
func TestEveryRuleIsProved(t *testing.T) {
	proved := map[string]bool{}
	for _, f := range slices.Concat(importFixtures, apartFixtures, dependencyFixtures, purityFixtures, socketFixtures, orderFixtures, shapeFixtures, globalFixtures, sleepFixtures, lengthFixtures, nameFixtures) {
		for _, text := range f.files {
			proved[f.rule] = proved[f.rule] || strings.Contains(text, "//!")
		}
	}
	for _, rule := range Rules() {
		if !proved[rule.Name] {
			t.Errorf("no fixture breaks rule %q", rule.Name)
		}
	}
}

// one is a tree of one file.
func one(name, text string) map[string]string { return map[string]string{name: text} }

// importing is a file that imports one package, and breaks the rule or not.
func importing(name, importPath string, breaks bool) map[string]string {
	mark := ""
	if breaks {
		mark = " //!"
	}
	return one(name, fmt.Sprintf("package x\nimport _ %q%s\n", importPath, mark))
}

var importFixtures = []fixture{
	{"imports", "active imports gossip", importing("active/a.go", mod+"/gossip", true)},
	{"imports", "active imports protocol", importing("active/a.go", mod+"/protocol", false)},
	{"imports", "active imports invariant", importing("active/a.go", mod+"/internal/invariant", false)},
	{"imports", "protocol imports active", importing("protocol/a.go", mod+"/active", true)},
	{"imports", "gossip imports swim", importing("gossip/a.go", mod+"/gossip/swim", true)},
	{"imports", "gossip imports passive", importing("gossip/a.go", mod+"/passive", true)},
	{"imports", "swim imports gossip", importing("gossip/swim/a.go", mod+"/gossip", false)},
	{"imports", "storage sibling", importing("storage/wal/a.go", mod+"/storage/vfs", false)},
	{"imports", "storage imports resources", importing("storage/wal/a.go", mod+"/resources", true)},
	{"imports", "kvmap imports resources", importing("resources/kvmap/a.go", mod+"/resources", false)},
	{"imports", "state imports resources", importing("internal/state/a.go", mod+"/resources", true)},
	{"imports", "gossip imports state", importing("gossip/a.go", mod+"/internal/state", true)},
	{"imports", "resources imports storage", importing("resources/a.go", mod+"/storage", true)},
	{"imports", "replica imports wal", importing("internal/replica/a.go", mod+"/storage/wal", true)},
	{"imports", "replica imports storage", importing("internal/replica/a.go", mod+"/storage", false)},
	{"imports", "replica imports policy", importing("internal/replica/a.go", mod+"/internal/policy", false)},
	{"imports", "policy imports active", importing("internal/policy/a.go", mod+"/active", true)},
	{"imports", "runtime imports wire", importing("internal/runtime/a.go", mod+"/internal/wire", false)},
	{"imports", "runtime imports client", importing("internal/runtime/a.go", mod+"/internal/client", true)},
	{"imports", "client imports kvmap", importing("internal/client/a.go", mod+"/resources/kvmap", true)},
	{"imports", "client imports runtime", importing("internal/client/a.go", mod+"/internal/runtime", true)},
	{"imports", "web imports wire", importing("internal/web/a.go", mod+"/internal/wire", true)},
	{"imports", "sim imports swim", importing("internal/sim/a.go", mod+"/gossip/swim", true)},
	{"imports", "sim imports runtime", importing("internal/sim/a.go", mod+"/internal/runtime", true)},
	{"imports", "lint imports protocol", importing("internal/dev/lint/a.go", mod+"/protocol", true)},
	{"imports", "invariant imports protocol", importing("internal/invariant/a.go", mod+"/protocol", true)},
	{"imports", "root imports replica", importing("a.go", mod+"/internal/replica", true)},
	{"imports", "root imports runtime", importing("a.go", mod+"/internal/runtime", false)},
	{"imports", "cmd imports runtime", importing("cmd/a.go", mod+"/internal/runtime", true)},
	{"imports", "cmd imports sim", importing("cmd/a.go", mod+"/internal/sim", false)},
	{"imports", "main imports sim", importing("cmd/starling/a.go", mod+"/internal/sim", true)},
	{"imports", "example imports client", importing("examples/hello/a.go", mod+"/internal/client", true)},
	{"imports", "example imports protocol", importing("examples/hello/a.go", mod+"/protocol", true)},
	{"imports", "example imports example", importing("examples/embedded/a.go", mod+"/examples/auction", false)},
	{"imports", "test of active imports passive", importing("active/a_test.go", mod+"/passive", false)},
	{"imports", "test of active imports runtime", importing("active/a_test.go", mod+"/internal/runtime", true)},
	{"imports", "test of client imports runtime", importing("internal/client/a_test.go", mod+"/internal/runtime", false)},
	{"imports", "test of client imports cmd", importing("internal/client/a_test.go", mod+"/cmd", true)},
	{"imports", "package without a row", one("internal/helpers/a.go", "package x //!\n")},
	{"imports", "dot import", one("active/a.go", "package x\nimport . \"fmt\" //!\n")},
}

var apartFixtures = []fixture{
	{"apart", "sim reaches Badger through another package", map[string]string{
		"internal/sim/a.go":                "package sim\nimport _ \"" + mod + "/storage/wal\" //!\nimport _ \"" + mod + "/storage/vfs\"\n",
		"storage/wal/a.go":                 "package wal\nimport _ \"" + mod + "/storage/x\"\n",
		"storage/x/a.go":                   "package x\nimport _ \"" + mod + "/storage/engine/badgerengine\"\n",
		"storage/engine/badgerengine/a.go": "package badgerengine\n",
		"storage/vfs/a.go":                 "package vfs\n",
		"storage/vfs/a_test.go":            "package vfs\nimport _ \"" + mod + "/storage/engine/badgerengine\"\n",
		"internal/runtime/a.go":            "package runtime\nimport _ \"" + mod + "/storage/wal\"\n",
		"internal/sim/a_test.go":           "package sim\nimport _ \"" + mod + "/storage/engine/badgerengine\"\n",
		"storage/checkpoint/a.go":          "package checkpoint\nimport _ \"" + mod + "/storage/engine/badgerengine\" //!\n",
	}},
}

var dependencyFixtures = []fixture{
	{"dependencies", "core uses msgpack", importing("active/a.go", "github.com/vmihailenco/msgpack/v5", true)},
	{"dependencies", "protocol uses msgpack", importing("protocol/a.go", "github.com/vmihailenco/msgpack/v5", false)},
	{"dependencies", "runtime uses memberlist", importing("internal/runtime/a.go", "github.com/hashicorp/memberlist", true)},
	{"dependencies", "product uses goleak", importing("internal/runtime/a.go", "go.uber.org/goleak", true)},
	{"dependencies", "test uses goleak", importing("internal/runtime/a_test.go", "go.uber.org/goleak", false)},
	{"dependencies", "one that is not listed", importing("cmd/a_test.go", "example.org/other", true)},
	{"dependencies", "package of a module", importing("storage/vfs/a.go", "golang.org/x/sys/unix", false)},
}

var purityFixtures = []fixture{
	{"purity", "imports", one("active/a.go", `package active
import (
	"context" //!
	"crypto/rand" //!
	"log/slog" //!
	"net/http" //!
	"os" //!
	"sync/atomic" //!
	"slices"
)
`)},
	{"purity", "other packages are free", importing("internal/runtime/a.go", "os", false)},
	{"purity", "swim is free", importing("gossip/swim/a.go", "net", false)},
	{"purity", "tests are free", importing("active/a_test.go", "os", false)},
	{"purity", "statements", one("internal/replica/a.go", `package replica
func f(
	c chan int, //!
) {
	go f(nil) //!
	c <- 1 //!
	select {} //!
	println("x") //!
}
`)},
	{"purity", "clock", one("internal/policy/a.go", `package policy
import "time"
import clock "time"
const d = 3 * time.Second
func f(d time.Duration) {
	_ = time.Now() //!
	now := clock.Now //!
	time.Sleep(d) //!
	_ = time.NewTimer(d) //!
	_ = clock.Since(now()) //!
	var at clock.Time //!
	_ = at
}
`)},
	{"purity", "randomness", one("gossip/a.go", `package gossip
import "math/rand/v2"
type Core struct{ random *rand.Rand }
func New(seed uint64) *Core {
	_ = rand.IntN(3) //!
	rand.Shuffle(0, nil) //!
	return &Core{rand.New(rand.NewPCG(seed, seed))}
}
`)},
	{"purity", "a variable with a package's name", one("passive/a.go", `package passive
import "time"
type clock struct{ Now func() int }
var _ time.Duration
func f(time clock) int { return time.Now() }
`)},
	{"purity", "printing", one("active/a.go", `package active
import "fmt"
func f() string {
	fmt.Println("x") //!
	return fmt.Sprint("x")
}
`)},
}

var orderFixtures = []fixture{
	{"map-order", "range", one("active/a.go", `package active
type peers map[string]int
type m struct{ all peers; list []int }
func (m *m) f() {
	for range m.all { //!
	}
	for range m.list {
	}
	for k := range m.all { // order does not matter: a sum is the same in any
		_ = k
	}
	for k := range m.all { //!
		_ = k // order does not matter: says the wrong line
	}
}
`)},
	{"map-order", "a reason is needed", one("gossip/a.go",
		"package gossip\nfunc f(m map[int]int) {\n\tfor range m { // order does not matter //!\n\t}\n}\n")},
	{"map-order", "types of other packages", map[string]string{
		"protocol/a.go": "package protocol\ntype Set map[int]bool\ntype Box struct{ In Set }\nfunc Make() Set { return nil }\n",
		"internal/replica/a.go": `package replica
import "github.com/starlinghq/starling/protocol"
func f(b *protocol.Box) {
	for range b.In { //!
	}
	for range protocol.Make() { //!
	}
}
`}},
	{"map-order", "copies and generics", one("resources/a.go", `package resources
import "maps"
func f(m map[int]int) {
	copied := maps.Clone(m)
	for range copied { //!
	}
}
func g[M ~map[K]V, K comparable, V any](m M) {
	for range m { //!
	}
}
`)},
	{"map-order", "iterators", one("resources/kvmap/a.go", `package kvmap
import (
	"maps"
	"slices"
	"sync"
)
var s struct {
	m sync.Map //!
}
func f(m map[int]int) []int {
	for range maps.Keys(m) { //!
	}
	_ = slices.Collect(maps.Values(m)) //!
	return slices.Sorted(maps.Keys(m))
}
`)},
	{"map-order", "other packages are free", one("internal/runtime/a.go", "package runtime\nfunc f(m map[int]int) {\n\tfor range m {\n\t}\n}\n")},
}

var shapeFixtures = []fixture{
	{"size", "long file", one("cmd/a.go", "package cmd //!\n"+strings.Repeat("\n", fileLinesMax))},
	{"size", "file at the limit", one("cmd/a.go", "package cmd\n"+strings.Repeat("\n", fileLinesMax-1))},
	{"size", "long test", one("cmd/a_test.go", "package cmd\n"+strings.Repeat("\n", fileLinesMax)+"func f() {\n"+strings.Repeat("\n", functionLinesMax)+"}\n")},
	{"size", "long function", one("cmd/a.go", "package cmd\nfunc f() { //!\n"+strings.Repeat("\n", functionLinesMax-1)+"}\n")},
	{"width", "many methods", one("protocol/a.go", "package protocol\ntype t int //!\n"+strings.Repeat("func (t) f() {}\n", methodsMax)+"func (*t) g() {}\n")},
	{"width", "many fields", one("protocol/b.go", "package protocol\ntype t struct { //!\nE\n"+strings.Repeat("f int\n", fieldsMax)+"}\ntype E int\n")},
	{"width", "at the limits", one("protocol/a.go", "package protocol\ntype t struct {\n"+strings.Repeat("f int\n", fieldsMax)+"}\n"+strings.Repeat("func (t) f() {}\n", methodsMax))},
	{"width", "a record", one("protocol/a.go", "package protocol\ntype t struct {\n"+strings.Repeat("F int\n", fieldsMax+1)+"}\n")},
	{"width", "wide type of the list that has shrunk", one("active/a.go", "package active\ntype Member struct{ f int } //!\n")},
	{"width", "wide type of the list that is gone", one("active/a.go", "package active //!\n")},
	{"size", "function at the limit", one("cmd/a.go", "package cmd\nfunc f() {\n"+strings.Repeat("\n", functionLinesMax-2)+"}\n")},
	{"package-doc", "none", one("cmd/a.go", "package cmd //!\n")},
	{"package-doc", "another form", one("cmd/a.go", "// This is the command.\npackage cmd //!\n")},
	{"package-doc", "in one of two files", map[string]string{
		"cmd/a.go": "package cmd\n", "cmd/doc.go": "// Package cmd is the command.\npackage cmd\n",
	}},
	{"package-doc", "a program", one("cmd/starling/main.go", "// Starling is the binary.\npackage main\n")},
	{"package-doc", "tests only", one("cmd/a_test.go", "package cmd\n")},
	{"init", "function", one("cmd/a.go", "package cmd\nfunc init() {} //!\n")},
	{"init", "method", one("cmd/a.go", "package cmd\ntype t int\nfunc (t) init() {}\n")},
	{"unfinished", "marks", one("cmd/a.go", "package cmd\n// TO"+"DO: later //!\nvar a = 1 // FIX"+"ME //!\nvar b = \"TO"+"DO\"\n")},
}

var globalFixtures = []fixture{
	{"globals", "assignments", map[string]string{
		"cmd/a.go": `package cmd
var n, once int = 0, 1
var list [3]int
var box struct{ in map[int]*int }
func f() {
	n = 1 //!
	n++ //!
	list[1] = 2 //!
	box.in[0] = nil //!
	*box.in[0] = 3 //!
	_, box.in = f2() //!
	for n = range 3 { //!
	}
	delete(box.in, 0) //!
	p := &n //!
	_ = p
	_ = once
}
func f2() (int, map[int]*int)
`,
		"cmd/b.go": "package cmd\nfunc g() {\n\tn = 2 //!\n}\n",
	}},
	{"globals", "locals with the same name", one("cmd/a.go", `package cmd
var n int
type t struct{ n int }
func f(n int) {
	n = 1
	var x t
	x.n = n
	_ = &t{n: n}
}
func g() {
	n := n
	n++
}
`)},
	{"globals", "of another package", map[string]string{
		"protocol/a.go": "package protocol\nvar Limit int\n",
		"cmd/a.go":      "package cmd\nimport \"" + mod + "/protocol\"\nfunc f() {\n\tprotocol.Limit = 1 //!\n}\n",
	}},
	{"globals", "in an external test", map[string]string{
		"cmd/a.go":      "package cmd\nvar Limit int\n",
		"cmd/a_test.go": "package cmd_test\nimport \"" + mod + "/cmd\"\nfunc f() {\n\tcmd.Limit = 1 //!\n}\n",
	}},
}

var socketFixtures = []fixture{
	{"sockets", "dialled and listened", one("internal/web/a.go", `package web
import "net"
func f() {
	_, _ = net.Dial("tcp", "a:1") //!
	_, _ = net.Listen("tcp", "a:1") //!
	var d net.Dialer //!
	_, _, _ = net.SplitHostPort("a:1")
	_ = d
}
`)},
	{"sockets", "by the one who may", one("internal/security/a.go", "package security\nimport \"net\"\nvar d net.Dialer\n")},
	{"sockets", "for tests", one("internal/dev/bench/a.go", "package bench\nimport \"net\"\nvar d net.Dialer\n")},
	{"sockets", "in a test", one("internal/web/a_test.go", "package web\nimport \"net\"\nvar listen = net.Listen\n")},
}

var sleepFixtures = []fixture{
	{"sleep", "in a test", one("cmd/a_test.go", `package cmd
import (
	"testing"
	"testing/synctest"
	"time"
)
func TestA(t *testing.T) {
	time.Sleep(1) //!
	nap := time.Sleep //!
	<-time.After(1) //!
	select {
	case <-time.After(1):
	}
	synctest.Test(t, func(t *testing.T) { time.Sleep(1) })
	nap(1)
}
`)},
	{"sleep", "in the product", one("cmd/a.go", "package cmd\nimport \"time\"\nfunc f() { time.Sleep(1) }\n")},
}

var lengthFixtures = []fixture{
	{"lengths", "decoded", one("cmd/a.go", `package cmd
import "encoding/binary"
func f(b []byte) (int, int, int) {
	n := binary.BigEndian.Uint32(b)
	if n > 100 {
		return 0, 0, 0
	}
	le := binary.LittleEndian
	return int(n), int(le.Uint32(b)), int(binary.BigEndian.Uint16(b)) //!
}
`)},
}

var nameFixtures = []fixture{
	{"names", "more than authors see", one("resources/a.go", `package resources //!

type Motor struct { //!
	Disk   int //!
	hidden int
}

func (*Motor) Start() {} //!

type hidden struct{ Shown int }

func (hidden) Shows() {}

func Delete() {}
`)},
	{"names", "another package", one("resources/kvmap/a.go", "package kvmap\n\nfunc Anything() {}\n")},
	{"indexes", "plain numbers", one("a.go", `package starling

type Index uint64

type Status struct {
	Applied *uint64 //!
	Refuse  []uint64 //!
	Commit  Index
	Term    uint64
}

func (Status) Seen() uint64 { return 0 } //!

func AtLeast(index uint64) {} //!
`)},
	{"indexes", "another package", one("gossip/a.go", "package gossip\n\nfunc At(index uint64) {}\n")},
}
