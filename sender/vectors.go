package sender

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"gaff"
	"gaff/verify"
)

// VectorResult is the outcome of one test vector.
type VectorResult struct {
	ID     string `json:"id"`
	Expect string `json:"expect"` // valid or invalid
	Got    string `json:"got"`
	// Reason is why the request was rejected; empty if it was accepted.
	Reason    string `json:"reason"`
	Normative bool   `json:"normative"`
	// Policy names the choice that a non-normative vector tests.
	Policy string `json:"-"`
	// Description names the subject of the test.
	Description string `json:"-"`
	// Detail, on the first result, lists unknown members of the file.
	Detail string `json:"-"`
	// Err is the refusal as an error.
	Err error `json:"-"`
	// Event is the event of a valid request. Agrees also compares its id and type, if the vector
	// has them.
	Event gaff.Verification `json:"-"`

	wantID, wantType *string
}

// Agrees reports whether the outcome is the vector's.
func (r VectorResult) Agrees() bool {
	if r.Got != r.Expect {
		return false
	}
	if r.Got != "valid" {
		return true
	}
	return (r.wantID == nil || *r.wantID == r.Event.ID) && (r.wantType == nil || *r.wantType == r.Event.Type)
}

type vectorFile struct {
	Format   string
	Provider string
	Scheme   json.RawMessage
	Vectors  []vector
}

type vector struct {
	ID, Description, Method, URL, Expect, Policy string
	Keys                                         []struct {
		Kind, Username, Password string
		Value                    json.RawMessage
	}
	Config     map[string]any
	Headers    [][2]string
	BodyBase64 []byte  `json:"body_base64"`
	BodyRepeat []any   `json:"body_repeat"`
	BodyParts  [][]any `json:"body_parts"`
	Fetch      map[string]struct {
		Status     int
		BodyBase64 string `json:"body_base64"`
	}
	Now        int64
	ToleranceS *int64 `json:"tolerance_s"`
	Normative  bool
	EventID    *string `json:"event_id"`
	EventType  *string `json:"event_type"`
}

// RunVectors runs a file of test vectors (format gaff-vectors/1). A request is verified by the
// file's scheme, at the vector's time; a scheme of kind code by gaff's of that name. The vector
// contains the remote documents; everything else is unreachable.
func RunVectors(r io.Reader) ([]VectorResult, error) {
	text, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("read vectors: %w", err)
	}
	var file vectorFile
	if err := json.Unmarshal(text, &file); err != nil {
		return nil, fmt.Errorf("read vectors: %w", err)
	}
	if file.Format != "gaff-vectors/1" {
		return nil, fmt.Errorf("read vectors: format %q; gaff-vectors/1 is wanted", file.Format)
	}
	// Unknown members of a scheme are reported, and the vectors run: their results say whether the
	// members matter.
	var d Description
	note := ""
	if err := strictJSON(file.Scheme, &d); err != nil {
		note = fmt.Sprintf("the scheme of %s: %v", file.Provider, err)
		if d, err = lenient(file.Scheme); err != nil {
			return nil, fmt.Errorf("read the scheme of %s: %w", file.Provider, err)
		}
	}
	if d.Kind == "code" && !verify.KnowsCode(d.Name) {
		for _, name := range []string{d.Name, file.Provider} {
			if preset, ok := Preset(name); ok {
				d = preset
				break
			}
		}
	}
	results, err := file.run(d)
	if err == nil && note != "" && len(results) > 0 {
		results[0].Detail = note
	}
	return results, err
}

// lenient decodes a scheme and ignores unknown members.
func lenient(text []byte) (d Description, err error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(text, &members); err != nil {
		return d, err
	}
	places := bytes.TrimSpace(members["signature"])
	delete(members, "signature") // its own type is strict
	delete(members, "challenge") // not needed to verify
	rest, err := json.Marshal(members)
	if err != nil {
		return d, err
	}
	if err := json.Unmarshal(rest, &d); err != nil || len(places) == 0 {
		return d, err
	}
	if places[0] == '{' {
		places = append(append([]byte{'['}, places...), ']')
	}
	var list []verify.Signature
	err = json.Unmarshal(places, &list)
	d.Signature = list
	return d, err
}

func (file *vectorFile) run(d Description) ([]VectorResult, error) {
	results := make([]VectorResult, 0, len(file.Vectors))
	for i := range file.Vectors {
		res, err := file.Vectors[i].run(d)
		if err != nil {
			return nil, fmt.Errorf("vector %s: %w", file.Vectors[i].ID, err)
		}
		results = append(results, res)
	}
	return results, nil
}

// run checks one vector. Its error is a fault of the vector itself.
func (v *vector) run(d Description) (VectorResult, error) {
	res := VectorResult{
		ID: v.ID, Expect: v.Expect, Got: "invalid", Normative: v.Normative, Policy: v.Policy,
		Description: v.Description, wantID: v.EventID, wantType: v.EventType,
	}
	o := verify.Options{Settings: map[string]string{}, Client: &http.Client{Transport: v},
		// A file may describe a sender that no source may use.
		AnyCoverage: d.CoversBody == nil && (d.Kind == "signature" || d.Kind == "jwt")}
	for name, value := range v.Config {
		switch value := value.(type) {
		case string:
			o.Settings[name] = value
		case []any:
			texts := make([]string, len(value))
			for i := range value {
				texts[i] = fmt.Sprint(value[i])
			}
			o.Settings[name] = strings.Join(texts, ",")
		case nil:
		default:
			o.Settings[name] = fmt.Sprint(value)
		}
	}
	for _, k := range v.Keys {
		var value string
		if k.Kind != "jwks" && len(k.Value) > 0 {
			if err := json.Unmarshal(k.Value, &value); err != nil {
				return res, fmt.Errorf("key: %w", err)
			}
		}
		switch k.Kind {
		case "secret":
			o.Secrets = append(o.Secrets, value)
		case "jwks":
			o.Keys = append(o.Keys, verify.Key{Kind: k.Kind, Value: string(k.Value)})
		case "jwks_url":
			o.JWKS = verify.NewJWKS(value, verify.JWKSOptions{Client: o.Client})
		case "fetched_certificate":
		default:
			o.Keys = append(o.Keys, verify.Key{Kind: k.Kind, Value: value, Username: k.Username, Password: k.Password})
		}
	}
	if v.ToleranceS != nil && d.HasTime() {
		o.Tolerance = &verify.Tolerance{Past: *v.ToleranceS, Future: v.ToleranceS}
	}
	body, err := v.body()
	if err != nil {
		return res, err
	}
	req := &gaff.Request{
		Method: v.Method, URL: v.URL, Header: http.Header{}, Body: body, ReceivedAt: time.Unix(v.Now, 0),
	}
	for _, h := range v.Headers {
		req.Header.Add(h[0], h[1])
	}
	verifier, err := New(d, o)
	if err == nil {
		res.Event, err = verifier.Verify(context.Background(), req)
	}
	if err != nil {
		res.Reason, res.Err = err.Error(), err
		return res, nil
	}
	res.Got = "valid"
	if v.EventID != nil && *v.EventID != res.Event.ID {
		res.Reason = fmt.Sprintf("authentic, but its id was read as %s; %s is wanted", verify.Printable(res.Event.ID), verify.Printable(*v.EventID))
	} else if v.EventType != nil && *v.EventType != res.Event.Type {
		res.Reason = fmt.Sprintf("authentic, but its type was read as %s; %s is wanted", verify.Printable(res.Event.Type), verify.Printable(*v.EventType))
	}
	return res, nil
}

func (v *vector) body() ([]byte, error) {
	parts := v.BodyParts
	if v.BodyRepeat != nil {
		parts = [][]any{v.BodyRepeat}
	}
	if parts == nil {
		return v.BodyBase64, nil
	}
	var body []byte
	for _, p := range parts {
		if len(p) != 2 {
			return nil, errors.New("body part: [text, n] is wanted")
		}
		text, okText := p[0].(string)
		n, okN := p[1].(float64)
		if !okText || !okN || n < 0 || n*float64(len(text)) > 1<<28 {
			return nil, errors.New("body part: [text, n] of at most 256 MiB is wanted")
		}
		body = append(body, bytes.Repeat([]byte(text), int(n))...)
	}
	return body, nil
}

// RoundTrip answers with the vector's documents; all other hosts are unreachable.
func (v *vector) RoundTrip(r *http.Request) (*http.Response, error) {
	doc, ok := v.Fetch[r.URL.String()]
	if !ok {
		return nil, errors.New("unreachable")
	}
	body, err := base64.StdEncoding.DecodeString(doc.BodyBase64)
	if err != nil {
		return nil, err
	}
	return &http.Response{
		StatusCode: doc.Status, Status: fmt.Sprintf("%d %s", doc.Status, http.StatusText(doc.Status)),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{}, Body: io.NopCloser(bytes.NewReader(body)), Request: r,
	}, nil
}
