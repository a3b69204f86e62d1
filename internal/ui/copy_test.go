package ui_test

import (
	"html"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"gaff"
)

var copied = regexp.MustCompile(`data-copy="(curl [^"]*)"`)

func TestCopiedCommandsGoToTheConfiguredAddress(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.browser(t)
	for name, tc := range map[string]struct{ source, received, want string }{
		"source":         {"custom", "http://evil.example/api/v1/webhooks/custom", "/api/v1/webhooks/custom "},
		"callback token": {"custom", "https://evil.example/api/v1/webhooks/custom/token?a=$(x)", "/api/v1/webhooks/custom/token?a=$(x)' "},
		"unknown source": {"nobody", "http://evil.example/api/v1/webhooks/nobody?b", "/api/v1/webhooks/nobody?b' "},
		"another path":   {"custom", "http://evil.example//x/y", "/api/v1/webhooks/custom "},
		"no path":        {"custom", "http://evil.example", "/api/v1/webhooks/custom "},
	} {
		r := gaff.Rejection{
			ID: "rej_" + strings.ReplaceAll(name, " ", "_"), Source: tc.source, Status: http.StatusUnauthorized, Reason: "wrong", Method: "`x`", URL: tc.received,
			Header: map[string][]string{"Content-Type": {"a\x1bb"}}, Body: []byte("@/etc/hostname\x1b[201~\x03"), ReceivedAt: time.Now(),
		}
		if err := w.store.Reject(t.Context(), &r); err != nil {
			t.Fatal(err)
		}
		found := copied.FindStringSubmatch(fetch(t, c, "GET", w.url+"/rejections/"+r.ID, nil).body)
		if found == nil {
			t.Fatalf("%s: no command", name)
		}
		command := strings.TrimPrefix(html.UnescapeString(found[1]), "curl -X '`x`' ")
		if address := strings.TrimPrefix(command, "'"); !strings.HasPrefix(address, w.url+tc.want) {
			t.Errorf("%s: sent to another address: %s", name, command)
		}
		if strings.ContainsAny(command, "\x1b\x03") || !strings.HasSuffix(command, `--data-raw $'@/etc/hostname\033[201~\003'`) {
			t.Errorf("%s: body as %s", name, command)
		}
	}
}
