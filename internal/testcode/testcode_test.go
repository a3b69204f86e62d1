package testcode

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"gaff/client"
)

const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// hostile has what ends a text, a comment or a command in each language.
var hostile = func() []byte {
	texts := []string{
		`"; os.Exit(3) //`, "`+panic(1)+`", "*/ process.exit(3) /*", "${process.exit(3)}", "'; exit 3; '", "$(exit 3)", "`exit 3`", "\\", "\n", "\r", "\u2028", "\x00", "</script>",
		"«BODY»«ID»«NAME»", "EOF", "!!", "\t", "\x1b[31m", "é日本",
	}
	body, _ := json.Marshal(map[string]any{"data": texts, "n": json.Number("12345678901234567890")})
	return body
}()

// receiver verifies what it is sent with the client of Go, and keeps the bodies.
func receiver(t *testing.T) (url string, bodies func() []string) {
	t.Helper()
	var mu sync.Mutex
	var got []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		at := r.Header.Get(client.HeaderTimestamp)
		var seconds int64
		_ = json.Unmarshal([]byte(at), &seconds)
		if want, err := client.Sign(secret, r.Header.Get(client.HeaderID), seconds, body); err != nil || r.Header.Get(client.HeaderSignature) != want {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		got = append(got, string(body))
	}))
	t.Cleanup(s.Close)
	return s.URL, func() []string {
		mu.Lock()
		defer mu.Unlock()
		return got
	}
}

// TestWrittenTestsRun runs the written code of an event with hostile texts in each language.
func TestWrittenTestsRun(t *testing.T) {
	t.Parallel()
	for language, command := range map[string][]string{
		"go": {"go", "test", "./..."}, "ts": {"node", "--test", "event.test.mjs"}, "curl": {"bash", "event.sh"},
	} {
		t.Run(language, func(t *testing.T) {
			t.Parallel()
			if _, err := exec.LookPath(command[0]); err != nil {
				t.Skip(command[0] + " is not installed")
			}
			url, bodies := receiver(t)
			code, err := Write(language, "evt_01ABC", hostile)
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			// The TypeScript has no types to strip, so that older Node.js runs it, too.
			file := map[string]string{"go": "event_test.go", "ts": "event.test.mjs", "curl": "event.sh"}[language]
			for name, text := range map[string]string{file: code, "go.mod": "module app\n\ngo 1.26\n"} {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			cmd := exec.Command(command[0], command[1:]...)
			cmd.Dir, cmd.Env = dir, append(os.Environ(), "TEST_URL="+url, "TEST_SECRET="+secret, "GOFLAGS=", "GOWORK=off")
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
			if got := bodies(); len(got) != 1 || got[0] != string(hostile) {
				t.Errorf("received %q\nwant %q", got, hostile)
			}
			cmd = exec.Command(command[0], command[1:]...)
			cmd.Dir, cmd.Env = dir, append(os.Environ(), "TEST_URL="+url, "TEST_SECRET=whsec_AAAA", "GOFLAGS=", "GOWORK=off")
			if out, err := cmd.CombinedOutput(); err == nil {
				t.Errorf("a wrong secret passes: %s", out)
			}
		})
	}
}

func TestWriteRejects(t *testing.T) {
	t.Parallel()
	if _, err := Write("cobol", "evt_1", nil); err == nil || !strings.Contains(err.Error(), "want go, ts, curl") {
		t.Errorf("error %v", err)
	}
	if _, err := Write("go", "evt_1", make([]byte, MaxBody+1)); err == nil {
		t.Error("a body that is too large was written")
	}
}
