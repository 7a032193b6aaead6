package checkpoint

import (
	"context"

	"github.com/starlinghq/starling/storage/engine"
)

// scan cuts what a cursor returns, from its place on, into chunks of a least
// size, and calls fn for each until it wants no more. begins is the key of the
// item after the chunk, nil after the last; both are valid until fn returns.
func scan(ctx context.Context, cur engine.Cursor, least int, fn func(c *chunk, begins []byte) (more bool, err error)) error {
	cut := cutter{least: least}
	for {
		key, value, ok, err := cur.Next()
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
func tabulate(ctx context.Context, cur engine.Cursor, least int, progress func(items uint64)) (*table, error) {
	t := &table{}
	cur.Seek(nil)
	err := scan(ctx, cur, least, func(c *chunk, _ []byte) (bool, error) {
		t.rows = append(t.rows, rowOf(c))
		progress(c.items)
		return true, nil
	})
	return t, err
}

// retabulate makes the table after changes. It reads only the chunks that they
// touch, and on until a boundary falls where one was.
func retabulate(ctx context.Context, cur engine.Cursor, least int, ch *changes, progress func(items uint64)) (*table, error) {
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
		cur.Seek(from)
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
