package machine

import "github.com/starlinghq/starling/protocol"

// obsolete returns what says of a change whether it is left out, and what is to be called after that was
// asked for the last time: with Watch.Latest, of a watcher that is behind, changes that are out of date.
//
// [S] What is left out is told where it was replaced, which is listed: the watcher comes to it before it is said
// to have been told everything. The state may be further than the lists are, and says nothing of what is not listed. Nor of
// a change that it has not come to, because it was given up for another one.
func (w *Watcher) obsolete(behind bool) (is func(*protocol.Change, protocol.Index) bool, done func()) {
	if w.view == nil || !behind {
		return upToDate, func() {}
	}
	v, err := w.view()
	if err != nil { // it is of another type now
		return upToDate, func() {}
	}
	listed := protocol.Index(w.hub.upTo.Load())
	return func(c *protocol.Change, i protocol.Index) bool {
		if v.Index() < i {
			return false
		}
		item, there, err := v.Lookup(c.Key)
		switch {
		case err != nil:
			return false
		case there:
			return i < item.Version && item.Version <= listed
		}
		return c.Kind != protocol.ChangeDelete && v.Index() <= listed
	}, v.Close
}

func upToDate(*protocol.Change, protocol.Index) bool { return false }
