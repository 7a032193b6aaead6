package resources

import (
	"errors"
	"iter"

	"github.com/starlinghq/starling/internal/invariant"
	"github.com/starlinghq/starling/protocol"
)

// The keys of tables and cells begin with a byte that tells them apart, then
// the name. A table's name ends with a zero, which no name contains, so no
// table begins within another one.
const (
	tagTable = 't'
	tagCell  = 'c'
)

// Table is an ordered map from K to V within an instance. It is a name and two
// codecs and holds nothing: one package variable serves all instances. See
// [Key] for the order, [AppendValue] for the values.
type Table[K Key, V any] struct{ prefix []byte }

// Row is one line of a table. Version is the index of the command that set it.
type Row[K Key, V any] struct {
	Key     K
	Value   V
	Version Index
}

// NewTable returns a table for a package variable. It panics if the name is not
// made of letters, digits, '-', '_' and '.', and if values of type V cannot be
// stored; see [CheckType]. Two tables of a type need two names.
func NewTable[K Key, V any](name string) Table[K, V] {
	err := errors.Join(protocol.CheckName("the name of a table", name), CheckType[V]())
	invariant.Check(err == nil, "the table %q: %v", name, err)
	return Table[K, V]{prefix: append([]byte{tagTable}, name+"\x00"...)}
}

func (t Table[K, V]) key(k K) []byte {
	return AppendKey(append(make([]byte, 0, len(t.prefix)+24), t.prefix...), k)
}

// Get reads a row.
func (t Table[K, V]) Get(r Reader, k K) (V, bool, error) {
	row, ok, err := t.Row(r, k)
	return row.Value, ok, err
}

// Row reads a row with its version.
func (t Table[K, V]) Row(r Reader, k K) (Row[K, V], bool, error) {
	item, ok, err := r.Lookup(t.key(k))
	if !ok || err != nil {
		return Row[K, V]{}, false, err
	}
	v, err := parseStored[V](&item, item.Key[len(t.prefix):])
	return Row[K, V]{Key: k, Value: v, Version: item.Version}, err == nil, err
}

// Put sets a row. ErrTooLarge, or ErrInvalid for a value that cannot be
// encoded.
func (t Table[K, V]) Put(tx *Tx, k K, v V) error {
	data, err := appendTold(v, tx.encoded)
	if err != nil {
		return err
	}
	return tx.Set(t.key(k), data)
}

// Delete removes a row and reports whether it existed.
func (t Table[K, V]) Delete(tx *Tx, k K) bool { return tx.Delete(t.key(k)) }

// All yields the rows in the order of their keys. A row that cannot be read comes
// with a [DecodeError], and the rows after it follow; any other error is the last
// that it yields.
func (t Table[K, V]) All(r Reader) iter.Seq2[Row[K, V], error] {
	return t.scan(r, t.prefix, PrefixEnd(t.prefix))
}

// From yields the rows at and after a key.
func (t Table[K, V]) From(r Reader, from K) iter.Seq2[Row[K, V], error] {
	return t.scan(r, t.key(from), PrefixEnd(t.prefix))
}

// Range yields the rows from one key up to, but not including, another one.
func (t Table[K, V]) Range(r Reader, from, to K) iter.Seq2[Row[K, V], error] {
	return t.scan(r, t.key(from), t.key(to))
}

// First returns the row with the lowest key.
func (t Table[K, V]) First(r Reader) (Row[K, V], bool, error) {
	for row, err := range t.All(r) {
		return row, err == nil, err
	}
	return Row[K, V]{}, false, nil
}

func (t Table[K, V]) scan(r Reader, from, to []byte) iter.Seq2[Row[K, V], error] {
	return func(yield func(Row[K, V], error) bool) {
		for item, err := range r.Scan(from, to) {
			var row Row[K, V]
			if err == nil {
				row, err = t.row(item)
			}
			if !yield(row, err) || !goesOn(err) {
				return
			}
		}
	}
}

func (t Table[K, V]) row(item Item) (row Row[K, V], err error) {
	key := item.Key[len(t.prefix):]
	row.Version = item.Version
	if row.Key, err = ParseKey[K](key); err != nil {
		return row, &DecodeError{Key: key, Index: item.Version, Value: item.Value, Cause: err}
	}
	row.Value, err = parseStored[V](&item, key)
	return row, err
}

// Cell is one value within an instance; like [Table] it holds nothing.
type Cell[T any] struct{ key []byte }

// NewCell returns a cell for a package variable; see [NewTable].
func NewCell[T any](name string) Cell[T] {
	err := errors.Join(protocol.CheckName("the name of a cell", name), CheckType[T]())
	invariant.Check(err == nil, "the cell %q: %v", name, err)
	return Cell[T]{key: append([]byte{tagCell}, name...)}
}

// Get reads the cell; without a value it is the zero value.
func (c Cell[T]) Get(r Reader) (T, error) {
	value, _, err := c.Lookup(r)
	return value, err
}

// Lookup reads the cell with its version, 0 if it has no value.
func (c Cell[T]) Lookup(r Reader) (T, Index, error) {
	item, ok, err := r.Lookup(c.key)
	if !ok || err != nil {
		var zero T
		return zero, 0, err
	}
	value, err := parseStored[T](&item, nil)
	return value, item.Version, err
}

// Set writes the cell.
func (c Cell[T]) Set(tx *Tx, value T) error {
	data, err := appendTold(value, tx.encoded)
	if err != nil {
		return err
	}
	return tx.Set(c.key, data)
}

// Delete empties the cell and reports whether it had a value.
func (c Cell[T]) Delete(tx *Tx) bool { return tx.Delete(c.key) }
