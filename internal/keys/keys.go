// Package keys makes and reads the keys with which the actives of a cluster sign
// what passives follow, and signs and checks with them.
//
// A private key is a file of its own, PKCS #8 in PEM, as openssl makes it, too.
// Public keys stand in one file, the same for all members: a line for each,
// "ed25519", the key in base64, and whatever helps people to tell them apart.
package keys

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"

	"github.com/starlinghq/starling/internal/naming"
	"github.com/starlinghq/starling/protocol"
)

const (
	// kind begins the line of a public key.
	kind = "ed25519"
	// pemPrivate is what PKCS #8 is called in PEM.
	pemPrivate = "PRIVATE KEY"
	// fileBytesMax limits a file of keys, and TrustedMax how many keys are
	// trusted.
	fileBytesMax = 1 << 20
	// byteOrderMark begins a file that some editors have saved as UTF-8.
	byteOrderMark = "\xef\xbb\xbf"
	TrustedMax    = 1024
	// domain begins all that is signed, so that a signature for something else
	// made with the same key is none for us.
	domain = "starling seal 1\x00"
)

// Generate makes a key: a private one for a file, and the line of its public
// one. label is for people, and may be empty.
func Generate(label string) (private []byte, public string, err error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, "", err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, "", err
	}
	return pem.EncodeToMemory(&pem.Block{Type: pemPrivate, Bytes: der}), Line(PublicOf(key), label), nil
}

// PublicOf returns the public half of a key.
func PublicOf(key ed25519.PrivateKey) ed25519.PublicKey {
	return ed25519.PublicKey(bytes.Clone(key[ed25519.PrivateKeySize-ed25519.PublicKeySize:]))
}

// Line returns the line of a public key.
func Line(key ed25519.PublicKey, label string) string {
	line := kind + " " + base64.StdEncoding.EncodeToString(key)
	if label != "" {
		line += " " + strings.Join(strings.Fields(label), " ")
	}
	return line
}

// ReadPrivate reads a file that Generate wrote. Errors name the file and what to
// do.
func ReadPrivate(path string) (ed25519.PrivateKey, error) {
	b, err := readFile(path)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	switch {
	case block == nil && bytes.HasPrefix(bytes.TrimSpace(b), []byte(kind+" ")):
		return nil, fmt.Errorf("%s has public keys, not a private one: the private key is in the file that \"starling keys generate\" wrote", path)
	case block == nil:
		return nil, fmt.Errorf("%s is not a private key: want a PEM file, as \"starling keys generate\" writes it", path)
	case block.Type != pemPrivate:
		return nil, fmt.Errorf("%s has a PEM block of type %q, want %q (PKCS #8)", path, block.Type, pemPrivate)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%s is damaged: %w", path, err)
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%s has a key of another kind (%T), want ed25519", path, parsed)
	}
	return key, checkPrivate(path)
}

// ReadTrusted reads a file of public keys: one line each, as Line makes them;
// empty lines, and those that begin with #, do not count. All mistakes are
// reported at once, by line.
func ReadTrusted(path string) ([]ed25519.PublicKey, error) {
	b, err := readFile(path)
	if err != nil {
		return nil, err
	}
	if block, _ := pem.Decode(b); block != nil && strings.Contains(block.Type, "PRIVATE") {
		return nil, fmt.Errorf("%s is a private key, which belongs to one member only: trusted are the lines that \"starling keys show\" prints", path)
	}
	var list []ed25519.PublicKey
	var errs []error
	for i, line := range strings.Split(string(b), "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		key, err := parse(line)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s, line %d: %w", path, i+1, err))
			continue
		}
		list = append(list, key)
	}
	if len(list) == 0 && len(errs) == 0 {
		errs = append(errs, fmt.Errorf("%s has no keys: nothing that anybody says would be believed", path))
	}
	return list, errors.Join(errs...)
}

// parse reads the line of a public key.
func parse(line string) (ed25519.PublicKey, error) {
	fields := strings.Fields(line)
	if len(fields) < 2 || fields[0] != kind {
		return nil, fmt.Errorf("want %q and a key in base64, as \"starling keys show\" prints it", kind)
	}
	key, err := base64.StdEncoding.DecodeString(fields[1])
	if err != nil || len(key) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("%q is not a key: want %d bytes in base64", fields[1], ed25519.PublicKeySize)
	}
	return key, nil
}

func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("reading keys: %w", err)
	}
	if !info.Mode().IsRegular() { // a pipe would be waited for, for ever
		return nil, fmt.Errorf("%s is no regular file (%v): keys are read from one", path, info.Mode().Type())
	}
	if info.Size() > fileBytesMax {
		return nil, fmt.Errorf("%s has %d bytes: that is not a file of keys", path, info.Size())
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading keys: %w", err)
	}
	if bytes.HasPrefix(b, []byte(byteOrderMark)) {
		return nil, fmt.Errorf("%s begins with a byte order mark, as editors write it: save it as UTF-8 without one", path)
	}
	return b, nil
}

// checkPrivate refuses a private key that others can read, or the owner's group can
// write. The group may read it: so it is with secrets that an orchestrator mounts.
// Windows has no such bits.
func checkPrivate(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("reading keys: %w", err)
	}
	if open := info.Mode().Perm() & 0o027; open != 0 && runtime.GOOS != "windows" {
		return fmt.Errorf("%s can be read or changed by others (its mode is %#o): whoever has the key can make passives believe anything; "+
			"run `chmod 600 %s`, and make a new key if somebody may have read it", path, info.Mode().Perm(), path)
	}
	return nil
}

// Check says what is wrong with the keys of a member: eligible reports whether
// it may be an active. Nil and nil are fine: nothing is signed. A key alone is
// fine, too: the member signs, and takes what is not signed. That is the first
// half of the way to a cluster that signs.
func Check(key ed25519.PrivateKey, trusted []ed25519.PublicKey, eligible bool) error {
	const signing, trust = naming.Field("SigningKey"), naming.Field("TrustedKeys")
	var wrong naming.Faults
	if key != nil && len(key) != ed25519.PrivateKeySize {
		return naming.Faultf("%s has %d bytes, not %d", signing, len(key), ed25519.PrivateKeySize)
	}
	for i, k := range trusted {
		if len(k) != ed25519.PublicKeySize {
			wrong.Addf("%s: key %d has %d bytes, not %d", trust, i+1, len(k), ed25519.PublicKeySize)
		}
	}
	own := false
	for _, k := range trusted {
		own = own || key != nil && bytes.Equal(k, PublicOf(key))
	}
	switch {
	case len(wrong) > 0:
	case len(trusted) > TrustedMax:
		wrong.Addf("%s has %d keys, the limit is %d", trust, len(trusted), TrustedMax)
	case key != nil && !eligible:
		wrong.Addf("a passive member that is not eligible signs nothing: %s belongs to an active one", signing)
	case key == nil && len(trusted) > 0 && eligible:
		wrong.Addf("a member that may be active in a cluster that signs needs %s, or nobody would follow it", signing)
	case key != nil && len(trusted) > 0 && !own:
		wrong.Addf("the member's own key is not among %s, so the others do not trust it, either: add the line %q", trust, Line(PublicOf(key), ""))
	}
	if len(wrong) == 0 {
		return nil
	}
	return wrong
}

// Signer returns a function that signs statements for a cluster; nil without a
// key. It is deterministic and safe for concurrent use.
func Signer(cluster protocol.ClusterID, key ed25519.PrivateKey) func([]byte) protocol.Signature {
	if key == nil {
		return nil
	}
	head := headOf(PublicOf(key))
	return func(statement []byte) protocol.Signature {
		s := protocol.Signature{Key: head}
		copy(s.Bytes[:], ed25519.Sign(key, message(cluster, statement)))
		return s
	}
}

// Verifier returns a function that says what is wrong with a signature of a
// statement; nil without keys. It is pure and safe for concurrent use.
func Verifier(cluster protocol.ClusterID, trusted []ed25519.PublicKey) func([]byte, protocol.Signature) error {
	if len(trusted) == 0 {
		return nil
	}
	return func(statement []byte, s protocol.Signature) error {
		known := false
		for _, key := range trusted { // two may have one head
			if headOf(key) != s.Key {
				continue
			}
			known = true
			if ed25519.Verify(key, message(cluster, statement), s.Bytes[:]) {
				return nil
			}
		}
		if known {
			return fmt.Errorf("its signature is false: it was altered, or is of another cluster")
		}
		return fmt.Errorf("it is signed with a key (%x...) that is not among the trusted ones", s.Key)
	}
}

// headOf returns what tells keys apart on the wire.
func headOf(key ed25519.PublicKey) (head [8]byte) {
	copy(head[:], key)
	return head
}

// message is what is signed: a statement is one of one cluster.
func message(cluster protocol.ClusterID, statement []byte) []byte {
	b := make([]byte, 0, len(domain)+len(cluster)+len(statement))
	b = append(b, domain...)
	b = append(b, cluster[:]...)
	return append(b, statement...)
}
