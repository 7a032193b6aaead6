// Package builtin is the list of the types that every member has. What each of them is
// says the comment of its package.
package builtin

import (
	"github.com/starlinghq/starling/resources"
	"github.com/starlinghq/starling/resources/counter"
	"github.com/starlinghq/starling/resources/kvmap"
	"github.com/starlinghq/starling/resources/queue"
)

// Types returns the types that every member has.
func Types() []*resources.Type {
	return []*resources.Type{
		kvmap.Type,
		queue.Type,
		counter.Type,
	}
}
