package verify

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"mime"
	"net/url"
	"slices"
	"strings"
	"time"

	"gaff"
	"gaff/internal/fault"
)

// twilio signs the URL with the form's fields, or with the hash of another body in the
// query.
type twilio struct {
	secrets secretKeys
	url     string
}

const twilioHeader = "X-Twilio-Signature"

func newTwilio(s Scheme, o Options, f *fault.List) checker {
	noTolerance(s, f)
	return &twilio{newSecretKeys(o, s.Key, mustAlgorithm("hmac-sha1"), f), o.Settings["url"]}
}

func (v *twilio) describe() string {
	return "base64 HMAC-SHA1 of the URL and the form's fields in " + twilioHeader
}

// fields returns the content that is signed after the URL. A body that is not covered is rejected.
func (v *twilio) fields(r *gaff.Request, address string) (string, error) {
	u, err := url.Parse(address)
	if err != nil {
		return "", fmt.Errorf("request URL: %w", ErrMalformed)
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return "", fmt.Errorf("query: %w", ErrMalformed)
	}
	if hashes := query["bodySHA256"]; len(hashes) > 0 {
		sum := sha256.Sum256(r.Body)
		if len(hashes) > 1 {
			return "", fmt.Errorf("bodySHA256: %w: it came %d times", ErrAmbiguous, len(hashes))
		}
		if subtle.ConstantTimeCompare([]byte(hex.EncodeToString(sum[:])), []byte(hashes[0])) != 1 {
			return "", fmt.Errorf("bodySHA256: %w the body", ErrMismatch)
		}
		return "", nil
	}
	if len(r.Body) == 0 {
		return "", nil
	}
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/x-www-form-urlencoded" {
		return "", fmt.Errorf("bodySHA256: %w: nothing covers the body", ErrMissing)
	}
	form, err := url.ParseQuery(string(r.Body))
	if err != nil {
		return "", fmt.Errorf("body: %w: no form", ErrMalformed)
	}
	for name, values := range form {
		slices.Sort(values)
		form[name] = slices.Compact(values)
	}
	return strings.Join(sortedForm(form), ""), nil
}

// variants returns the address as it is, without its port, and with the scheme's default port:
// Twilio may have signed any of them.
func (v *twilio) variants(address string) []string {
	list := []string{address}
	scheme, rest, ok := strings.Cut(address, "://")
	if !ok {
		return list
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	host, path := rest[:end], rest[end:]
	if i := strings.LastIndexByte(host, ':'); i > strings.LastIndexByte(host, ']') {
		return append(list, scheme+"://"+host[:i]+path)
	}
	if port := map[string]string{"https": ":443", "http": ":80"}[scheme]; port != "" {
		list = append(list, scheme+"://"+host+port+path)
	}
	return list
}

func (v *twilio) verify(_ context.Context, r *gaff.Request) (gaff.Verification, error) {
	out := gaff.Verification{Scheme: "twilio"}
	sig, err := headerText(r.Header, twilioHeader, twilioHeader)
	if err != nil {
		return out, err
	}
	address := v.address(r)
	fields, err := v.fields(r, address)
	if err != nil {
		return out, err
	}
	for _, a := range v.variants(address) {
		id, err := v.secrets.match("base64", []string{sig}, func(_ []byte, w writer) error {
			w.text(a)
			w.text(fields)
			return nil
		})
		if err != nil || id != "" {
			out.KeyID, out.Signed = id, signedHash([]byte(a+fields))
			return out, err
		}
	}
	return out, mismatch(twilioHeader, "base64", sig)
}

func (v *twilio) covers() Coverage { return Coverage{Content: true, form: true, url: true} }

func (v *twilio) address(r *gaff.Request) string {
	if v.url != "" {
		return v.url
	}
	return r.URL
}

func (v *twilio) sign(r *gaff.Request, _ time.Time) error {
	address := v.address(r)
	fields, err := v.fields(r, address)
	if err != nil {
		return err
	}
	r.Header.Set(twilioHeader, v.secrets.sign("base64", address+fields))
	return nil
}
