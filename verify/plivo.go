package verify

import (
	"context"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"gaff"
	"gaff/internal/fault"
)

// plivo signs the URL with its query sorted, the form's fields and a nonce.
type plivo struct {
	secrets secretKeys
	url     string
}

func (v *plivo) describe() string {
	return "base64 HMAC-SHA256 of the URL, the form's fields and a nonce in " + plivoHeader
}

func (v *plivo) covers() Coverage { return Coverage{Content: true, form: true, url: true} }

func (v *plivo) content(r *gaff.Request, nonce string) (string, error) {
	address := r.URL
	if v.url != "" {
		address = v.url
	}
	u, err := url.Parse(address)
	if err != nil {
		return "", fmt.Errorf("request URL: %w", ErrMalformed)
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return "", fmt.Errorf("query: %w", ErrMalformed)
	}
	form := url.Values{}
	if len(r.Body) > 0 {
		if !isForm(r) {
			return "", fmt.Errorf("body: %w: no form, and nothing else is covered", ErrMalformed)
		}
		if form, err = url.ParseQuery(string(r.Body)); err != nil {
			return "", fmt.Errorf("body: %w: no form", ErrMalformed)
		}
	}
	var b strings.Builder
	b.WriteString(u.Scheme + "://" + u.Host + u.EscapedPath())
	var pairs []string
	for _, name := range slices.Sorted(maps.Keys(query)) {
		for _, value := range slices.Sorted(slices.Values(query[name])) {
			pairs = append(pairs, name+"="+value)
		}
	}
	if len(pairs) > 0 || len(form) > 0 {
		b.WriteString("?" + strings.Join(pairs, "&"))
	}
	if len(pairs) > 0 && len(form) > 0 {
		b.WriteString(".")
	}
	b.WriteString(strings.Join(sortedForm(form), ""))
	return b.String() + "." + nonce, nil
}

func (v *plivo) verify(_ context.Context, r *gaff.Request) (gaff.Verification, error) {
	out := gaff.Verification{Scheme: "plivo"}
	text, err := headerText(r.Header, plivoHeader, plivoHeader)
	if err != nil {
		return out, err
	}
	nonce, err := headerText(r.Header, plivoNonce, plivoNonce)
	if err != nil {
		return out, err
	}
	sigs := strings.Split(text, ",")
	if len(sigs) > maxSignatures {
		return out, fmt.Errorf("%s: %w: more than %d signatures", plivoHeader, ErrAmbiguous, maxSignatures)
	}
	content, err := v.content(r, nonce)
	if err != nil {
		return out, err
	}
	out.KeyID, err = v.secrets.match("base64", sigs, func(_ []byte, w writer) error {
		w.text(content)
		return nil
	})
	out.Signed = signedHash([]byte(content))
	if err == nil && out.KeyID == "" {
		err = mismatch(plivoHeader, "base64", sigs[0])
	}
	return out, err
}

func (v *plivo) sign(r *gaff.Request, at time.Time) error {
	nonce := strconv.FormatInt(at.UnixNano(), 10)
	content, err := v.content(r, nonce)
	if err != nil {
		return err
	}
	r.Header.Set(plivoNonce, nonce)
	r.Header.Set(plivoHeader, v.secrets.sign("base64", content))
	return nil
}

const (
	plivoHeader = "X-Plivo-Signature-V3"
	plivoNonce  = "X-Plivo-Signature-V3-Nonce"
)

func newPlivo(s Scheme, o Options, f *fault.List) checker {
	noTolerance(s, f)
	return &plivo{newSecretKeys(o, s.Key, mustAlgorithm("hmac-sha256"), f), o.Settings["url"]}
}
