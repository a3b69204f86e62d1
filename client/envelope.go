package client

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// Envelope is an event as gaff sends it. It is the only description of that document: gaff encodes
// it, and the OpenAPI document and the TypeScript types are generated from it. In JSON, zero values
// of the members tagged nullable are null.
type Envelope struct {
	ID        string    `json:"id" doc:"The event's id, evt_…; the same for every destination."`
	Source    string    `json:"source" doc:"The sender, such as fal; gaff for internal events."`
	Type      string    `json:"type" doc:"Such as generation.completed, or job.completed for an internal event."`
	Timestamp time.Time `json:"timestamp" doc:"When gaff received the event."`
	// Data is the sender's body as JSON; for internal events it is gaff's own document.
	Data  json.RawMessage `json:"data" doc:"The sender's body as JSON; for internal events gaff's own document."`
	Event Event           `json:"event"`
	// Job is the job that the event belongs to, as it is at this attempt; nil if it is unknown.
	Job   *Job    `json:"job" doc:"The job that the event belongs to, as it is at this attempt."`
	Media []Media `json:"media" nullable:"false" doc:"The files of the job."`
}

// Kind returns source and type joined by a colon, such as "gaff:job.completed".
func (e *Envelope) Kind() string { return e.Source + ":" + e.Type }

// Event has the ids and times of an event.
type Event struct {
	WebhookID     string     `json:"webhookId" nullable:"true" doc:"The sender's id of the event."`
	CorrelationID string     `json:"correlationId" nullable:"true" doc:"The sender's id of the job."`
	OccurredAt    *time.Time `json:"occurredAt" doc:"The sender's own time of the event."`
	ProjectID     string     `json:"projectId" nullable:"true" doc:"Of events that were published through gaff: their project."`
	ParentID      string     `json:"parentId" nullable:"true" doc:"Of internal events: the event that caused it."`
}

// Job is a unit of work at a provider, such as a generation.
type Job struct {
	ID          string          `json:"id"`
	Provider    string          `json:"provider"`
	Model       string          `json:"model" nullable:"true"`
	Kind        string          `json:"kind" nullable:"true"`
	ProjectID   string          `json:"projectId" nullable:"true"`
	UserID      string          `json:"userId" nullable:"true"`
	RequestID   string          `json:"requestId" nullable:"true" doc:"The provider's id of the job."`
	Status      string          `json:"status" enum:"queued,processing,completed,failed,cancelled"`
	Result      json.RawMessage `json:"result" doc:"As the provider sent it; null until the job is completed."`
	Error       string          `json:"error" nullable:"true" doc:"For people."`
	ErrorType   string          `json:"errorType" nullable:"true" doc:"For programs, such as content_policy_violation."`
	SettledBy   string          `json:"settledBy" nullable:"true" doc:"webhook or reconciliation; null until settled."`
	Metadata    json.RawMessage `json:"metadata"`
	CreatedAt   *time.Time      `json:"createdAt"`
	SubmittedAt *time.Time      `json:"submittedAt"`
	SettledAt   *time.Time      `json:"settledAt"`
}

// Media is a file that a job produced.
type Media struct {
	ID        string `json:"id"`
	JobID     string `json:"jobId"`
	ProjectID string `json:"projectId" nullable:"true"`
	URL       string `json:"url" doc:"The provider's URL of the file; the provider deletes it some day."`
	StoredURL string `json:"storedUrl" nullable:"true" doc:"A signed link to gaff's copy; null until gaff:media.stored. It expires after a day: store the id, and read a fresh link from GET /api/v1/media/{id}, or store linkUrl."`

	StoredURLExpiresAt *time.Time `json:"storedUrlExpiresAt" doc:"When storedUrl, thumbnailUrl and posterUrl expire."`
	ThumbnailURL       string     `json:"thumbnailUrl" nullable:"true" doc:"A signed link to a small picture of an image."`
	PosterURL          string     `json:"posterUrl" nullable:"true" doc:"A signed link to the picture that the provider sent beside the file, such as that of a video."`
	LinkURL            string     `json:"linkUrl" nullable:"true" doc:"A permanent link to gaff's copy, until it is revoked; null without one. It needs no token."`
	LinkThumbnailURL   string     `json:"linkThumbnailUrl" nullable:"true" doc:"The permanent link to the small picture of an image."`
	LinkPosterURL      string     `json:"linkPosterUrl" nullable:"true" doc:"The permanent link of the poster, if it has one."`

	MediaType   string          `json:"mediaType" enum:"generated-image,generated-video,generated-audio,generated-model,generated-file"`
	ContentType string          `json:"contentType" nullable:"true"`
	Size        int64           `json:"size" nullable:"true" doc:"Bytes."`
	SHA256      string          `json:"sha256" nullable:"true"`
	Metadata    json.RawMessage `json:"metadata"`
}

// MarshalJSON writes the envelope as gaff sends it, in one line. Data, results and metadata must be JSON.
func (e Envelope) MarshalJSON() ([]byte, error) {
	if e.Media == nil {
		e.Media = []Media{}
	}
	return marshal(e)
}

// MarshalJSON writes unset members as null.
func (e Event) MarshalJSON() ([]byte, error) { return marshal(e) }

// MarshalJSON writes unset members as null.
func (j Job) MarshalJSON() ([]byte, error) { return marshal(j) }

// MarshalJSON writes unset members as null.
func (m Media) MarshalJSON() ([]byte, error) { return marshal(m) }

// marshal writes a struct as JSON; zero values of fields with nullable:"true" become null. JSON that a
// field holds stays as it is, except that the result is one line: json.Marshal would read it three times.
func marshal(doc any) ([]byte, error) {
	v := reflect.ValueOf(doc)
	const others = 768 // about what the other members take
	b := make([]byte, 0, rawSize(v)+others)
	for _, f := range membersOf(v.Type()) {
		var err error
		b = append(b, f.before...)
		if b, err = appendMember(b, v.Field(f.index), f.nullable); err != nil {
			return nil, err
		}
	}
	return append(b, '}'), nil
}

// rawSize is the size of the JSON that the fields of a struct hold.
func rawSize(v reflect.Value) (size int) {
	for i := range v.NumField() {
		if f := v.Field(i); f.Type() == reflect.TypeFor[json.RawMessage]() {
			size += f.Len()
		}
	}
	return size
}

// member is a field of a struct in JSON. before is the text in front of its value: a brace or comma, and the name.
type member struct {
	index    int
	before   string
	nullable bool
}

var members sync.Map // of a reflect.Type, []member

func membersOf(t reflect.Type) []member {
	if known, ok := members.Load(t); ok {
		return known.([]member)
	}
	var list []member
	for i, between := 0, "{"; i < t.NumField(); i, between = i+1, "," {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		list = append(list, member{i, between + `"` + name + `":`, f.Tag.Get("nullable") == "true"})
	}
	members.Store(t, list)
	return list
}

// appendMember appends the value of a field.
func appendMember(b []byte, v reflect.Value, nullable bool) ([]byte, error) {
	if nullable && v.IsZero() {
		return append(b, "null"...), nil
	}
	if v.Kind() == reflect.String && isPlain(v.String()) {
		return append(append(append(b, '"'), v.String()...), '"'), nil
	}
	var text []byte
	var err error
	switch x := v.Interface().(type) {
	case json.RawMessage:
		switch text = x; {
		case len(x) == 0:
			text = []byte("null")
		case bytes.ContainsAny(x, "\r\n"): // between values: in a string they are escaped
			var line bytes.Buffer
			err = json.Compact(&line, x)
			text = line.Bytes()
		}
	case Event:
		text, err = x.MarshalJSON()
	case time.Time:
		text, err = x.MarshalJSON()
	default:
		text, err = json.Marshal(x)
	}
	return append(b, text...), err
}

// isPlain reports whether a text is written in JSON as it is.
func isPlain(text string) bool {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c >= utf8.RuneSelf || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			return false
		}
	}
	return true
}
