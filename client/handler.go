// Package client is for applications that a gaff gateway forwards events to: the document that it
// sends, and the verification of its signature. It needs the standard library only.
//
//	http.Handle("/gaff", client.Handler(client.Options{Secrets: []string{secret}},
//		func(ctx context.Context, e *client.Envelope) error {
//			switch e.Kind() {
//			case "gaff:job.completed":
//				return album.Add(ctx, e.Job.ProjectID, e.Media)
//			}
//			return nil
//		}))
//
// A delivery can be received more than once, because its response can be lost; [DeliveryID] is the
// same each time. A receiver that must not act twice stores the id in the transaction of its work,
// or after it: an id that is stored before the work loses the event if the work fails.
package client

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"time"
)

// Options of [Handler].
type Options struct {
	// Secrets are the signing secrets; one of them must have signed. Required.
	Secrets []string
	// MaxBodyBytes is the size of the largest body that is read. Zero means 8 MiB.
	MaxBodyBytes int64
}

type deliveryIDKey struct{}

// DeliveryID returns the id of the delivery that a [Handler] called its function for; it is the
// same at each attempt. Other contexts have none, "".
func DeliveryID(ctx context.Context) string {
	id, _ := ctx.Value(deliveryIDKey{}).(string)
	return id
}

// Handler verifies deliveries and calls f for each. It answers 401 if a delivery is not authentic,
// 204 if f returns nil, and otherwise 500 with the error's text, so that gaff retries. gaff waits
// 15 seconds for the response, unless the destination's timeout says otherwise.
func Handler(o Options, f func(ctx context.Context, e *Envelope) error) http.Handler {
	if o.MaxBodyBytes <= 0 {
		o.MaxBodyBytes = 8 << 20
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, o.MaxBodyBytes))
		if err != nil {
			http.Error(w, "cannot read the body: "+err.Error(), http.StatusRequestEntityTooLarge)
			return
		}
		id, err := Verify(o.Secrets, r.Header, body, time.Now())
		if err != nil {
			http.Error(w, err.Error(), http.StatusUnauthorized)
			return
		}
		var e Envelope
		if err := json.Unmarshal(body, &e); err != nil {
			http.Error(w, "the body is not an envelope: "+err.Error(), http.StatusBadRequest)
			return
		}
		if err := f(context.WithValue(r.Context(), deliveryIDKey{}, id), &e); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
}
