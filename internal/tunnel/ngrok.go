//go:build !slim

package tunnel

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"golang.ngrok.com/ngrok/v2"
)

const defaultDeadline = 15 * time.Second

// Open opens a tunnel. Its errors say what to do next, and never name the token.
func Open(ctx context.Context, o Options) (*Tunnel, error) {
	if o.Token == "" {
		return nil, errors.New("the tunnel needs a token: set NGROK_AUTH_TOKEN to the one at https://dashboard.ngrok.com/get-started/your-authtoken")
	}
	if o.Deadline <= 0 {
		o.Deadline = defaultDeadline
	}
	// The session lives as long as the context that it was opened with, so the deadline is a
	// timer of its own.
	life, end := context.WithCancelCause(context.WithoutCancel(ctx))
	stopLink := context.AfterFunc(ctx, func() { end(context.Cause(ctx)) })
	defer stopLink()
	timer := time.AfterFunc(o.Deadline, func() { end(errDeadline) })
	defer timer.Stop()
	last := &lastError{refused: func(err error) { end(err) }}

	options := []ngrok.AgentOption{
		ngrok.WithAuthtoken(o.Token), ngrok.WithClientInfo("gaff", "1"), ngrok.WithAgentDescription("gaff"),
		// What the library has to say is of interest when something is wrong with it.
		ngrok.WithLogger(slog.New(quiet{o.Log.Handler()})), ngrok.WithEventHandler(last.see),
	}
	if o.connectURL != "" {
		options = append(options, ngrok.WithAgentConnectURL(o.connectURL), ngrok.WithAgentConnectCAs(o.connectCAs))
	}
	agent, err := ngrok.NewAgent(options...)
	if err != nil {
		return nil, fmt.Errorf("tunnel: %w", err)
	}
	type opened struct {
		listener ngrok.EndpointListener
		err      error
	}
	// The library does not everywhere look at the context.
	done := make(chan opened, 1)
	go func() {
		var endpoint []ngrok.EndpointOption
		if o.Domain != "" {
			endpoint = append(endpoint, ngrok.WithURL("https://"+o.Domain))
		}
		if err := agent.Connect(life); err != nil {
			done <- opened{err: err}
			return
		}
		listener, err := agent.Listen(life, endpoint...)
		done <- opened{listener, err}
	}()
	select {
	case got := <-done:
		if got.err == nil && life.Err() == nil {
			last.opened()
			return &Tunnel{listener: got.listener, url: strings.TrimRight(got.listener.URL().String(), "/"), end: func() {
				_ = agent.Disconnect()
				end(nil)
			}}, nil
		}
		err := got.err
		if life.Err() != nil {
			err = context.Cause(life)
		}
		end(err)
		_ = agent.Disconnect()
		return nil, explain(err, last.get(), o)
	case <-life.Done():
		go func() { // whenever it is done after all
			if got := <-done; got.err == nil {
				_ = got.listener.Close()
			}
			_ = agent.Disconnect()
		}()
		return nil, explain(context.Cause(life), last.get(), o)
	}
}

// lastError records the latest error while the tunnel opens. The library retries after every
// error and reports it only here; a refusal will not change.
type lastError struct {
	refused func(error)

	mu    sync.Mutex
	err   error
	ready bool
}

func (l *lastError) see(event ngrok.Event) {
	gone, ok := event.(*ngrok.EventAgentDisconnected)
	if !ok || gone.Error == nil {
		return
	}
	l.mu.Lock()
	l.err = gone.Error
	ready := l.ready
	l.mu.Unlock()
	if !ready && codeOf(gone.Error) != "" {
		l.refused(gone.Error)
	}
}

func (l *lastError) opened() {
	l.mu.Lock()
	l.ready = true
	l.mu.Unlock()
}

func (l *lastError) get() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// codeOf is ngrok's code in an error, such as ERR_NGROK_107; empty if it has none. The
// library has two forms of such errors.
func codeOf(err error) string {
	if e, ok := errors.AsType[ngrok.Error](err); ok && e.Code() != "" {
		return e.Code()
	}
	if e, ok := errors.AsType[interface {
		error
		ErrorCode() string
	}](err); ok {
		return e.ErrorCode()
	}
	return ""
}

var errDeadline = errors.New("no answer")

// explain turns an error into advice for the user. last is the library's latest error before
// the deadline, or nil.
func explain(err, last error, o Options) error {
	if errors.Is(err, context.Canceled) {
		return fmt.Errorf("tunnel: %w", err)
	}
	if errors.Is(err, errDeadline) && last != nil {
		err = last
	}
	text := strings.ReplaceAll(err.Error(), o.Token, "[redacted]")
	if code := codeOf(err); code != "" {
		text, _, _ = strings.Cut(text, "\n")
		advice := "see https://ngrok.com/docs/errors/" + strings.ToLower(code)
		switch code {
		case "ERR_NGROK_105", "ERR_NGROK_106", "ERR_NGROK_107", "ERR_NGROK_4018":
			advice = "NGROK_AUTH_TOKEN is not a valid token: copy it again from https://dashboard.ngrok.com/get-started/your-authtoken"
		case "ERR_NGROK_108":
			advice = "the account has as many agents running as it may: stop another one, such as one left on another machine"
		case "ERR_NGROK_334":
			advice = fmt.Sprintf("the domain %s is in use by another tunnel: stop that one, or set NGROK_DOMAIN to another domain", o.Domain)
		case "ERR_NGROK_319", "ERR_NGROK_320", "ERR_NGROK_326", "ERR_NGROK_9038":
			advice = fmt.Sprintf("the domain %s does not belong to this account: reserve it at https://dashboard.ngrok.com/domains, or leave NGROK_DOMAIN empty", o.Domain)
		}
		return fmt.Errorf("tunnel: ngrok refuses it (%s): %s. %s", code, strings.TrimRight(text, ". \r"), advice)
	}
	why := ""
	if text = strings.TrimSpace(strings.ReplaceAll(text, "\n", ": ")); text != errDeadline.Error() {
		why = " (" + text + ")"
	}
	return fmt.Errorf("tunnel: ngrok cannot be reached within %s%s: is this machine online, and does a firewall let it out to connect.ngrok-agent.com:443? Without --tunnel the gateway needs no network", o.Deadline, why)
}

// quiet lets the library's warnings and errors through.
type quiet struct{ slog.Handler }

func (q quiet) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn && q.Handler.Enabled(ctx, level)
}

func (q quiet) WithAttrs(as []slog.Attr) slog.Handler { return quiet{q.Handler.WithAttrs(as)} }
func (q quiet) WithGroup(name string) slog.Handler    { return quiet{q.Handler.WithGroup(name)} }
