package notation

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// Field is a field of a JSON object. Its value is as it is written.
type Field struct {
	Name  string
	Value []byte
}

// ParseFields returns the fields of a JSON object, in order.
func ParseFields(text []byte) ([]Field, error) {
	if err := checkJSON(text); err != nil {
		return nil, err
	}
	r := reader{src: text}
	if r.take() != '{' {
		return nil, errors.New("no JSON object")
	}
	if r.peek() == '}' {
		return nil, nil
	}
	var out []Field
	for end := byte(','); end == ','; {
		r.peek()
		name, err := r.str()
		if err != nil {
			return nil, err
		}
		r.take()
		r.peek()
		begin := r.at
		r.skip()
		out = append(out, Field{string(name), text[begin:r.at]})
		end = r.take()
	}
	return out, nil
}

func checkJSON(text []byte) error {
	switch {
	case !utf8.Valid(text):
		return fmt.Errorf(`not UTF-8; a string with other bytes is written {"%s":...}`, tagString)
	case !json.Valid(text):
		var any json.RawMessage
		return fmt.Errorf("not JSON: %w", json.Unmarshal(text, &any))
	}
	return nil
}

// reader reads JSON that has been checked, so its syntax is not looked at again.
type reader struct {
	src []byte
	at  int
	raw bool // the value is one of {"$raw":...}, which may be anything
}

// peek returns the first byte after white space.
func (r *reader) peek() byte {
	for {
		switch c := r.src[r.at]; c {
		case ' ', '\t', '\n', '\r':
			r.at++
		default:
			return c
		}
	}
}

// take passes over a byte that stands between values and returns it.
func (r *reader) take() byte {
	c := r.peek()
	r.at++
	return c
}

// word returns a number.
func (r *reader) word() string {
	begin := r.at
	for r.at < len(r.src) {
		switch c := r.src[r.at]; {
		case c >= '0' && c <= '9', c == '-', c == '+', c == '.', c == 'e', c == 'E':
			r.at++
			continue
		}
		break
	}
	return string(r.src[begin:r.at])
}

// tagged reads the rest of an object if it has one field, whose name begins
// with "$".
func (r *reader) tagged() (name string, content []byte, ok bool, err error) {
	if r.peek() != '"' {
		return "", nil, false, nil
	}
	s, err := r.str()
	if err != nil || !isTag(string(s)) {
		return "", nil, false, err
	}
	r.take()
	r.peek()
	begin := r.at
	r.skip()
	content = r.src[begin:r.at]
	return string(s), content, r.take() == '}', nil
}

// skip passes over a value.
func (r *reader) skip() {
	for depth := 0; ; {
		switch c := r.peek(); c {
		case '"':
			for r.at++; r.src[r.at] != '"'; r.at++ {
				if r.src[r.at] == '\\' {
					r.at++
				}
			}
			r.at++
		case '{', '[':
			r.at++
			depth++
		case '}', ']':
			r.at++
			depth--
		case ',', ':':
			r.at++
			continue
		default:
			for r.at < len(r.src) && !isEnd(r.src[r.at]) {
				r.at++
			}
		}
		if depth == 0 {
			return
		}
	}
}

// isEnd reports whether a byte ends a number or a word.
func isEnd(c byte) bool {
	switch c {
	case ',', ':', ']', '}', ' ', '\t', '\n', '\r':
		return true
	}
	return false
}

// str reads a string, whose opening quote is next.
func (r *reader) str() ([]byte, error) {
	out := []byte{}
	for r.at++; ; {
		c := r.src[r.at]
		r.at++
		switch c {
		case '"':
			return out, nil
		case '\\':
			c = r.src[r.at]
			r.at++
			if c != 'u' {
				out = append(out, escaped(c))
				continue
			}
			char, ok := r.unit()
			if !ok {
				return nil, fmt.Errorf(`half of a pair of surrogates, which is no character; a string with such bytes is written {"%s":...}`, tagString)
			}
			out = utf8.AppendRune(out, char)
		default:
			out = append(out, c)
		}
	}
}

// escaped returns what a letter behind a backslash stands for.
func escaped(c byte) byte {
	switch c {
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	}
	return c
}

// unit reads the digits of \u, and those of a second one if it takes two.
func (r *reader) unit() (rune, bool) {
	char := r.hex()
	if char < 0xd800 || char > 0xdfff {
		return char, true
	}
	if char > 0xdbff || r.src[r.at] != '\\' || r.src[r.at+1] != 'u' {
		return 0, false
	}
	r.at += 2
	low := r.hex()
	return 0x10000 + (char-0xd800)<<10 + low - 0xdc00, low >= 0xdc00 && low <= 0xdfff
}

func (r *reader) hex() rune {
	n, _ := strconv.ParseUint(string(r.src[r.at:r.at+4]), 16, 16) // the syntax has been checked
	r.at += 4
	return rune(n)
}
