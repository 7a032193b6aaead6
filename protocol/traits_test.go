package protocol

import (
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"strings"
	"testing"
)

// declaredKinds are the names of the kinds of messages that this package declares, as
// they stand in its source, with their values in words.
func declaredKinds(t *testing.T) (names []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "traits.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if ok && strings.HasPrefix(spec.Names[0].Name, "Kind") {
			names = append(names, spec.Names[0].Name)
		}
		return true
	})
	return names
}

// A kind that is declared and has no line, or a line with a trait left out, would be
// skipped by every receiver, or go by a lane that nobody chose, without a word.
func TestNoKindIsWithoutTraits(t *testing.T) {
	kindsKnown := Kinds()
	if got, want := len(kindsKnown), len(declaredKinds(t)); got != want {
		t.Errorf("%d kinds have a line, %d are declared: %v", got, want, declaredKinds(t))
	}
	names := map[string]MessageKind{}
	for _, k := range kindsKnown {
		line := reflect.ValueOf(kinds[k])
		for i := range line.NumField() {
			if line.Field(i).IsZero() {
				t.Errorf("%s: the trait %s is not set", k, line.Type().Field(i).Name)
			}
		}
		if other, taken := names[k.String()]; taken {
			t.Errorf("kinds %d and %d are both called %s", other, k, k)
		}
		names[k.String()] = k
	}
	sampled := map[MessageKind]bool{}
	for _, m := range fullMessages() {
		sampled[m.Kind()] = true
	}
	for _, k := range kindsKnown {
		if !sampled[k] {
			t.Errorf("%s is in no sample: its codec is not tested", k)
		}
	}
}

// A line that does not fit its own kind would be read by all who go by it.
func TestTraitsFitTogether(t *testing.T) {
	for _, k := range Kinds() {
		if k > fixIntMax {
			t.Errorf("the number of %s is no msgpack integer of one byte", k)
		}
		if k.Datagram() && !k.NeverByStream() && (k.Lane() != LaneData || !k.OfFlock()) {
			t.Errorf("%s is urgent, bulk, or of a role, and may be lost as a datagram", k)
		}
		if k.Lane() == LaneBulk && !k.KeepsBytes() {
			t.Errorf("%s gives way as bulk, and has no payload", k)
		}
		if answer, ok := strings.CutSuffix(k.String(), "-answer"); ok {
			for _, q := range Kinds() {
				if (q.String() == answer || q.String() == answer+"-question") && !q.Asks() {
					t.Errorf("%s has an answer, and does not ask", q)
				}
			}
		}
	}
	if k := MessageKind(200); k.Known() || !k.Asks() || k.OfFlock() || k.KeepsBytes() || k.String() != "message(200)" {
		t.Errorf("%s has traits that nobody gave it", k)
	}
}

// A mailbox that counts the bytes of entries and not those of answers takes two
// gigabytes of answers where it has room for 64 MiB.
func TestHeldBytesAreThoseOfEveryPayload(t *testing.T) {
	for _, m := range fullMessages() {
		got := HeldBytes(m)
		if want := m.Kind().KeepsBytes(); want != (got > 0) {
			t.Errorf("%s: got %d bytes", m.Kind(), got)
		}
	}
	if got := HeldBytes(&ForwardAnswer{Result: Result{Data: make([]byte, 1<<20)}}); got < 1<<20 {
		t.Errorf("got %d bytes of an answer of 1 MiB", got)
	}
}
