package e2e

import (
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"gaff/internal/eventually"
)

const (
	slackSecret = "8f742231b10e8888abcd99yyyzzz85a5"
	twilioToken = "12345678901234567890123456789012"
)

// post sends a request and returns the answer.
func post(t *testing.T, address, body string, header http.Header) (status int, contentType, answer string) {
	t.Helper()
	r, err := http.NewRequest(http.MethodPost, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header = header
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(res.Body)
	return res.StatusCode, res.Header.Get("Content-Type"), string(text)
}

// slackCommand is a signed slash command.
func slackCommand(t *testing.T, g *gateway, text string) (int, string, string) {
	t.Helper()
	body := url.Values{"command": {"/draw"}, "text": {text}, "trigger_id": {text}}.Encode()
	at := strconv.FormatInt(time.Now().Unix(), 10)
	mac := hmac.New(sha256.New, []byte(slackSecret))
	mac.Write([]byte("v0:" + at + ":" + body))
	return post(t, g.url+"/api/v1/webhooks/slack", body, http.Header{
		"Content-Type": {"application/x-www-form-urlencoded"}, "X-Slack-Request-Timestamp": {at}, "X-Slack-Signature": {"v0=" + hex.EncodeToString(mac.Sum(nil))},
	})
}

// twilioMessage is a signed message for TwiML.
func twilioMessage(t *testing.T, g *gateway) (int, string, string) {
	t.Helper()
	form := url.Values{"From": {"+15550001"}, "Body": {"hello"}, "MessageSid": {"SM1"}}
	address := g.url + "/api/v1/webhooks/twilio"
	signed := address
	for _, name := range slices.Sorted(maps.Keys(form)) {
		signed += name + form.Get(name)
	}
	mac := hmac.New(sha1.New, []byte(twilioToken))
	mac.Write([]byte(signed))
	return post(t, address, form.Encode(), http.Header{
		"Content-Type": {"application/x-www-form-urlencoded"}, "X-Twilio-Signature": {base64.StdEncoding.EncodeToString(mac.Sum(nil))},
	})
}

// discordInteraction is a signed interaction; kind 1 is Discord's ping.
func discordInteraction(t *testing.T, g *gateway, key ed25519.PrivateKey, kind int) (int, string, string) {
	t.Helper()
	body := fmt.Sprintf(`{"id":"%d","type":%d,"data":{"name":"draw"}}`, kind, kind)
	at := strconv.FormatInt(time.Now().Unix(), 10)
	return post(t, g.url+"/api/v1/webhooks/discord", body, http.Header{
		"Content-Type": {"application/json"}, "X-Signature-Timestamp": {at}, "X-Signature-Ed25519": {hex.EncodeToString(ed25519.Sign(key, []byte(at+body)))},
	})
}

const answersConfig = `sources:
  slack:
    preset: slack
    secrets: [%q]
    answer: {from: commands, wait: 1500ms, body: '{"text":"Working on it…"}'}
  twilio:
    preset: twilio
    secrets: [%q]
    answer: {from: commands, wait: 5s, body: <Response/>, content_type: text/xml}
  discord:
    preset: discord
    secrets: [%q]
    answer: {from: commands, body: '{"type":5}'}
destinations:
  commands: {url: %q, events: ["slack:*", "twilio:*", "discord:*"], format: original}
`

// TestSenderIsAnsweredByADestination sends what Slack, Twilio and Discord send, through a gateway that
// passes on the answer of an application.
func TestSenderIsAnsweredByADestination(t *testing.T) {
	t.Parallel()
	for name, prepare := range databases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			database, err := prepare(t)()
			if err != nil {
				t.Fatal(err)
			}
			release := make(chan struct{})
			app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				switch text := string(body); {
				case r.Header.Get("X-Twilio-Signature") != "":
					w.Header().Set("Content-Type", "text/xml; charset=utf-8")
					_, _ = io.WriteString(w, "<Response><Message>Hi</Message></Response>")
				case r.Header.Get("X-Signature-Ed25519") != "":
					w.Header().Set("Content-Type", "application/json")
					_, _ = io.WriteString(w, `{"type":4,"data":{"content":"drawn"}}`)
				case strings.Contains(text, "text=slow"):
					<-release
				case strings.Contains(text, "text=broken"):
					w.WriteHeader(http.StatusInternalServerError)
				case strings.Contains(text, "text=large"):
					_, _ = w.Write(make([]byte, 100<<10))
				default:
					w.Header().Set("Content-Type", "application/json")
					_, _ = io.WriteString(w, `{"response_type":"in_channel","text":"drawn"}`)
				}
			}))
			t.Cleanup(app.Close)
			public, private, err := ed25519.GenerateKey(nil)
			if err != nil {
				t.Fatal(err)
			}
			dir, addr := t.TempDir(), must(freeAddr())
			config := fmt.Sprintf(answersConfig, slackSecret, twilioToken, hex.EncodeToString(public), app.URL)
			if err := os.WriteFile(filepath.Join(dir, "gaff.yaml"), []byte(config), 0o600); err != nil {
				t.Fatal(err)
			}
			g, err := serve(dir, environment(dir, addr, append(database, "GAFF_ALLOW_ADDRESSES=127.0.0.0/8")...), addr)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(g.kill)
			check := func(what string, status int, kind, answer, wantKind, want string) {
				t.Helper()
				if status != http.StatusOK || kind != wantKind || answer != want {
					t.Errorf("%s: %d %s %s; want %s %s", what, status, kind, answer, wantKind, want)
				}
			}
			status, kind, answer := slackCommand(t, g, "cat")
			check("Slack", status, kind, answer, "application/json", `{"response_type":"in_channel","text":"drawn"}`)
			status, kind, answer = twilioMessage(t, g)
			check("Twilio", status, kind, answer, "text/xml; charset=utf-8", "<Response><Message>Hi</Message></Response>")
			status, kind, answer = discordInteraction(t, g, private, 1)
			check("Discord's ping", status, kind, answer, "application/json", `{"type":1}`)
			status, kind, answer = discordInteraction(t, g, private, 2)
			check("Discord", status, kind, answer, "application/json", `{"type":4,"data":{"content":"drawn"}}`)
			status, kind, answer = slackCommand(t, g, "broken")
			check("a failed destination", status, kind, answer, "application/json", `{"text":"Working on it…"}`)
			status, kind, answer = slackCommand(t, g, "large")
			check("a large answer", status, kind, answer, "application/json", `{"text":"Working on it…"}`)
			began := time.Now()
			status, kind, answer = slackCommand(t, g, "slow")
			check("a slow destination", status, kind, answer, "application/json", `{"text":"Working on it…"}`)
			if took := time.Since(began); took < time.Second {
				t.Errorf("answered after %s, want after the wait", took)
			}
			// The late one is stored, and ends as any other.
			close(release)
			var page struct{ Docs []struct{ Status string } }
			eventually.True(t, "the late delivery succeeds", func() bool {
				return g.get("/api/v1/events?source=slack&q=slow", &page) == nil && len(page.Docs) == 1 && page.Docs[0].Status == "success"
			})
		})
	}
}
