package gaff

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"
)

const (
	// retryAfter is the Retry-After for senders when nothing can be stored, in seconds.
	retryAfter = "5"
	// notAdmittedRetry is the Retry-After, in seconds, of an event that [Source.Admit] does not admit for now.
	notAdmittedRetry = 60
	// pausedRetry is the Retry-After of a paused source, in seconds.
	pausedRetry = 60
)

// reply is how a call ended.
type reply struct {
	status int
	body   string
	// reason is for the operator.
	reason string
	// fixed is sent in place of body, for handshakes and senders that insist on a text.
	fixed *Reply
	// retryAfter is in seconds; 0 is the usual time.
	retryAfter int
	// unstored leaves no rejection: a client's other ones are stored.
	unstored bool
}

var (
	unknownSource = reply{status: http.StatusNotFound, body: `{"error":"Unknown webhook source"}`, reason: "unknown source"}
	tryAgain      = reply{status: http.StatusServiceUnavailable, body: `{"error":"Webhook processing failed"}`}
	badSignature  = reply{status: http.StatusUnauthorized, body: `{"error":"Invalid signature"}`}
	badPayload    = reply{status: http.StatusBadRequest, body: `{"error":"Invalid payload"}`}
	tooLarge      = reply{status: http.StatusRequestEntityTooLarge, body: `{"error":"Payload too large"}`}
	badMethod     = reply{status: http.StatusMethodNotAllowed, body: `{"error":"Method not allowed"}`, reason: "method"}
)

var (
	tooMany          = reply{status: http.StatusTooManyRequests, body: `{"error":"Too many requests"}`}
	wrongContentType = reply{status: http.StatusUnsupportedMediaType, body: `{"error":"Unsupported content type"}`}
)

func (rp reply) because(format string, args ...any) reply {
	rp.reason = fmt.Sprintf(format, args...)
	return rp
}

func (rp reply) after(wait time.Duration) reply {
	rp.retryAfter = max(int(wait/time.Second)+1, 1)
	return rp
}

// Header values that every answer has. They are shared, and never changed.
var (
	jsonType = []string{"application/json"}
	noSniff  = []string{"nosniff"}
)

func (rp reply) write(w http.ResponseWriter) {
	h := w.Header()
	size := len(rp.body)
	if rp.fixed == nil {
		h["Content-Type"] = jsonType
	} else {
		size = len(rp.fixed.Body)
		for name, values := range rp.fixed.Header {
			h[name] = values
		}
		if rp.fixed.ContentType != "" {
			h.Set("Content-Type", rp.fixed.ContentType)
		}
	}
	h["X-Content-Type-Options"] = noSniff
	if rp.status == http.StatusServiceUnavailable || rp.status == http.StatusTooManyRequests {
		h.Set("Retry-After", retryAfter)
		if rp.retryAfter > 0 {
			h.Set("Retry-After", strconv.Itoa(rp.retryAfter))
		}
	}
	h["Content-Length"] = []string{strconv.Itoa(size)}
	w.WriteHeader(rp.status)
	if rp.fixed != nil {
		_, _ = w.Write(rp.fixed.Body)
		return
	}
	_, _ = io.WriteString(w, rp.body)
}

// thanks is the answer to a request that is kept.
func thanks(rcs []Receipt) string {
	if len(rcs) == 0 {
		return `{"success":true,"events":0}`
	}
	events, duplicate := "", ""
	if len(rcs) > 1 {
		events = `,"events":` + strconv.Itoa(len(rcs))
	}
	if !slices.ContainsFunc(rcs, func(rc Receipt) bool { return !rc.Duplicate }) {
		duplicate = `,"duplicate":true`
	}
	return `{"success":true,"id":"` + rcs[0].ID + `"` + events + duplicate + "}"
}
