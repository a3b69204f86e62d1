// Package custom makes sources of a description: a verifier as data and JSON pointers to
// what the gateway must know.
package custom

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"gaff"
	"gaff/sender"
	"gaff/verify"
)

// DefaultName is the source that is there without configuration.
const DefaultName = "custom"

// UnknownType is the type of events whose body does not tell one.
const UnknownType = sender.UnknownType

const (
	headerSignature = "X-Webhook-Signature"
	headerTimestamp = "X-Webhook-Timestamp"
	headerStandard  = "Webhook-Signature"
)

// Options describe a source. Name is required.
type Options struct {
	Name string
	// Verifier checks the sender; nil means that the source refuses everything, for the
	// reason Quiet.
	Verifier       gaff.Verifier
	DisabledReason string
	// Scheme is the sender's description beyond how it signs: what a body may be, how it
	// splits into events, and the answer that the sender wants.
	Scheme sender.Description
	// Handshaker answers the sender's challenges; nil: it has none.
	Handshaker gaff.Handshaker
	// JSON pointers, each may be empty. ID and Type go before what the verifier knows
	// from its own description; Status is joined with the id to tell events of one piece
	// of work apart; Correlation is the sender's name of that work.
	ID, Type, Status, Correlation string
	// Jobs says where a body names a job; nil: nowhere. Its status and id stand in for
	// Status and Correlation where those are empty.
	Jobs  *sender.Jobs
	About map[string]string
}

// Source returns a source. It fails on a broken pointer.
func Source(o Options) (gaff.Source, error) {
	p := parser{scheme: o.Scheme, o: o}
	pointer := func(l *verify.Location) string {
		if l == nil || l.In != "json" {
			return ""
		}
		return l.Pointer
	}
	list := []string{o.ID, o.Type, o.Status, o.Correlation, pointer(o.Scheme.ID), pointer(o.Scheme.EventType)}
	p.onePass = o.Scheme.Content == "" && strings.Join(list, "") != ""
	var err error
	if p.fields, err = verify.NewFields(list...); err != nil {
		return gaff.Source{}, err
	}
	jobs := o.Jobs
	if jobs == nil {
		jobs = o.Scheme.Jobs // its status distinguishes events, even if it moves no jobs
	}
	if jobs != nil {
		if p.jobs, err = NewInterpreter(o.Name, *jobs); err != nil {
			return gaff.Source{}, err
		}
	}
	if b := o.Scheme.Batch; b != nil {
		if p.batch, err = newLists(b.Lists()); err != nil {
			return gaff.Source{}, fmt.Errorf("batch.items: %w", err)
		}
		if p.item, err = verify.NewFields(append(slices.Clone([]string(b.ID)), b.Type...)...); err != nil {
			return gaff.Source{}, fmt.Errorf("batch: %w", err)
		}
	}
	if !slices.Contains([]string{"", "form", "any"}, o.Scheme.Content) && !strings.HasPrefix(o.Scheme.Content, "form:") {
		return gaff.Source{}, fmt.Errorf("content: %q is not known; form, form:FIELD or any is wanted", o.Scheme.Content)
	}
	if o.Verifier == nil {
		o.DisabledReason = cmp.Or(o.DisabledReason, "no verifier is set")
		o.Verifier = verify.Refuse(o.DisabledReason)
	}
	src := gaff.Source{
		Name: o.Name, Verifier: o.Verifier, Parser: p, Handshaker: o.Handshaker, DisabledReason: o.DisabledReason, About: o.About,
		MaxBodyBytes: o.Scheme.MaxBody,
		Secrets:      o.Scheme.SecretPlaces(), Headers: o.Scheme.HeaderNames(),
	}
	if a := o.Scheme.Ack; a != nil {
		status := cmp.Or(a.Status, http.StatusOK)
		if status < 200 || status > 299 {
			return gaff.Source{}, fmt.Errorf("ack.status: %d; a status from 200 to 299 is wanted", status)
		}
		src.Ack, src.EmptyErrors = &gaff.Reply{Status: status, ContentType: a.ContentType, Body: []byte(a.Body)}, a.EmptyErrors
	}
	return src, nil
}

type parser struct {
	o      Options
	scheme sender.Description
	fields *verify.Fields
	// onePass is set if the search for fields shows that a body is JSON as well: there are some, and
	// nothing else is taken.
	onePass bool
	jobs    *Interpreter
	batch   *lists         // nil: one event in a request
	item    *verify.Fields // of a batch
}

// Parse reads a body that must be JSON as a whole, unless the sender is known to send
// something else.
func (p parser) Parse(r *gaff.Request, v gaff.Verification) (gaff.Envelope, error) {
	data, texts, err := p.read(r, v)
	if err != nil {
		return gaff.Envelope{}, err
	}
	env := gaff.Envelope{
		ID: cmp.Or(texts[0], v.ID, texts[4]), Type: cmp.Or(texts[1], v.Type, texts[5], UnknownType), Status: texts[2], CorrelationID: texts[3],
	}
	if p.jobs != nil {
		job, err := p.jobs.read(data)
		if err != nil {
			return gaff.Envelope{}, err
		}
		env.Status, env.CorrelationID = cmp.Or(env.Status, job.status), cmp.Or(env.CorrelationID, job.id, job.job)
	}
	env.Status = cmp.Or(env.Status, v.Status)
	if !bytes.Equal(data, r.Body) {
		env.Data = data
	}
	if p.batch == nil {
		return env, nil
	}
	return p.split(env, data)
}

// read returns a body as JSON, and the texts at the pointers in it.
func (p parser) read(r *gaff.Request, v gaff.Verification) (data json.RawMessage, texts []string, err error) {
	data = json.RawMessage(v.Content)
	if v.Content == "" {
		if p.onePass {
			if texts, err = p.fields.Read(r.Body); err == nil {
				return r.Body, texts, nil
			}
		}
		if data, err = readable(r, p.scheme.Content); err != nil {
			return nil, nil, err
		}
	}
	texts, err = p.fields.Read(data)
	return data, texts, err
}

// Default is the source "custom" as it is without configuration: Standard Webhooks
// headers, or x-webhook-signature as hex HMAC-SHA256 of the body; type from /type, id from
// /id. Without secrets it refuses everything.
func Default(secrets []string) (gaff.Source, error) {
	o := Options{
		Name: DefaultName, ID: "/id", Type: "/type", DisabledReason: "WEBHOOK_SECRET is not set",
		About: map[string]string{"secret": "WEBHOOK_SECRET"},
	}
	if len(secrets) > 0 {
		v, err := newEither(secrets)
		if err != nil {
			return gaff.Source{}, fmt.Errorf("custom: %w", err)
		}
		o.Verifier, o.DisabledReason = v, ""
		o.About["verifier"] = v.shared.Describe() + "; or Standard Webhooks"
	}
	src, err := Source(o)
	src.Headers = []string{
		headerSignature, headerTimestamp, "Webhook-Id", "Webhook-Timestamp", headerStandard, "Svix-Id", "Svix-Timestamp", "Svix-Signature",
	}
	return src, err
}

// either takes one of two schemes, by the header that is there. A request with both must
// satisfy Standard Webhooks, the stronger one.
type either struct {
	shared *verify.Shared
	// standard are Standard Webhooks with keys as the specification writes them (base64),
	// and with the secret's text as the key, for senders that do not decode it.
	standard []*sender.Verifier
}

func newEither(secrets []string) (e either, err error) {
	if e.shared, err = verify.SharedSecret(headerSignature, headerTimestamp, secrets); err != nil {
		return e, err
	}
	scheme, _ := sender.Preset("standard-webhooks")
	var keys []string
	for _, secret := range secrets {
		// A passphrase that is no base64 serves the other schemes only.
		if _, err := sender.New(scheme, verify.Options{Secrets: []string{secret}}); err == nil {
			keys = append(keys, secret)
		}
	}
	if len(keys) > 0 {
		v, err := sender.New(scheme, verify.Options{Secrets: keys})
		if err != nil {
			return e, err
		}
		e.standard = append(e.standard, v)
	}
	scheme, _ = sender.Preset("bigcommerce") // Standard Webhooks with a text as the key
	scheme.EventType = nil
	v, err := sender.New(scheme, verify.Options{Secrets: secrets})
	if err != nil {
		return e, err
	}
	e.standard = append(e.standard, v)
	return e, nil
}

func (e either) Verify(ctx context.Context, r *gaff.Request) (proof gaff.Verification, err error) {
	if len(r.Header[headerStandard]) == 0 {
		return e.shared.Verify(ctx, r)
	}
	for i, v := range e.standard {
		var failure error
		if proof, failure = v.Verify(ctx, r); failure == nil {
			return proof, nil
		} else if i == 0 {
			err = failure
		}
	}
	return gaff.Verification{}, err
}

// Sign adds the header that the default source asks for.
func Sign(r *gaff.Request, secret string, at time.Time) {
	if r.Header == nil {
		r.Header = map[string][]string{}
	}
	r.Header.Set(headerSignature, verify.GenerateWebhookSignature(r.Body, secret))
	r.Header.Set(headerTimestamp, fmt.Sprint(at.Unix()))
}
