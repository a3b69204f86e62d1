package watch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"gaff"
	"gaff/internal/alert"
)

// Posted makes a channel that posts messages to a URL of a chat service. body writes them. The
// URL is a secret, so no error quotes it.
func Posted(client *http.Client, service, to string, body func(alert.Text) []byte) Channel {
	host := to
	if u, err := url.Parse(to); err == nil {
		host = u.Host
	}
	return Channel{
		About: service + " (" + host + ")",
		Send:  func(ctx context.Context, text alert.Text) error { return post(ctx, client, to, body(text)) },
	}
}

// lasting are the answers after which another attempt is useless.
var lasting = []int{http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusGone}

func post(ctx context.Context, client *http.Client, to string, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(body))
	if err != nil {
		return errors.New("the URL of the channel is invalid")
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := client.Do(req)
	if err != nil {
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err
		}
		return fmt.Errorf("post the message: %w", err)
	}
	defer res.Body.Close()
	answer, _ := io.ReadAll(io.LimitReader(res.Body, 512))
	switch {
	case res.StatusCode/100 == 2:
		return nil
	case res.StatusCode == http.StatusTooManyRequests:
		seconds, _ := strconv.ParseFloat(res.Header.Get("Retry-After"), 64)
		return gaff.RetryAfter(time.Duration(min(max(seconds, 1), 3600)*float64(time.Second)), &answered{res.StatusCode, ""})
	case slices.Contains(lasting, res.StatusCode):
		return gaff.Discard(&answered{res.StatusCode, string(answer)})
	}
	return &answered{res.StatusCode, string(answer)}
}

// answered is an answer other than 2xx.
type answered struct {
	status int
	text   string
}

func (e *answered) Error() string {
	if e.text == "" {
		return e.LogText()
	}
	return fmt.Sprintf("%s: %.200q", e.LogText(), e.text)
}

// LogText is the part of the error for logs.
func (e *answered) LogText() string {
	return fmt.Sprintf("answered %d %s", e.status, http.StatusText(e.status))
}

// HTTPStatus is the status, by which failures are grouped.
func (e *answered) HTTPStatus() int { return e.status }
