package starling

import "github.com/starlinghq/starling/resources"

// Caller is what handles and operations work over: a Node or a Client.
type Caller = resources.Caller

// Type is a resource type: what a member needs to know to take part. Package
// resources says how to write one.
type Type = resources.Type

// Option changes one read; see Locally, Linearizable and WithInfo.
type Option = resources.Option

// Info is what a call tells besides its answer: the index that it read at, and
// an upper bound on the age of what it read.
type Info = resources.Info

// Locally reads what the member at hand has. It costs no network on a Node and
// can be old; WithInfo says how old at most.
func Locally(o *resources.Options) { resources.Local(o) }

// Linearizable never reads a value older than one acknowledged before the read
// began, at any member. It is the default.
func Linearizable(o *resources.Options) { resources.Linearizable(o) }

// WithInfo fills in info.
func WithInfo(info *Info) Option { return resources.WithInfo(info) }
