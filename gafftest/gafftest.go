// Package gafftest helps to test code that receives and handles webhooks: payloads like the
// senders', signed requests, and a call that returns the response.
package gafftest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"gaff"
	"gaff/provider"
	"gaff/provider/all"
	"gaff/provider/custom"
)

// source returns how to imitate the sender of a source: that of a provider, else "custom".
func source(name string) provider.Source {
	if p, ok := all.Find(name); ok {
		src, err := p.Source(nil)
		if err != nil {
			panic("gafftest: " + err.Error())
		}
		return src
	}
	return provider.Source{Sample: custom.Sample, Sign: custom.Sign}
}

// GenerateTestPayload makes a body of a source and type, with new ids. Sources of providers have
// samples of their own; any other source has those of "custom". The empty type is the source's
// first. It panics on an unknown type.
func GenerateTestPayload(name, eventType string) []byte {
	body, err := source(name).Sample(eventType, time.Now())
	if err != nil {
		panic("gafftest: " + err.Error())
	}
	return body
}

// SignedRequest makes a POST of a body that is authentic for a source under the secret. Sources
// of no provider are signed as the default source "custom" verifies it.
func SignedRequest(ctx context.Context, url, name, secret string, body []byte) (*http.Request, error) {
	r := &gaff.Request{Method: http.MethodPost, URL: url, Header: http.Header{}, Body: body}
	source(name).Sign(r, secret, time.Now())
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("sign request: %w", err)
	}
	r.Header.Set("Content-Type", "application/json")
	req.Header = r.Header
	return req, nil
}

// Result is how a test webhook was answered.
type Result struct {
	Success bool `json:"success"`
	// Status and Response are those of the HTTP response; absent without one.
	Status   int    `json:"status,omitempty"`
	Response string `json:"response,omitempty"`
	// Error is why there was no answer.
	Error string `json:"error,omitempty"`
}

// maxResponse bounds how much of an answer is read, in bytes.
const maxResponse = 1 << 20

// TestWebhook posts a payload with the headers and returns the response. A failure of any
// kind is in the result. A nil client is http.DefaultClient.
func TestWebhook(ctx context.Context, client *http.Client, url string, payload []byte, headers http.Header) Result {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(payload))
	if err != nil {
		return Result{Error: err.Error()}
	}
	req.Header.Set("Content-Type", "application/json")
	for name, values := range headers {
		req.Header[http.CanonicalHeaderKey(name)] = values
	}
	return Do(client, req)
}

// Do sends a request, such as one of [SignedRequest], and returns the response.
func Do(client *http.Client, req *http.Request) Result {
	if client == nil {
		client = http.DefaultClient
	}
	resp, err := client.Do(req)
	if err != nil {
		return Result{Error: err.Error()}
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxResponse))
	if err != nil {
		return Result{Status: resp.StatusCode, Error: err.Error()}
	}
	return Result{
		Success: resp.StatusCode >= 200 && resp.StatusCode < 300, Status: resp.StatusCode, Response: string(body),
	}
}
