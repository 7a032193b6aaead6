// Package resourcetest finds out whether a resource type can be replicated:
// whether its commands do the same on every member, leave nothing behind when
// they fail and nothing outside of the state, and whether its queries write
// nothing.
package resourcetest
