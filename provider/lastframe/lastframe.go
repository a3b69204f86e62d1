// Package lastframe receives the webhooks of the Last Frame service, which stitches and
// processes video and audio, and reads them as changes to jobs and their files.
package lastframe

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"

	"gaff"
	"gaff/jobs"
	"gaff/verify"
)

// Name is the source's and the provider's.
const Name = "lastframe"

// Types of events.
const (
	Completed  = "processing.completed"
	Failed     = "processing.failed"
	InProgress = "processing.in_progress"
)

const (
	headerSignature = "X-Lastframe-Signature"
	headerTimestamp = "X-Lastframe-Timestamp"
)

// Options of the source.
type Options struct {
	// Secrets that the service signs with; all are accepted. None: everything is refused.
	Secrets []string
}

// Source returns the source "lastframe". It fails on an empty secret.
func Source(o Options) (gaff.Source, error) {
	src := gaff.Source{Name: Name, Verifier: verify.Refuse("LASTFRAME_WEBHOOK_SECRET is not set"), Parser: Parser{}}
	src.Headers = []string{headerSignature, headerTimestamp}
	src.About = map[string]string{"register": "give this address to Last Frame as the webhook address; the shared secret is LASTFRAME_WEBHOOK_SECRET"}
	if len(o.Secrets) == 0 {
		src.DisabledReason = "LASTFRAME_WEBHOOK_SECRET is not set"
		return src, nil
	}
	v, err := verify.SharedSecret(headerSignature, headerTimestamp, o.Secrets)
	if err != nil {
		return gaff.Source{}, fmt.Errorf("lastframe: %w", err)
	}
	src.Verifier, src.About["verifier"] = v, v.Describe()
	return src, nil
}

// Sign adds the header that makes r authentic.
func Sign(r *gaff.Request, secret string) {
	if r.Header == nil {
		r.Header = map[string][]string{}
	}
	r.Header.Set(headerSignature, verify.GenerateWebhookSignature(r.Body, secret))
}

// Payload is the body of a webhook.
type Payload struct {
	JobID    string          `json:"job_id"`
	Status   string          `json:"status"`
	Service  string          `json:"service"`
	Result   json.RawMessage `json:"result"`
	Metadata Metadata        `json:"metadata"`
}

// Result is the result of a completed or failed job.
type Result struct {
	OutputURL string      `json:"output_url"`
	Duration  json.Number `json:"duration"` // seconds
	Error     string      `json:"error"`
}

// Metadata is what the asker sent along.
type Metadata struct {
	ProjectID     string `json:"project_id"`
	UserID        string `json:"user_id"`
	OriginalJobID string `json:"original_job_id"`
}

var statuses = map[string]struct {
	eventType string
	status    jobs.JobStatus
}{
	"completed":   {Completed, jobs.JobCompleted},
	"failed":      {Failed, jobs.JobFailed},
	"in_progress": {InProgress, jobs.JobProcessing},
}

// Parser is a gaff.Parser.
type Parser struct{}

// Parse reads the event's type and identity. The body must be a JSON object with job_id
// and a known status.
func (Parser) Parse(r *gaff.Request, _ gaff.Verification) (gaff.Envelope, error) {
	p, err := decode(r.Body)
	if err != nil {
		return gaff.Envelope{}, err
	}
	return gaff.Envelope{Type: statuses[p.Status].eventType, ID: verify.ExactID(p.JobID, r.Body, "/job_id"), Status: p.Status, CorrelationID: p.JobID, Parsed: p}, nil
}

func decode(body []byte) (Payload, error) {
	var p Payload
	if trimmed := bytes.TrimLeft(body, " \t\r\n"); len(trimmed) == 0 || trimmed[0] != '{' {
		return p, errors.New("the body is not a JSON object")
	}
	if err := json.Unmarshal(body, &p); err != nil {
		return p, fmt.Errorf("the body is not what Last Frame sends: %w", err)
	}
	if p.JobID == "" {
		return p, errors.New("job_id is missing")
	}
	if _, ok := statuses[p.Status]; !ok {
		return p, fmt.Errorf("status %.40q is not completed, failed or in_progress", p.Status)
	}
	return p, nil
}

// Interpreter is a jobs.Interpreter.
type Interpreter struct{}

// Interpret reads an event as a change to the job metadata.original_job_id, if that is not
// another provider's, else to job_id.
func (Interpreter) Interpret(ev *gaff.Event) (jobs.Update, error) {
	p, ok := ev.Parsed.(Payload)
	var err error
	if !ok {
		if p, err = decode(ev.Data); err != nil {
			return jobs.Update{}, gaff.Discard(err)
		}
	}
	var result Result
	if len(p.Result) > 0 {
		if err := json.Unmarshal(p.Result, &result); err != nil {
			return jobs.Update{}, gaff.Discard(fmt.Errorf("result: %w", err))
		}
	}
	u := jobs.Update{
		Provider: Name, JobID: p.JobID, RequestID: p.JobID, Create: true, Kind: "video",
		ProjectID: p.Metadata.ProjectID, UserID: p.Metadata.UserID, Status: statuses[p.Status].status,
	}
	if p.Metadata.OriginalJobID != "" {
		u.JobID, u.OwnJobID = p.Metadata.OriginalJobID, p.JobID
	}
	if len(p.Result) > 0 && !bytes.Equal(p.Result, []byte("null")) && u.Status.Settled() {
		u.Result = p.Result
	}
	switch u.Status {
	case jobs.JobFailed:
		u.Error = result.Error
		if u.Error == "" {
			u.Error = "failed without a reason"
		}
	case jobs.JobCompleted:
		if u.Files, u.FilesTotal, err = files(p, u.Result, ev); err != nil {
			return jobs.Update{}, gaff.Discard(err)
		}
	case jobs.JobQueued, jobs.JobProcessing, jobs.JobCancelled: // have no files
	}
	return u, nil
}

// files walks the result like any provider's. The facts about the one output stand
// beside its link, not in an object of its own, and are joined to it here.
func files(p Payload, result json.RawMessage, ev *gaff.Event) (all []jobs.Media, total int, err error) {
	all, total = jobs.Files(Name, result, ev.ReceivedAt)
	var facts map[string]json.RawMessage
	_ = json.Unmarshal(result, &facts) // an object: decode read it as one
	for i := range all {
		if all[i].Position != Name+":/output_url" {
			continue
		}
		var metadata map[string]json.RawMessage
		if err := json.Unmarshal(all[i].Metadata, &metadata); err != nil {
			return nil, 0, fmt.Errorf("metadata: %w", err)
		}
		for _, name := range []string{"duration", "width", "height", "fps"} {
			if value, ok := facts[name]; ok {
				metadata[name] = value
			}
		}
		service, err := json.Marshal(p.Service)
		if err != nil {
			return nil, 0, fmt.Errorf("metadata: %w", err)
		}
		metadata["service"] = service
		if all[i].Metadata, err = json.Marshal(metadata); err != nil {
			return nil, 0, fmt.Errorf("metadata: %w", err)
		}
	}
	return all, total, nil
}
