package lint

import (
	"go/ast"
	"slices"
	"testing"
)

// rawIDs are the places that may show a member by the digits of its id, and why: people
// know members by their names. By file and function.
var rawIDs = map[string]string{
	"protocol/label.go LabelOf":                "nobody knows the name, or two have it",
	"protocol/configuration.go Label":          "the configuration has no name",
	"protocol/configuration.go Validate":       "a configuration that is not sound",
	"protocol/configuration.go validate":       "a configuration that is not sound",
	"protocol/ready.go String":                 "traces, for those who read the code",
	"active/transfer.go label":                 "the configuration has no name",
	"active/replicate.go sendRange":            "an invariant that is broken",
	"membership.go labelIn":                    "only compared",
	"membership.go memberNamed":                "two members have the name",
	"replace.go takeOver":                      "two members have the name",
	"storage/wal/directory.go checkFree":       "two directories: neither tells a name",
	"internal/runtime/names.go nameTakenBy":    "two members have the name",
	"internal/runtime/join.go checkName":       "two members have the name",
	"internal/runtime/founding.go Welcome":     "beside the name",
	"internal/runtime/identity.go refused":     "beside the name",
	"internal/runtime/twins.go lookForTwin":    "beside the name",
	"internal/runtime/refused.go checkRefused": "before the start: no name is known",
	"internal/runtime/notice.go look":          "the configuration has no name",
	"gossip/swim/delegate.go NotifyConflict":   "beside the name",
	"gossip/swim/delegate.go understands":      "beside the name",
	"gossip/swim/delegate.go learn":            "beside the name",
	"gossip/swim/renumbered.go means":          "beside the name",
	"internal/handshake/handshake.go agree":    "links know ids",
	"gossip/swim/swim.go Send":                 "of one that is not known",
	"gossip/gossip.go String":                  "nobody knows the name",
	"internal/handshake/holders.go Twin":       "beside the name",
	"internal/handshake/holders.go superseded": "beside the name",
	"internal/repair/chain.go differs":         "the core of the repair knows no names",
	"internal/sim/describe.go nameOf":          "nobody knows the name",
	"internal/sim/effects.go Send":             "an invariant that is broken",
	"internal/sim/shadow.go promises":          "an invariant that is broken",
	"internal/wire/admit.go admitMember":       "debug; links know ids",
	"internal/wire/peer.go sendOn":             "links know ids",
	"internal/wire/peer.go run":                "debug; links know ids",
	"internal/handshake/handshake.go other":    "links know ids",
	"internal/wire/server.go serveMember":      "debug; links know ids",
	"internal/replica/watermarks.go Check":     "beside the name",
}

// A text with the digits of an id where a name is known helps nobody: each place that
// has them stands above, with its reason.
func TestTextsCallMembersByTheirNames(t *testing.T) {
	tree, err := house()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	report := &Report{Tree: tree}
	report.files(func(p *Package, f *File) {
		if f.Test {
			return
		}
		for _, d := range f.Syntax.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			ast.Inspect(fn, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok || len(call.Args) > 0 {
					return true
				}
				s, ok := call.Fun.(*ast.SelectorExpr)
				if !ok || s.Sel.Name != "Short" {
					return true
				}
				if x, ok := s.X.(*ast.Ident); ok && x.Name == "testing" {
					return true
				}
				place := f.Name + " " + fn.Name.Name
				seen[place] = true
				if _, reason := rawIDs[place]; !reason {
					t.Errorf("%s shows a member by its id: use its name (protocol.LabelOf), or say why not", place)
				}
				return true
			})
		}
	})
	var left []string
	for place := range rawIDs {
		if !seen[place] {
			left = append(left, place)
		}
	}
	slices.Sort(left)
	for _, place := range left {
		t.Errorf("%s shows no id any more: take it off the list", place)
	}
}
