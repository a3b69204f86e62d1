package fal_test

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"gaff"
	"gaff/internal/fuzzseed"
	"gaff/jobs"
	"gaff/provider/fal"
	"gaff/verify"
)

var (
	key = ed25519.NewKeyFromSeed([]byte("thirty-two bytes of a test's key"))
	now = time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
)

const secret = "a shared secret"

func source(t *testing.T, secrets ...string) gaff.Source {
	t.Helper()
	keys := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(w, `{"keys":[{"kty":"RSA"},{"kty":"OKP","crv":"Ed25519","x":%q}]}`,
			base64.RawURLEncoding.EncodeToString(key.Public().(ed25519.PublicKey)))
	}))
	t.Cleanup(keys.Close)
	src, err := fal.Source(fal.Options{Secrets: secrets, JWKSURL: keys.URL})
	if err != nil {
		t.Fatal(err)
	}
	return src
}

// Webhooks of users who are not named are refused before anything is stored.
func TestUsersAreCheckedByVerify(t *testing.T) {
	t.Parallel()
	keys := verify.NewJWKS("https://keys.test/", verify.JWKSOptions{Client: &http.Client{Transport: roundTrip(func(r *http.Request) (*http.Response, error) {
		rec := httptest.NewRecorder()
		_, _ = fmt.Fprintf(rec, `{"keys":[{"kty":"OKP","crv":"Ed25519","x":%q}]}`, base64.RawURLEncoding.EncodeToString(key.Public().(ed25519.PublicKey)))
		return rec.Result(), nil
	})}})
	src, err := fal.Source(fal.Options{JWKS: keys, Users: []string{"me", "my team"}})
	if err != nil {
		t.Fatal(err)
	}
	for user, want := range map[string]error{"me": nil, "my team": nil, "somebody": verify.ErrMismatch, "Me": verify.ErrMismatch, "me,my team": verify.ErrMismatch} {
		r := request(plainBody)
		fal.SignFal(r, key, "r", user, now)
		if _, err := src.Verifier.Verify(context.Background(), r); !errors.Is(err, want) {
			t.Errorf("user %q: %v, want %v", user, err, want)
		}
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func request(body string) *gaff.Request {
	return &gaff.Request{Method: http.MethodPost, URL: "https://h/api/v1/webhooks/fal", Header: http.Header{}, Body: []byte(body), ReceivedAt: now}
}

const plainBody = `{"request_id":"r","status":"OK","payload":{}}`

func TestDialectsAreToldApartByTheirHeaders(t *testing.T) {
	t.Parallel()
	src := source(t, "an older secret", secret)
	for name, c := range map[string]struct {
		sign    func(r *gaff.Request)
		dialect string // empty: refused
	}{
		"fal":                    {func(r *gaff.Request) { fal.SignFal(r, key, "r", "u", now) }, fal.DialectFal},
		"fal, five minutes old":  {func(r *gaff.Request) { fal.SignFal(r, key, "r", "u", now.Add(-300*time.Second)) }, fal.DialectFal},
		"fal, older":             {func(r *gaff.Request) { fal.SignFal(r, key, "r", "u", now.Add(-301*time.Second)) }, ""},
		"fal, from the future":   {func(r *gaff.Request) { fal.SignFal(r, key, "r", "u", now.Add(301*time.Second)) }, ""},
		"document":               {func(r *gaff.Request) { fal.Sign(r, secret) }, fal.DialectHMAC},
		"document, older secret": {func(r *gaff.Request) { fal.Sign(r, "an older secret") }, fal.DialectHMAC},
		"document, fresh": {func(r *gaff.Request) {
			fal.Sign(r, secret)
			r.Header.Set("X-Fal-Timestamp", strconv.FormatInt(now.Unix()-300, 10))
		}, fal.DialectHMAC},
		"document, stale": {func(r *gaff.Request) {
			fal.Sign(r, secret)
			r.Header.Set("X-Fal-Timestamp", strconv.FormatInt(now.Unix()-301, 10))
		}, ""},
		"document, no time":   {func(r *gaff.Request) { fal.Sign(r, secret); r.Header.Set("X-Fal-Timestamp", "") }, ""},
		"document, two times": {func(r *gaff.Request) { fal.Sign(r, secret); r.Header["X-Fal-Timestamp"] = []string{"1", "2"} }, ""},
		"document, wrong":     {func(r *gaff.Request) { fal.Sign(r, "wrong") }, ""},
		"document, wrong length": {func(r *gaff.Request) {
			fal.Sign(r, secret)
			r.Header.Set("X-Fal-Signature", r.Header.Get("X-Fal-Signature")[:62])
		}, ""},
		"document, repeated": {func(r *gaff.Request) {
			fal.Sign(r, secret)
			r.Header.Add("X-Fal-Signature", strings.Repeat("0", 64))
		}, ""},
		"document, the same twice": {func(r *gaff.Request) {
			fal.Sign(r, secret)
			r.Header.Add("X-Fal-Signature", r.Header.Get("X-Fal-Signature"))
		}, fal.DialectHMAC},
		"nothing": {func(*gaff.Request) {}, ""},
		"both, fal's broken": {func(r *gaff.Request) {
			fal.Sign(r, secret)
			fal.SignFal(r, key, "r", "u", now)
			r.Header.Set("X-Fal-Webhook-User-Id", "someone else")
		}, ""},
		"fal's in part": {func(r *gaff.Request) { fal.Sign(r, secret); r.Header.Set("X-Fal-Webhook-Request-Id", "r") }, ""},
		"fal, repeated": {func(r *gaff.Request) {
			fal.SignFal(r, key, "r", "u", now)
			r.Header.Add("X-Fal-Webhook-Signature", "00")
		}, ""},
		"fal, other key": {func(r *gaff.Request) { fal.SignFal(r, ed25519.NewKeyFromSeed(make([]byte, 32)), "r", "u", now) }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := request(plainBody)
			c.sign(r)
			proof, err := src.Verifier.Verify(context.Background(), r)
			switch {
			case c.dialect == "" && err == nil:
				t.Errorf("accepted as %s", proof.Dialect)
			case c.dialect != "" && (err != nil || proof.Dialect != c.dialect):
				t.Errorf("dialect %q, %v", proof.Dialect, err)
			case c.dialect == fal.DialectFal && (proof.Subject != "u" || proof.Scheme != "fal-jwks"):
				t.Errorf("proof %+v", proof)
			}
		})
	}
}

func TestWithoutASecretTheDocumentsDialectIsRefused(t *testing.T) {
	t.Parallel()
	src := source(t)
	r := request(plainBody)
	fal.Sign(r, "")
	if _, err := src.Verifier.Verify(context.Background(), r); err == nil || !strings.Contains(err.Error(), "FAL_WEBHOOK_SECRET") {
		t.Errorf("refused with %v", err)
	}
	if src.DisabledReason != "" {
		t.Errorf("the source is called quiet: %s", src.DisabledReason)
	}
	if _, err := fal.Source(fal.Options{Secrets: []string{""}}); err == nil {
		t.Error("an empty secret was taken")
	}
}

func TestKeysThatCannotBeHad(t *testing.T) {
	t.Parallel()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	src, err := fal.Source(fal.Options{JWKS: verify.NewJWKS(gone.URL, verify.JWKSOptions{})})
	if err != nil {
		t.Fatal(err)
	}
	r := request(plainBody)
	fal.SignFal(r, key, "r", "u", now)
	if _, err := src.Verifier.Verify(context.Background(), r); !errors.Is(err, gaff.ErrUnverifiable) {
		t.Errorf("without keys: %v", err)
	}
	r.Header.Del("X-Fal-Webhook-Signature")
	if _, err := src.Verifier.Verify(context.Background(), r); errors.Is(err, gaff.ErrUnverifiable) || err == nil {
		t.Errorf("a request that no key can prove: %v", err)
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		body, dialect, header string
		want                  string // type, id, status; empty: refused
	}{
		"OK":                     {`{"request_id":"r","status":"OK","payload":{}}`, fal.DialectFal, "r", "generation.completed r OK"},
		"ERROR":                  {`{"request_id":"r","status":"ERROR","error":"x","payload":null}`, fal.DialectFal, "r", "generation.failed r ERROR"},
		"no error but null":      {`{"request_id": "r", "status": "OK", "error": null, "payload": {"seed": 17454220438242315174}}`, fal.DialectFal, "r", "generation.completed r OK"},
		"the gateway's id":       {`{"request_id":"r","gateway_request_id":"g","status":"OK"}`, fal.DialectFal, "g", "generation.completed r OK"},
		"another's id":           {`{"request_id":"r","gateway_request_id":"g","status":"OK"}`, fal.DialectFal, "x", ""},
		"the other form":         {`{"request_id":"r","status":"completed","metadata":{"job_id":"j"}}`, fal.DialectFal, "r", ""},
		"completed":              {`{"request_id":"r","status":"completed","result":{},"metadata":{"job_id":"j"}}`, fal.DialectHMAC, "", "generation.completed r completed"},
		"failed":                 {`{"request_id":"r","status":"failed","metadata":{"job_id":"j"}}`, fal.DialectHMAC, "", "generation.failed r failed"},
		"in_progress":            {`{"request_id":"r","status":"in_progress","metadata":{"job_id":"j"}}`, fal.DialectHMAC, "", "generation.in_progress r in_progress"},
		"passed on":              {`{"request_id":"r","status":"OK","payload":{}}`, fal.DialectHMAC, "", "generation.completed r OK"},
		"no job":                 {`{"request_id":"r","status":"completed","metadata":{}}`, fal.DialectHMAC, "", ""},
		"no metadata":            {`{"request_id":"r","status":"completed"}`, fal.DialectHMAC, "", ""},
		"no request":             {`{"status":"completed","metadata":{"job_id":"j"}}`, fal.DialectHMAC, "", ""},
		"a number for a request": {`{"request_id":1,"status":"OK"}`, fal.DialectFal, "1", ""},
		"a strange status":       {`{"request_id":"r","status":"ok"}`, fal.DialectFal, "r", ""},
		"a list":                 {`[{"request_id":"r","status":"OK"}]`, fal.DialectFal, "r", ""},
		"null":                   {`null`, fal.DialectFal, "r", ""},
		"nothing":                {``, fal.DialectFal, "r", ""},
		"no end":                 {`{"request_id":"r","status":"OK"`, fal.DialectFal, "r", ""},
		"more after it":          {`{"request_id":"r","status":"OK"} {}`, fal.DialectFal, "r", ""},
		"10,001 levels deep":     {`{"request_id":"r","status":"OK","payload":` + strings.Repeat("[", 10_001) + strings.Repeat("]", 10_001) + `}`, fal.DialectFal, "r", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := request(c.body)
			if c.header != "" {
				r.Header.Set("X-Fal-Webhook-Request-Id", c.header)
			}
			env, err := fal.Parser{}.Parse(r, gaff.Verification{Dialect: c.dialect})
			got := ""
			if err == nil {
				got = env.Type + " " + env.ID + " " + env.Status
			}
			if got != c.want || err == nil && env.CorrelationID != env.ID {
				t.Errorf("read as %q, %v; want %q", got, err, c.want)
			}
		})
	}
}

func TestInterpret(t *testing.T) {
	t.Parallel()
	document := `"metadata":{"job_id":"j","project_id":"p","user_id":"u","generation_type":"video"}`
	for name, c := range map[string]struct {
		body, dialect string
		want          jobs.Update // Files are counted
		files         int
	}{
		"a success": {
			`{"request_id":"r","status":"OK","error":null,"payload":{"images":[{"url":"https://f/a.png"}],"seed":17454220438242315174}}`, fal.DialectFal,
			jobs.Update{RequestID: "r", Status: jobs.JobCompleted, Result: json.RawMessage(`{"images":[{"url":"https://f/a.png"}],"seed":17454220438242315174}`)}, 1,
		},
		"a result that could not be sent": {
			`{"request_id":"r","status":"OK","payload":null,"payload_error":"Response payload is not JSON serializable."}`, fal.DialectFal,
			jobs.Update{RequestID: "r", Status: jobs.JobCompleted, Fetch: true}, 0,
		},
		"a validation error": {
			`{"request_id":"r","status":"ERROR","error":"Invalid status code: 422","payload":{"detail":[{"loc":["body","prompt"],"msg":"field required","type":"value_error.missing","url":"https://docs.fal.ai/errors/","input":{"image_url":"https://f/in.png"}},{"loc":[],"msg":"x","type":"y"}]}}`, fal.DialectFal,
			jobs.Update{
				RequestID: "r", Status: jobs.JobFailed, Error: "prompt: field required (and 1 more)", ErrorType: "value_error.missing",
				Result: json.RawMessage(`{"detail":[{"loc":["body","prompt"],"msg":"field required","type":"value_error.missing","url":"https://docs.fal.ai/errors/","input":{"image_url":"https://f/in.png"}},{"loc":[],"msg":"x","type":"y"}]}`),
			}, 0,
		},
		"an error of the infrastructure": {
			`{"request_id":"r","status":"ERROR","error":"Internal","payload":{"detail":"The runner went away","error_type":"runner_disconnected"}}`, fal.DialectFal,
			jobs.Update{
				RequestID: "r", Status: jobs.JobFailed, Error: "The runner went away", ErrorType: "runner_disconnected",
				Result: json.RawMessage(`{"detail":"The runner went away","error_type":"runner_disconnected"}`),
			}, 0,
		},
		"an error without a payload": {
			`{"request_id":"r","status":"ERROR","error":"Path /x not found","payload":null}`, fal.DialectFal,
			jobs.Update{RequestID: "r", Status: jobs.JobFailed, Error: "Path /x not found"}, 0,
		},
		"an error without a word": {
			`{"request_id":"r","status":"ERROR"}`, fal.DialectFal,
			jobs.Update{RequestID: "r", Status: jobs.JobFailed, Error: "failed without a reason"}, 0,
		},
		"the document's success": {
			`{"request_id":"r","status":"completed","result":{"video":{"url":"https://f/v.mp4","duration":5}},` + document + `}`, fal.DialectHMAC,
			jobs.Update{RequestID: "r", Status: jobs.JobCompleted, Create: true, JobID: "j", ProjectID: "p", UserID: "u", Kind: "video", Result: json.RawMessage(`{"video":{"url":"https://f/v.mp4","duration":5}}`)}, 1,
		},
		"the document's failure": {
			`{"request_id":"r","status":"failed","result":{"error":"no"},` + document + `}`, fal.DialectHMAC,
			jobs.Update{RequestID: "r", Status: jobs.JobFailed, Create: true, JobID: "j", ProjectID: "p", UserID: "u", Kind: "video", Error: "no", Result: json.RawMessage(`{"error":"no"}`)}, 0,
		},
		"the document's progress": {
			`{"request_id":"r","status":"in_progress","result":{"images":[{"url":"https://f/preview.png"}]},` + document + `}`, fal.DialectHMAC,
			jobs.Update{RequestID: "r", Status: jobs.JobProcessing, Create: true, JobID: "j", ProjectID: "p", UserID: "u", Kind: "video"}, 0,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u, err := fal.Interpreter{}.Interpret(&gaff.Event{Data: json.RawMessage(c.body), Verification: gaff.Verification{Dialect: c.dialect}, ReceivedAt: now})
			if err != nil {
				t.Fatal(err)
			}
			if len(u.Files) != c.files {
				t.Errorf("%d files, want %d", len(u.Files), c.files)
			}
			u.Files, u.FilesTotal, c.want.Provider = nil, 0, "fal"
			if got, want := fmt.Sprintf("%+v", u), fmt.Sprintf("%+v", c.want); got != want {
				t.Errorf("read as\n%s, want\n%s", got, want)
			}
		})
	}
}

// manyLinks is a list of n links.
func manyLinks(n int) string {
	return `["https://f/a.png"` + strings.Repeat(`,"https://f/a.png"`, n-1) + `]`
}

func TestInterpretReadsTheFirstOfManyFiles(t *testing.T) {
	t.Parallel()
	body := `{"request_id":"r","status":"OK","payload":{"image_urls":` + manyLinks(20_000) + `}}`
	u, err := fal.Interpreter{}.Interpret(&gaff.Event{Data: json.RawMessage(body), Verification: gaff.Verification{Dialect: fal.DialectFal}})
	if err != nil || u.Status != jobs.JobCompleted || len(u.Files) != 1000 || u.FilesTotal != 20_000 {
		t.Errorf("%s with %d of %d files, %v; want completed with 1,000 of 20,000", u.Status, len(u.Files), u.FilesTotal, err)
	}
}

// What fal signs for anybody must never create a job.
func TestFalsOwnDialectCreatesNothing(t *testing.T) {
	t.Parallel()
	for _, body := range []string{
		`{"request_id":"r","status":"OK","payload":{},"metadata":{"job_id":"j"}}`,
		`{"request_id":"r","status":"completed","result":{},"metadata":{"job_id":"j"}}`,
	} {
		u, err := fal.Interpreter{}.Interpret(&gaff.Event{Data: json.RawMessage(body), Verification: gaff.Verification{Dialect: fal.DialectFal}})
		if err == nil && (u.Create || u.JobID != "") {
			t.Errorf("%s: %+v", body, u)
		}
	}
}

func TestSamples(t *testing.T) {
	t.Parallel()
	src := source(t, secret)
	for _, eventType := range append([]string{""}, fal.Samples...) {
		one, err := fal.Sample(eventType, now)
		if err != nil {
			t.Fatal(err)
		}
		two, _ := fal.Sample(eventType, now)
		if string(one) == string(two) {
			t.Errorf("%s: two samples are the same", eventType)
		}
		r := request(string(one))
		fal.Sign(r, secret)
		proof, err := src.Verifier.Verify(context.Background(), r)
		if err != nil {
			t.Fatal(err)
		}
		env, err := src.Parser.Parse(r, proof)
		if want := strings.TrimPrefix(eventType, "fal:"); err != nil || want != "" && env.Type != want {
			t.Errorf("sample %s is read as %s, %v", eventType, env.Type, err)
		}
	}
	if _, err := fal.Sample("generation.dancing", now); err == nil {
		t.Error("a sample of a type that there is not")
	}
}

func FuzzBody(f *testing.F) {
	for _, eventType := range fal.Samples {
		body, err := fal.Sample(eventType, now)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body, true)
		for _, other := range fuzzseed.Vary(string(body)) {
			f.Add([]byte(other), strings.Contains(eventType, ":"))
		}
		f.Add(body, false)
	}
	f.Add([]byte(`{"request_id":"r","status":"ERROR","payload":{"detail":[{"loc":["body",0,{"a":1}],"msg":"m","type":"t"}]}}`), true)
	f.Add([]byte(`{"request_id":"r","status":"ERROR","error":{"a":1},"payload":[1]}`), true)
	f.Fuzz(func(t *testing.T, body []byte, real bool) {
		proof := gaff.Verification{Dialect: fal.DialectHMAC}
		if real {
			proof.Dialect = fal.DialectFal
		}
		r := &gaff.Request{Header: http.Header{}, Body: body}
		var id struct {
			RequestID string `json:"request_id"`
		}
		_ = json.Unmarshal(body, &id)
		r.Header.Set("X-Fal-Webhook-Request-Id", id.RequestID)
		env, err := fal.Parser{}.Parse(r, proof)
		if err != nil {
			return
		}
		if env.Type == "" || env.ID == "" || !json.Valid(body) {
			t.Errorf("read %q as %+v", body, env)
		}
		// A parsed event must be processable, or discarded with a reason.
		u, err := fal.Interpreter{}.Interpret(&gaff.Event{Data: body, Verification: proof})
		handed, handedErr := fal.Interpreter{}.Interpret(&gaff.Event{Data: body, Parsed: env.Parsed, Verification: proof})
		if env.Parsed == nil || !reflect.DeepEqual(handed, u) || fmt.Sprint(handedErr) != fmt.Sprint(err) {
			t.Errorf("handed on, %q is %+v, %v; read again, %+v, %v", body, handed, handedErr, u, err)
		}
		if err != nil {
			return
		}
		if real && u.Create || u.Status == jobs.JobFailed && u.Error == "" || u.Result != nil && !json.Valid(u.Result) {
			t.Errorf("interpreted %q as %+v", body, u)
		}
	})
}
