// Package fal is the provider fal.ai. It receives the webhooks of its queue in two dialects: fal's
// own, and an HMAC form (docs/providers.md). It submits, polls and cancels jobs, and serves a proxy
// for programs that were written for fal.
package fal

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"gaff"
	"gaff/jobs"
	"gaff/sender"
	"gaff/verify"
)

// Name is the source's and the provider's.
const Name = "fal"

// DefaultJWKSURL is where fal publishes the keys that it signs webhooks with. They are
// the same for all its customers.
const DefaultJWKSURL = "https://rest.fal.ai/.well-known/jwks.json"

// Types of events.
const (
	Completed  = "generation.completed"
	Failed     = "generation.failed"
	InProgress = "generation.in_progress"
)

// Dialects, as gaff.Verification.Dialect has them.
const (
	// DialectFal is signed with fal's Ed25519 keys.
	DialectFal = "fal"
	// DialectHMAC is signed with a shared secret, in x-fal-signature.
	DialectHMAC = "document"
)

// Headers of the two dialects.
const (
	headerRequestID = "X-Fal-Webhook-Request-Id"
	headerUserID    = "X-Fal-Webhook-User-Id"
	headerTimestamp = "X-Fal-Webhook-Timestamp"
	headerSignature = "X-Fal-Webhook-Signature"

	documentSignature = "X-Fal-Signature"
	documentTimestamp = "X-Fal-Timestamp"
)

var falHeaders = [...]string{headerSignature, headerRequestID, headerUserID, headerTimestamp}

// Options of the source. The zero value accepts fal's own dialect.
type Options struct {
	// Secrets of the document's dialect; all are accepted. None: that dialect is refused.
	Secrets []string
	// JWKSURL overrides DefaultJWKSURL, for tests. JWKS, if set, is used instead.
	JWKSURL string
	JWKS    *verify.JWKS
	// Users are the ids of the fal users whose webhooks count. Empty: those of all users are
	// verified, for fal signs for all of them with the same keys.
	Users []string
}

// Source returns the source "fal". It fails on an empty secret.
func Source(o Options) (gaff.Source, error) {
	if o.JWKS == nil {
		if o.JWKSURL == "" {
			o.JWKSURL = DefaultJWKSURL
		}
		o.JWKS = verify.NewJWKS(o.JWKSURL, verify.JWKSOptions{})
	}
	scheme, _ := sender.Preset(Name)
	real, err := sender.New(scheme, verify.Options{JWKS: o.JWKS})
	if err != nil {
		return gaff.Source{}, fmt.Errorf("fal: %w", err)
	}
	v := &verifier{real: real, users: o.Users}
	about := map[string]string{
		"verifier":   real.Describe(),
		"register":   "submit to https://queue.fal.run/{model}?fal_webhook={this address, percent-encoded}: a query parameter, never a field of the input",
		"jobs":       "fal's keys are the same for all its customers: an event counts only for a request that this gateway knows",
		"callbacks":  "requests to a job's callbackUrl are signed (Standard Webhooks); gaff jobs callback-secrets prints the secret",
		"dashboard":  "https://fal.ai/dashboard/webhooks shows what fal delivered",
		"secret set": strconv.FormatBool(len(o.Secrets) > 0),
	}
	if len(o.Secrets) > 0 {
		if v.document, err = verify.SharedSecret(documentSignature, documentTimestamp, o.Secrets); err != nil {
			return gaff.Source{}, fmt.Errorf("fal: %w", err)
		}
		about["own dialect"] = v.document.Describe() + "; the secret is FAL_WEBHOOK_SECRET"
	}
	return gaff.Source{
		Name: Name, Verifier: v, Parser: Parser{}, About: about,
		Headers: append(falHeaders[:], documentSignature, documentTimestamp),
	}, nil
}

// MaxBody is enough for results with pictures as data: links, as fal returns for inputs with
// sync_mode.
const MaxBody = 32 << 20

type verifier struct {
	real     *sender.Verifier
	users    []string       // see Options
	document *verify.Shared // nil: no secret is set
}

var errNoSignature = fmt.Errorf("%s and %s: %w", headerSignature, documentSignature, verify.ErrMissing)

func (v *verifier) Verify(ctx context.Context, r *gaff.Request) (gaff.Verification, error) {
	// A request with any header of fal's dialect is never read as the other one.
	for _, name := range falHeaders {
		if len(r.Header[name]) > 0 {
			return v.verifyFal(ctx, r)
		}
	}
	if len(r.Header[documentSignature]) == 0 {
		return gaff.Verification{}, errNoSignature
	}
	if v.document == nil {
		return gaff.Verification{}, fmt.Errorf("%s: FAL_WEBHOOK_SECRET is not set, so this dialect is refused", documentSignature)
	}
	proof, err := v.document.Verify(ctx, r)
	proof.Dialect = DialectHMAC
	return proof, err
}

func (v *verifier) verifyFal(ctx context.Context, r *gaff.Request) (gaff.Verification, error) {
	for _, name := range falHeaders {
		if r.Header.Get(name) == "" {
			return gaff.Verification{}, fmt.Errorf("%s: %w", name, verify.ErrMissing)
		}
	}
	proof, err := v.real.Verify(ctx, r)
	if err == nil && len(v.users) > 0 && !slices.Contains(v.users, proof.Subject) {
		return gaff.Verification{}, fmt.Errorf("%s: user %.100q is not one of GAFF_FAL_USERS: %w", headerUserID, proof.Subject, verify.ErrMismatch)
	}
	proof.Scheme, proof.Dialect = "fal-jwks", DialectFal
	return proof, err
}

// Sign adds the headers of the document's dialect.
func Sign(r *gaff.Request, secret string) {
	setHeader(r, documentSignature, verify.GenerateWebhookSignature(r.Body, secret))
}

// SignFal adds the headers of fal's own dialect, as a stand-in for fal does in tests.
func SignFal(r *gaff.Request, key ed25519.PrivateKey, requestID, userID string, at time.Time) {
	timestamp := strconv.FormatInt(at.Unix(), 10)
	sum := sha256.Sum256(r.Body)
	message := requestID + "\n" + userID + "\n" + timestamp + "\n" + hex.EncodeToString(sum[:])
	setHeader(r, headerRequestID, requestID)
	setHeader(r, headerUserID, userID)
	setHeader(r, headerTimestamp, timestamp)
	setHeader(r, headerSignature, hex.EncodeToString(ed25519.Sign(key, []byte(message))))
}

func setHeader(r *gaff.Request, name, value string) {
	if r.Header == nil {
		r.Header = http.Header{}
	}
	r.Header.Set(name, value)
}

// envelope is what both dialects are read with: the fields of the one are absent in the
// other.
type envelope struct {
	RequestID        string          `json:"request_id"`
	GatewayRequestID string          `json:"gateway_request_id"`
	Status           string          `json:"status"`
	Payload          json.RawMessage `json:"payload"`
	Error            json.RawMessage `json:"error"`
	PayloadError     string          `json:"payload_error"`
	Result           json.RawMessage `json:"result"`
	Metadata         *metadata       `json:"metadata"`
}

type metadata struct {
	JobID          string `json:"job_id"`
	ProjectID      string `json:"project_id"`
	UserID         string `json:"user_id"`
	GenerationType string `json:"generation_type"`
}

// word is a status in one of the two forms of body.
type word struct {
	eventType string
	status    jobs.JobStatus
	// document marks the form with "result" and "metadata".
	document bool
}

var words = map[string]word{
	"OK":          {Completed, jobs.JobCompleted, false},
	"ERROR":       {Failed, jobs.JobFailed, false},
	"completed":   {Completed, jobs.JobCompleted, true},
	"failed":      {Failed, jobs.JobFailed, true},
	"in_progress": {InProgress, jobs.JobProcessing, true},
}

// status reads a body's status. What fal signed must have fal's form: its keys sign for
// anybody, and the other form may create jobs. The shared secret is the operator's own,
// so it may sign either (an application that passes fal's bodies on, or a test).
func (e *envelope) status(dialect string) (word, error) {
	w, ok := words[e.Status]
	switch {
	case !ok || w.document && dialect == DialectFal:
		return word{}, fmt.Errorf("status %.40q is unknown in this dialect", e.Status)
	case w.document && (e.Metadata == nil || e.Metadata.JobID == ""):
		return word{}, errors.New("metadata.job_id is missing")
	}
	return w, nil
}

// Parser is a gaff.Parser of both dialects.
type Parser struct{}

// Parse reads the event's type and identity. The body must be a JSON object with
// request_id and a known status; the document's dialect also needs metadata.job_id.
func (Parser) Parse(r *gaff.Request, v gaff.Verification) (gaff.Envelope, error) {
	env, err := decode(r.Body)
	if err != nil {
		return gaff.Envelope{}, err
	}
	if env.RequestID == "" {
		return gaff.Envelope{}, errors.New("request_id is missing")
	}
	known, err := env.status(v.Dialect)
	if err != nil {
		return gaff.Envelope{}, err
	}
	// The signature covers the header; gaff acts on the body. After a retry on fal's side
	// the header may hold the id of the last run.
	if header := r.Header.Get(headerRequestID); v.Dialect == DialectFal && header != env.RequestID && header != env.GatewayRequestID {
		return gaff.Envelope{}, fmt.Errorf("request_id is not that of %s", headerRequestID)
	}
	return gaff.Envelope{
		Type: known.eventType, ID: verify.ExactID(env.RequestID, r.Body, "/request_id"), Status: env.Status, CorrelationID: env.RequestID, Parsed: env,
	}, nil
}

// Interpreter is a jobs.Interpreter of both dialects.
type Interpreter struct{}

// Interpret reads an event as a change to a job. In fal's own dialect the job must be
// known by its request id; in the document's it is made from the metadata.
func (Interpreter) Interpret(ev *gaff.Event) (jobs.Update, error) {
	env, ok := ev.Parsed.(*envelope)
	if !ok {
		var err error
		if env, err = decode(ev.Data); err != nil {
			return jobs.Update{}, gaff.Discard(err)
		}
	}
	known, err := env.status(ev.Verification.Dialect)
	if err != nil {
		return jobs.Update{}, gaff.Discard(err)
	}
	u := jobs.Update{Provider: Name, RequestID: env.RequestID, Status: known.status}
	if ev.Verification.Dialect == DialectFal {
		u.Subject = ev.Verification.Subject
	}
	if ev.Request != nil {
		u.Cost = billed(ev.Request.Header)
	}
	result := env.Payload
	if known.document {
		result = env.Result
		u.Create, u.JobID, u.ProjectID = true, env.Metadata.JobID, env.Metadata.ProjectID
		u.UserID, u.Kind = env.Metadata.UserID, env.Metadata.GenerationType
	}
	if bytes.Equal(result, []byte("null")) {
		result = nil
	}
	switch known.status {
	case jobs.JobCompleted:
		if u.Fetch = result == nil && !known.document; u.Fetch {
			return u, nil
		}
		u.Result = result
		u.Files, u.FilesTotal = jobs.Files(Name, result, ev.ReceivedAt)
	case jobs.JobFailed:
		// An error's payload names inputs and pages of documentation: no files.
		u.Result = result
		u.Error, u.ErrorType = Failure(env.Error, result)
	case jobs.JobQueued, jobs.JobProcessing, jobs.JobCancelled: // have no result
	}
	return u, nil
}

// Failure reads fal's reason out of an error body of any of its shapes: one line for
// people, and a code such as "content_policy_violation", empty if unknown.
// topLevel is the "error" beside the payload.
func Failure(topLevel, payload json.RawMessage) (text, code string) {
	var body struct {
		Detail    json.RawMessage `json:"detail"`
		ErrorType string          `json:"error_type"`
		Error     json.RawMessage `json:"error"`
	}
	// A payload of another shape leaves the fields empty.
	_ = json.Unmarshal(payload, &body)
	code = body.ErrorType
	var list []struct {
		Loc  []json.RawMessage `json:"loc"`
		Msg  string            `json:"msg"`
		Type string            `json:"type"`
	}
	if json.Unmarshal(body.Detail, &list) == nil && len(list) > 0 {
		text, code = list[0].Msg, list[0].Type
		if where := location(list[0].Loc); where != "" && text != "" {
			text = where + ": " + text
		}
		if more := len(list) - 1; more > 0 {
			text += fmt.Sprintf(" (and %d more)", more)
		}
	}
	for _, raw := range []json.RawMessage{body.Detail, body.Error, topLevel} {
		if text == "" {
			_ = json.Unmarshal(raw, &text)
		}
	}
	if text == "" {
		text = "failed without a reason"
	}
	return text, code
}

// location writes where a validation error lies: ["body","prompt"] is "prompt".
func location(parts []json.RawMessage) string {
	var b bytes.Buffer
	for i, part := range parts {
		name := string(part)
		var s string
		if json.Unmarshal(part, &s) == nil {
			name = s
		}
		if i == 0 && name == "body" {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('.')
		}
		b.WriteString(name)
	}
	return b.String()
}
