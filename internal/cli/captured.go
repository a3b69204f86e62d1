package cli

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/textproto"
	"strconv"
	"strings"
	"time"

	"gaff"
)

// capturedRequest is a request as the API prints it, or other tools: headers may have one value or
// several.
type capturedRequest struct {
	Method     string     `json:"method"`
	URL        string     `json:"url"`
	RemoteAddr string     `json:"remoteAddr"`
	Headers    headerJSON `json:"headers"`
	Body       string     `json:"body"`
	BodyBase64 string     `json:"bodyBase64"`
}

// body returns the exact bytes: those of bodyBase64 if it is set.
func (r *capturedRequest) body() ([]byte, error) {
	if r.BodyBase64 == "" {
		return []byte(r.Body), nil
	}
	body, err := base64.StdEncoding.DecodeString(r.BodyBase64)
	if err != nil {
		return nil, fmt.Errorf("read bodyBase64: %w", err)
	}
	return body, nil
}

// headerJSON is a request's headers: a list of values or one value by name.
type headerJSON http.Header

func (h *headerJSON) UnmarshalJSON(text []byte) error {
	var several map[string][]string
	if err := json.Unmarshal(text, &several); err != nil {
		var one map[string]string
		if json.Unmarshal(text, &one) != nil {
			return err
		}
		several = make(map[string][]string, len(one))
		for name, value := range one {
			several[name] = []string{value}
		}
	}
	*h = make(headerJSON, len(several))
	for name, values := range several {
		name = http.CanonicalHeaderKey(name)
		(*h)[name] = append((*h)[name], values...)
	}
	return nil
}

// parseRequest reads a captured request: raw HTTP, or JSON of an event or of its request. ReceivedAt
// is zero if it is unknown. The notes describe corrections and likely mistakes.
func parseRequest(text []byte) (r *gaff.Request, notes []string, err error) {
	if trimmed := bytes.TrimLeft(text, " \t\r\n\ufeff"); len(trimmed) > 0 && trimmed[0] == '{' {
		r, err = parseRequestJSON(trimmed)
		return r, nil, err
	}
	return parseRequestRaw(text)
}

func parseRequestJSON(text []byte) (*gaff.Request, error) {
	var doc struct {
		capturedRequest
		Request    *capturedRequest
		ReceivedAt time.Time
	}
	if err := json.Unmarshal(text, &doc); err != nil {
		return nil, err
	}
	captured := &doc.capturedRequest
	if doc.Request != nil {
		captured = doc.Request
	}
	if captured.Headers == nil {
		return nil, errors.New(`it holds no request; gaff events show ID --json prints one (internal events have none)`)
	}
	body, err := captured.body()
	if err != nil {
		return nil, err
	}
	return &gaff.Request{
		Method: orPost(captured.Method), URL: captured.URL, RemoteAddr: captured.RemoteAddr,
		Header: http.Header(captured.Headers), Body: body, ReceivedAt: doc.ReceivedAt,
	}, nil
}

func orPost(method string) string {
	if method == "" {
		return http.MethodPost
	}
	return method
}

// parseRequestRaw reads a request as it was sent. Lines of the head may end in LF only, as editors
// and tools write them.
func parseRequestRaw(text []byte) (r *gaff.Request, notes []string, err error) {
	var lines []string
	rest := text
	for {
		line, after, found := bytes.Cut(rest, []byte("\n"))
		line = bytes.TrimSuffix(line, []byte("\r"))
		rest = after
		if len(line) == 0 && found {
			break
		}
		if !found {
			return nil, nil, errors.New("no empty line ends the headers: is this the whole request, with the request line first?")
		}
		lines = append(lines, string(line))
	}
	if len(lines) == 0 {
		return nil, nil, errors.New("it begins with an empty line; write the request line (POST /path HTTP/1.1) first")
	}
	method, target, ok1 := strings.Cut(lines[0], " ")
	target, proto, ok2 := strings.Cut(target, " ")
	if !ok1 || !ok2 || !strings.HasPrefix(proto, "HTTP/") || method == "" || target == "" {
		return nil, nil, errors.New("the first line is not a request line such as POST /path HTTP/1.1")
	}
	r = &gaff.Request{Method: method, URL: target, Header: http.Header{}, Body: rest}
	for i, line := range lines[1:] {
		name, value, ok := strings.Cut(line, ":")
		if !ok || name == "" || strings.ContainsAny(name, " \t") {
			return nil, nil, fmt.Errorf("line %d is not a header such as Name: value", i+2)
		}
		r.Header.Add(textproto.CanonicalMIMEHeaderKey(name), strings.Trim(value, " \t"))
	}
	if strings.EqualFold(r.Header.Get("Transfer-Encoding"), "chunked") {
		body, err := io.ReadAll(httputil.NewChunkedReader(bytes.NewReader(rest)))
		if err != nil {
			notes = append(notes, "Transfer-Encoding says chunked, but the body is not chunked; it is used unchanged")
		} else {
			r.Body = body
		}
		return r, notes, nil
	}
	length, err := strconv.Atoi(r.Header.Get("Content-Length"))
	if err != nil || length < 0 || length == len(rest) {
		return r, nil, nil
	}
	if length < len(rest) && len(bytes.Trim(rest[length:], "\r\n")) == 0 {
		r.Body = rest[:length]
		return r, []string{"the line break after the body is ignored: Content-Length does not count it"}, nil
	}
	return r, []string{fmt.Sprintf(
		"Content-Length says %d, but the body has %d bytes: the capture changed the body, so no signature can match", length, len(rest),
	)}, nil
}
