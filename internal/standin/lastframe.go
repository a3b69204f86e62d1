package standin

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// LastFrame plays the Last Frame service as docs/lastframe.md describes it. It is an
// http.Handler; Close ends what it does in the background.
//
//	POST /v1/jobs                 submit
//	GET  /v1/jobs/{id}            the status; the same body as the webhook's
//	POST /v1/jobs/{id}/cancel
//	GET  /files/…                 files of finished jobs
//	GET  /_standin/jobs           the submitted jobs, and their deliveries
//	GET, PUT /_standin/faults     the faults that happen from now on
type LastFrame struct {
	desk
	secret string
	mux    *http.ServeMux

	// The desk's lock is theirs, too.
	jobs  map[string]*frameJob
	byKey map[string]*frameJob
}

type frameJob struct {
	job
	asked FrameSubmission
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
	l := &LastFrame{secret: secret, jobs: map[string]*frameJob{}, byKey: map[string]*frameJob{}}
	l.open(o, frameWord)
	l.mux = http.NewServeMux()
	l.mount(l.mux)
	l.mux.HandleFunc("POST /v1/jobs", l.submit)
	l.mux.HandleFunc("GET /v1/jobs/{id}", l.show)
	l.mux.HandleFunc("POST /v1/jobs/{id}/cancel", l.cancel)
	return l
}

// ServeHTTP serves the service's addresses.
func (l *LastFrame) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if cors(w, r) {
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxInput)
	l.mux.ServeHTTP(w, r)
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
	j := &frameJob{job: job{input: body, base: l.o.base(r)}}
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
	j.model, j.webhook = j.asked.Service, j.asked.WebhookURL
	wanted, err := faultsOf(r, j.asked.Standin.Fault)
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
	l.draw(&j.job, wanted)
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
	l.schedule(&j.job, now, j.asked.Standin.Seconds)
	for _, old := range l.keep(&j.job) {
		delete(l.jobs, old.id)
		delete(l.byKey, old.key)
	}
	if !j.faults.Has(Forgets) {
		l.jobs[j.id] = j
	}
	if j.key != "" {
		l.byKey[j.key] = j
	}
	l.mu.Unlock()

	l.sendWhenBegun(j)
	beforeAnswer(r, &j.job, l.sendWhenDone(&j.job, func() delivery { return l.delivery(j, j.done) }))
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

// delivery returns the state of a job at a time.
func (l *LastFrame) delivery(j *frameJob, at time.Time) delivery {
	l.mu.Lock()
	body := j.body(at)
	l.mu.Unlock()
	return delivery{url: j.webhook, body: pythonJSON(body), sign: l.sign(j)}
}

// sendWhenBegun lets the webhook go out that says that the job is running.
func (l *LastFrame) sendWhenBegun(j *frameJob) {
	if j.webhook == "" || j.faults.Has(Lost) || j.faults.Has(Forgets) || j.faults.Has(BeforeAnswer) || !j.done.After(j.start) {
		return
	}
	l.courier.after(time.Until(j.start), func() {
		l.mu.Lock()
		cancelled := j.cancelled
		l.mu.Unlock()
		if !cancelled {
			l.courier.deliver(l.delivery(j, j.start), func(a Attempt) { l.note(&j.job, a) })
		}
	})
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

// frameWord is Last Frame's word for the state of a job.
func frameWord(j *job, now time.Time) string {
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
		"job_id": j.id, "status": frameWord(&j.job, now), "service": j.asked.Service, "status_url": j.base + "/v1/jobs/" + j.id,
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
	if s := frameWord(&j.job, now); s != "queued" && s != "in_progress" {
		writeJSON(w, http.StatusConflict, map[string]string{"error": "the job is " + s})
		return
	}
	j.cancelled = true
	writeJSON(w, http.StatusAccepted, j.body(now))
}

var _ http.Handler = (*LastFrame)(nil)
