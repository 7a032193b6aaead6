package attempt

import "github.com/starlinghq/starling/protocol"

// OneShot is the attempts at one command that belongs to no session. The zero value has
// made none, and has no number.
type OneShot struct {
	Command
	drawn protocol.OneShot
	anew  bool
}

// Draw gives the command a number. seen is an index that its client knows to be applied
// somewhere, from before the call.
func (o *OneShot) Draw(number protocol.OneShotNumber, seen protocol.Index) {
	o.drawn = protocol.OneShot{Number: number, Seen: seen}
}

// Drawn is what is sent with every attempt, until another number is drawn.
func (o *OneShot) Drawn() protocol.OneShot { return o.drawn }

// Took takes what came of an attempt, as that of a Command does. With Anew nothing has
// happened, and a number is to be drawn at the index of the result. That is so once: who is
// told it of an index of a moment ago is told it for another reason.
func (o *OneShot) Took(result protocol.Result, err, ended error) (Verdict, protocol.Result, error) {
	verdict, result, err := o.Command.Took(result, err, ended)
	switch {
	case verdict == Anew && o.anew:
		verdict = Done
	case verdict == Anew:
		o.anew = true
	}
	return verdict, result, err
}
