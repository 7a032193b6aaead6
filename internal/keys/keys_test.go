package keys

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/starlinghq/starling/protocol"
)

// keyOf returns a key that is the same in each run.
func keyOf(n byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{n}, ed25519.SeedSize))
}

func file(t *testing.T, content string) string {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestKeyThereAndBack(t *testing.T) {
	private, public, err := Generate("a1 in\nzone b")
	if err != nil {
		t.Fatal(err)
	}
	key, err := ReadPrivate(file(t, string(private)))
	if err != nil {
		t.Fatal(err)
	}
	if want := Line(PublicOf(key), "a1 in zone b"); public != want {
		t.Errorf("got the line %q, want %q", public, want)
	}
	list, err := ReadTrusted(file(t, "# who may lead\n\n"+public+"\r\n  "+Line(PublicOf(keyOf(2)), "")+"\n"))
	if err != nil || len(list) != 2 || !list[0].Equal(PublicOf(key)) || !list[1].Equal(PublicOf(keyOf(2))) {
		t.Errorf("got %v, %v", list, err)
	}
}

func TestBadKeyFilesSayWhatIsWrong(t *testing.T) {
	private, public, _ := Generate("")
	other, _ := rsa.GenerateKey(rand.Reader, 1024)
	der, _ := x509.MarshalPKCS8PrivateKey(other)
	for name, x := range map[string]struct{ content, want string }{
		"public instead":  {public, "public keys, not a private one"},
		"nonsense":        {"nonsense", "is not a private key"},
		"empty":           {"", "is not a private key"},
		"other PEM":       {string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), `type "CERTIFICATE"`},
		"other algorithm": {string(pem.EncodeToMemory(&pem.Block{Type: pemPrivate, Bytes: der})), "a key of another kind"},
		"damaged":         {string(pem.EncodeToMemory(&pem.Block{Type: pemPrivate, Bytes: der[:20]})), "is damaged"},
		"too large":       {strings.Repeat("x", fileBytesMax+1), "not a file of keys"},
	} {
		if _, err := ReadPrivate(file(t, x.content)); err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("private, %s: got %v, want %q", name, err, x.want)
		}
	}
	for name, x := range map[string]struct{ content, want string }{
		"private instead": {string(private), "belongs to one member only"},
		"no keys":         {"# none\n", "has no keys"},
		"two mistakes":    {"rsa AAAA\ned25519 AAAA\n", "line 2: \"AAAA\" is not a key"},
		"no base64":       {"ed25519 ???", "is not a key"},
		"kind alone":      {"ed25519", "line 1: want"},
	} {
		if _, err := ReadTrusted(file(t, x.content)); err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("trusted, %s: got %v, want %q", name, err, x.want)
		}
	}
	if _, err := ReadPrivate(filepath.Join(t.TempDir(), "none")); err == nil || !strings.Contains(err.Error(), "none") {
		t.Errorf("no file: got %v", err)
	}
}

func TestKeysFitTheMember(t *testing.T) {
	key, public := keyOf(1), PublicOf(keyOf(1))
	for name, x := range map[string]struct {
		key      ed25519.PrivateKey
		trusted  []ed25519.PublicKey
		eligible bool
		want     string
	}{
		"nothing":                {nil, nil, true, ""},
		"active":                 {key, []ed25519.PublicKey{public}, true, ""},
		"signs, does not check":  {key, nil, true, ""},
		"passive":                {nil, []ed25519.PublicKey{public}, false, ""},
		"active without a key":   {nil, []ed25519.PublicKey{public}, true, "needs SigningKey"},
		"passive with a key":     {key, []ed25519.PublicKey{public}, false, "signs nothing"},
		"own key is not trusted": {key, []ed25519.PublicKey{PublicOf(keyOf(2))}, true, Line(public, "")},
		"short key":              {key[:10], nil, true, "10 bytes"},
		"short trusted key":      {nil, []ed25519.PublicKey{public[:3]}, false, "3 bytes"},
		"too many":               {key, bytesRepeat(public, TrustedMax+1), true, "the limit"},
	} {
		err := Check(x.key, x.trusted, x.eligible)
		if (err == nil) != (x.want == "") || err != nil && !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: got %v, want %q", name, err, x.want)
		}
	}
}

func bytesRepeat(k ed25519.PublicKey, n int) (out []ed25519.PublicKey) {
	for range n {
		out = append(out, k)
	}
	return out
}

func TestSignatureOfAnotherClusterStatementOrKeyIsFalse(t *testing.T) {
	here, there := protocol.ClusterID{1}, protocol.ClusterID{2}
	trusted := []ed25519.PublicKey{PublicOf(keyOf(1)), PublicOf(keyOf(2))}
	verify := Verifier(here, trusted)
	statement := protocol.LogStatement(7, protocol.Chain{1})
	good := Signer(here, keyOf(2))(statement)
	if err := verify(statement, good); err != nil {
		t.Errorf("a good signature: got %v", err)
	}
	altered := good
	altered.Bytes[5] ^= 1
	for name, x := range map[string]struct {
		seal      protocol.Signature
		statement []byte
		want      string
	}{
		"another statement": {good, protocol.LogStatement(8, protocol.Chain{1}), "is false"},
		"another cluster":   {Signer(there, keyOf(2))(statement), statement, "is false"},
		"another key":       {Signer(here, keyOf(3))(statement), statement, "not among the trusted"},
		"altered":           {altered, statement, "is false"},
		"claims a key":      {protocol.Signature{Key: good.Key, Bytes: Signer(here, keyOf(3))(statement).Bytes}, statement, "is false"},
	} {
		if err := verify(x.statement, x.seal); err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: got %v, want %q", name, err, x.want)
		}
	}
	if Signer(here, nil) != nil || Verifier(here, nil) != nil {
		t.Error("without keys something is signed or checked")
	}
}

func FuzzReadTrusted(f *testing.F) {
	_, public, _ := Generate("label")
	f.Add(public)
	f.Add("# x\n\n" + public + "\n" + public)
	f.Add("-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n")
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, content string) {
		path := filepath.Join(dir, "keys")
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		list, err := ReadTrusted(path)
		if err == nil && len(list) == 0 {
			t.Fatal("no keys and no error")
		}
		for _, k := range list {
			if len(k) != ed25519.PublicKeySize {
				t.Fatalf("a key of %d bytes", len(k))
			}
		}
	})
}

func BenchmarkSign(b *testing.B) {
	sign := Signer(protocol.ClusterID{1}, keyOf(1))
	statement := protocol.LogStatement(7, protocol.Chain{1})
	for b.Loop() {
		sign(statement)
	}
}

func BenchmarkVerify(b *testing.B) {
	trusted := []ed25519.PublicKey{PublicOf(keyOf(2)), PublicOf(keyOf(3)), PublicOf(keyOf(1))}
	statement := protocol.LogStatement(7, protocol.Chain{1})
	seal := Signer(protocol.ClusterID{1}, keyOf(1))(statement)
	verify := Verifier(protocol.ClusterID{1}, trusted)
	for b.Loop() {
		if err := verify(statement, seal); err != nil {
			b.Fatal(err)
		}
	}
}
