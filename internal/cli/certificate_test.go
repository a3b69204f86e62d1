package cli

import (
	"context"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"testing"
)

// A gateway on this machine is recognized by the certificate that it wrote to the data folder;
// another program on its port does not get the token.
func TestGatewayWithTLSIsRecognizedByItsCertificate(t *testing.T) {
	t.Parallel()
	asked := make(chan string, 10)
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.Header.Get("Authorization")
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"docs":[],"nextCursor":null}`))
	}))
	t.Cleanup(server.Close)
	own := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	other := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("another")}))
	for name, c := range map[string]struct {
		pem  string
		args []string
		ok   bool
	}{
		"its own":           {own, nil, true},
		"another":           {other, nil, false},
		"none":              {"", nil, false},
		"its own, by --url": {own, []string{"--url", server.URL}, false},
	} {
		files := map[string]string{"gaff-data/url": server.URL + "\n", "gaff-data/token": "local\n"}
		if c.pem != "" {
			files["gaff-data/url.pem"] = c.pem
		}
		r := cmdline{args: append([]string{"events", "list"}, c.args...), files: files}.run(t, context.Background())
		if (r.code == exitDone) != c.ok || len(asked) > 0 != c.ok {
			t.Errorf("%s: code %d, %d requests: %s", name, r.code, len(asked), r.stderr)
		}
		for len(asked) > 0 {
			if got := <-asked; got != "Bearer local" {
				t.Errorf("%s: %s", name, got)
			}
		}
	}
}
