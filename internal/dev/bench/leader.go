package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/starlinghq/starling"
)

// leaderName is that of the member that has a process of its own.
const leaderName = "leader"

// flockSample is what that process says of itself.
type flockSample struct {
	Address string           `json:"address"`
	CPU     time.Duration    `json:"cpu"` // since its start
	Leads   bool             `json:"leads"`
	Sent    starling.Traffic `json:"sent"`
}

// Leader is the process of a [Flock]'s leader: it begins a cluster, and says how it stands
// at the start and for each line that it gets, until there are no more.
func Leader(ctx context.Context, neighbours int, stdin io.Reader, stdout io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "starling-flock-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	n, err := starling.Open(ctx, starling.Config{
		Name: leaderName, Dir: dir, Bind: "127.0.0.1:0", Role: starling.Active, Actives: FlockActives, Bootstrap: true, Neighbours: neighbours,
	})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.Close()) }()
	out, in := json.NewEncoder(stdout), bufio.NewScanner(stdin)
	for more := true; more; more = in.Scan() {
		s := flockSample{Address: n.Addr(), Leads: n.Status().Leader == leaderName, Sent: n.Traffic()}
		if s.CPU, err = processTime(); err != nil {
			return err
		}
		if err := out.Encode(s); err != nil {
			return err
		}
	}
	return in.Err()
}

// leaderProcess is the process as its parent sees it.
type leaderProcess struct {
	command *exec.Cmd
	ask     io.WriteCloser
	answers *json.Decoder
}

// startLeader starts it and returns its first words.
func (b *Flock) startLeader(ctx context.Context, neighbours int) (*leaderProcess, flockSample, error) {
	var first flockSample
	command, err := b.Leader(ctx, neighbours)
	if err != nil {
		return nil, first, err
	}
	l := &leaderProcess{command: command}
	if l.ask, err = l.command.StdinPipe(); err != nil {
		return nil, first, err
	}
	out, err := l.command.StdoutPipe()
	if err != nil {
		return nil, first, err
	}
	l.answers = json.NewDecoder(out)
	if err := l.command.Start(); err != nil {
		return nil, first, err
	}
	if err := l.answers.Decode(&first); err != nil {
		return nil, first, errors.Join(fmt.Errorf("the leader's process: %w", err), l.stop())
	}
	return l, first, nil
}

// sample asks it how it stands.
func (l *leaderProcess) sample() (s flockSample, err error) {
	if _, err = fmt.Fprintln(l.ask); err == nil {
		err = l.answers.Decode(&s)
	}
	return s, err
}

// stop ends it, by the end of its input.
func (l *leaderProcess) stop() error {
	return errors.Join(l.ask.Close(), l.command.Wait())
}
