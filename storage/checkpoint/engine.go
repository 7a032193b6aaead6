package checkpoint

import "context"

// engine makes and removes stores: folders that hold ordered keys with values
// at timestamps.
type engine interface {
	// open opens the store in a folder, or makes an empty one there.
	open(folder string) (database, error)
	// remove removes a store that is not open.
	remove(folder string) error
}

// database is an open store. The timestamp of a checkpoint is its index.
// cursor and discard may be called by any goroutine.
type database interface {
	batch(at uint64) batch
	cursor(at uint64) cursor
	// discard says that nobody reads below an index any more.
	discard(below uint64) error
	close() error
}

// batch takes changes at a timestamp. They are durable when flush returns; a
// batch that was cancelled may have left some of them. It keeps key and value.
type batch interface {
	set(key, value []byte) error
	remove(key []byte) error
	flush() error
	cancel()
}

// cursor walks over the newest version of each key at or below a timestamp, in
// order. seek comes first. What next returns is valid until the next call.
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
