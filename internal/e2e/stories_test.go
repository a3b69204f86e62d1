package e2e

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"gaff"
	"gaff/gafftest"
	"gaff/internal/eventually"
	"gaff/internal/pgtest"
	"gaff/provider/fal"
)

// databases are the databases of the stories: by name, the environment with which a gateway
// uses a database of its own. A story that needs the one or the other asks by a
// condition of that name, such as [sqlite].
var databases = map[string]func(*testing.T) func() ([]string, error){
	"sqlite": func(*testing.T) func() ([]string, error) {
		return func() ([]string, error) { return nil, nil } // a file in the story's data folder
	},
	"postgres": func(t *testing.T) func() ([]string, error) {
		return func() ([]string, error) { return []string{"GAFF_DATABASE_URL=" + pgtest.URL(t)}, nil }
	},
}

// TestStories runs testdata/script: what people do with the real binary, and what they
// see. Besides the commands of testscript, scripts have
//
//	ready                     wait until the gateway at $URL can keep a webhook
//	http METHOD URL [options] make a request; the answer's body is stdout
//	    -H 'Name: value'      a header; several are possible
//	    -d text, -f file      the body
//	    -hmac NAME SECRET     a header with the hex HMAC-SHA256 of the body under SECRET
//	    -t                    with the admin token
//	status CODE               the answer had this status
//	[!] header NAME [REGEXP]  the answer had this header
//	json PATH WANT            the value there, as it is written, texts without quotes
//	json -keys PATH NAME...   the object there has exactly these members
//	json -len PATH N          the list there is so long
//	json -match PATH REGEXP   the value there matches
//	json -set VAR PATH        puts it into a variable
//	await PATH WANT URL       asks with the admin token until json PATH WANT is true
//	sse N PATH [LAST-ID]      read so many changes of the stream, as stdout
//	lastid VAR                puts the last id: that sse read into a variable
//	follow REGEXP ARG...      run gaff with the arguments, and send webhooks of the type "third"
//	                          until a line of it matches; then interrupt it, which is not a failure
//	code N PROGRAM ARG...     like exec, with an exit code
//	now VAR SECONDS           puts the time in so many seconds into a variable, as unix seconds
//	jwks up|down              a server of fal's public keys, at $GAFF_FAL_JWKS_URL; with it
//	                          http signs as fal does: -fal REQUEST_ID
//
// An address that begins with / is the gateway's. A PATH is names and numbers, joined by
// dots; "." is all.
func TestStories(t *testing.T) {
	t.Parallel()
	for name, prepare := range databases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			fresh := prepare(t)
			testscript.Run(t, testscript.Params{
				Dir: filepath.Join("testdata", "script"), RequireUniqueNames: true,
				UpdateScripts: os.Getenv("UPDATE_SCRIPTS") != "",
				Setup: func(env *testscript.Env) error {
					database, err := fresh()
					if err != nil {
						return err
					}
					return storyEnvironment(env, database)
				},
				Condition: func(cond string) (bool, error) {
					if databases[cond] == nil {
						return false, fmt.Errorf("condition %q is not known", cond)
					}
					return cond == name, nil
				},
				Cmds: map[string]func(*testscript.TestScript, bool, []string){
					"ready": cmdReady, "http": cmdHTTP, "status": cmdStatus, "header": cmdHeader, "json": cmdJSON, "await": cmdAwait,
					"now": cmdNow, "jwks": cmdJWKS, "sse": cmdSSE, "lastid": cmdLastID, "follow": cmdFollow, "code": cmdCode,
				},
			})
		})
	}
}

func storyEnvironment(env *testscript.Env, database []string) error {
	addr, err := freeAddr()
	if err != nil {
		return err
	}
	env.Vars = append(env.Vars,
		"PATH="+filepath.Dir(binary)+string(os.PathListSeparator)+os.Getenv("PATH"),
		"GAFF_ADDR="+addr, "URL=http://"+addr, "GAFF_ADMIN_TOKEN="+adminToken, "GAFF_MEDIA_URL=off",
		"FAL_WEBHOOK_SECRET="+falSecret, "LASTFRAME_WEBHOOK_SECRET="+lastFrameSecret, "WEBHOOK_SECRET="+customSecret,
		"GAFF_TOKEN="+adminToken, "GAFF_RECONCILE_AFTER=1h",
	)
	env.Vars = append(env.Vars, database...)
	if path := filepath.Join(env.WorkDir, "gaff.yaml"); len(database) > 0 {
		// What a killed gateway was working on is not waited for as long as it should be.
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
			if err := os.WriteFile(path, []byte("limits: {lease: 2s}\n"), 0o600); err != nil {
				return err
			}
		}
	}
	st := &state{}
	for _, line := range env.Vars {
		name, _, _ := strings.Cut(line, "=")
		st.names = append(st.names, name)
	}
	env.Values[stateKey{}] = st
	return nil
}

// state is what a story's commands know of each other.
type state struct {
	answer // the last one of http
	jwks   *httptest.Server
	lastID string   // of the stream
	names  []string // of the variables that a gateway is started with
}

type answer struct {
	status int
	header http.Header
	body   []byte
}

type stateKey struct{}

func last(ts *testscript.TestScript) *state { return ts.Value(stateKey{}).(*state) }

func only(ts *testscript.TestScript, neg bool, args []string, least int, usage string) {
	if neg || len(args) < least {
		ts.Fatalf("usage: %s", usage)
	}
}

func cmdReady(ts *testscript.TestScript, neg bool, args []string) {
	only(ts, neg, args, 0, "ready")
	ts.Check(poll(eventually.Limit, func() error {
		resp, err := http.Get(ts.Getenv("URL") + "/readyz")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("readyz: %s", resp.Status)
		}
		return nil
	}))
}

// storyClient follows no redirects: a sender takes one for a failure.
var storyClient = &http.Client{
	Timeout:       eventually.Limit,
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

func cmdHTTP(ts *testscript.TestScript, neg bool, args []string) {
	only(ts, neg, args, 2, "http METHOD URL [-H header] [-d body] [-f file] [-hmac NAME SECRET] [-t]")
	method, address := args[0], args[1]
	var body []byte
	header := http.Header{}
	sign := map[string]string{}
	need := func(n int) []string {
		if len(args) < n+1 {
			ts.Fatalf("%s needs %d values", args[0], n)
		}
		values := args[1 : n+1]
		args = args[n:]
		return values
	}
	for args = args[2:]; len(args) > 0; args = args[1:] {
		switch args[0] {
		case "-H":
			name, value, ok := strings.Cut(need(1)[0], ": ")
			if !ok {
				ts.Fatalf("-H wants 'Name: value'")
			}
			header[http.CanonicalHeaderKey(name)] = append(header[http.CanonicalHeaderKey(name)], value)
		case "-d":
			body = []byte(need(1)[0])
		case "-f":
			body = []byte(strings.TrimSuffix(ts.ReadFile(need(1)[0]), "\n"))
		case "-hmac":
			pair := need(2)
			sign[pair[0]] = pair[1]
		case "-fal":
			r := &gaff.Request{Header: header, Body: body}
			fal.SignFal(r, falKey, need(1)[0], "user-1", time.Now())
		case "-t":
			header.Set("Authorization", "Bearer "+adminToken)
		default:
			ts.Fatalf("http: unknown option %q", args[0])
		}
	}
	for name, secret := range sign {
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write(body)
		header.Set(name, hex.EncodeToString(mac.Sum(nil)))
	}
	got, err := call(ts, method, address, header, body)
	ts.Check(err)
	last(ts).answer = *got
	_, err = ts.Stdout().Write(got.body)
	ts.Check(err)
	ts.Logf("[%d] %s", got.status, got.body)
}

func cmdNow(ts *testscript.TestScript, neg bool, args []string) {
	only(ts, neg, args, 2, "now VAR SECONDS")
	seconds, err := strconv.ParseInt(args[1], 10, 64)
	ts.Check(err)
	ts.Setenv(args[0], strconv.FormatInt(time.Now().Unix()+seconds, 10))
}

func cmdSSE(ts *testscript.TestScript, neg bool, args []string) {
	only(ts, neg, args, 2, "sse N PATH [LAST-ID]")
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	ctx, cancel := context.WithTimeout(context.Background(), eventually.Limit)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, ts.Getenv("URL")+args[1], nil)
	ts.Check(err)
	req.Header.Set("Authorization", "Bearer "+adminToken)
	if len(args) > 2 {
		req.Header.Set("Last-Event-ID", args[2])
	}
	resp, err := storyClient.Do(req)
	ts.Check(err)
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
		ts.Fatalf("the stream answered %s, %s", resp.Status, resp.Header.Get("Content-Type"))
	}
	lines := bufio.NewScanner(resp.Body)
	for seen := 0; seen < want && lines.Scan(); {
		line := lines.Text()
		fmt.Fprintln(ts.Stdout(), line)
		if id, ok := strings.CutPrefix(line, "id: "); ok {
			last(ts).lastID = id
		}
		if strings.HasPrefix(line, "data: ") {
			seen++
		}
	}
	ts.Check(lines.Err())
}

func cmdLastID(ts *testscript.TestScript, neg bool, args []string) {
	only(ts, neg, args, 1, "lastid VAR")
	ts.Setenv(args[0], last(ts).lastID)
}

func cmdFollow(ts *testscript.TestScript, neg bool, args []string) {
	only(ts, neg, args, 2, "follow REGEXP ARG...")
	want := regexp.MustCompile(args[0])
	cmd := exec.Command(binary, args[1:]...)
	cmd.Dir = ts.MkAbs(".")
	for _, name := range last(ts).names {
		cmd.Env = append(cmd.Env, name+"="+ts.Getenv(name))
	}
	out, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	found := make(chan bool, 1)
	go func() {
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			if want.MatchString(lines.Text()) {
				found <- true
				return
			}
		}
		found <- false
	}()
	deadline := time.After(eventually.Limit)
	for n := 0; ; n++ {
		req, err := gafftest.SignedRequest(context.Background(), ts.Getenv("URL")+"/api/v1/webhooks/custom", "custom", customSecret,
			fmt.Appendf(nil, `{"id":"follow-%s-%d","type":"third"}`, args[1:], n))
		ts.Check(err)
		if res := gafftest.Do(storyClient, req); !res.Success {
			ts.Fatalf("send: %+v", res)
		}
		select {
		case ok := <-found:
			ts.Check(cmd.Process.Signal(os.Interrupt))
			err := cmd.Wait()
			if !ok || err != nil {
				ts.Fatalf("gaff %q: a line that matches %s: %v; ended with %v", args[1:], want, ok, err)
			}
			return
		case <-deadline:
			ts.Check(errors.Join(cmd.Process.Kill(), cmd.Wait()))
			ts.Fatalf("gaff %q: no line matches %s", args[1:], want)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func cmdCode(ts *testscript.TestScript, neg bool, args []string) {
	only(ts, neg, args, 2, "code N PROGRAM ARG...")
	code := 0
	err := ts.Exec(args[1], args[2:]...)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		code = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if strconv.Itoa(code) != args[0] {
		ts.Fatalf("exit code %d, want %s", code, args[0])
	}
}

// falKey plays fal's signing key.
var falKey = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))

func cmdJWKS(ts *testscript.TestScript, neg bool, args []string) {
	only(ts, neg, args, 1, "jwks up|down")
	keys := last(ts)
	switch {
	case args[0] == "down":
		keys.jwks.Close()
	case args[0] == "up" && keys.jwks == nil:
		text := fmt.Sprintf(`{"keys":[{"kty":"OKP","crv":"Ed25519","x":%q}]}`,
			base64.RawURLEncoding.EncodeToString(falKey.Public().(ed25519.PublicKey)))
		keys.jwks = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, text)
		}))
		ts.Defer(keys.jwks.Close)
		ts.Setenv("GAFF_FAL_JWKS_URL", keys.jwks.URL)
	default:
		ts.Fatalf("usage: jwks up|down, up once")
	}
}

func call(ts *testscript.TestScript, method, address string, header http.Header, body []byte) (*answer, error) {
	if strings.HasPrefix(address, "/") {
		address = ts.Getenv("URL") + address
	}
	req, err := http.NewRequest(method, address, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header = header
	if body != nil && header.Get("Content-Type") == "" {
		header.Set("Content-Type", "application/json")
	}
	resp, err := storyClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return &answer{resp.StatusCode, resp.Header, text}, err
}

func cmdStatus(ts *testscript.TestScript, neg bool, args []string) {
	only(ts, neg, args, 1, "status CODE")
	if got := strconv.Itoa(last(ts).status); got != args[0] {
		ts.Fatalf("status %s, want %s: %s", got, args[0], last(ts).body)
	}
}

func cmdHeader(ts *testscript.TestScript, neg bool, args []string) {
	only(ts, false, args, 1, "header NAME [REGEXP]")
	values, there := last(ts).header[http.CanonicalHeaderKey(args[0])]
	if there && len(args) > 1 {
		there = regexp.MustCompile(args[1]).MatchString(strings.Join(values, ", "))
	}
	if there == neg {
		ts.Fatalf("header %s is %q", args[0], values)
	}
}

func cmdJSON(ts *testscript.TestScript, neg bool, args []string) {
	only(ts, neg, args, 2, "json [-keys|-len|-match|-set] PATH WANT")
	body := last(ts).body
	switch args[0] {
	case "-keys":
		raw, err := at(body, args[1])
		ts.Check(err)
		var members map[string]json.RawMessage
		ts.Check(json.Unmarshal(raw, &members))
		var names []string
		for name := range members {
			names = append(names, name)
		}
		slices.Sort(names)
		want := slices.Sorted(slices.Values(args[2:]))
		if !slices.Equal(names, want) {
			ts.Fatalf("%s has the members %q, want %q", args[1], names, want)
		}
	case "-len":
		raw, err := at(body, args[1])
		ts.Check(err)
		var list []json.RawMessage
		ts.Check(json.Unmarshal(raw, &list))
		if strconv.Itoa(len(list)) != args[2] {
			ts.Fatalf("%s has %d items, want %s: %s", args[1], len(list), args[2], raw)
		}
	case "-match":
		text, err := plainAt(body, args[1])
		ts.Check(err)
		if !regexp.MustCompile(args[2]).MatchString(text) {
			ts.Fatalf("%s is %q, which does not match %s", args[1], text, args[2])
		}
	case "-set":
		text, err := plainAt(body, args[2])
		ts.Check(err)
		ts.Setenv(args[1], text)
	default:
		ts.Check(same(body, args[0], args[1]))
	}
}

func cmdAwait(ts *testscript.TestScript, neg bool, args []string) {
	only(ts, neg, args, 3, "await PATH WANT URL")
	ts.Check(poll(eventually.Limit, func() error {
		got, err := call(ts, http.MethodGet, args[2], http.Header{"Authorization": {"Bearer " + adminToken}}, nil)
		if err != nil {
			return err
		}
		last(ts).answer = *got
		return same(got.body, args[0], args[1])
	}))
}

func same(body []byte, path, want string) error {
	got, err := plainAt(body, path)
	if err == nil && got != want {
		err = fmt.Errorf("%s is %s, want %s in %s", path, got, want, body)
	}
	return err
}

// plainAt is the value at a path as it is written; a text without its quotes.
func plainAt(body []byte, path string) (string, error) {
	raw, err := at(body, path)
	if err != nil {
		return "", err
	}
	var text string
	if json.Unmarshal(raw, &text) == nil && raw[0] == '"' {
		return text, nil
	}
	return string(bytes.TrimSpace(raw)), nil
}

func at(body []byte, path string) (json.RawMessage, error) {
	raw := json.RawMessage(bytes.TrimSpace(body))
	if path == "." {
		return raw, nil
	}
	for part := range strings.SplitSeq(path, ".") {
		if i, err := strconv.Atoi(part); err == nil && raw[0] == '[' {
			var list []json.RawMessage
			if err := json.Unmarshal(raw, &list); err != nil || i >= len(list) {
				return nil, errors.Join(fmt.Errorf("%s: there is no %s in %s", path, part, raw), err)
			}
			raw = list[i]
			continue
		}
		var members map[string]json.RawMessage
		err := json.Unmarshal(raw, &members)
		next, ok := members[part]
		if err != nil || !ok {
			return nil, errors.Join(fmt.Errorf("%s: there is no %s in %s", path, part, raw), err)
		}
		raw = next
	}
	return raw, nil
}
