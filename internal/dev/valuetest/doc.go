// Package valuetest makes types and values of them, for tests that follow values
// on their way: into a map and out again, through a checkpoint, through an export
// and an import.
//
// [Types] is a list of types as people write them, and [RandomType] draws one. Of
// each, values are stored or the type is refused: value.PlanOf says which.
// [Random] draws a value, and [Same] says whether what came back is what was
// written:
//
//	for _, c := range valuetest.Types() {
//		if value.PlanOf(c.Type).Fault() != nil {
//			continue // c.Refused is what the error says
//		}
//		wrote := valuetest.Random(r, c.Type)
//		data, err := value.Append(nil, wrote) // now data goes on its way
//		read, err := value.Parse(data, c.Type)
//		err = valuetest.Same(wrote, read)
//	}
package valuetest
