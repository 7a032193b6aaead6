package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/starlinghq/starling"
)

func TestWhatOneInstanceIsToldEveryInstanceAnswers(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cluster, err := starling.OpenLocal(ctx, starling.LocalConfig{Actives: 1, Passives: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	one := httptest.NewServer(service(cluster.Nodes[0]))
	defer one.Close()
	two := httptest.NewServer(service(cluster.Nodes[1]))
	defer two.Close()

	if code, body := do(t, "PUT", two.URL+"/colors/sky", "blue"); code != 200 {
		t.Fatalf("PUT at the passive: %d %s", code, body)
	}
	for {
		code, body := do(t, "GET", two.URL+"/colors/sky", "")
		if code == 200 {
			if got, want := body, "blue\n"; got != want {
				t.Fatalf("got %q, want %q", got, want)
			}
			break
		}
		if code != 404 || ctx.Err() != nil {
			t.Fatalf("GET: %d %s", code, body)
		}
	}
	if code, _ := do(t, "GET", one.URL+"/colors/grass", ""); code != 404 {
		t.Errorf("a key that is not there: got %d, want 404", code)
	}
	if code, _ := do(t, "PUT", one.URL+"/colors/sky", strings.Repeat("x", 65<<10)); code == 200 {
		t.Errorf("a body over the limit was accepted")
	}
}

func do(t *testing.T, method, url, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}
