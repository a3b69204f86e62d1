package app

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"gaff"
	"gaff/internal/config"
	"gaff/sender"
	"gaff/verify"
)

const jsFolder = "../../tools/js"

// node runs a script of tools/js. Its packages are installed first where that was not done
// ("make test" does it).
func node(t *testing.T, stdin []byte, args ...string) []byte {
	t.Helper()
	lock, err := os.ReadFile(jsFolder + "/package-lock.json")
	if err != nil {
		t.Fatal(err)
	}
	if done, err := os.ReadFile(jsFolder + "/node_modules/.gaff-lock"); err != nil || !bytes.Equal(done, lock) {
		if out, err := exec.Command("../../tools/test-setup.sh").CombinedOutput(); err != nil {
			t.Fatalf("tools/test-setup.sh: %v\n%s", err, out)
		}
	}
	cmd := exec.CommandContext(t.Context(), "node", args...)
	cmd.Dir, cmd.Stdin = jsFolder, bytes.NewReader(stdin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("node %v: %v\n%s", args, err, stderr.String())
	}
	return out
}

// played is a request as senders.mjs makes and takes it.
type played struct {
	Name     string            `json:"name"`
	Preset   string            `json:"preset"`
	Secrets  []string          `json:"secrets,omitempty"`
	Secret   string            `json:"secret,omitempty"`
	Settings map[string]string `json:"settings,omitempty"`
	URL      string            `json:"url"`
	Headers  map[string]string `json:"headers"`
	Body     []byte            `json:"body"`
}

// signedByOthers returns a request of each sender, signed now by its own library.
func signedByOthers(t *testing.T) (requests []played) {
	t.Helper()
	if err := json.Unmarshal(node(t, nil, "senders.mjs", "sign", fmt.Sprint(time.Now().Unix())), &requests); err != nil {
		t.Fatal(err)
	}
	return requests
}

// What senders' own libraries sign is accepted, and refused with one byte changed.
func TestOfficialSenders(t *testing.T) {
	t.Parallel()
	// Some signatures are good for half a minute only, so the gateways are there before the
	// requests are signed again.
	gateways := map[string]*limiter{}
	receive := func(r played) {
		src := config.Source{Preset: r.Preset, Settings: r.Settings}
		for _, secret := range r.Secrets {
			src.Secrets = append(src.Secrets, config.Secret(secret))
		}
		gateways[r.Name] = newLimiter(t, configured("it", src))
	}
	earlier := map[string]played{}
	for _, r := range signedByOthers(t) {
		earlier[r.Name] = r
		receive(r)
	}
	requests := signedByOthers(t)
	if len(requests) < 20 {
		t.Fatalf("%d requests", len(requests))
	}
	post := func(r played, headers map[string]string, body []byte) (int, string) {
		var list [][2]string
		for _, name := range slices.Sorted(maps.Keys(headers)) {
			list = append(list, [2]string{name, headers[name]})
		}
		rec := gateways[r.Name].do(http.MethodPost, r.URL, body, list)
		return rec.Code, rec.Body.String()
	}
	for _, r := range requests {
		if !slices.Equal(r.Secrets, earlier[r.Name].Secrets) {
			receive(r) // it makes a key for each run
		}
		if code, text := post(r, r.Headers, r.Body); code/100 != 2 {
			t.Errorf("%s, as it was signed: %d %s", r.Name, code, text)
		}
	}
	for _, r := range requests {
		t.Run(r.Name, func(t *testing.T) {
			t.Parallel()
			for i := range r.Body {
				if i%7 != 0 && i != len(r.Body)-1 {
					continue
				}
				changed := bytes.Clone(r.Body)
				changed[i] ^= 1
				if code, text := post(r, r.Headers, changed); code != 401 {
					t.Fatalf("with byte %d changed (%q): %d %s", i, changed[i], code, text)
				}
			}
			for name, value := range r.Headers {
				lower := strings.ToLower(name)
				if !strings.Contains(lower, "signature") || strings.Contains(lower, "timestamp") {
					continue
				}
				headers := maps.Clone(r.Headers)
				end := len(value) - 3 // before base64's padding
				headers[name] = value[:end] + string(value[end]^1) + value[end+1:]
				if code, text := post(r, headers, r.Body); code != 401 {
					t.Errorf("with %s changed: %d %s", name, code, text)
				}
			}
			if n := gateways[r.Name].events(t); n != 1 {
				t.Errorf("%d events", n)
			}
		})
	}
}

// What gaff signs is accepted by the official verifiers.
func TestOfficialVerifiers(t *testing.T) {
	t.Parallel()
	whsec := "whsec_YSBzZWNyZXQgb2YgdGhpcnR5LXR3byBieXRlcy4uLi4="
	var requests []played
	for preset, secret := range map[string]string{
		"stripe": "whsec_x", "svix": whsec, "standard-webhooks": whsec, "replicate": whsec, "github": "s", "sanity": "s", "twilio": "tok",
		"plivo": "tok", "contentful": strings.Repeat("c", 64), "cloudinary": "s", "workos": "s", "braintree": "priv",
	} {
		scheme, _ := sender.Preset(preset)
		v, err := sender.New(scheme, verify.Options{Secrets: []string{secret}, Settings: map[string]string{"public_key": "pub"}})
		if err != nil {
			t.Fatal(err)
		}
		for n, address := range []string{"https://hooks.example.test/hook", "https://hooks.example.test:8443/a/b?y=2&x=1"} {
			body, header, err := scheme.Sample("id-1", "made", map[string]any{"text": "é & <ü>"})
			if err != nil {
				t.Fatal(err)
			}
			if preset == "braintree" {
				body = []byte("<notification><timestamp type=\"datetime\">2026-01-01T00:00:00Z</timestamp><kind>check</kind><subject><check type=\"boolean\">true</check></subject></notification>")
			}
			r := &gaff.Request{Method: http.MethodPost, URL: address, Header: header, Body: body}
			if err := v.Sign(r, time.Now()); err != nil {
				t.Fatalf("%s: %v", preset, err)
			}
			headers := map[string]string{}
			for name := range r.Header {
				headers[name] = r.Header.Get(name)
			}
			requests = append(requests, played{Name: fmt.Sprint(preset, " ", n), Preset: preset, Secret: secret, URL: r.URL, Headers: headers, Body: r.Body})
		}
	}
	in, err := json.Marshal(requests)
	if err != nil {
		t.Fatal(err)
	}
	var results []struct {
		Name, Error string
		OK          bool
	}
	if err := json.Unmarshal(node(t, in, "senders.mjs", "verify"), &results); err != nil {
		t.Fatal(err)
	}
	if len(results) != len(requests) {
		t.Fatalf("%d results of %d", len(results), len(requests))
	}
	for _, res := range results {
		if !res.OK {
			t.Errorf("%s is refused by the official verifier: %s", res.Name, res.Error)
		}
	}
}
