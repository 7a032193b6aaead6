package checkpoint

import (
	"context"
	"errors"

	"github.com/starlinghq/starling/protocol"
	"github.com/starlinghq/starling/storage"
)

// engine makes, opens and removes stores: folders with the ordered keys and values
// of one checkpoint each. Nothing is ever written to one that is complete.
type engine interface {
	// create makes a store in a folder of its own, where nothing is yet. It begins
	// as a copy of the one in the folder from, or empty if that is "". bytes is
	// about what will be written. fault hears, from any goroutine, of what goes
	// wrong in the background: nothing of the store can be relied on then.
	create(folder, from string, at protocol.Index, bytes uint64, fault func(error)) (database, error)
	// view opens what is on the disk of a store that is not being written, and
	// changes nothing there.
	view(folder string, at protocol.Index) (view, error)
	// crowded reports that a complete store should not be the beginning of
	// another one: it would be read too slowly, or be too large.
	crowded(v view, d *storage.Description) bool
	// hangs reports whether the methods of a database may take as long as the
	// disk does: for ever.
	hangs() bool
	// remove removes a store that is not open.
	remove(folder string) error
}

// database is a store that is being written. One goroutine at a time uses it. It
// keeps key and value.
type database interface {
	set(key, value []byte) error
	remove(key []byte) error
	// flush makes what was written durable.
	flush() error
	cursor() cursor
	close() error
}

// errEndless is what close of an engine that does not hang returns where it stands for
// one that does: the store is never closed.
var errEndless = errors.New("the end of a store never comes")

// view is a complete store. Any goroutine may ask it for a cursor.
type view interface {
	cursor() cursor
	close() error
}

// cursor walks over all keys in order. It belongs to one goroutine. seek comes first. What next returns is valid until the next call.
type cursor interface {
	seek(from []byte)
	next() (key, value []byte, ok bool, err error)
	close()
}

// scan cuts what a cursor returns, from its place on, into chunks of a least
// size, and calls fn for each until it wants no more. begins is the key of the
// item after the chunk, nil after the last; both are valid until fn returns.
func scan(ctx context.Context, cur cursor, least int, fn func(c *chunk, begins []byte) (more bool, err error)) error {
	cut := cutter{least: least}
	for {
		key, value, ok, err := cur.next()
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		if cut.ends(key, value) {
			if err := ctx.Err(); err != nil {
				return err
			}
			if more, err := fn(&cut.open, key); err != nil || !more {
				return err
			}
			cut.reset()
		}
		cut.add(key, value)
	}
	if cut.open.items == 0 {
		return ctx.Err()
	}
	_, err := fn(&cut.open, nil)
	return err
}

// tabulate makes the table of all that a cursor returns.
func tabulate(ctx context.Context, cur cursor, least int, progress func(items uint64)) (*table, error) {
	t := &table{}
	cur.seek(nil)
	err := scan(ctx, cur, least, func(c *chunk, _ []byte) (bool, error) {
		t.rows = append(t.rows, rowOf(c))
		progress(c.items)
		return true, nil
	})
	return t, err
}

// retabulate makes the table after changes. It reads only the chunks that they
// touch, and on until a boundary falls where one was.
func retabulate(ctx context.Context, cur cursor, least int, ch *changes, progress func(items uint64)) (*table, error) {
	old := ch.of.rows
	if len(old) == 0 {
		return tabulate(ctx, cur, least, progress)
	}
	t := &table{}
	for i := 0; i < len(old); {
		if !ch.dirty[i] {
			t.rows = append(t.rows, old[i])
			i++
			continue
		}
		from := old[i].first
		if i == 0 {
			from = nil // there may be smaller keys now
		}
		i = len(old)
		cur.seek(from)
		err := scan(ctx, cur, least, func(c *chunk, begins []byte) (bool, error) {
			t.rows = append(t.rows, rowOf(c))
			progress(c.items)
			if begins == nil {
				return false, nil
			}
			if j := ch.of.find(begins); string(old[j].first) == string(begins) && !ch.dirty[j] {
				i = j
				return false, nil
			}
			return true, nil
		})
		if err != nil {
			return nil, err
		}
	}
	return t, nil
}
