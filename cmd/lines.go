package cmd

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/resources/kvmap"
)

// The tab form of import and export, for strings only: one line for each key,
// key TAB value. In both, a tab is written \t, a newline \n, a backslash \\;
// every other byte stands for itself. The lines of an export are sorted bytewise
// as lines, as LC_ALL=C sort would.

// tabLineMax is the longest line that can be a key and a value.
const tabLineMax = 2*(kvmap.KeyBytesMax+protocol.ValueBytesMax) + 2

// appendLine appends one line to b, its newline included.
func appendLine(b []byte, key, value []byte) []byte {
	b = appendEscaped(b, key)
	b = append(b, '\t')
	b = appendEscaped(b, value)
	return append(b, '\n')
}

func appendEscaped(b, s []byte) []byte {
	for _, c := range s {
		switch c {
		case '\t':
			b = append(b, `\t`...)
		case '\n':
			b = append(b, `\n`...)
		case '\\':
			b = append(b, `\\`...)
		default:
			b = append(b, c)
		}
	}
	return b
}

// parseLine reads one line without its newline. Key and value may alias it.
func parseLine(line []byte) (key, value []byte, err error) {
	k, v, ok := bytes.Cut(line, []byte{'\t'})
	if !ok {
		return nil, nil, errors.New("no tab between a key and a value")
	}
	if bytes.IndexByte(v, '\t') >= 0 {
		return nil, nil, errors.New(`more than one tab; write a tab in a key or a value as \t`)
	}
	if key, err = unescape(k); err != nil {
		return nil, nil, fmt.Errorf("key: %w", err)
	}
	if value, err = unescape(v); err != nil {
		return nil, nil, fmt.Errorf("value: %w", err)
	}
	switch {
	case len(key) > kvmap.KeyBytesMax:
		return nil, nil, fmt.Errorf("the key has %d bytes, the limit is %d", len(key), kvmap.KeyBytesMax)
	case len(value) > protocol.ValueBytesMax:
		return nil, nil, fmt.Errorf("the value has %d bytes as encoded, which is up to 5 more than a string has, the limit is %d", len(value), protocol.ValueBytesMax)
	}
	return key, value, nil
}

func unescape(s []byte) ([]byte, error) {
	if bytes.IndexByte(s, '\\') < 0 {
		return s, nil
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			out = append(out, s[i])
			continue
		}
		i++
		if i == len(s) {
			return nil, errors.New(`a lone \ at the end; write a backslash as \\`)
		}
		switch s[i] {
		case 't':
			out = append(out, '\t')
		case 'n':
			out = append(out, '\n')
		case '\\':
			out = append(out, '\\')
		default:
			return nil, fmt.Errorf(`unknown escape %s; known are \t, \n and \\`, s[i-1:i+1])
		}
	}
	return out, nil
}

// lineReader reads lines of bounded length, however long they are.
type lineReader struct {
	r   *bufio.Reader
	max int   // bytes of a line, its newline included
	n   int   // number of the last line, from 1
	b   int64 // bytes read
}

func newLineReader(r io.Reader, max int) *lineReader {
	return &lineReader{r: bufio.NewReaderSize(r, 64<<10), max: max}
}

// next returns a copy of the next line without its newline; io.EOF after the
// last. A line that is too long is skipped and is a badLine.
func (l *lineReader) next() ([]byte, error) {
	var line []byte
	tooLong := false
	for {
		part, err := l.r.ReadSlice('\n')
		l.b += int64(len(part))
		if len(line)+len(part) > l.max {
			tooLong, line = true, nil
		}
		if !tooLong {
			line = append(line, part...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil && !errors.Is(err, io.EOF):
			return nil, fmt.Errorf("cannot read line %d: %w", l.n+1, err)
		case err != nil && len(line) == 0 && !tooLong:
			return nil, io.EOF
		}
		l.n++
		if tooLong {
			return nil, badLine{fmt.Errorf("the line is longer than any key and value can be (%d bytes)", l.max)}
		}
		return bytes.TrimSuffix(line, []byte{'\n'}), nil
	}
}
