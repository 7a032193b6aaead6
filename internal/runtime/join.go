package runtime

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/starlinghq/starling/internal/wire"
	"github.com/starlinghq/starling/protocol"
)

const (
	// askTimeout bounds a connection to one address. Who has taken it and hangs
	// is left when it answers no ping.
	askTimeout = 3 * time.Second
	// askPause is between two rounds of asking.
	askPause = 200 * time.Millisecond
)

// asker asks members what they are before there is a stream to them. Any goroutine may
// use it.
type asker struct {
	dial   wire.DialFunc
	logger *slog.Logger
}

func (m *Member) asker() asker { return asker{m.cfg.Security.Dial, m.logger} }

// ask asks one address which cluster it belongs to.
func (a asker) ask(ctx context.Context, address string) (*protocol.JoinInfo, error) {
	info, err := a.askAs(ctx, address, nil)
	if err == nil && info.Cluster.IsZero() {
		return nil, protocol.ErrMalformed.With(address + " did not say which cluster it belongs to")
	}
	return info, err
}

// askAs is ask of a member that has no cluster, if as is not nil: who has none,
// either, answers then, too.
func (a asker) askAs(ctx context.Context, address string, as *protocol.Founding) (*protocol.JoinInfo, error) {
	conn, err := wire.DialClient(ctx, address, wire.ClientConfig{Dial: a.dial, Options: wire.Options{HandshakeTimeout: askTimeout}})
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	resp, err := conn.Do(ctx, &protocol.Request{Kind: protocol.RequestJoin, Founding: as})
	if err == nil {
		err = resp.Result.Err()
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", address, err)
	}
	if resp.Join == nil {
		return nil, protocol.ErrMalformed.With(address + " did not say which cluster it belongs to")
	}
	return resp.Join, nil
}

// askAll asks the addresses in turn, once, and returns the first answer.
func (a asker) askAll(ctx context.Context, addresses []string) (*protocol.JoinInfo, error) {
	var errs []error
	for _, address := range addresses {
		info, err := a.ask(ctx, address)
		if err == nil {
			return info, nil
		}
		errs = append(errs, err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, errors.Join(errs...)
}

// findCluster asks until somebody answers or ctx is done.
func (a asker) findCluster(ctx context.Context, addresses []string) (*protocol.JoinInfo, error) {
	told := false
	for {
		info, err := a.askAll(ctx, addresses)
		if err == nil {
			return info, nil
		}
		if final(err) {
			return nil, err
		}
		if !told {
			told = true
			a.logger.Warn("nobody to join answers yet", "addresses", strings.Join(addresses, ","), "err", err)
		}
		select {
		case <-ctx.Done():
			return nil, protocol.ErrUnavailable.With(fmt.Sprintf(
				"no member answers at %s: start one there (the first with --bootstrap), or correct --join", strings.Join(addresses, ", "))).
				Because(outOfTime(ctx, err))
		case <-time.After(askPause):
		}
	}
}

// outOfTime is why something has not come about by the end of a context: the
// context's error is in it, and the reason first.
func outOfTime(ctx context.Context, why error) error {
	if errors.Is(why, ctx.Err()) {
		return why
	}
	return fmt.Errorf("%w (%w)", why, ctx.Err())
}

// final reports whether asking again cannot help.
func final(err error) bool {
	return errors.Is(err, protocol.ErrWrongVersion) || errors.Is(err, protocol.ErrWrongCluster)
}

// checkName refuses a name that another member has. The membership hears of a death
// late, so that who has no seat, or is to lose it, is asked.
func checkName(ctx context.Context, m *Member, self protocol.MemberID, info *protocol.JoinInfo) error {
	for _, n := range info.Names {
		if n.Name != m.cfg.Name || n.Member == self {
			continue
		}
		taken := func(format string, args ...any) error {
			return protocol.ErrNameTaken.With(fmt.Sprintf("the name %q is in use by member %s", n.Name, n.Member.Short()) + fmt.Sprintf(format, args...))
		}
		switch {
		case n.Named && !m.cfg.Replace:
			return taken(": choose another --name, or start that member again with its own directory; if that is lost for good, take over its seat with --replace, or run `starling remove %s` first", n.Name)
		case n.Address != m.advertise && m.asker().runsAt(ctx, n): // where this one is no other is
			return taken(", which runs at %s: choose another --name, or stop that one first", n.Address)
		}
	}
	return nil
}

// runsAt reports whether a member answers where it is said to be.
func (a asker) runsAt(ctx context.Context, n protocol.NameInUse) bool {
	if n.Address == "" {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	info, err := a.ask(ctx, n.Address)
	return err == nil && info.Member == n.Member
}
