// Package custom makes sources of a description: a verifier as data and JSON pointers to
// what the gateway must know.
package custom

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"gaff"
	"gaff/verify"
)

// DefaultName is the source that is there without configuration.
const DefaultName = "custom"

// UnknownType is the type of events whose body does not tell one.
const UnknownType = "unknown"

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
	Verifier gaff.Verifier
	Quiet    string
	// JSON pointers, each may be empty. ID and Type go before what the verifier knows
	// from its own description; Status is joined with the id to tell events of one piece
	// of work apart; Correlation is the sender's name of that work.
	ID, Type, Status, Correlation string
	About                         map[string]string
}

// Source returns a source for JSON bodies. It fails on a broken pointer.
func Source(o Options) (gaff.Source, error) {
	fields, err := verify.NewFields(o.ID, o.Type, o.Status, o.Correlation)
	if err != nil {
		return gaff.Source{}, err
	}
	if o.Verifier == nil {
		o.Quiet = cmp.Or(o.Quiet, "no verifier is set")
		o.Verifier = verify.Refuse(o.Quiet)
	}
	return gaff.Source{
		Name: o.Name, Verifier: o.Verifier, Parser: parser{fields}, Quiet: o.Quiet, About: o.About,
	}, nil
}

type parser struct{ fields *verify.Fields }

// Parse reads a body that must be JSON as a whole.
func (p parser) Parse(r *gaff.Request, v gaff.Verification) (gaff.Envelope, error) {
	texts, err := p.fields.Read(r.Body)
	if err != nil {
		return gaff.Envelope{}, err
	}
	return gaff.Envelope{
		ID: cmp.Or(texts[0], v.ID), Type: cmp.Or(texts[1], v.Type, UnknownType), Status: texts[2], CorrelationID: texts[3],
	}, nil
}

// Default is the source "custom" as it is without configuration: Standard Webhooks
// headers, or x-webhook-signature as hex HMAC-SHA256 of the body; type from /type, id from
// /id. Without secrets it refuses everything.
func Default(secrets []string) (gaff.Source, error) {
	o := Options{
		Name: DefaultName, ID: "/id", Type: "/type", Quiet: "WEBHOOK_SECRET is not set",
		About: map[string]string{"secret": "WEBHOOK_SECRET"},
	}
	if len(secrets) > 0 {
		v, err := newEither(secrets)
		if err != nil {
			return gaff.Source{}, fmt.Errorf("custom: %w", err)
		}
		o.Verifier, o.Quiet = v, ""
		o.About["verifier"] = v.shared.Describe() + "; or Standard Webhooks"
	}
	return Source(o)
}

// either takes one of two schemes, by the header that is there. A request with both must
// satisfy Standard Webhooks, the stronger one.
type either struct {
	shared *verify.Shared
	// standard are Standard Webhooks with keys as the specification writes them (base64),
	// and with the secret's text as the key, for senders that do not decode it.
	standard []*verify.Verifier
}

func newEither(secrets []string) (e either, err error) {
	if e.shared, err = verify.SharedSecret(headerSignature, headerTimestamp, secrets); err != nil {
		return e, err
	}
	scheme, _ := verify.Preset("standard-webhooks")
	var keys []string
	for _, secret := range secrets {
		// A passphrase that is no base64 serves the other schemes only.
		if _, err := verify.New(scheme, verify.Options{Secrets: []string{secret}}); err == nil {
			keys = append(keys, secret)
		}
	}
	if len(keys) > 0 {
		v, err := verify.New(scheme, verify.Options{Secrets: keys})
		if err != nil {
			return e, err
		}
		e.standard = append(e.standard, v)
	}
	scheme, _ = verify.Preset("bigcommerce") // Standard Webhooks with a text as the key
	scheme.EventType = nil
	v, err := verify.New(scheme, verify.Options{Secrets: secrets})
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
