package verify

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"gaff"
	"gaff/internal/fault"
)

// hook0 signs the values of headers that the signature names.
type hook0 struct {
	scheme  Scheme
	secrets secretKeys
}

func (v *hook0) describe() string {
	return "hex HMAC-SHA256 of the time, the named headers and the body in " + hook0Header
}

func (v *hook0) verify(_ context.Context, r *gaff.Request) (gaff.Verification, error) {
	out := gaff.Verification{Scheme: "hook0"}
	text, err := headerText(r.Header, hook0Header, hook0Header)
	if err != nil {
		return out, err
	}
	field := map[string]string{}
	for pair := range strings.SplitSeq(text, ",") {
		key, value, ok := strings.Cut(strings.Trim(pair, " \t"), "=")
		if old, twice := field[key]; ok && twice && old != value {
			return out, fmt.Errorf("%s: %w: two different %s", hook0Header, ErrAmbiguous, Printable(key))
		}
		field[key] = value
	}
	if field["t"] == "" {
		return out, fmt.Errorf("%s: %w: no t", hook0Header, ErrMissing)
	}
	if _, ok := parseTime(field["t"], "s"); !ok {
		return out, fmt.Errorf("timestamp %s: %w", Printable(field["t"]), ErrMalformed)
	}
	// v1 covers more than v0, so v0 is ignored if both are present.
	sig, v1 := field["v1"]
	content := field["t"] + "."
	if v1 {
		names := field["h"]
		values := []string{}
		for name := range strings.FieldsSeq(names) {
			value, err := headerText(r.Header, http.CanonicalHeaderKey(name), name)
			if err != nil {
				return out, err
			}
			values = append(values, value)
		}
		content += names + "." + strings.Join(values, ".") + "."
	} else {
		sig = field["v0"]
	}
	if sig == "" {
		return out, fmt.Errorf("%s: %w: no signature under v1 or v0", hook0Header, ErrMissing)
	}
	out.KeyID, err = v.secrets.match("hex", []string{sig}, func(_ []byte, w writer) error {
		w.text(content)
		w.bytes(r.Body)
		return nil
	})
	if err != nil {
		return out, err
	}
	if out.KeyID == "" {
		return out, mismatch(hook0Header, "hex", sig)
	}
	out.Signed = signedHash([]byte(content + string(r.Body)))
	return out, judge(v.scheme.Tolerance, field["t"], "s", r.ReceivedAt)
}

// covers returns the body only: the signed headers differ from request to request.
func (v *hook0) covers() Coverage { return Coverage{Body: true, Content: true} }

func (v *hook0) sign(r *gaff.Request, at time.Time) error {
	t := formatTime(at, "s")
	names, values := "", ""
	if kind := r.Header.Get("Content-Type"); kind != "" {
		names, values = "content-type", kind
	}
	content := t + "." + names + "." + values + "." + string(r.Body)
	r.Header.Set(hook0Header, "t="+t+",h="+names+",v1="+v.secrets.sign("hex", content))
	return nil
}

const hook0Header = "X-Hook0-Signature"

func newHook0(s Scheme, o Options, f *fault.List) checker {
	return &hook0{s, newSecretKeys(o, s.Key, mustAlgorithm("hmac-sha256"), f)}
}
