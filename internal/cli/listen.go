package cli

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/user"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gaff/internal/inspect"
	"gaff/internal/wire"
)

// listenOptions are the flags of "gaff listen".
type listenOptions struct {
	forward, name, from, filter, format string
	events                              []string
	retry, asJSON, inspect              bool
	inspectPort                         int
	timeout                             time.Duration
}

func (p *program) listenCommand() *cobra.Command {
	var o listenOptions
	cmd := &cobra.Command{
		Use:   "listen",
		Short: "Send the events of a gateway to a program on this machine",
		Long: `Send the events of a gateway, on any machine, to a program on this machine: bytes, headers
and signatures as they were received. Each is printed with the program's response.

The gateway stores the position in its log of events under a name, so events that arrive
while the command does not run are sent later. Other deliveries are not affected, and
several people can listen, each under their own name. The command waits for a program that
does not respond; a response other than 2xx is printed and skipped, unless --retry.

--forward http://localhost:3001 keeps the path of the request as the gateway received it;
a URL with a path receives everything at that path. Internal events ("gaff:job.completed"),
which have no request, are posted as JSON envelopes.

--inspect prints the URL of a page on this machine (127.0.0.1) that shows each request with
the program's response, and can edit it and send it to the program again.`,
		Args: arguments(0, 0, ""),
		RunE: work(func(ctx context.Context, _ []string) error { return unlessInterrupted(ctx, p.listen(ctx, o)) }),
	}
	flags := cmd.Flags()
	flags.StringVar(&o.forward, "forward", "", "the URL to send to, such as http://localhost:3001; without it, events are only printed")
	flags.StringVar(&o.name, "name", "", "the name of the position in the log (default user@host)")
	flags.StringSliceVar(&o.events, "events", nil, `which events: source:type with *, separated by commas (default "*:*", all webhooks)`)
	flags.StringVar(&o.filter, "filter", "", "a CEL condition over source, type, data, webhookId and correlationId")
	flags.StringVar(&o.from, "from", "", "where a new name starts: now (default), beginning, or after an event's id")
	flags.StringVar(&o.format, "format", "original", "original: requests as received; envelope: as sent to destinations")
	flags.BoolVar(&o.retry, "retry", false, "send an event again until the response is 2xx")
	flags.DurationVar(&o.timeout, "timeout", 30*time.Second, "the longest time to wait for the program's response")
	flags.BoolVar(&o.inspect, "inspect", false, "serve a page on 127.0.0.1 with the requests and responses, and print its URL")
	flags.IntVar(&o.inspectPort, "inspect-port", 0, "the port of that page (default: any free one)")
	flags.BoolVar(&o.asJSON, "json", false, "print one JSON document a line")
	flags.StringVar(&p.url, "server", "", "the same as --url")
	p.clientFlags(cmd)
	return cmd
}

func (p *program) listen(ctx context.Context, o listenOptions) error {
	if o.forward != "" {
		o.forward = withScheme(o.forward)
		u, err := url.Parse(o.forward)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return usagef("--forward %q is not a URL; write one such as http://localhost:3001", o.forward)
		}
	}
	if o.format != "original" && o.format != "envelope" {
		return usagef("unknown --format %q: want original or envelope", o.format)
	}
	if o.name == "" {
		o.name = listenName()
	}
	c, err := p.dial()
	if err != nil {
		return err
	}
	sub, _, err := decodeCall[wire.Subscribed](ctx, c, apiCall{method: http.MethodPost, path: "/api/v1/subscriptions", body: wire.Subscribe{
		Name: o.name, Events: o.events, Filter: o.filter, From: o.from,
	}})
	if err != nil {
		return err
	}
	if !o.asJSON {
		where := "continues where it was"
		if sub.Created {
			where = "is new"
		}
		fmt.Fprintf(p.Stderr, "listening to %s as %s, which %s\n", clean(c.base), clean(o.name), where)
	}
	l := &listener{p: p, c: c, o: o, path: "/api/v1/subscriptions/" + url.PathEscape(o.name)}
	if o.inspect || o.inspectPort != 0 {
		var again func(context.Context, *inspect.Exchange)
		if o.forward != "" {
			again = l.exchange
		}
		l.inspector = inspect.New(again)
		err := l.inspector.Serve(ctx, o.inspectPort, func(url string) { fmt.Fprintf(p.Stderr, "inspect the requests at %s\n", url) })
		if err != nil {
			return err
		}
	}
	return l.run(ctx)
}

func listenName() string {
	name, host := "someone", "somewhere"
	if u, err := user.Current(); err == nil && u.Username != "" {
		name = u.Username
	}
	if h, err := os.Hostname(); err == nil && h != "" {
		host = h
	}
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("._@-", r) {
			return r
		}
		return '-'
	}, name+"@"+host)
}

type listener struct {
	p    *program
	c    *client
	o    listenOptions
	path string
	// inspector gets the exchanges; nil without --inspect.
	inspector *inspect.Inspector
}

// listenWait is how long the gateway waits for an event before it responds without one.
const listenWait = 25 * time.Second

func (l *listener) run(ctx context.Context) error {
	const firstWait, longestWait = time.Second, 30 * time.Second
	for wait, first := firstWait, true; ; {
		err := l.round(ctx)
		switch e, ok := errors.AsType[*apiError](err); {
		case err == nil:
			wait, first = firstWait, false
			continue
		case ctx.Err() != nil:
			return ctx.Err()
		case first, ok && e.status/100 != 5 && e.status != http.StatusTooManyRequests:
			return err
		}
		fmt.Fprintf(l.p.Stderr, "%s; next attempt in %s\n", cleanLines(err.Error()), wait)
		if err := sleep(ctx, wait); err != nil {
			return err
		}
		wait = min(2*wait, longestWait)
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// round reads the next events, sends each to the program, and acknowledges it.
func (l *listener) round(ctx context.Context) error {
	query := url.Values{"wait": {listenWait.String()}, "limit": {"20"}, "format": {l.o.format}}
	page, raw, err := decodeCall[wire.HeardList](ctx, l.c, apiCall{method: http.MethodGet, path: l.path + "/events", query: query})
	if err != nil {
		return err
	}
	var docs struct{ Events []json.RawMessage }
	if err := json.Unmarshal(raw, &docs); err != nil {
		return fmt.Errorf("read the events: %w", err)
	}
	if page.Gone {
		fmt.Fprintln(l.p.Stderr, "warning: events were removed from the gateway's log before this command read them")
	}
	for i := range page.Events {
		if err := l.hand(ctx, &page.Events[i], docs.Events[i]); err != nil {
			return err
		}
		// Acknowledged one by one, so that no processed event is sent again.
		if err := l.ack(ctx, page.Events[i].ID); err != nil {
			return err
		}
	}
	if n := len(page.Events); page.Cursor != "" && (n == 0 || page.Gone) {
		return l.passOver(ctx, string(page.Cursor))
	}
	return nil
}

func (l *listener) ack(ctx context.Context, cursor string) error {
	// A processed event is acknowledged even after an interruption.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	_, err := l.c.call(ctx, http.MethodPost, l.path+"/ack", nil, wire.Acknowledgement{Cursor: cursor})
	return err
}

// passOver moves the subscription past events that do not match, so that they are not searched
// again.
func (l *listener) passOver(ctx context.Context, cursor string) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return l.ack(ctx, cursor)
}

// hand sends an event to the program, and waits for it while it does not respond.
func (l *listener) hand(ctx context.Context, e *wire.Heard, doc json.RawMessage) error {
	const firstWait, longestWait = 500 * time.Millisecond, 10 * time.Second
	reported := false
	for wait := firstWait; ; wait = min(2*wait, longestWait) {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		status, took, err := l.send(ctx, e, !reported)
		if err == nil && (!l.o.retry || status == 0 || status/100 == 2) {
			return l.print(e, doc, status, took)
		}
		if err != nil && ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil && !reported {
			fmt.Fprintf(l.p.Stderr, "waiting for %s: %s\n", clean(l.o.forward), cleanLines(err.Error()))
			reported = true
		}
		if err == nil {
			if err := l.print(e, doc, status, took); err != nil {
				return err
			}
		}
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// lastWord is how long a running request may continue after an interruption: without its response,
// the event would be sent again.
const lastWord = 2 * time.Second

// send makes the request; the status is 0 if there is no --forward. record adds the exchange to the
// inspector also if the program does not respond.
func (l *listener) send(ctx context.Context, e *wire.Heard, record bool) (status int, took time.Duration, err error) {
	x, err := l.requestOf(e)
	if err != nil {
		return 0, 0, err
	}
	if l.o.forward == "" {
		if l.inspector != nil {
			x.URL = ""
			l.inspector.Add(x)
		}
		return 0, 0, nil
	}
	err = l.post(ctx, x)
	if l.inspector != nil && (err == nil || record) {
		l.inspector.Add(x)
	}
	return x.Status, x.Took, err
}

// requestOf returns the request of an event for the program.
func (l *listener) requestOf(e *wire.Heard) (*inspect.Exchange, error) {
	target, err := url.Parse(l.o.forward)
	if err != nil {
		return nil, err
	}
	x := &inspect.Exchange{
		At: time.Now(), EventID: e.ID, Title: e.Source + ":" + orDash(e.Type), Method: http.MethodPost,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: []byte(e.Envelope),
	}
	if e.Request != nil {
		if x.Body, err = base64.StdEncoding.DecodeString(e.Request.BodyBase64); err != nil {
			return nil, fmt.Errorf("read the body of %s: %w", e.ID, err)
		}
		x.Header = http.Header{}
		for name, values := range e.Request.Headers {
			x.Header[http.CanonicalHeaderKey(name)] = values
		}
		x.Method = e.Request.Method
		if from, err := url.Parse(e.Request.URL); err == nil && (target.Path == "" || target.Path == "/") {
			target.Path, target.RawPath, target.RawQuery = from.Path, from.RawPath, from.RawQuery
		}
	}
	x.Header.Set("Gaff-Event-Id", e.ID)
	x.URL = target.String()
	return x, nil
}

// exchange sends a request of the inspector to the program.
func (l *listener) exchange(ctx context.Context, x *inspect.Exchange) { _ = l.post(ctx, x) }

// post sends a request to the program, and sets the response or the error of the exchange.
func (l *listener) post(ctx context.Context, x *inspect.Exchange) (err error) {
	whole, cancel := context.WithTimeout(context.WithoutCancel(ctx), l.o.timeout)
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(lastWord, cancel) })()
	started := time.Now()
	defer func() {
		x.Took = time.Since(started)
		if err != nil {
			x.Error = err.Error()
		}
	}()
	req, err := http.NewRequestWithContext(whole, x.Method, x.URL, bytes.NewReader(x.Body))
	if err != nil {
		return err
	}
	req.Header = x.Header.Clone()
	res, err := l.p.http.Do(req)
	if err != nil {
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err
		}
		if errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("no response within %s", l.o.timeout)
		}
		return err
	}
	x.Status, x.ResponseHeader = res.StatusCode, res.Header
	x.Response, _ = io.ReadAll(io.LimitReader(res.Body, inspect.MaxResponse))
	return res.Body.Close()
}

func (l *listener) print(e *wire.Heard, doc json.RawMessage, status int, took time.Duration) error {
	if l.o.asJSON {
		line := struct {
			Status int             `json:"status"`
			TookMs float64         `json:"tookMs"`
			Event  json.RawMessage `json:"event"`
		}{status, float64(took.Microseconds()) / 1000, doc}
		return writeJSON(l.p.Stdout, line)
	}
	answered := "-"
	if status != 0 {
		answered = strconv.Itoa(status) + "  " + took.Round(time.Millisecond).String()
	}
	_, err := fmt.Fprintf(l.p.Stdout, "%s  %s  %-38s %s\n", stamp(e.ReceivedAt), clean(e.ID), cut(e.Source+":"+orDash(e.Type), 60), answered)
	return err
}
