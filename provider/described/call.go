package described

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"mime/multipart"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"gaff/internal/cel"
	"gaff/internal/redact"
)

const (
	// callTimeout bounds each call; that of a provider that answers with the result is longer.
	callTimeout      = 25 * time.Second
	immediateTimeout = 110 * time.Second
	maxAnswer        = 32 << 20
)

// answer is the result of a call.
type answer struct {
	status int
	header http.Header
	body   []byte
	// err is set without a whole answer. unsent is set if there was no connection either.
	err    error
	unsent bool
}

// send makes a call with the provider's secrets. target replaces the URL of the call; may be empty.
func (c *Client) send(ctx context.Context, spec *call, target string, vars map[string]any, timeout time.Duration) (a answer) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	// A transport without trace events may have connected.
	var wanted, got atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn: func(string) { wanted.Store(true) }, GotConn: func(httptrace.GotConnInfo) { got.Store(true) },
	})
	req, err := c.request(ctx, spec, target, vars)
	if err != nil {
		return answer{err: err, unsent: true}
	}
	defer func() { a.unsent = wanted.Load() && !got.Load() }()
	resp, err := c.o.HTTP.Do(req)
	if err != nil {
		return answer{err: plain(err)}
	}
	defer resp.Body.Close()
	a = answer{status: resp.StatusCode, header: resp.Header}
	if a.body, a.err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1)); a.err == nil && len(a.body) > maxAnswer {
		a.err = redact.Errorf("the answer is longer than %d bytes", maxAnswer)
	}
	return a
}

// request builds a request of a description.
func (c *Client) request(ctx context.Context, spec *call, target string, vars map[string]any) (*http.Request, error) {
	address := target
	var err error
	if address == "" {
		if address, err = spec.url.Text(vars, c.escape); err != nil {
			return nil, redact.Errorf("URL: %w", err)
		}
		if address, err = withQuery(address, spec.query, vars); err != nil {
			return nil, err
		}
	}
	if err := c.CheckAddress(address); err != nil {
		return nil, redact.Errorf("%s %w", address, err)
	}
	body, contentType, err := encode(spec, vars)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, spec.method, address, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if body == nil {
		req.Body, req.ContentLength = nil, 0
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "gaff")
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	for _, set := range []map[string]*cel.Template{c.c.headers, spec.headers} {
		if err := setHeaders(req.Header, set, vars); err != nil {
			return nil, err
		}
	}
	return req, nil
}

// withQuery adds the parameters of templates to a URL. One whose value is empty is left out.
func withQuery(address string, templates map[string]*cel.Template, vars map[string]any) (string, error) {
	query := url.Values{}
	for name, t := range templates {
		value, err := t.Text(vars, nil)
		if err != nil {
			return "", redact.Errorf("query %s: %w", redact.Own(name), err)
		}
		if value != "" {
			query.Set(name, value)
		}
	}
	if len(query) == 0 {
		return address, nil
	}
	return address + "?" + query.Encode(), nil
}

// setHeaders sets the headers of templates. A header whose value is empty is left out.
func setHeaders(h http.Header, templates map[string]*cel.Template, vars map[string]any) error {
	for name, t := range templates {
		value, err := t.Text(vars, nil)
		if err != nil {
			return redact.Errorf("header %s: %w", redact.Own(name), err)
		}
		if value != "" {
			h.Set(name, value)
		}
	}
	return nil
}

// escape escapes a value in a URL as segments of a path.
func (c *Client) escape(value, before string) (string, error) {
	if before == "" {
		return value, nil // ${base}
	}
	segments := strings.Split(value, "/")
	for i, s := range segments {
		if s == "." || s == ".." || s == "" {
			return "", redact.Errorf("%q cannot be part of a path", value)
		}
		segments[i] = url.PathEscape(s)
	}
	return strings.Join(segments, "/"), nil
}

// encode evaluates the body of a call; nil without one.
func encode(spec *call, vars map[string]any) (body []byte, contentType string, err error) {
	if spec.body == nil {
		return nil, "", nil
	}
	v, err := spec.body.Value(vars)
	if err != nil {
		return nil, "", redact.Errorf("body: %w", err)
	}
	object, err := merged(v)
	if err != nil {
		return nil, "", redact.Errorf("body: %w", err)
	}
	if spec.form {
		return form(object)
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(object); err != nil {
		return nil, "", redact.Errorf("body: %w", err)
	}
	return bytes.TrimSpace(b.Bytes()), "application/json", nil
}

// merged merges a list of objects, of which null removes a member.
func merged(v any) (map[string]any, error) {
	switch v := v.(type) {
	case map[string]any:
		return v, nil
	case []any:
		out := map[string]any{}
		for _, item := range v {
			m, ok := item.(map[string]any)
			if !ok {
				return nil, redact.Const("a list must hold objects only")
			}
			for name, value := range m {
				if out[name] = value; value == nil {
					delete(out, name)
				}
			}
		}
		return out, nil
	}
	return nil, redact.Const("want an object, or a list of objects")
}

// form writes the members of an object as fields of a multipart form.
func form(object map[string]any) (body []byte, contentType string, err error) {
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for _, name := range slices.Sorted(maps.Keys(object)) {
		text, ok := object[name].(string)
		if object[name] == nil {
			continue
		}
		if !ok {
			raw, err := json.Marshal(object[name])
			if err != nil {
				return nil, "", err
			}
			text = string(raw)
		}
		if err := w.WriteField(name, text); err != nil {
			return nil, "", err
		}
	}
	if err := w.Close(); err != nil {
		return nil, "", err
	}
	return b.Bytes(), w.FormDataContentType(), nil
}

// plain removes the URL from a client's error: it may contain a callback token.
func plain(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}

// jsonToken signs a JSON Web Token with HMAC-SHA256.
func jsonToken(issuer, key string, now time.Time, ttl time.Duration) string {
	claims, _ := json.Marshal(map[string]any{"iss": issuer, "exp": now.Add(ttl).Unix(), "nbf": now.Add(-5 * time.Second).Unix()})
	encode := base64.RawURLEncoding.EncodeToString
	text := encode([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + encode(claims)
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(text))
	return text + "." + encode(mac.Sum(nil))
}
