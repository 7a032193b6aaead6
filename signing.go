package starling

import (
	"crypto/ed25519"

	"github.com/starlinghq/starling/internal/keys"
)

// NewSigningKey makes a key for Config.SigningKey: private is what
// ReadSigningKey reads, and belongs into a file that only the member can read;
// public is a line for the file that ReadTrustedKeys reads, the same for all
// members. label is for people, and may be empty.
func NewSigningKey(label string) (private []byte, public string, err error) {
	return keys.Generate(label)
}

// ReadSigningKey reads a private key from a file: PKCS #8 in PEM, as
// NewSigningKey and openssl make it.
func ReadSigningKey(path string) (ed25519.PrivateKey, error) { return keys.ReadPrivate(path) }

// ReadTrustedKeys reads a file of public keys, a line each. Empty lines, and
// those that begin with #, do not count. All mistakes are reported at once.
func ReadTrustedKeys(path string) ([]ed25519.PublicKey, error) { return keys.ReadTrusted(path) }

// TrustedKeyLine returns the line of a key's public half.
func TrustedKeyLine(key ed25519.PrivateKey, label string) string {
	return keys.Line(keys.PublicOf(key), label)
}
