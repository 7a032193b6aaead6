package wire

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"

	"github.com/starlinghq/starling/internal/handshake"
	"github.com/starlinghq/starling/protocol"
)

// DialFunc makes a connection to host:port, as security.Security.Dial does.
type DialFunc func(ctx context.Context, address string) (net.Conn, error)

// ErrNoAnswer is found, beside protocol.ErrUnavailable, in the error of an attempt in which
// nobody said a word: the connection was refused or not taken, or taken and not answered in
// time; and of a link that ended because nothing came on it (Options.SignTimeout). Who
// refuses, shuts down or is somebody else has answered.
var ErrNoAnswer = errors.New("no answer")

// connect dials and shakes hands. It closes what it dialled on any error.
func connect(ctx context.Context, dial DialFunc, address string, guest handshake.Guest, opt Options) (*Conn, error) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, opt.HandshakeTimeout)
	defer cancel()
	dialling, stopDialling := context.WithTimeout(ctx, opt.DialTimeout)
	defer stopDialling()
	nc, err := dial(dialling, address)
	awaitEnd(ctx, err)
	if ended := ctx.Err(); err != nil && ended != nil {
		return nil, tooLate(began, address+" does not take the connection", ended)
	}
	if err != nil {
		return nil, &protocol.Error{
			Code: protocol.ErrUnavailable.Code, Text: "cannot reach " + address + ": " + err.Error(), Cause: errors.Join(ErrNoAnswer, err),
		}
	}
	stop := context.AfterFunc(ctx, func() { _ = nc.SetDeadline(time.Unix(1, 0)) })
	br := bufio.NewReaderSize(nc, readBuffer)
	peer, err := greet(nc, br, guest.Own)
	version := uint8(0)
	if err == nil {
		version, err = guest.Judge(peer)
	}
	if !stop() && err == nil {
		err = ctx.Err()
	}
	if err != nil {
		_ = nc.Close()
		awaitEnd(ctx, err)
		if ended := ctx.Err(); ended != nil && (errors.Is(err, protocol.ErrUnavailable) || errors.Is(err, ended)) {
			return nil, tooLate(began, address+" takes the connection and does not answer: what listens there is frozen, very busy, or no member", ended)
		}
		return nil, atAddress(address, err)
	}
	_ = nc.SetDeadline(time.Time{})
	tune(nc, opt)
	return newConn(nc, br, peer, version, opt), nil
}

// awaitEnd waits for the end of a context whose deadline passes now, if an error
// says that it has passed: the network's clock may be a little ahead of the
// context's.
func awaitEnd(ctx context.Context, err error) {
	deadline, ok := ctx.Deadline()
	if ok && time.Until(deadline) < 10*time.Millisecond && (errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded)) {
		<-ctx.Done()
	}
}

// tooLate is the error of a connection that was not there in time. The text of
// what has ended is left out: it says neither who nor what.
func tooLate(began time.Time, text string, ended error) error {
	return &protocol.Error{
		Code: protocol.ErrUnavailable.Code, Text: fmt.Sprintf("%s (waited %v)", text, time.Since(began).Round(time.Millisecond)), Cause: errors.Join(ErrNoAnswer, ended),
	}
}

// greet introduces the side that dialled, and returns who answers.
func greet(nc net.Conn, br *bufio.Reader, hello protocol.Hello) (protocol.Hello, error) {
	failed := writeHello(nc, &hello)
	peer, err := readGreeting(br)
	if failed != nil && (err != nil || peer.Refused == protocol.OK) {
		// If it has refused before it read everything, its answer counts.
		return protocol.Hello{}, protocol.ErrUnavailable.With("the handshake failed").Because(failed)
	}
	return peer, err
}

func writeHello(w io.Writer, hello *protocol.Hello) error {
	said := *hello
	said.AnswersPing = true
	buf := beginFrame([]byte(Magic), greetingVersion, FrameHello)
	buf = protocol.AppendHello(buf, &said)
	if err := endFrame(buf, len(Magic)); err != nil {
		return err
	}
	_, err := w.Write(buf)
	return err
}

// readGreeting reads Magic and a Hello.
func readGreeting(br *bufio.Reader) (protocol.Hello, error) {
	magic, err := br.Peek(len(Magic))
	if string(magic) != Magic {
		if strings.HasPrefix(string(magic), "HTTP/") {
			return protocol.Hello{}, protocol.ErrUnavailable.With(
				"an HTTP server answers there: members and clients talk at the port of --bind, 7600 by default, not at that of --http")
		}
		if len(magic) > 0 {
			return protocol.Hello{}, protocol.ErrUnavailable.With(fmt.Sprintf(
				"what answers there is not a starling member (it began with %q); is the port right?", magic))
		}
		return protocol.Hello{}, handshakeFault(err)
	}
	_, _ = br.Discard(len(Magic))
	return readHello(br)
}

func readHello(br *bufio.Reader) (protocol.Hello, error) {
	var h [headerBytes]byte
	if _, err := io.ReadFull(br, h[:]); err != nil {
		return protocol.Hello{}, handshakeFault(err)
	}
	kind, n, err := parseHeader(h[:], greetingVersion, helloBytesMax)
	if err == nil && kind != FrameHello {
		err = unexpectedFrame(kind)
	}
	if err != nil {
		return protocol.Hello{}, err
	}
	payload := make([]byte, n)
	if _, err := io.ReadFull(br, payload); err != nil {
		return protocol.Hello{}, handshakeFault(err)
	}
	return protocol.DecodeHello(payload)
}

func handshakeFault(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return protocol.ErrUnavailable.With("the other side closed the connection during the handshake")
	}
	return protocol.ErrUnavailable.With("no answer in the handshake").Because(err)
}

// atAddress says where an error happened, and keeps its code.
func atAddress(address string, err error) error {
	var e *protocol.Error
	if errors.As(err, &e) {
		return &protocol.Error{Code: e.Code, Text: address + ": " + err.Error(), Cause: err}
	}
	return fmt.Errorf("%s: %w", address, err)
}
