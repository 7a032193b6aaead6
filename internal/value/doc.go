// Package value encodes values of users' types for the state, and decodes them:
// one msgpack value each, which depends on nothing but the value, and which
// comes back as it was written or is refused.
//
// The library that encodes (vmihailenco/msgpack) has ways of its own to lose a
// part of a value, to write what it cannot read, and to let one value change how
// the next one is written. So a type is looked at before its first value, with
// the library's eyes: its [Plan] knows the fields that the library would write
// and what would not come back, and refuses the type or says what has to be
// looked at in each value. The bytes are checked against the plan, the same way
// when they are written and when they are read.
//
// What people need to know of the rules stands at resources.AppendValue and in
// docs/values.md.
package value
