package destination

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"gaff"
	"gaff/client"
	"gaff/internal/cel"
	"gaff/internal/javascript"
	"gaff/internal/redact"
	"gaff/jobs"
)

// maxTransformed is the longest body that a transformation may build, in bytes.
const maxTransformed = 8 << 20

// specSignature is the header that signs [FormatSpec], unless SignatureHeader names another.
const specSignature = "X-Fal-Signature"

// transformVars are the variables of a transformation: the members of the envelope.
var transformVars = []string{"id", "source", "type", "timestamp", "data", "event", "job", "media"}

// compileTransform checks a transformation: a CEL expression whose value is the body, an object.
func compileTransform(text string) (*cel.Expression, error) {
	variables := cel.Variables{}
	for _, name := range transformVars {
		variables[name] = cel.Any
	}
	env, err := cel.NewEnv(nil, variables)
	if err != nil {
		return nil, err
	}
	return env.Compile(text, cel.Map(cel.Any), cel.StepCost)
}

// checkBody checks the fields about the body and its plain signature.
func (c *compiled) checkBody(fault func(string, string, ...any)) {
	formats := []string{FormatEnvelope, FormatOriginal, FormatCloudEvents, FormatCloudEventsBinary, FormatSpec}
	if !slices.Contains(formats, c.Format) {
		fault("format", "unknown format %.40q; want envelope, original, cloudevents, cloudevents-binary or spec", c.Format)
	}
	if c.Format == FormatSpec && c.Kind == KindPull {
		fault("format", "spec is for destinations of kind http and queue: clients that pull get the envelope")
	}
	c.checkTransform(fault)
	if c.Format == FormatSpec && c.SignatureHeader == "" && len(c.Secrets) > 0 {
		c.SignatureHeader = specSignature
	}
	if c.SignatureHeader == "" {
		return
	}
	switch {
	case !headerName.MatchString(c.SignatureHeader) || len(c.SignatureHeader) > 128:
		fault("signatureHeader", "%.40q is not the name of a header", c.SignatureHeader)
	case slices.Contains(own, http.CanonicalHeaderKey(c.SignatureHeader)):
		fault("signatureHeader", "%s is set by gaff itself", http.CanonicalHeaderKey(c.SignatureHeader))
	case len(c.Secrets) == 0:
		fault("signatureHeader", "needs a secret: set secrets to the one that the receiver knows")
	}
}

func (c *compiled) checkTransform(fault func(string, string, ...any)) {
	for _, f := range [...]struct{ field, text string }{{"transform", c.Transform}, {"transformJs", c.TransformJS}} {
		switch {
		case f.text == "":
		case c.Kind == KindPull:
			fault(f.field, "is for destinations of kind http and queue: clients that pull get the envelope")
		case c.Format != FormatEnvelope:
			fault(f.field, "replaces the body of the format envelope; leave out format: %s", c.Format)
		}
	}
	var err error
	if c.Transform != "" {
		if c.transform, err = compileTransform(c.Transform); err != nil {
			fault("transform", "%v", err)
		}
	}
	if c.TransformJS == "" {
		return
	}
	if c.Transform != "" {
		fault("transformJs", "cannot be set together with transform: leave one of them out")
	}
	if c.script, err = javascript.Compile(c.TransformJS); err != nil {
		fault("transformJs", "%v", err)
	}
}

// minPlainSecret is the length of the shortest secret of a plain signature, in bytes.
const minPlainSecret = 8

// checkSecrets checks the secrets, and collects those that sign by Standard Webhooks. With a signature header, a secret
// may be any text: it is the key of the plain signature.
func (c *compiled) checkSecrets(fault func(string, string, ...any)) {
	if len(c.Secrets) > maxSecrets {
		fault("secrets", "more than %d; remove those that were rotated out", maxSecrets)
	}
	plain := c.SignatureHeader != ""
	for i, secret := range c.Secrets {
		field := fmt.Sprintf("secrets[%d]", i)
		_, err := client.Key(secret)
		switch {
		case plain && !strings.HasPrefix(secret, "whsec_"):
			if len(secret) < minPlainSecret {
				fault(field, "is shorter than %d bytes", minPlainSecret)
			}
			continue
		case err != nil:
			fault(field, "%v", err)
		}
		c.standard = append(c.standard, secret)
	}
}

// plainSignature returns the HMAC-SHA-256 of a body in hex, with the text of the first secret as key.
func (c *compiled) plainSignature(body []byte) string {
	mac := hmac.New(sha256.New, []byte(c.Secrets[0]))
	mac.Write(body)
	return hex.EncodeToString(mac.Sum(nil))
}

// errTransform marks an error of a transformation. The delivery is retried, so that it can succeed
// after a correction of the expression.
var errTransform error = redact.Const("transform")

// transformError is one with its reason, which may quote the event.
type transformError struct{ reason error }

func failed(reason error) error { return &transformError{reason} }

func (e *transformError) Error() string { return "transform: " + e.reason.Error() }

func (e *transformError) Unwrap() []error { return []error{errTransform, e.reason} }

// LogText returns the place alone: the reason is with the attempt.
func (e *transformError) LogText() string {
	if found, ok := errors.AsType[*javascript.Error](e.reason); ok && found.Line > 0 {
		return fmt.Sprintf("the transformation failed at line %d", found.Line)
	}
	return "the transformation failed"
}

// busyWait is the delay of a delivery for which no JavaScript engine was free.
const busyWait = time.Second

// write sets the body of an envelope in the destination's form.
func (c *compiled) write(ctx context.Context, e *client.Envelope, out *outgoing) error {
	text, err := e.MarshalJSON()
	switch {
	case err != nil:
		return gaff.Discard(fmt.Errorf("write the envelope: %w", err))
	case c.Format == FormatSpec:
		if out.body, err = json.Marshal(newSpecBody(e)); err != nil {
			return gaff.Discard(err)
		}
	case c.script != nil:
		err = c.runScript(ctx, text, out)
	case c.transform != nil:
		out.body, err = c.evaluate(text)
	default:
		out.body = text
	}
	return err
}

// runScript sets the body, and the headers that the script sets.
func (c *compiled) runScript(ctx context.Context, envelope []byte, out *outgoing) error {
	r, err := c.script.Run(ctx, envelope)
	switch {
	case ctx.Err() != nil && err != nil:
		return context.Cause(ctx)
	case err != nil:
		return failed(err)
	}
	out.body, out.drop, out.logs = r.Body, r.Drop, r.Logs
	if r.Text {
		out.header.Set("Content-Type", "text/plain; charset=utf-8")
	}
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		if problem := headerFault(name, r.Header[name]); problem != "" {
			return failed(fmt.Errorf("headers: %s", problem))
		}
		out.header.Set(name, r.Header[name])
	}
	switch {
	case c.Batch == nil || r.Drop:
	case r.Text:
		return failed(errors.New("a text cannot be part of a batch; return an object or an array"))
	case len(r.Header) > 0:
		return failed(errors.New("an event of a batch cannot have headers of its own"))
	}
	return nil
}

// evaluate returns the body that the CEL expression makes of an envelope.
func (c *compiled) evaluate(text []byte) ([]byte, error) {
	var variables map[string]any
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&variables); err != nil {
		return nil, gaff.Discard(fmt.Errorf("read the envelope: %w", err))
	}
	value, err := c.transform.Value(variables)
	if err != nil {
		return nil, failed(err)
	}
	if _, ok := value.(map[string]any); !ok {
		return nil, failed(errors.New("the value is not an object"))
	}
	body, err := json.Marshal(value)
	if err != nil {
		return nil, failed(err)
	}
	if len(body) > maxTransformed {
		return nil, failed(fmt.Errorf("the body has %d bytes, more than %d", len(body), maxTransformed))
	}
	return body, nil
}

// specBody is the body of [FormatSpec].
type specBody struct {
	RequestID string         `json:"request_id"`
	Status    string         `json:"status"` // completed, failed or in_progress
	Result    map[string]any `json:"result,omitempty"`
	Metadata  map[string]any `json:"metadata"`
}

// newSpecBody makes the body of an event's job. Without a job, the body has the event's id and the
// status in_progress.
func newSpecBody(e *client.Envelope) specBody {
	j := e.Job
	if j == nil {
		return specBody{RequestID: e.ID, Status: "in_progress", Metadata: map[string]any{}}
	}
	b := specBody{RequestID: j.RequestID, Status: "in_progress", Metadata: object(j.Metadata)}
	if b.RequestID == "" {
		b.RequestID = j.ID
	}
	switch j.Status {
	case jobs.JobCompleted.String():
		b.Status, b.Result = "completed", specResult(j, e.Media)
	case jobs.JobFailed.String(), jobs.JobCancelled.String():
		b.Status, b.Result = "failed", map[string]any{"error": j.Error}
		if j.Error == "" {
			b.Result["error"] = j.Status
		}
	}
	// Members of the job's own metadata win.
	for name, text := range map[string]string{
		"job_id": j.ID, "project_id": j.ProjectID, "user_id": j.UserID, "generation_type": generationType(j, e.Media),
	} {
		if _, ok := b.Metadata[name]; !ok && text != "" {
			b.Metadata[name] = text
		}
	}
	return b
}

// generationType returns image or video; the job's kind if it is neither.
func generationType(j *client.Job, files []client.Media) string {
	for _, m := range files {
		switch m.MediaType {
		case jobs.MediaVideo:
			return "video"
		case jobs.MediaImage:
			return "image"
		}
	}
	return j.Kind
}

// specResult returns the provider's result. If it has no images and no video, they are added from the
// job's files; width, height and duration are added if the provider left them out.
func specResult(j *client.Job, files []client.Media) map[string]any {
	result := object(j.Result)
	_, hasImages := result["images"]
	_, hasVideo := result["video"]
	var images []any
	for _, m := range files {
		switch {
		case m.MediaType == jobs.MediaImage && !hasImages && !hasVideo:
			images = append(images, described(map[string]any{"url": m.URL}, m, "width", "height"))
		case m.MediaType == jobs.MediaVideo && !hasVideo && !hasImages:
			if result["video"] == nil {
				result["video"] = described(map[string]any{"url": m.URL}, m, "duration")
			}
		case m.MediaType == jobs.MediaImage:
			list, _ := result["images"].([]any)
			for _, image := range list {
				fill(image, m, "width", "height")
			}
		case m.MediaType == jobs.MediaVideo:
			fill(result["video"], m, "duration")
		}
	}
	if images != nil {
		result["images"] = images
	}
	return result
}

// fill adds what gaff knows of a file to its object in a result, if the object has the file's URL.
func fill(value any, m client.Media, names ...string) {
	if of, ok := value.(map[string]any); ok && of["url"] == m.URL {
		described(of, m, names...)
	}
}

// described adds members of a file's metadata to an object that lacks them.
func described(of map[string]any, m client.Media, names ...string) map[string]any {
	known := object(m.Metadata)
	for _, name := range names {
		if v, ok := known[name]; ok && of[name] == nil {
			of[name] = v
		}
	}
	return of
}

// object decodes a JSON object, with its numbers as written. Other JSON is an empty object.
func object(text json.RawMessage) map[string]any {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var v map[string]any
	if decoder.Decode(&v) != nil || v == nil {
		return map[string]any{}
	}
	return maps.Clone(v)
}
