package resources

import (
	"context"
	"iter"

	"github.com/starlinghq/starling/internal/state"
	"github.com/starlinghq/starling/protocol"
)

// catalogue is the type of the operations that every instance has without its
// type's doing, and of those on all instances. Every registry knows it.
var catalogue = newType(protocol.CatalogueType, protocol.CatalogueVersion, deleteInstance, listInstances)

// deleteInstance deletes an instance that is of the type named in the argument,
// or of any if that is empty, and answers whether it was there.
var deleteInstance = NewCommand("delete", func(tx *Tx, kind string) (bool, error) {
	if tx.space.Len() == 0 {
		return false, nil
	}
	if bound := tx.space.Kind().String(); kind != "" && kind != bound {
		return false, state.WrongType(tx.space.Name(), bound, kind)
	}
	tx.state.RemoveAll(tx.space)
	return true, nil
}).Frees()

// Delete deletes an instance with all that it holds, whatever its type, and
// reports whether it was there. If kind is not empty and the instance is of
// another type, it is left alone: ErrWrongType.
//
// It is a command like any other: it takes effect once, whatever is retried, and
// whoever watches the instance is told of every key. The name can be used again
// at once, for an instance of any type. All keys go in one entry, so that on
// every member it takes time and memory in proportion to their number, about a
// second for a million, in which nothing else is applied.
func Delete(ctx context.Context, c Caller, resource, kind string, opts ...WriteOption) (bool, error) {
	return deleteInstance.Do(ctx, c, resource, kind, opts...)
}

// Instance is one line of the catalogue.
type Instance struct {
	Name string
	// Type is the name of its type.
	Type string
	// Keys is how many keys its type keeps in it, which is for the type to
	// choose: a map one for each of its own, a queue one for each element and up to
	// two for its numbers, a counter one.
	Keys int
}

// pageInstances is how many instances one page of a list has. Their names leave
// it below protocol.ResultBytesMax.
const pageInstances = 1000

// page is one piece of a list. More says that another one follows the last of
// it.
type page struct {
	Instances []Instance
	More      bool
}

// listInstances answers the page after a name.
var listInstances = NewQuery("list", func(v *View, after string) (page, error) {
	var out page
	for item, err := range v.Scan(append(state.CatalogueKey(after), 0), []byte{state.CatalogueTag + 1}) {
		if err != nil {
			return page{}, err
		}
		if len(out.Instances) == pageInstances {
			out.More = true
			break
		}
		one := Instance{Name: string(item.Key[1:]), Type: string(item.Value)}
		one.Keys, _ = v.at.Space(one.Name).At(v.Index())
		out.Instances = append(out.Instances, one)
	}
	return out, nil
})

// Instances yields all instances that hold anything, in the bytewise order of
// their names. It reads pages, each at its own index: what is made or deleted
// meanwhile may be seen or not. It yields an error at most once, last.
func Instances(ctx context.Context, c Caller, opts ...ReadOption) iter.Seq2[Instance, error] {
	return func(yield func(Instance, error) bool) {
		for after, more := "", true; more; {
			page, err := listInstances.Do(ctx, c, protocol.CatalogueType, after, opts...)
			if err != nil {
				yield(Instance{}, err)
				return
			}
			for _, one := range page.Instances {
				if !yield(one, nil) {
					return
				}
				after = one.Name
			}
			more = page.More
		}
	}
}
