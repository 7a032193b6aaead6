// Package naming says what is wrong with a configuration in the words of whoever wrote
// it: a program calls a field DiskHigh, a command line --disk-high, and a file disk-high.
package naming

import (
	"errors"
	"fmt"
	"strings"
)

// Field is the name of a field of a configuration, in Go.
type Field string

// Fault is what is wrong with some fields.
type Fault struct {
	format string
	args   []any
}

// Faultf returns a fault; fields among the arguments get the reader's names for them.
func Faultf(format string, args ...any) *Fault { return &Fault{format, args} }

// Error says it with the names that the fields have in Go.
func (f *Fault) Error() string { return f.say(func(name Field) string { return string(name) }) }

func (f *Fault) say(name func(Field) string) string {
	args := make([]any, len(f.args))
	for i, a := range f.args {
		if field, ok := a.(Field); ok {
			a = name(field)
		}
		args[i] = a
	}
	return fmt.Sprintf(f.format, args...)
}

// Faults are all that is wrong. The zero value is nothing.
type Faults []error

// Add adds what is wrong, if it is something.
func (f *Faults) Add(err error) {
	if several := (Faults)(nil); errors.As(err, &several) {
		*f = append(*f, several...)
	} else if err != nil {
		*f = append(*f, err)
	}
}

// Addf adds a fault.
func (f *Faults) Addf(format string, args ...any) { *f = append(*f, Faultf(format, args...)) }

// Error has a line for each, with the names that the fields have in Go.
func (f Faults) Error() string { return Say(f, func(name Field) string { return string(name) }) }

// Say is the text of an error: that of the faults in it, with the names that name gives
// to fields, if there are any.
func Say(err error, name func(Field) string) string {
	var all Faults
	if !errors.As(err, &all) {
		return err.Error()
	}
	var lines []string
	for _, one := range all {
		if fault := (*Fault)(nil); errors.As(one, &fault) {
			lines = append(lines, fault.say(name))
		} else {
			lines = append(lines, one.Error())
		}
	}
	return strings.Join(lines, "\n")
}
