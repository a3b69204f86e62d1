package standin

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// desk is the state of either service: the accepted jobs, the
// faults that happen to them, and who delivers the webhooks.
type desk struct {
	o       Options
	courier *courier
	// word is what the service calls the state of a job.
	word func(j *job, now time.Time) string

	mu     sync.Mutex
	order  []*job
	count  uint64
	faults Faults // of jobs whose request asks for none itself
}

// job is what both services know of one.
type job struct {
	id, model, webhook, base string
	key                      string // the asker's, for repetitions; fal has none
	input                    json.RawMessage
	faults                   Faults
	chance                   *rand.Rand
	submitted, start, done   time.Time
	cancelled                bool
	resultAsked              int
	attempts                 []Attempt
}

func (d *desk) open(o Options, word func(*job, time.Time) string) {
	o.complete()
	d.o, d.word, d.faults = o, word, o.Faults
	d.courier = newCourier(&d.o)
}

// Close ends all deliveries. Requests are still answered.
func (d *desk) Close() { d.courier.close() }

// Faults returns those that happen to jobs whose request asks for none itself.
func (d *desk) Faults() Faults {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.faults)
}

// SetFaults sets those that happen to the jobs submitted from now on.
func (d *desk) SetFaults(faults Faults) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.faults = maps.Clone(faults)
}

// Job is what a stand-in remembers of a submitted job.
type Job struct {
	ID      string          `json:"request_id"`
	Model   string          `json:"model"`
	Webhook string          `json:"webhook"`
	Status  string          `json:"status"`
	Input   json.RawMessage `json:"input"`
	Faults  string          `json:"faults"`
	// Deliveries are the attempts to deliver the webhook, in the order in which they ended.
	Deliveries []Attempt `json:"deliveries"`
	// ResultAsked counts the questions for the result.
	ResultAsked int `json:"result_asked"`
}

// Jobs lists the submitted jobs in their order, forgotten ones included.
func (d *desk) Jobs() []Job {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	jobs := make([]Job, 0, len(d.order))
	for _, j := range d.order {
		jobs = append(jobs, Job{
			ID: j.id, Model: j.model, Webhook: j.webhook, Status: d.word(j, now), Input: j.input, Faults: j.faults.String(),
			Deliveries: slices.Clone(j.attempts), ResultAsked: j.resultAsked,
		})
	}
	return jobs
}

// mount adds the addresses by which people look behind the counter.
func (d *desk) mount(mux *http.ServeMux) {
	mux.HandleFunc("GET /files/{path...}", serveFile)
	mux.HandleFunc("GET /_standin/jobs", func(w http.ResponseWriter, _ *http.Request) { writeJSON(w, http.StatusOK, d.Jobs()) })
	mux.HandleFunc("GET /_standin/faults", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, d.Faults()) })
	mux.HandleFunc("PUT /_standin/faults", func(w http.ResponseWriter, r *http.Request) {
		text, err := io.ReadAll(io.LimitReader(r.Body, 4096))
		if err != nil {
			return
		}
		faults, err := ParseFaults(strings.TrimSpace(string(text)))
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		d.SetFaults(faults)
		fmt.Fprintln(w, faults)
	})
}

// faultsOf are the faults that a request asks for: in its header, else in its input.
func faultsOf(r *http.Request, input string) (Faults, error) {
	if asked := r.Header.Get(FaultHeader); asked != "" {
		return ParseFaults(asked)
	}
	return ParseFaults(input)
}

// draw gives a job its number, and what follows from it: its id, and the faults that happen
// to it. The caller holds the lock.
func (d *desk) draw(j *job, wanted Faults) {
	if len(wanted) == 0 {
		wanted = d.faults
	}
	d.count++
	j.chance = d.o.random(d.count)
	j.faults = wanted.draw(j.chance)
	j.id = newUUID(j.chance)
}

// schedule sets when a job starts and ends; seconds is how long its input wants it to take.
func (d *desk) schedule(j *job, now time.Time, seconds *float64) {
	work := d.o.Work
	if seconds != nil {
		work = time.Duration(min(max(*seconds, 0), 86_400) * float64(time.Second))
	}
	j.submitted, j.start = now, now.Add(d.o.Queue)
	if j.faults.Has(BeforeAnswer) {
		j.start, work = now, 0
	}
	j.done = j.start.Add(work)
}

// keep remembers a job, and returns those that are forgotten for it. The caller holds the
// lock.
func (d *desk) keep(j *job) (forgotten []*job) {
	d.order = append(d.order, j)
	if len(d.order) > maxJobs {
		forgotten = d.order[:maxJobs/10]
		d.order = slices.Clone(d.order[maxJobs/10:])
	}
	return forgotten
}

// note records an attempt to deliver a job's webhook.
func (d *desk) note(j *job, a Attempt) {
	d.mu.Lock()
	j.attempts = append(j.attempts, a)
	d.mu.Unlock()
}

// sendWhenDone lets the job's webhook go out when its time has come. The channel is
// closed after the first attempt.
func (d *desk) sendWhenDone(j *job, made func() delivery) <-chan struct{} {
	first := make(chan struct{})
	if j.webhook == "" || j.faults.Has(Forgets) || j.faults.Has(Lost) {
		close(first)
		return first
	}
	var once sync.Once
	d.courier.after(time.Until(j.done), func() {
		d.mu.Lock()
		cancelled := j.cancelled
		d.mu.Unlock()
		if cancelled {
			once.Do(func() { close(first) })
			return
		}
		d.courier.send(made(), j.faults, func(a Attempt) {
			d.note(j, a)
			once.Do(func() { close(first) })
		})
	})
	return first
}

// beforeAnswer is what happens between the taking of a job and the answer to its submit.
// sent is closed once the receiver has the webhook, with any answer.
func beforeAnswer(r *http.Request, j *job, sent <-chan struct{}) {
	if j.faults.Has(UnknownOutcome) {
		panic(http.ErrAbortHandler)
	}
	if !j.faults.Has(BeforeAnswer) {
		return
	}
	timer := time.NewTimer(2 * time.Second)
	defer timer.Stop()
	select {
	case <-sent:
	case <-timer.C:
	case <-r.Context().Done():
	}
}
