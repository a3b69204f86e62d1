package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gaff"
	"gaff/provider/described"
	"gaff/sender"
	"gaff/verify"
)

// vendor is a stand-in for a provider of the catalogue. It answers with the vendor's own messages,
// which are the examples of the catalogue, and gives each piece of work an id of its own.
//
// A prompt that contains "refuse-it" is rejected, and work with "fail-it" fails.
type vendor struct {
	name   string
	d      *described.Description
	e      *described.Examples
	url    string
	work   time.Duration // how long work takes
	faults vendorFaults
	// compared is set if the bodies of submits must be those of the examples, except the prompt.
	compared bool
	// gateway is the URL of a gateway, for providers whose webhook URL is entered in an account.
	gateway string
	// sign makes a webhook authentic, forge pretends to; both do nothing if the provider signs none.
	sign, forge func(*gaff.Request, time.Time) error

	mu     sync.Mutex
	rand   *rand.Rand
	works  []*vendorWork
	byID   map[string]*vendorWork
	sent   map[string]int // submits that were not answered 429, by their mark
	forged int            // forged webhooks that were rejected
	wrong  []string       // what a vendor would not see
	hooks  sync.WaitGroup
}

// vendorFaults says how often each fault happens, from 0 to 1.
type vendorFaults struct {
	Busy, Down, Cut                    float64 // submits: 429, 502 without work, work without an answer
	Lost, Late, Doubled, Forged, Early float64 // webhooks; Early ones come before the submit's answer
	PollDown, PollBusy                 float64 // polls: 500, 429
	Fail                               float64
	LateBy                             time.Duration
}

// vendorWork is a piece of work at a provider, which is paid when it ends.
type vendorWork struct {
	id, mark, job, webhook string
	done                   time.Time
	fails, cut, cancelled  bool
}

// vendorSecret is the key of a vendor's webhooks.
var vendorSecret = "whsec_" + base64.StdEncoding.EncodeToString([]byte("0123456789abcdef0123456789abcdef"))

func newVendor(t *testing.T, name string, seed uint64) *vendor {
	t.Helper()
	v := &vendor{name: name, work: 300 * time.Millisecond, byID: map[string]*vendorWork{}, sent: map[string]int{}, rand: rand.New(rand.NewPCG(seed, 20))}
	v.d, _ = described.Find(name)
	var err error
	if v.e, err = described.ExamplesOf(name); err != nil {
		t.Fatal(err)
	}
	v.sign = func(*gaff.Request, time.Time) error { return nil }
	v.forge = v.sign
	if w := v.d.Webhook; w != nil && !w.Unsigned {
		v.sign, v.forge = vendorSigner(t, w.Preset, vendorSecret), vendorSigner(t, w.Preset, "whsec_"+strings.Repeat("A", 43)+"=")
	}
	server := httptest.NewServer(v)
	v.url = server.URL
	t.Cleanup(func() {
		v.hooks.Wait()
		server.Close()
	})
	return v
}

func vendorSigner(t *testing.T, preset, secret string) func(*gaff.Request, time.Time) error {
	t.Helper()
	scheme, ok := sender.Preset(preset)
	if !ok {
		t.Fatalf("unknown preset %s", preset)
	}
	s, err := sender.New(scheme, verify.Options{Secrets: []string{secret}})
	if err != nil {
		t.Fatal(err)
	}
	return s.Sign
}

// hit reports whether a fault happens now. The caller holds mu.
func (v *vendor) hit(share float64) bool { return share > 0 && v.rand.Float64() < share }

func (v *vendor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return // the gateway was killed
	}
	uri := r.URL.RequestURI()
	if v.name == "wavespeed" { // its documents poll /predictions/ID, its SDK /predictions/ID/result
		uri = strings.TrimSuffix(uri, "/result")
	}
	known := func(want *described.Request) (id string, ok bool) {
		if want == nil || want.Method != r.Method {
			return "", false
		}
		before, after, _ := strings.Cut(want.Path, v.e.Expect.ID)
		if before == want.Path { // the id is in the body
			if uri != want.Path {
				return "", false
			}
			v.mu.Lock()
			defer v.mu.Unlock()
			for id := range v.byID {
				if bytes.Contains(body, []byte(`"`+id+`"`)) {
					return id, true
				}
			}
			return "", true
		}
		if !strings.HasPrefix(uri, before) || !strings.HasSuffix(uri, after) || len(uri) < len(before)+len(after) {
			return "", false
		}
		return uri[len(before) : len(uri)-len(after)], true
	}
	submit, _, _ := strings.Cut(v.e.Submit.Path, "?")
	if r.Method == v.e.Submit.Method && r.URL.EscapedPath() == submit {
		v.submit(w, r, body)
		return
	}
	if id, ok := known(v.e.Cancel); ok {
		v.cancel(w, r, id)
		return
	}
	if id, ok := known(v.e.Poll); ok {
		v.poll(w, r, id)
		return
	}
	v.note("%s %s is not a request of the vendor's", r.Method, uri)
	http.NotFound(w, r)
}

func (v *vendor) note(format string, args ...any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.wrong = append(v.wrong, v.name+": "+fmt.Sprintf(format, args...))
}

// authentic compares the headers of a request with the vendor's; agents are not compared.
func (v *vendor) authentic(w http.ResponseWriter, r *http.Request, want map[string]string) bool {
	for name, value := range want {
		got := r.Header.Get(name)
		if rest, prefix := strings.CutSuffix(value, "*"); got != value && !(prefix && strings.HasPrefix(got, rest)) {
			v.note("%s of %s %s is %q, want %q", name, r.Method, r.URL.Path, got, value)
			w.WriteHeader(http.StatusUnauthorized)
			return false
		}
	}
	return true
}

var (
	markOf = regexp.MustCompile(`mark-\d+-`)
	hookOf = regexp.MustCompile(`http://[^"\\\s]+/api/v1/webhooks/[^"\\\s]+`)
	jobOf  = regexp.MustCompile(`job_[0-9A-Za-z]+`)
)

func (v *vendor) submit(w http.ResponseWriter, r *http.Request, body []byte) {
	if !v.authentic(w, r, v.e.Submit.Headers) {
		return
	}
	if v.compared {
		v.compare(r, body)
	}
	if bytes.Contains(body, []byte("refuse-it")) {
		v.answer(w, v.e.Refused, &vendorWork{})
		return
	}
	v.mu.Lock()
	if v.hit(v.faults.Busy) {
		v.mu.Unlock()
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusTooManyRequests)
		return
	}
	mark := string(markOf.Find(body))
	v.sent[mark]++
	if v.hit(v.faults.Down) {
		v.mu.Unlock()
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	work := &vendorWork{id: fmt.Sprintf("%s-%d", v.e.Expect.ID, len(v.works)+1), mark: mark, done: time.Now().Add(v.work)}
	text, err := url.QueryUnescape(r.URL.RawQuery)
	if err == nil {
		work.webhook = hookOf.FindString(text)
	}
	if work.webhook == "" {
		work.webhook = string(hookOf.Find(body))
	}
	work.job = string(jobOf.Find(body))
	work.cut = v.hit(v.faults.Cut)
	work.fails = v.e.Failed != nil && (v.hit(v.faults.Fail) || bytes.Contains(body, []byte("fail-it")))
	v.works = append(v.works, work)
	v.byID[work.id] = work
	early := !work.fails && v.hit(v.faults.Early)
	if early {
		work.done = time.Now()
	}
	v.mu.Unlock()
	if early {
		v.send(work, false)
	} else {
		v.hooks.Go(func() { v.hook(work) })
	}
	if work.cut {
		panic(http.ErrAbortHandler)
	}
	v.answer(w, &v.e.Accepted, work)
}

// compare compares the body of a submit with that of the examples.
func (v *vendor) compare(r *http.Request, body []byte) {
	got := map[string]any{}
	if kind, params, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind == "multipart/form-data" {
		form, err := multipart.NewReader(bytes.NewReader(body), params["boundary"]).ReadForm(1 << 20)
		if err != nil {
			v.note("%v", err)
			return
		}
		for name, values := range form.Value {
			got[name] = values[0]
		}
	} else if err := json.Unmarshal(body, &got); err != nil {
		v.note("%v", err)
		return
	}
	raw, err := json.Marshal(v.e.Submit.Body)
	if err != nil {
		v.note("%v", err)
		return
	}
	text := strings.ReplaceAll(string(raw), "WEBHOOK_URL", "https://hooks.example.com/api/v1/webhooks/play/job_play.mac")
	for _, word := range []string{"refuse-it", "fail-it"} {
		for _, name := range []string{"prompt", "promptText", "text", "source_url"} {
			was, _ := v.e.Input[name].(string)
			if was != "" && bytes.Contains(body, []byte(word)) {
				text = strings.ReplaceAll(text, was, map[bool]string{false: word, true: "https://" + word + "/"}[name == "source_url"])
			}
		}
	}
	want := map[string]any{}
	if err := json.Unmarshal([]byte(text), &want); err != nil {
		v.note("%v", err)
		return
	}
	if !cmp.Equal(got, want) {
		v.note("the body of a submit differs from the examples: %s", cmp.Diff(want, got))
	}
}

func (v *vendor) poll(w http.ResponseWriter, r *http.Request, id string) {
	if !v.authentic(w, r, v.e.Poll.Headers) {
		return
	}
	v.mu.Lock()
	work, known := v.byID[id]
	down, busy := v.hit(v.faults.PollDown), v.hit(v.faults.PollBusy)
	v.mu.Unlock()
	switch {
	case !known:
		v.note("polled about %q, which is unknown", id)
		w.WriteHeader(http.StatusNotFound)
	case down:
		w.WriteHeader(http.StatusInternalServerError)
	case busy:
		w.WriteHeader(http.StatusTooManyRequests)
	case time.Now().Before(work.done):
		v.answer(w, v.e.Running, work)
	case work.fails:
		v.answer(w, v.e.Failed, work)
	default:
		v.answer(w, v.e.Done, work)
	}
}

func (v *vendor) cancel(w http.ResponseWriter, r *http.Request, id string) {
	if !v.authentic(w, r, v.e.Cancel.Headers) {
		return
	}
	v.mu.Lock()
	work := v.byID[id]
	if work != nil {
		work.cancelled = true
	}
	v.mu.Unlock()
	if work == nil {
		v.note("asked to cancel %q, which is unknown", id)
		w.WriteHeader(http.StatusNotFound)
		return
	}
	answer := v.e.Cancelled
	if answer == nil {
		answer = &described.Response{}
	}
	v.answer(w, answer, work)
}

// text is a message of the vendor about a piece of work, with this server's URL.
func (v *vendor) text(message any, work *vendorWork) string {
	text, plain := message.(string)
	if !plain {
		raw, err := json.Marshal(message)
		if err != nil {
			panic(err)
		}
		text = string(raw)
	}
	if work.id != "" && v.e.Expect.ID != "" {
		text = strings.ReplaceAll(text, v.e.Expect.ID, work.id)
	}
	text = strings.ReplaceAll(text, "job_play", work.job)
	text = strings.ReplaceAll(text, v.d.BaseURL, v.url)
	for _, host := range v.d.Hosts {
		text = strings.ReplaceAll(text, "https://"+host, v.url)
	}
	return text
}

func (v *vendor) answer(w http.ResponseWriter, r *described.Response, work *vendorWork) {
	w.Header().Set("Content-Type", "application/json")
	if r.Status != 0 {
		w.WriteHeader(r.Status)
	}
	switch {
	case r.Text != "":
		_, _ = io.WriteString(w, v.text(r.Text, work))
	case r.Body != nil:
		_, _ = io.WriteString(w, v.text(r.Body, work))
	}
}

// hook sends the webhook of a piece of work when it is done, with faults.
func (v *vendor) hook(work *vendorWork) {
	v.mu.Lock()
	lost, late, doubled, forged := v.hit(v.faults.Lost), v.hit(v.faults.Late), v.hit(v.faults.Doubled), v.hit(v.faults.Forged)
	v.mu.Unlock()
	if forged {
		v.send(work, true)
	}
	if lost || work.fails {
		return // the examples have no webhook about failed work
	}
	time.Sleep(time.Until(work.done))
	if late {
		time.Sleep(v.faults.LateBy)
	}
	if doubled {
		v.hooks.Go(func() { v.send(work, false) })
	}
	v.send(work, false)
}

// send sends a webhook until it is answered, five times at most.
func (v *vendor) send(work *vendorWork, forged bool) {
	address, sign := work.webhook, v.sign
	if v.d.Webhook == nil || v.e.Webhook == nil {
		return
	}
	if v.d.Webhook.Account {
		address = v.gateway + "/api/v1/webhooks/" + v.name
	}
	if address == "" {
		return
	}
	if forged {
		sign = v.forge
		if v.d.Webhook.Unsigned {
			address = address[:strings.LastIndexAny(address, "./")+1] + "forged"
		}
	}
	for range 5 {
		r := &gaff.Request{Method: http.MethodPost, URL: address, Header: http.Header{}, Body: []byte(v.text(v.e.Webhook, work))}
		if err := sign(r, time.Now()); err != nil {
			v.note("sign: %v", err)
			return
		}
		req, err := http.NewRequest(r.Method, address, bytes.NewReader(r.Body))
		if err != nil {
			v.note("%v", err)
			return
		}
		req.Header = r.Header
		req.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			resp.Body.Close()
			switch {
			case forged && resp.StatusCode/100 == 2:
				v.note("a forged webhook was answered %s", resp.Status)
			case forged && resp.StatusCode/100 == 4:
				v.mu.Lock()
				v.forged++
				v.mu.Unlock()
			case !forged && resp.StatusCode/100 == 4 && resp.StatusCode != http.StatusTooManyRequests:
				v.note("a webhook was answered %s", resp.Status)
			}
			if resp.StatusCode/100 == 2 || resp.StatusCode/100 == 4 {
				return
			}
		}
		time.Sleep(300 * time.Millisecond)
	}
}
