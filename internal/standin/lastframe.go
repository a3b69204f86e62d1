package standin

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// LastFrame plays the Last Frame service as docs/lastframe.md describes it. It is an
// http.Handler; Close ends what it does in the background.
//
//	POST /v1/jobs                 submit
//	GET  /v1/jobs/{id}            the status; the same body as the webhook's
//	POST /v1/jobs/{id}/cancel
//	GET  /files/…                 files of finished jobs
//	GET  /_standin/jobs           what was submitted, and how it was delivered
//	GET, PUT /_standin/faults     the faults that happen from now on
type LastFrame struct {
	o       Options
	secret  string
	courier *courier
	mux     *http.ServeMux

	mu     sync.Mutex
	jobs   map[string]*frameJob
	byKey  map[string]*frameJob
	order  []*frameJob
	count  uint64
	faults Faults
}

type frameJob struct {
	id, key     string
	base        string
	asked       FrameSubmission
	input       json.RawMessage
	faults      Faults
	chance      *rand.Rand
	start, done time.Time
	cancelled   bool
	resultAsked int
	attempts    []Attempt
}

// FrameSubmission is the body of a submit.
type FrameSubmission struct {
	Service        string          `json:"service"`
	Inputs         []FrameInput    `json:"inputs"`
	Options        json.RawMessage `json:"options,omitempty"`
	WebhookURL     string          `json:"webhook_url"`
	Metadata       json.RawMessage `json:"metadata,omitempty"`
	IdempotencyKey string          `json:"idempotency_key,omitempty"`
	Standin        struct {
		Fault   string   `json:"fault"`
		Seconds *float64 `json:"seconds"`
	} `json:"standin"`
}

// FrameInput is one file to work on.
type FrameInput struct {
	URL string `json:"url"`
}

// FrameServices are those that the stand-in offers.
var FrameServices = []string{"video-stitch", "video-trim", "audio-mix"}

// NewLastFrame makes a stand-in for Last Frame that signs its webhooks with the secret.
func NewLastFrame(secret string, o Options) *LastFrame {
	o.complete()
	l := &LastFrame{o: o, secret: secret, jobs: map[string]*frameJob{}, byKey: map[string]*frameJob{}, faults: o.Faults}
	l.courier = newCourier(&l.o)
	l.mux = http.NewServeMux()
	l.mux.HandleFunc("POST /v1/jobs", l.submit)
	l.mux.HandleFunc("GET /v1/jobs/{id}", l.show)
	l.mux.HandleFunc("POST /v1/jobs/{id}/cancel", l.cancel)
	l.mux.HandleFunc("GET /files/{path...}", serveFile)
	l.mux.HandleFunc("GET /_standin/jobs", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, l.Jobs()) })
	l.mux.HandleFunc("GET /_standin/faults", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, l.Faults()) })
	l.mux.HandleFunc("PUT /_standin/faults", func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(io.LimitReader(r.Body, 4096))
		faults, err := ParseFaults(strings.TrimSpace(string(text)))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		l.SetFaults(faults)
		fmt.Fprintln(w, faults)
	})
	return l
}

// ServeHTTP serves the service's addresses.
func (l *LastFrame) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxInput)
	l.mux.ServeHTTP(w, r)
}

// Close ends all deliveries. Requests are answered all the same.
func (l *LastFrame) Close() { l.courier.close() }

// Faults returns those that happen to jobs whose request asks for none itself.
func (l *LastFrame) Faults() Faults {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.faults)
}

// SetFaults sets those that happen to the jobs submitted from now on.
func (l *LastFrame) SetFaults(faults Faults) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.faults = maps.Clone(faults)
}

// Jobs lists what was submitted, in that order.
func (l *LastFrame) Jobs() []Job {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	jobs := make([]Job, 0, len(l.order))
	for _, j := range l.order {
		jobs = append(jobs, Job{
			ID: j.id, Model: j.asked.Service, Webhook: j.asked.WebhookURL, Status: j.status(now), Input: j.input,
			Faults: j.faults.String(), Deliveries: slices.Clone(j.attempts), ResultAsked: j.resultAsked,
		})
	}
	return jobs
}

func (l *LastFrame) authorized(w http.ResponseWriter, r *http.Request) bool {
	given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if l.o.Key == "" || ok && given == l.o.Key {
		return true
	}
	writeJSON(w, http.StatusUnauthorized, map[string]string{"error": "the key is missing or wrong"})
	return false
}

func (l *LastFrame) submit(w http.ResponseWriter, r *http.Request) {
	if !l.authorized(w, r) {
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		writeJSON(w, http.StatusRequestEntityTooLarge, map[string]string{"error": "the request is too large"})
		return
	}
	j := &frameJob{input: body, base: l.o.base(r)}
	if err := json.Unmarshal(body, &j.asked); err != nil {
		writeJSON(w, http.StatusBadRequest, map[string]string{"error": "the body is not JSON of the documented form: " + err.Error()})
		return
	}
	if problem := j.asked.problem(); problem != "" {
		writeJSON(w, http.StatusUnprocessableEntity, map[string]string{"error": problem})
		return
	}
	j.key = r.Header.Get("Idempotency-Key")
	if j.key == "" {
		j.key = j.asked.IdempotencyKey
	}
	asked := r.Header.Get(FaultHeader)
	if asked == "" {
		asked = j.asked.Standin.Fault
	}
	wanted, err := ParseFaults(asked)
	if err != nil {
		writeJSON(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
		return
	}
	l.mu.Lock()
	if first := l.byKey[j.key]; j.key != "" && first != nil {
		answer := first.body(time.Now())
		l.mu.Unlock()
		writeJSON(w, http.StatusOK, answer)
		return
	}
	if len(wanted) == 0 {
		wanted = l.faults
	}
	l.count++
	j.chance = l.o.random(l.count)
	j.faults = wanted.draw(j.chance)
	j.id = newUUID(j.chance)
	if j.faults.Has(Busy) || j.faults.Has(Down) {
		l.mu.Unlock()
		status := http.StatusServiceUnavailable
		if j.faults.Has(Busy) {
			status = http.StatusTooManyRequests
		}
		w.Header().Set("Retry-After", "1")
		writeJSON(w, status, map[string]string{"error": "come again later"})
		return
	}
	now := time.Now()
	workFor := l.o.Work
	if s := j.asked.Standin.Seconds; s != nil {
		workFor = time.Duration(min(max(*s, 0), 86_400) * float64(time.Second))
	}
	j.start = now.Add(l.o.Queue)
	if j.faults.Has(BeforeAnswer) {
		j.start, workFor = now, 0
	}
	j.done = j.start.Add(workFor)
	l.order = append(l.order, j)
	if !j.faults.Has(Forgets) {
		l.jobs[j.id] = j
	}
	if j.key != "" {
		l.byKey[j.key] = j
	}
	if len(l.order) > maxJobs {
		for _, old := range l.order[:maxJobs/10] {
			delete(l.jobs, old.id)
			delete(l.byKey, old.key)
		}
		l.order = slices.Clone(l.order[maxJobs/10:])
	}
	l.mu.Unlock()

	sent := l.sendWhenDone(j)
	if j.faults.Has(UnknownOutcome) {
		panic(http.ErrAbortHandler)
	}
	if j.faults.Has(BeforeAnswer) {
		timer := time.NewTimer(2 * time.Second)
		defer timer.Stop()
		select {
		case <-sent:
		case <-timer.C:
		case <-r.Context().Done():
		}
	}
	l.mu.Lock()
	answer := j.body(now)
	l.mu.Unlock()
	writeJSON(w, http.StatusAccepted, answer)
}

func (s *FrameSubmission) problem() string {
	if !slices.Contains(FrameServices, s.Service) {
		return fmt.Sprintf("service %q is not known; there are %s", clip(s.Service, 40), strings.Join(FrameServices, ", "))
	}
	if len(s.Inputs) == 0 || len(s.Inputs) > 100 {
		return "inputs: want 1 to 100"
	}
	for i, in := range s.Inputs {
		if u, err := url.Parse(in.URL); err != nil || u.Host == "" {
			return fmt.Sprintf("inputs[%d].url is not a link", i)
		}
	}
	if u, err := url.Parse(s.WebhookURL); s.WebhookURL != "" && (err != nil || u.Host == "") {
		return "webhook_url is not a link"
	}
	return ""
}

// sendWhenDone lets the webhooks go out: that it is being worked on, and how it ended.
// The channel is closed after the first try of the second.
func (l *LastFrame) sendWhenDone(j *frameJob) <-chan struct{} {
	first := make(chan struct{})
	if j.asked.WebhookURL == "" || j.faults.Has(Lost) || j.faults.Has(Forgets) {
		close(first)
		return first
	}
	note := func(a Attempt) {
		l.mu.Lock()
		j.attempts = append(j.attempts, a)
		l.mu.Unlock()
	}
	if !j.faults.Has(BeforeAnswer) && j.done.After(j.start) {
		l.courier.after(time.Until(j.start), func() {
			l.mu.Lock()
			body, cancelled := j.body(j.start), j.cancelled
			l.mu.Unlock()
			if cancelled {
				return
			}
			l.courier.deliver(delivery{url: j.asked.WebhookURL, body: pythonJSON(body), sign: l.sign(j)}, note)
		})
	}
	var once sync.Once
	l.courier.after(time.Until(j.done), func() {
		l.mu.Lock()
		body, cancelled := j.body(j.done), j.cancelled
		l.mu.Unlock()
		if cancelled {
			once.Do(func() { close(first) })
			return
		}
		d := delivery{url: j.asked.WebhookURL, body: pythonJSON(body), sign: l.sign(j)}
		l.courier.send(d, j.faults, func(a Attempt) {
			note(a)
			once.Do(func() { close(first) })
		})
	})
	return first
}

func (l *LastFrame) sign(j *frameJob) func(http.Header, []byte, time.Time) {
	return func(h http.Header, body []byte, at time.Time) {
		secret := l.secret
		if j.faults.Has(WrongKey) {
			secret += " but another"
		}
		if j.faults.Has(Stale) {
			at = at.Add(-10 * time.Minute)
		}
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write(body)
		h.Set("X-Lastframe-Signature", hex.EncodeToString(mac.Sum(nil)))
		h.Set("X-Lastframe-Timestamp", strconv.FormatInt(at.Unix(), 10))
	}
}

func (j *frameJob) status(now time.Time) string {
	switch {
	case j.cancelled:
		return "cancelled"
	case now.Before(j.start):
		return "queued"
	case now.Before(j.done):
		return "in_progress"
	case j.faults.fails():
		return "failed"
	}
	return "completed"
}

// body is what the service says about a job, in its webhook and when it is asked.
func (j *frameJob) body(now time.Time) map[string]any {
	body := map[string]any{
		"job_id": j.id, "status": j.status(now), "service": j.asked.Service, "status_url": j.base + "/v1/jobs/" + j.id,
		"result": nil, "metadata": map[string]any{},
	}
	if len(j.asked.Metadata) > 0 {
		body["metadata"] = j.asked.Metadata
	}
	switch body["status"] {
	case "completed":
		f := file{Kind: "clip", Format: "mp4", Seed: uint64(len(j.asked.Inputs)), Caption: "stitched " + j.id, Fault: j.faults.file()}
		if j.asked.Service == "audio-mix" {
			f.Kind, f.Format = "tone", "wav"
		}
		body["result"] = map[string]any{"output_url": j.base + f.path(), "duration": 2.0}
	case "failed":
		body["result"] = map[string]any{"error": "The clips have different frame rates"}
	}
	return body
}

func (l *LastFrame) show(w http.ResponseWriter, r *http.Request) {
	if !l.authorized(w, r) {
		return
	}
	l.mu.Lock()
	j := l.jobs[r.PathValue("id")]
	var body map[string]any
	if j != nil {
		j.resultAsked++
		body = j.body(time.Now())
	}
	l.mu.Unlock()
	if j == nil {
		writeJSON(w, http.StatusNotFound, map[string]string{"error": "no such job"})
		return
	}
	writeJSON(w, http.StatusOK, body)
}

func (l *LastFrame) cancel(w http.ResponseWriter, r *http.Request) {
	if !l.authorized(w, r) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	j := l.jobs[r.PathValue("id")]
	if j == nil {
		writeJSON(w, http.StatusNotFound, map[string]string{"error": "no such job"})
		return
	}
	now := time.Now()
	if s := j.status(now); s != "queued" && s != "in_progress" {
		writeJSON(w, http.StatusConflict, map[string]string{"error": "the job is " + s})
		return
	}
	j.cancelled = true
	writeJSON(w, http.StatusAccepted, j.body(now))
}

var _ http.Handler = (*LastFrame)(nil)
