package verify

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"gaff/internal/redact"
)

const fetchTimeout = 8 * time.Second // senders wait for at most 15 seconds

// DefaultClient fetches keys and certificates if the options have no client.
var DefaultClient = sync.OnceValue(func() *http.Client {
	return &http.Client{
		Timeout: fetchTimeout,
		Transport: &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           (&net.Dialer{Timeout: 4 * time.Second}).DialContext,
			TLSHandshakeTimeout:   4 * time.Second,
			ResponseHeaderTimeout: 6 * time.Second,
			IdleConnTimeout:       90 * time.Second,
			MaxIdleConns:          4,
			ForceAttemptHTTP2:     true,
		},
	}
})

// WithinHost returns a copy of client that follows redirects on the host of u only: the operator,
// not a server, decides where keys come from.
func WithinHost(client *http.Client, u *url.URL) *http.Client {
	c := *client
	c.CheckRedirect = func(next *http.Request, via []*http.Request) error {
		if next.URL.Scheme != u.Scheme || next.URL.Host != u.Host || len(via) > 3 {
			return http.ErrUseLastResponse
		}
		return nil
	}
	return &c
}

// fetch reads a small document. It follows redirects as [WithinHost] does.
func fetch(ctx context.Context, client *http.Client, address string, most int64) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return nil, redact.Errorf("%s is not an address", Printable(address))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	res, err := WithinHost(client, u).Do(req)
	if err != nil {
		var ue *url.Error
		if errors.As(err, &ue) {
			err = ue.Err // the address is in the caller's message
		}
		return nil, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, redact.Errorf("the host answered %s", redact.Own(fmt.Sprintf("%d %s", res.StatusCode, http.StatusText(res.StatusCode))))
	}
	doc, err := io.ReadAll(io.LimitReader(res.Body, most+1))
	if err != nil {
		return nil, err
	}
	if int64(len(doc)) > most {
		return nil, redact.Errorf("the document is larger than %d bytes", most)
	}
	return doc, nil
}
