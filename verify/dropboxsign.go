package verify

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"time"

	"gaff"
	"gaff/internal/fault"
	"gaff/internal/payload"
)

// dropboxSign signs the time and type of the event, which are in a form's JSON field.
type dropboxSign struct {
	secrets secretKeys
	set     pointers
}

func newDropboxSign(s Scheme, o Options, f *fault.List) checker {
	noTolerance(s, f)
	v := &dropboxSign{secrets: newSecretKeys(o, s.Key, mustAlgorithm("hmac-sha256"), f)}
	for _, name := range []string{"event_time", "event_type", "event_hash"} {
		v.set.must("/event/" + name)
	}
	return v
}

func (v *dropboxSign) describe() string {
	return "hex HMAC-SHA256 of the event's time and type in the JSON of the form field json (the rest is not covered)"
}

func (v *dropboxSign) verify(_ context.Context, r *gaff.Request) (gaff.Verification, error) {
	out := gaff.Verification{Scheme: "dropbox-sign"}
	doc, err := formField(r, "json")
	if err != nil {
		return out, err
	}
	raw, err := v.set.find(doc)
	if err != nil {
		return out, fmt.Errorf("form field json: %w: %w", ErrMalformed, err)
	}
	at, _ := jsonText(raw[0])
	out.Type, _ = jsonText(raw[1])
	sig, _ := jsonText(raw[2])
	if at == "" || out.Type == "" || sig == "" {
		return out, fmt.Errorf("event_time, event_type or event_hash: %w", ErrMissing)
	}
	if _, ok := parseTime(at, "s"); !ok { // nothing separates it from the type
		return out, fmt.Errorf("event_time %s: %w", Printable(at), ErrMalformed)
	}
	out.KeyID, err = v.secrets.match("hex", []string{sig}, func(_ []byte, w writer) error {
		w.text(at)
		w.text(out.Type)
		return nil
	})
	if err == nil && out.KeyID == "" {
		err = mismatch("event_hash", "hex", sig)
	}
	return out, err
}

func (v *dropboxSign) sign(r *gaff.Request, at time.Time) error {
	doc := r.Body
	if text, err := formField(r, "json"); err == nil {
		doc = text
	}
	raw, err := v.set.find(doc)
	if err != nil {
		return err
	}
	eventType, _ := jsonText(raw[1])
	eventType = cmp.Or(eventType, "callback_test")
	t := formatTime(at, "s")
	for _, field := range [...]struct{ pointer, text string }{
		{"/event/event_time", t}, {"/event/event_type", eventType}, {"/event/event_hash", v.secrets.sign("hex", t+eventType)},
	} {
		if doc, err = payload.SetJSON(doc, field.pointer, field.text); err != nil {
			return err
		}
	}
	r.Body = []byte(url.Values{"json": {string(doc)}}.Encode())
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return nil
}
