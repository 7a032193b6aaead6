package starling

import (
	"context"
	"iter"

	"github.com/starlinghq/starling/resources"
)

// Resource is one map, queue, counter or resource of a type of your own that
// there is: its name, the name of its type, and how many keys its type keeps in
// it. A map has one for each of its own, a queue one for each element and up to
// two for its numbers, a counter one.
type Resource = resources.Instance

// Resources yields all resources that hold anything, in the bytewise order of
// their names. A resource is there with its first write, and gone with its last
// key; what is empty costs nothing and is not listed. The list is read in pages,
// each at its own index: what is made or deleted meanwhile may be seen or not. It
// yields an error at most once, last.
func Resources(ctx context.Context, c Caller, opts ...ReadOption) iter.Seq2[Resource, error] {
	return resources.Instances(ctx, c, opts...)
}

// Delete deletes a resource with all that it holds, whatever its type, and says
// whether it was there. Its name can be used again at once, for a resource of any
// type; a queue then counts from 1 again.
//
// It is a write like any other: it takes effect once, whatever is retried, and
// watches tell each key. All keys go in one step, in which the members do nothing
// else: about a second for a million keys, and as much memory for a while. A watch
// of a Client that would have to tell more than 256 MiB at once ends with
// ErrCompacted.
func Delete(ctx context.Context, c Caller, name string, opts ...WriteOption) (bool, error) {
	return resources.Delete(ctx, c, name, "", opts...)
}
