// Package sender describes the services that send webhooks: how they sign (a
// [verify.Scheme]), where their requests name the event, how they put several events or the
// state of a job into one request, by which calls they test a receiver, and which answer
// they require. The descriptions that gaff has are its presets.
package sender

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"gaff"
	"gaff/internal/fault"
	"gaff/verify"
)

// Verifier verifies the requests of one sender and reads which event a request is. It is a
// [gaff.Verifier] and safe for use by many goroutines.
type Verifier struct {
	*verify.Verifier
	description      Description
	reader           verify.Reader
	id, typ, subject int
	distinct         []int // receipt for the time of receipt
}

var _ gaff.Verifier = (*Verifier)(nil)

// receiptPlace is the place, among [Description.Distinct], of the time of receipt; receipt
// is its number.
const (
	receiptPlace = "receipt"
	receipt      = -1
)

// New returns the verifier of a description. Its error is a [fault.List], which never contains
// a secret.
func New(d Description, o verify.Options) (*Verifier, error) {
	v := &Verifier{description: d}
	inner, err := verify.New(d.Scheme, o)
	f, _ := errors.AsType[fault.List](err)
	v.id = v.reader.AddExact(d.ID, "id", new(fault.List)) // verify.New reports its faults
	v.typ = v.reader.Add(d.EventType, "event_type", &f)
	v.subject = v.reader.Add(d.Subject, "subject", &f)
	for i := range d.Distinct {
		n := receipt
		if d.Distinct[i].In != receiptPlace {
			n = v.reader.AddExact(&d.Distinct[i], fmt.Sprintf("distinct[%d]", i), &f)
		}
		v.distinct = append(v.distinct, n)
	}
	if err := f.Err(); err != nil {
		return nil, err
	}
	v.Verifier = inner
	if c, signs := inner.Covers(); signs && !d.identifies(c) {
		inner.ReportSigned()
	}
	return v, nil
}

// identifies reports whether a request with the same signed content is the same event: the
// signature covers everything that identifies an event, which is the body if there is no id.
func (d *Description) identifies(c verify.Coverage) bool {
	for i := range d.Distinct {
		if d.Distinct[i].In == receiptPlace { // every request is an event
			return true
		}
		if !c.Holds(&d.Distinct[i]) {
			return false
		}
	}
	switch {
	case d.Batch != nil:
		return c.Content
	case d.ID == nil:
		return c.Body
	}
	return c.Holds(d.ID)
}

// Description returns the description that v was made from.
func (v *Verifier) Description() Description { return v.description }

// Verify verifies r and reads the event's id, type, subject and status. See
// [gaff.Verifier]. A value that cannot be read is left empty: the request is authentic, and
// the code that needs the value reports its fault.
func (v *Verifier) Verify(ctx context.Context, r *gaff.Request) (gaff.Verification, error) {
	out, err := v.Verifier.Verify(ctx, r)
	if err != nil {
		return out, err
	}
	var content []byte
	if out.Content != "" {
		content = []byte(out.Content)
	}
	reading := v.reader.Read(r, content)
	for _, value := range [...]struct {
		to    *string
		place int
	}{{&out.ID, v.id}, {&out.Type, v.typ}, {&out.Subject, v.subject}} {
		if *value.to == "" {
			*value.to, _ = reading.Text(value.place)
		}
	}
	if len(v.distinct) > 0 {
		texts := make([]string, len(v.distinct))
		for i, n := range v.distinct {
			if n == receipt {
				texts[i] = strconv.FormatInt(r.ReceivedAt.UnixNano(), 10)
				continue
			}
			texts[i], _ = reading.Text(n)
		}
		out.Status = verify.JoinExactly(texts, "\n")
	}
	return out, nil
}

// Sign signs r as the sender does. See [verify.Verifier.Sign].
func (v *Verifier) Sign(r *gaff.Request, at time.Time) error { return v.Verifier.Sign(r, at) }
