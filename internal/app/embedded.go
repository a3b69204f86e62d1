package app

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"

	"gaff"
	"gaff/internal/config"
	"gaff/internal/lifecycle"
	"gaff/internal/server"
	"gaff/internal/sqlstore"
	"gaff/jobs"
	"gaff/workflow"
)

// Embedded is a gateway in a program of its own: what [Serve] joins, without listeners.
type Embedded struct {
	p         *process
	functions map[string]workflow.Function

	cancel  context.CancelFunc
	begin   chan struct{} // closed by Start
	running chan struct{} // closed when all services run
	ended   chan struct{} // closed when all services have stopped
	err     error         // why they did, once ended is closed
}

// Embed opens the store and joins the parts of a gateway. It processes nothing before Start.
func Embed(ctx context.Context, cfg *config.Config, log *slog.Logger) (*Embedded, error) {
	e := &Embedded{
		functions: map[string]workflow.Function{},
		begin:     make(chan struct{}), running: make(chan struct{}), ended: make(chan struct{}),
	}
	e.p = &process{cfg: cfg, log: log, out: io.Discard, functions: func(name string) workflow.Function { return e.functions[name] }}
	e.p.public = listener{url: strings.TrimRight(cfg.BaseURL, "/")}
	e.p.console = e.p.public
	e.p.filesBase = e.p.public.url
	opened := make(chan struct{})
	var life context.Context
	life, e.cancel = context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		defer close(e.ended)
		e.err = lifecycle.Run(life, log, e.services(opened)...)
	}()
	select {
	case <-opened:
		return e, nil
	case <-e.ended:
		e.cancel()
		return nil, e.err
	case <-ctx.Done():
		e.cancel()
		<-e.ended
		return nil, context.Cause(ctx)
	}
}

// services lists those of a process that need no listener. Between "open" and the ones after it the
// program adds its sources and handlers.
func (e *Embedded) services(opened chan<- struct{}) []lifecycle.Service {
	p := e.p
	parts := map[string]lifecycle.Service{}
	for _, s := range p.services() {
		parts[s.Name] = s
	}
	var list []lifecycle.Service
	add := func(names ...string) {
		for _, name := range names {
			list = append(list, parts[name])
		}
	}
	add("telemetry", "store", "admin token", "sources", "jobs", "sources of users", "workflows", "destinations", "replays to URLs", "alerts", "access", "media", "HTTP handlers")
	list = append(list, lifecycle.Service{Name: "open", Start: func(ctx context.Context) error {
		close(opened)
		select {
		case <-e.begin:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}})
	add("statistics", "gateway", "workflow engine", "signing keys", "sessions", "audit retention", "retention", "redaction", "body check", "media storage", "media check",
		"ends of jobs and runs", "alert checks", "destination changes", "replays", "source changes", "workflow changes", "job polling", "reload", "background tasks")
	return append(list, lifecycle.Service{Name: "running", Start: func(context.Context) error {
		close(e.running)
		return nil
	}})
}

// Start begins to process events. It returns when all services run.
func (e *Embedded) Start(ctx context.Context) error {
	select {
	case <-e.begin:
		return errors.New("the gateway was started before; open another one")
	default:
		close(e.begin)
	}
	select {
	case <-e.running:
		return nil
	case <-e.ended:
		if e.err == nil {
			return gaff.ErrStopped
		}
		return e.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Stop ends all services and closes the store. Running handlers are given 20 seconds. Stop returns
// when that is done, or with an error when ctx ends first.
func (e *Embedded) Stop(ctx context.Context) error {
	e.cancel()
	select {
	case <-e.ended:
		if errors.Is(e.err, context.Canceled) {
			return nil
		}
		return e.err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Gateway, Store and Jobs are the parts of the gateway.
func (e *Embedded) Gateway() *gaff.Gateway { return e.p.gateway }

// Store returns the store.
func (e *Embedded) Store() *sqlstore.Store { return e.p.store }

// Jobs returns the job service.
func (e *Embedded) Jobs() *jobs.Service { return e.p.jobs }

// Function sets a function for steps of workflows; see [workflow.Function]. It is called before Start.
func (e *Embedded) Function(name string, f workflow.Function) { e.functions[name] = f }

// Handler returns the handler of everything that the gateway serves.
func (e *Embedded) Handler() http.Handler { return server.Handler(e.p.server) }

// PublicHandler returns the handler of what senders, and pages without login, need.
func (e *Embedded) PublicHandler() http.Handler {
	o := e.p.server
	o.Part, o.Others, o.Keyed = server.Public, e.p.publicProxy.Handlers, e.p.publicProxy.Keyed
	return server.Handler(o)
}

// API, Console, Media and Metrics return the handlers of single parts, for their own paths.
func (e *Embedded) API() http.Handler { return e.p.server.API }

// Console returns the handler of the console.
func (e *Embedded) Console() http.Handler { return e.p.server.Console }

// Media returns the handler of links to files; nil if files are not stored.
func (e *Embedded) Media() http.Handler { return e.p.server.Media }

// Metrics returns the handler of /metrics.
func (e *Embedded) Metrics() http.Handler { return server.MetricsHandler(e.p.server) }
