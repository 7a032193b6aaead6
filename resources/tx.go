package resources

import (
	"fmt"
	"iter"
	"time"

	"github.com/starlinghq/starling/internal/state"
	"github.com/starlinghq/starling/protocol"
)

// Tx is one command at work on one instance. It sees its own writes. If the
// command returns an error or panics, all of them are taken back.
//
// It belongs to the call and must not be used after it, nor by another
// goroutine.
type Tx struct {
	state   *state.State
	space   *state.Space
	now     protocol.ClusterTime
	session protocol.SessionID
	rand    *Rand
	encoded encodedFunc

	writes, written int   // keys, bytes; see protocol.CommandWritesMax
	over            error // a limit was passed: nothing of the command remains
}

var _ Reader = (*Tx)(nil)

// Index returns the index of the command's entry. It is the version of every
// key that the command sets, and grows from command to command.
func (tx *Tx) Index() Index { return tx.state.Index() }

// Now returns cluster time: it never goes back, and has no relation to the
// time of day.
func (tx *Tx) Now() time.Duration { return time.Duration(tx.now) }

// Session returns who gave the command.
func (tx *Tx) Session() protocol.SessionID { return tx.session }

// Rand returns a source of numbers that is the same on every member.
func (tx *Tx) Rand() *Rand {
	if tx.rand == nil {
		tx.rand = newRand(uint64(tx.state.Index()))
	}
	return tx.rand
}

// Len returns the number of keys.
func (tx *Tx) Len() int { return tx.space.Len() }

// Get returns the value of a key. The error is always nil.
func (tx *Tx) Get(key []byte) ([]byte, bool, error) {
	if v := tx.space.Get(key); v != nil {
		return v.Value(), true, nil
	}
	return nil, false, nil
}

// Lookup returns the value of a key with its version. The error is always nil.
func (tx *Tx) Lookup(key []byte) (Item, bool, error) {
	v := tx.space.Get(key)
	if v == nil {
		return Item{}, false, nil
	}
	return Item{Key: key, Value: v.Value(), Version: v.Index()}, true, nil
}

// Scan yields the keys from..to in order. What the command writes meanwhile is
// seen if it lies ahead. The error is always nil.
func (tx *Tx) Scan(from, to []byte) iter.Seq2[Item, error] {
	return scan(tx.space, tx.Index(), from, to, nil)
}

// Set writes a key; both slices are copied. ErrInvalid: the key is empty.
// ErrTooLarge: the key or the value is over its limit, or all that the command
// writes is (protocol.CommandWritesMax, protocol.CommandWrittenBytesMax); after the
// latter the command fails, whatever it returns.
func (tx *Tx) Set(key, value []byte) error {
	switch {
	case len(key) == 0:
		return protocol.ErrInvalid.With("a key is not empty")
	case len(key) > protocol.KeyBytesMax:
		return protocol.ErrTooLarge.With(fmt.Sprintf("the key has %d bytes, the limit is %d", len(key), protocol.KeyBytesMax))
	case len(value) > protocol.ValueBytesMax:
		return protocol.ErrTooLarge.With(fmt.Sprintf("the value has %d bytes as encoded, the limit is %d", len(value), protocol.ValueBytesMax))
	}
	if err := tx.account(len(key) + len(value)); err != nil {
		return err
	}
	tx.state.Set(tx.space, key, value)
	return nil
}

// Delete removes a key and reports whether it existed. It counts as a write like Set;
// beyond the limits of a command it removes nothing, and the command fails.
func (tx *Tx) Delete(key []byte) bool {
	return tx.account(len(key)) == nil && tx.state.Remove(tx.space, key) != nil
}

// account counts a write, or says that it is one too many. [S] The limits are constants
// of the protocol, so the command fails on every member or on none; and it fails also
// if its code goes on: what it would have written after that, nobody knows.
func (tx *Tx) account(bytes int) error {
	tx.writes, tx.written = tx.writes+1, tx.written+bytes
	if tx.over == nil && (tx.writes > protocol.CommandWritesMax || tx.written > protocol.CommandWrittenBytesMax) {
		tx.over = protocol.ErrTooLarge.With(fmt.Sprintf(
			"the command writes %d keys and %d bytes by now, the limits are %d and %d: write it as several commands",
			tx.writes, tx.written, protocol.CommandWritesMax, protocol.CommandWrittenBytesMax))
	}
	return tx.over
}
