// Package notation writes stored values as JSON and as text, without loss, and
// reads the JSON back.
//
// There are two forms. [Exact] is for an export: every byte of what is stored
// can be read back. [Plain] is for people and scripts that only look: it tells
// every content apart, but not 1 as an integer from 1 as a float, nor a time
// from the string of its text.
//
// What JSON has is written as JSON: null, true, numbers, strings, arrays, and
// objects with their fields in the order in which they are stored. What it has
// not is an object with one field, whose name begins with "$":
//
//	{"$b64":"aGk="}                      bytes, in base64
//	{"$str_b64":"/w=="}                  a string that is not UTF-8
//	{"$map":[[1,"a"],[2,"b"]]}           a map that no JSON object is
//	{"$ext":[5,"aGk="]}                  an extension of msgpack: type, content
//	{"$raw":"wQ=="}                      the stored bytes themselves
//	{"$f64":1} {"$f64":"NaN"}            exact only: a float that looks like an integer, or is no number
//	{"$f32":1.1}                         exact only: a float of 32 bits
//	{"$time":"2026-03-01T12:00:00.5Z"}   exact only: a time
//
// A stored map with one such field is written as {"$map":...}, so a field that
// begins with "$" and stands alone is always one of these.
package notation
