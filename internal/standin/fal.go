package standin

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
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

// UserID is the customer of fal that the stand-in's webhooks are for.
const UserID = "user_standin"

const otherUserID = "user_somebody_else"

// JWKSPath is where a stand-in for fal publishes its keys.
const JWKSPath = "/.well-known/jwks.json"

// FaultHeader is a request's header that names the faults its job shall have, as
// [ParseFaults] reads them. An input's member "standin" does the same:
// {"standin": {"fault": "lost", "seconds": 3}}.
const FaultHeader = "X-Standin-Fault"

// Fal plays fal.ai: the queue, the published keys, uploads and the file host, all under
// one address, and the deliveries. It is an http.Handler; Close ends what it does in the
// background.
//
//	POST /{owner}/{alias}[/…]?fal_webhook=…       submit
//	GET  /{owner}/{alias}/requests/{id}/status    also …/status/stream
//	GET  /{owner}/{alias}/requests/{id}           the result
//	PUT  /{owner}/{alias}/requests/{id}/cancel
//	GET  /.well-known/jwks.json
//	GET  /v1/models/requests/by-endpoint          requests that have ended (api.fal.ai)
//	POST /fal.run/{owner}/{alias}[/…][/stream]    work that is answered when it is done (fal.run)
//	POST /storage/upload/initiate[-multipart]     files of the client's (rest.fal.ai)
//	PUT  /upload/{name}[/{part}], POST /upload/{name}/complete
//	GET  /files/…                                 files of finished jobs
//	GET  /_standin/jobs                           the submitted jobs, and their deliveries
//	GET, PUT /_standin/faults                     the faults that happen from now on
//	POST /_standin/rotate                         a new signing key, published beside the old
type Fal struct {
	desk
	mux *http.ServeMux

	// The desk's lock is theirs, too.
	jobs    map[string]*falJob
	slots   []time.Time          // when each of Options.Parallel is free
	keys    []ed25519.PrivateKey // all published, the last signs
	badJWKS int                  // how many requests for the keys will fail
	uploads uploads
}

type falJob struct {
	job
	app     string
	args    input
	result  any // nil until asked for
	failure *failure
}

// failure is an error as fal reports it.
type failure struct {
	status    int
	body      map[string]any
	errorType string
	retryable bool
}

// NewFal makes a stand-in for fal.
func NewFal(o Options) *Fal {
	f := &Fal{jobs: map[string]*falJob{}}
	f.open(o, falWord)
	f.keys = []ed25519.PrivateKey{f.newKey(0)}
	f.slots = make([]time.Time, o.Parallel)
	f.mux = http.NewServeMux()
	f.mount(f.mux)
	f.mux.HandleFunc("GET "+JWKSPath, f.jwks)
	f.mux.HandleFunc("GET /v1/models/requests/by-endpoint", f.requests)
	f.mountUploads()
	f.mux.HandleFunc("POST "+RunPath+"/{path...}", f.run)
	f.mux.HandleFunc("POST /_standin/rotate", func(w http.ResponseWriter, _ *http.Request) { f.Rotate() })
	f.mux.HandleFunc("/{path...}", f.queue)
	return f
}

// newKey makes signing key number n. Keys of one seed are the same in every run.
func (f *Fal) newKey(n int) ed25519.PrivateKey {
	seed := sha256.Sum256(fmt.Appendf(nil, "standin key %d of %d", n, f.o.Seed))
	return ed25519.NewKeyFromSeed(seed[:])
}

// ServeHTTP serves all of fal's addresses.
func (f *Fal) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if cors(w, r) {
		return
	}
	limit := int64(maxInput)
	if strings.HasPrefix(r.URL.Path, "/upload/") {
		limit = maxUpload
	}
	r.Body = http.MaxBytesReader(w, r.Body, limit)
	f.mux.ServeHTTP(w, r)
}

// Rotate makes a new signing key; the old ones stay published.
func (f *Fal) Rotate() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.keys = append(f.keys, f.newKey(len(f.keys)))
}

// SigningKey is the key that webhooks are signed with now, for tests that sign their own.
func (f *Fal) SigningKey() ed25519.PrivateKey {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.keys[len(f.keys)-1]
}

// FailJWKS lets the next n requests for the published keys fail.
func (f *Fal) FailJWKS(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.badJWKS = n
}

func (f *Fal) jwks(w http.ResponseWriter, _ *http.Request) {
	f.mu.Lock()
	fail := f.badJWKS > 0
	if fail {
		f.badJWKS--
	}
	keys := []map[string]string{}
	for _, key := range f.keys {
		public := key.Public().(ed25519.PublicKey)
		keys = append(keys, map[string]string{"kty": "OKP", "crv": "Ed25519", "x": base64.RawURLEncoding.EncodeToString(public)})
	}
	f.mu.Unlock()
	if fail {
		writeJSON(w, http.StatusInternalServerError, map[string]string{"detail": "Internal Server Error"})
		return
	}
	writeJSON(w, http.StatusOK, map[string]any{"keys": keys})
}

// authorized checks the key as fal does, and answers if it is wrong.
func authorized(w http.ResponseWriter, r *http.Request, key string) bool {
	given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Key ")
	if ok && given != "" && (key == "" || given == key) {
		return true
	}
	writeJSON(w, http.StatusUnauthorized, map[string]string{"detail": "No user found for Key ID and Secret"})
	return false
}

// queue serves submits and requests: endpoints have any number of segments, so the
// addresses are not patterns of the mux.
func (f *Fal) queue(w http.ResponseWriter, r *http.Request) {
	if !authorized(w, r, f.o.Key) {
		return
	}
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	at := slices.Index(parts, "requests")
	if at < 2 {
		if len(parts) < 2 || r.Method != http.MethodPost {
			writeJSON(w, http.StatusNotFound, map[string]string{"detail": fmt.Sprintf("Path %s not found", r.URL.Path)})
			return
		}
		f.submit(w, r, parts)
		return
	}
	if len(parts) < at+2 {
		writeJSON(w, http.StatusNotFound, map[string]string{"detail": "Not Found"})
		return
	}
	f.mu.Lock()
	j := f.jobs[parts[at+1]]
	f.mu.Unlock()
	if j == nil || j.app != appOf(parts[:at]) {
		writeJSON(w, http.StatusNotFound, map[string]string{"status": "NOT_FOUND"})
		return
	}
	w.Header().Set("x-fal-request-id", j.id)
	what := r.Method + " " + strings.Join(parts[at+2:], "/")
	switch what {
	case "GET status":
		f.mu.Lock()
		status, body := f.statusBody(j, time.Now(), r.URL.Query().Get("logs"))
		f.mu.Unlock()
		writeJSON(w, status, body)
	case "GET status/stream":
		f.streamStatus(w, r, j)
	case "GET ", "GET response":
		f.answerResult(w, j)
	case "PUT cancel":
		f.cancel(w, j)
	default:
		writeJSON(w, http.StatusMethodNotAllowed, map[string]string{"detail": "Method Not Allowed"})
	}
}

// appOf is the part of an endpoint's id that the addresses of its requests have.
func appOf(parts []string) string {
	n := 2
	if parts[0] == "workflows" || parts[0] == "comfy" {
		n = 3
	}
	return strings.Join(parts[:min(n, len(parts))], "/")
}

// take reads the request, and gives it its place in the queue. ok is false if that was
// answered already.
func (f *Fal) take(w http.ResponseWriter, r *http.Request, parts []string, webhook string) (j *falJob, position int, ok bool) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		writeJSON(w, http.StatusRequestEntityTooLarge, map[string]string{"detail": "Request body too large"})
		return nil, 0, false
	}
	j = &falJob{app: appOf(parts), job: job{model: strings.Join(parts, "/"), input: body, base: f.o.base(r), webhook: webhook}}
	if err := json.Unmarshal(body, &j.args); err != nil {
		writeJSON(w, http.StatusUnprocessableEntity, modelError("json_invalid", "JSON decode error", "body").body)
		return nil, 0, false
	}
	wanted, err := faultsOf(r, j.args.Standin.Fault)
	if err != nil {
		writeJSON(w, http.StatusBadRequest, map[string]string{"detail": err.Error()})
		return nil, 0, false
	}
	now := time.Now()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.draw(&j.job, wanted)
	for _, other := range f.recent() {
		if other.start.After(now) && !other.cancelled {
			position++
		}
	}
	longest, err := strconv.Atoi(r.URL.Query().Get("fal_max_queue_length"))
	full := err == nil && position > longest
	switch {
	case j.faults.Has(Busy) || full:
		w.Header().Set("X-Fal-Needs-Retry", "1")
		w.Header().Set("X-Fal-Retryable", "true")
		writeJSON(w, http.StatusTooManyRequests, map[string]string{"detail": "Too many requests", "error_type": "concurrent_requests_limit"})
		return nil, 0, false
	case j.faults.Has(Down):
		writeJSON(w, http.StatusServiceUnavailable, map[string]string{"detail": "Service Unavailable"})
		return nil, 0, false
	}
	f.schedule(&j.job, now, j.args.Standin.Seconds)
	f.queueUp(&j.job)
	for _, old := range f.keep(&j.job) {
		delete(f.jobs, old.id)
	}
	if !j.faults.Has(Forgets) {
		f.jobs[j.id] = j
	}
	return j, position, true
}

func (f *Fal) submit(w http.ResponseWriter, r *http.Request, parts []string) {
	webhook := r.URL.Query().Get("fal_webhook")
	if u, err := url.Parse(webhook); webhook != "" && (err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http") {
		writeJSON(w, http.StatusBadRequest, map[string]string{"detail": "fal_webhook is not a valid URL", "error_type": "bad_request"})
		return
	}
	j, position, ok := f.take(w, r, parts, webhook)
	if !ok {
		return
	}
	beforeAnswer(r, &j.job, f.sendWhenDone(&j.job, func() delivery {
		return delivery{url: j.webhook, body: f.webhookBody(j), sign: f.signer(j)}
	}))
	requests := j.base + "/" + j.app + "/requests/" + j.id
	w.Header().Set("x-fal-request-id", j.id)
	writeJSON(w, http.StatusOK, map[string]any{
		"status": "IN_QUEUE", "request_id": j.id, "response_url": requests, "status_url": requests + "/status",
		"cancel_url": requests + "/cancel", "queue_position": position, "logs": nil, "metrics": map[string]any{},
	})
}

// queueUp lets a job wait until one of the places is free. The caller holds the lock.
func (f *Fal) queueUp(j *job) {
	if len(f.slots) == 0 {
		return
	}
	free := 0
	for i := range f.slots {
		if f.slots[i].Before(f.slots[free]) {
			free = i
		}
	}
	if late := f.slots[free].Sub(j.start); late > 0 {
		j.start, j.done = j.start.Add(late), j.done.Add(late)
	}
	f.slots[free] = j.done
}

// recent are the jobs among which one's place in the queue is counted.
func (f *Fal) recent() []*job { return f.order[max(0, len(f.order)-1000):] }

// signer signs in fal's way. Each attempt has a time of its own.
func (f *Fal) signer(j *falJob) func(http.Header, []byte, time.Time) {
	return func(h http.Header, body []byte, at time.Time) {
		f.mu.Lock()
		key := f.keys[len(f.keys)-1]
		f.mu.Unlock()
		user := UserID
		if j.faults.Has(OtherUser) {
			user = otherUserID
		}
		if j.faults.Has(WrongKey) {
			key = f.newKey(-1)
		}
		if j.faults.Has(Stale) {
			at = at.Add(-10 * time.Minute)
		}
		timestamp := strconv.FormatInt(at.Unix(), 10)
		sum := sha256.Sum256(body)
		message := strings.Join([]string{j.id, user, timestamp, hex.EncodeToString(sum[:])}, "\n")
		h.Set("X-Fal-Webhook-Request-Id", j.id)
		h.Set("X-Fal-Webhook-User-Id", user)
		h.Set("X-Fal-Webhook-Timestamp", timestamp)
		h.Set("X-Fal-Webhook-Signature", hex.EncodeToString(ed25519.Sign(key, []byte(message))))
	}
}

func (f *Fal) webhookBody(j *falJob) []byte {
	result, failed := f.outcome(j)
	body := map[string]any{
		"request_id": j.id, "gateway_request_id": j.id, "status": "OK", "error": nil, "payload": result,
	}
	switch {
	case failed != nil:
		body["status"], body["payload"] = "ERROR", failed.body
		body["error"] = fmt.Sprintf("Invalid status code: %d", failed.status)
	case j.faults.Has(PayloadError):
		body["payload"] = nil
		body["payload_error"] = "Response payload is not JSON serializable. Either return a JSON serializable object or use the queue endpoint to retrieve the response."
	}
	return pythonJSON(body)
}

// outcome is the job's result or failure, made at the first question.
func (f *Fal) outcome(j *falJob) (any, *failure) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.outcomeLocked(j)
}

func (f *Fal) outcomeLocked(j *falJob) (any, *failure) {
	if j.result != nil || j.failure != nil {
		return j.result, j.failure
	}
	switch {
	case j.cancelled:
		j.failure = infraError(499, "client_cancelled", "Request was cancelled", false)
	case j.faults.Has(ErrorModel):
		j.failure = modelError("content_policy_violation", "The content could not be processed because it contained material flagged by a content checker.", "body", "prompt")
	case j.faults.Has(ErrorInfra):
		j.failure = infraError(http.StatusServiceUnavailable, "runner_disconnected", "Runner disconnected while it was working on the request", true)
	default:
		j.result, j.failure = makeResult(j)
	}
	if m, ok := j.result.(map[string]any); ok && j.faults.Has(Large) {
		// Hardly any entropy, but as long as it says.
		m["debug"] = strings.Repeat("0123456789abcdef", 5<<20/16)
	}
	return j.result, j.failure
}

func modelError(code, message string, loc ...string) *failure {
	item := map[string]any{"loc": loc, "msg": message, "type": code, "url": "https://docs.fal.ai/errors/#" + code}
	return &failure{status: http.StatusUnprocessableEntity, errorType: code, body: map[string]any{"detail": []any{item}}}
}

func infraError(status int, code, message string, retryable bool) *failure {
	return &failure{
		status: status, errorType: code, retryable: retryable, body: map[string]any{"detail": message, "error_type": code},
	}
}

// falWord is fal's word for the state of a job; it has no word for a failure.
func falWord(j *job, now time.Time) string {
	switch {
	case j.cancelled || !now.Before(j.done):
		return "COMPLETED"
	case !now.Before(j.start):
		return "IN_PROGRESS"
	}
	return "IN_QUEUE"
}

// statusBody answers a question for the status. The caller holds the lock.
func (f *Fal) statusBody(j *falJob, now time.Time, logs string) (int, map[string]any) {
	requests := j.base + "/" + j.app + "/requests/" + j.id
	body := map[string]any{
		"status": falWord(&j.job, now), "request_id": j.id, "response_url": requests, "status_url": requests + "/status",
		"cancel_url": requests + "/cancel",
	}
	if body["status"] == "IN_QUEUE" {
		position := 0
		for _, other := range f.recent() {
			if other != &j.job && other.start.After(now) && other.start.Before(j.start) && !other.cancelled {
				position++
			}
		}
		body["queue_position"] = position
		return http.StatusAccepted, body
	}
	body["logs"] = nil
	if logs == "1" || logs == "true" {
		body["logs"] = j.logs(now)
	}
	if body["status"] == "IN_PROGRESS" {
		return http.StatusAccepted, body
	}
	body["metrics"] = map[string]any{"inference_time": max(j.done.Sub(j.start).Seconds(), 0)}
	if _, failed := f.outcomeLocked(j); failed != nil {
		body["error"], body["error_type"] = fmt.Sprintf("Invalid status code: %d", failed.status), failed.errorType
	}
	return http.StatusOK, body
}

func (j *falJob) logs(now time.Time) []any {
	lines := []any{}
	took := j.done.Sub(j.start)
	for i := range 5 {
		at := j.start.Add(took * time.Duration(i) / 5)
		if at.After(now) {
			break
		}
		lines = append(lines, map[string]any{
			"message": fmt.Sprintf("step %d of 5", i+1), "level": "INFO", "source": "USER", "labels": map[string]any{},
			"timestamp": at.UTC().Format("2006-01-02T15:04:05.000000Z"),
		})
	}
	return lines
}

func (f *Fal) streamStatus(w http.ResponseWriter, r *http.Request, j *falJob) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.WriteHeader(http.StatusOK)
	flush := http.NewResponseController(w)
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	last := ""
	for {
		f.mu.Lock()
		_, body := f.statusBody(j, time.Now(), r.URL.Query().Get("logs"))
		f.mu.Unlock()
		if text := string(pythonJSON(body)); text != last {
			last = text
			fmt.Fprintf(w, "data: %s\n\n", text)
		} else {
			fmt.Fprint(w, ": ping\n\n")
		}
		_ = flush.Flush()
		if body["status"] == "COMPLETED" {
			return
		}
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		}
	}
}

func (f *Fal) answerResult(w http.ResponseWriter, j *falJob) {
	f.mu.Lock()
	j.resultAsked++
	asked, status := j.resultAsked, falWord(&j.job, time.Now())
	f.mu.Unlock()
	switch {
	case status != "COMPLETED":
		writeJSON(w, http.StatusBadRequest, map[string]string{"detail": "Request is still in progress"})
		return
	case j.faults.Has(ResultLate) && asked == 1:
		writeJSON(w, http.StatusGatewayTimeout, map[string]string{"detail": "Gateway Timeout"})
		return
	}
	result, failed := f.outcome(j)
	if failed != nil {
		w.Header().Set("X-Fal-Error-Type", failed.errorType)
		w.Header().Set("X-Fal-Retryable", strconv.FormatBool(failed.retryable))
		writeJSON(w, failed.status, failed.body)
		return
	}
	w.Header().Set("X-Fal-Billable-Units", billableUnits(result))
	writeJSON(w, http.StatusOK, result)
}

func (f *Fal) cancel(w http.ResponseWriter, j *falJob) {
	f.mu.Lock()
	status := falWord(&j.job, time.Now())
	if status == "IN_QUEUE" {
		j.cancelled = true
	}
	f.mu.Unlock()
	if status == "COMPLETED" {
		writeJSON(w, http.StatusBadRequest, map[string]string{"status": "ALREADY_COMPLETED"})
		return
	}
	// A running one is still finished, and billed.
	writeJSON(w, http.StatusAccepted, map[string]string{"status": "CANCELLATION_REQUESTED"})
}

// seedOf is the number that a job's pictures are made from: the input's own, else the
// job's. fal's own are beyond 63 bits more often than not.
func (j *falJob) seedOf() uint64 {
	if j.args.Seed != "" {
		if n, err := strconv.ParseUint(string(j.args.Seed), 10, 64); err == nil {
			return n
		}
	}
	sum := sha256.Sum256([]byte(j.id + j.args.Prompt))
	return binary.BigEndian.Uint64(sum[:])
}
