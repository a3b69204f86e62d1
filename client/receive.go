// Package receive is for applications that a gaff gateway forwards events to: the form of
// what it sends, and the check that it comes from there. It needs the standard library
// alone.
//
//	http.Handle("/gaff", client.Handler(client.Options{Secrets: []string{secret}},
//		func(ctx context.Context, e *client.Envelope) error {
//			switch e.Kind() {
//			case "gaff:job.completed":
//				return album.Add(ctx, e.Job.ProjectID, e.Media)
//			}
//			return nil
//		}))
//
// The same delivery may come more than once (an answer can be lost on its way): its id is
// the same each time. A receiver that must not act twice remembers it, after the work or in
// the same transaction: an id that is remembered before the work loses the event if that
// fails.
package client

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Envelope is an event as gaff sends it.
type Envelope struct {
	// ID is the event's, evt_…; the same for every destination.
	ID string `json:"id"`
	// Source and Type say what it is, such as "fal" and "generation.completed", or "gaff"
	// and "job.completed" for what gaff itself has to tell.
	Source string `json:"source"`
	Type   string `json:"type"`
	// Timestamp is when the event was received.
	Timestamp time.Time `json:"timestamp"`
	// Data is what the sender sent, as JSON; for inner events what gaff tells.
	Data  json.RawMessage `json:"data"`
	Event Event           `json:"event"`
	// Job is the job that the event is about, as it stands at this try; nil if there is
	// none, or it is not known.
	Job *Job `json:"job"`
	// Media are the files of the job; empty if there are none.
	Media []Media `json:"media"`
}

// Kind is source and type joined by a colon: "gaff:job.completed".
func (e *Envelope) Kind() string { return e.Source + ":" + e.Type }

// Event is what else is known of an event.
type Event struct {
	WebhookID     string     `json:"webhookId"`     // the sender's own id; may be empty
	CorrelationID string     `json:"correlationId"` // the sender's name for the work; may be empty
	OccurredAt    *time.Time `json:"occurredAt"`    // the sender's own time, if told
	ParentID      string     `json:"parentId"`      // of inner events: the event that led to it
}

// Job is a unit of outside work, such as a generation.
type Job struct {
	ID          string          `json:"id"`
	Provider    string          `json:"provider"`
	Model       string          `json:"model"`
	Kind        string          `json:"kind"`
	ProjectID   string          `json:"projectId"`
	UserID      string          `json:"userId"`
	RequestID   string          `json:"requestId"`
	Status      string          `json:"status"` // queued, processing, completed, failed, cancelled
	Result      json.RawMessage `json:"result"` // as the provider sent it; null until completed
	Error       string          `json:"error"`
	ErrorType   string          `json:"errorType"`
	SettledBy   string          `json:"settledBy"`
	Metadata    json.RawMessage `json:"metadata"`
	CreatedAt   *time.Time      `json:"createdAt"`
	SubmittedAt *time.Time      `json:"submittedAt"`
	SettledAt   *time.Time      `json:"settledAt"`
}

// Media is a file that a job made.
type Media struct {
	ID        string `json:"id"`
	JobID     string `json:"jobId"`
	ProjectID string `json:"projectId"`
	// URL is where the provider keeps it, for as long as the provider does.
	URL string `json:"url"`
	// StoredURL is a signed link to gaff's copy; empty until that is made (gaff:media.stored).
	// It ends after a day: store the ID, and read a fresh link from GET /api/v1/media/{id}.
	StoredURL string `json:"storedUrl"`
	// MediaType is generated-image, -video, -audio, -model or -file.
	MediaType   string          `json:"mediaType"`
	ContentType string          `json:"contentType"`
	Size        int64           `json:"size"`
	SHA256      string          `json:"sha256"`
	Metadata    json.RawMessage `json:"metadata"`
}

// Headers of a signed delivery (standardwebhooks.com).
const (
	HeaderID        = "Webhook-Id"
	HeaderTimestamp = "Webhook-Timestamp"
	HeaderSignature = "Webhook-Signature"
)

// DefaultTolerance is how far a delivery's time may be from the receiver's.
const DefaultTolerance = 5 * time.Minute

// ErrInvalid is wrapped by every refusal of [Verify].
var ErrInvalid = errors.New("not authentic")

// Verify checks that a body was signed with one of the secrets (whsec_…), not longer ago
// than [DefaultTolerance]. It returns the delivery's id.
func Verify(secrets []string, header http.Header, body []byte, now time.Time) (id string, err error) {
	id, at, signatures := header.Get(HeaderID), header.Get(HeaderTimestamp), header.Get(HeaderSignature)
	if id == "" || at == "" || signatures == "" {
		return "", fmt.Errorf("%w: %s, %s or %s is missing", ErrInvalid, HeaderID, HeaderTimestamp, HeaderSignature)
	}
	unix, err := strconv.ParseInt(at, 10, 64)
	if err != nil {
		return "", fmt.Errorf("%w: %s is no time", ErrInvalid, HeaderTimestamp)
	}
	if d := now.Sub(time.Unix(unix, 0)); d > DefaultTolerance || d < -DefaultTolerance {
		return "", fmt.Errorf("%w: signed %s ago", ErrInvalid, d.Round(time.Second))
	}
	ok := false
	for _, secret := range secrets {
		want, err := Sign(secret, id, unix, body)
		if err != nil {
			return "", err
		}
		for sent := range strings.SplitSeq(signatures, " ") {
			ok = hmac.Equal([]byte(sent), []byte(want)) || ok
		}
	}
	if !ok {
		return "", fmt.Errorf("%w: the signature is of another secret or another body", ErrInvalid)
	}
	return id, nil
}

// Sign returns the signature of one secret, "v1,…".
func Sign(secret, id string, unix int64, body []byte) (string, error) {
	key, err := Key(secret)
	if err != nil {
		return "", err
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(id + "." + strconv.FormatInt(unix, 10) + "."))
	mac.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)), nil
}

// NewSecret makes a secret for signing, "whsec_" and 32 random bytes in base64.
func NewSecret() string {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails, by its contract
	return "whsec_" + base64.StdEncoding.EncodeToString(key)
}

// Key decodes a secret: base64, with or without "whsec_" in front.
func Key(secret string) ([]byte, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil || len(key) < 16 {
		return nil, errors.New(`the secret is none: "whsec_" and at least 16 bytes in base64 are wanted`)
	}
	return key, nil
}

// Options of [Handler].
type Options struct {
	// Secrets of which one must have signed. Required.
	Secrets []string
	// MaxBodyBytes bounds the body. Zero means 8 MiB.
	MaxBodyBytes int64
}

// Handler answers deliveries: 401 to what is not authentic, 204 where f returned nil, 500
// with its error's text else, so that gaff tries again later. f should be quick: gaff waits
// 15 seconds where nothing else is set.
func Handler(o Options, f func(ctx context.Context, e *Envelope) error) http.Handler {
	if o.MaxBodyBytes <= 0 {
		o.MaxBodyBytes = 8 << 20
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, o.MaxBodyBytes))
		if err != nil {
			http.Error(w, "the body cannot be read", http.StatusRequestEntityTooLarge)
			return
		}
		if _, err := Verify(o.Secrets, r.Header, body, time.Now()); err != nil {
			http.Error(w, err.Error(), http.StatusUnauthorized)
			return
		}
		var e Envelope
		if err := json.Unmarshal(body, &e); err != nil {
			http.Error(w, "no envelope: "+err.Error(), http.StatusBadRequest)
			return
		}
		if err := f(r.Context(), &e); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
}
