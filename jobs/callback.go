package jobs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"gaff"
	"gaff/client"
)

const eventCallback = "job.callback"

const (
	callbackWorkers = 8
	callbackTimeout = 20 * time.Second
)

// Headers of requests to a job's callback URL, beside gaff's signature (package client).
const (
	// CallbackHeader is the job's id.
	CallbackHeader = "X-Gaff-Job-Id"
	// ReconciledHeader is "true" for a synthesized body, of a job that settled without a webhook.
	ReconciledHeader = "X-Gaff-Reconciled"
)

// callbackTicket is the data of gaff:job.callback.
type callbackTicket struct {
	JobID string `json:"jobId"`
	// EventID is the provider's webhook; empty: synthesize a body.
	EventID string `json:"eventId,omitempty"`
}

// emitCallback adds the event on which the job's webhook is forwarded, once, to its callback URL.
func emitCallback(ctx context.Context, tx Tx, router Router, cause *gaff.Event, j *Job) error {
	if j.Callback == "" {
		return nil
	}
	t := callbackTicket{JobID: j.ID}
	ev := &gaff.Event{
		Source: gaff.InternalSource, Type: eventCallback, DedupeKey: "callback:" + j.ID, CorrelationID: j.ID, ReceivedAt: tx.Now(),
	}
	if cause != nil {
		ev.ParentID, ev.Hop = cause.ID, cause.Hop+1
		if cause.Source == j.Provider && j.Attempt <= 1 { // a callback expects the form of the first candidate
			t.EventID = cause.ID
		}
	}
	var err error
	if ev.Data, err = json.Marshal(t); err != nil {
		return err
	}
	return tx.Emit(ctx, ev, router.Route(ev))
}

// callBack processes gaff:job.callback. It forwards the bytes of the webhook, with the provider's
// own headers. For a job that settled without a webhook it synthesizes a body. gaff signs both: the
// provider did not sign synthesized bodies, and its signatures expire.
func (l *Service) callBack(ctx context.Context, _ *gaff.Event, t callbackTicket) error {
	j, err := l.o.Store.Job(ctx, t.JobID)
	if errors.Is(err, gaff.ErrNotFound) {
		return gaff.Discard(err)
	}
	if err != nil {
		return err
	}
	header, body := http.Header{}, []byte(nil)
	relay, _ := l.provider(j.Provider).(HeaderRelay)
	if t.EventID != "" {
		ev, err := l.o.Store.Event(ctx, t.EventID)
		if err != nil && !errors.Is(err, gaff.ErrNotFound) {
			return err
		}
		if err == nil && ev.Request != nil {
			body = ev.Request.Body
			for name, values := range ev.Request.Header {
				if relay != nil && relay.RelaysHeader(name) {
					header[name] = values
				}
			}
		}
	}
	if body == nil {
		if body, err = synthesized(j); err != nil {
			return gaff.Discard(err)
		}
		header.Set(ReconciledHeader, "true")
	}
	ctx, cancel := context.WithTimeout(ctx, callbackTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, j.Callback, bytes.NewReader(body))
	if err != nil {
		return gaff.Discard(fmt.Errorf("callback address: %w", err))
	}
	req.Header = header
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "gaff")
	req.Header.Set(CallbackHeader, j.ID)
	if err := l.sign(req.Header, gaff.DeliveryIDFrom(ctx), body); err != nil {
		return gaff.Discard(fmt.Errorf("sign the callback: %w", err))
	}
	resp, err := l.o.CallbackClient.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err
		}
		return fmt.Errorf("pass the webhook of job %s on: %w", j.ID, err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10))
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("pass the webhook of job %s on: the address answered %d", j.ID, resp.StatusCode)
	}
	return nil
}

// synthesized returns the body for a job that settled without a webhook. Its form is documented,
// and the same for all providers.
func synthesized(j *Job) ([]byte, error) {
	body := map[string]any{
		"request_id": j.RequestID, "gateway_request_id": j.RequestID, "status": "OK", "error": nil, "payload": j.Result,
	}
	if j.Status != JobCompleted {
		body["status"], body["error"] = "ERROR", j.Error
		if j.Status == JobCancelled {
			body["error"] = "cancelled"
		}
	}
	if len(j.Result) == 0 {
		body["payload"] = nil
	}
	return json.Marshal(body)
}

// sign adds the headers of Standard Webhooks. The id is the same at each attempt.
func (l *Service) sign(header http.Header, id string, body []byte) error {
	now := time.Now().Unix()
	var signatures []string
	for _, secret := range l.CallbackSecrets() {
		signature, err := client.Sign(secret, id, now, body)
		if err != nil {
			return err
		}
		signatures = append(signatures, signature)
	}
	header.Set(client.HeaderID, id)
	header.Set(client.HeaderTimestamp, strconv.FormatInt(now, 10))
	header.Set(client.HeaderSignature, strings.Join(signatures, " "))
	return nil
}

// CallbackSecrets returns the secrets that sign requests to callback URLs.
func (l *Service) CallbackSecrets() []string {
	if l.callbackKeys != nil {
		return l.callbackKeys.All()
	}
	return slices.Clone(l.secrets)
}
