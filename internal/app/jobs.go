package app

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"strings"
	"time"

	"gaff"
	"gaff/internal/access"
	"gaff/internal/config"
	"gaff/internal/metrics"
	"gaff/internal/safehttp"
	"gaff/internal/sqlstore"
	"gaff/jobs"
	"gaff/provider"
	"gaff/provider/all"
	"gaff/provider/custom"
	"gaff/provider/described"
)

// webhookOnly are the providers that are known by their webhooks only.
func webhookOnly(sources []Source) (list []jobs.Provider) {
	for _, src := range sources {
		if _, ok := src.Interpreter.(*custom.Interpreter); ok {
			list = append(list, custom.Provider(src.Name))
		}
	}
	return list
}

// newClients makes the clients of all providers. Their URLs are the operator's own, so they may
// be of this machine. Redirects are not followed, because the key would go along.
//
// traced, if not nil, records their requests.
func newClients(cfg *config.Config, traced func(*http.Client) *http.Client) (map[string]jobs.Provider, error) {
	client := ownClient()
	if traced != nil {
		client = traced(client)
	}
	clients, values := map[string]jobs.Provider{}, cfg.ProviderValues()
	for _, p := range all.Providers() {
		c, err := p.Client(values, client)
		if err != nil {
			return nil, err
		}
		clients[p.Name] = c
	}
	more, err := describedClients(cfg, traced)
	for name, c := range more {
		clients[name] = c
	}
	return clients, err
}

// newJobs makes the service that submits and reconciles jobs.
func newJobs(ctx context.Context, cfg *config.Config, log *slog.Logger, st *sqlstore.Store, gw *gaff.Gateway, m *metrics.Metrics, providers []jobs.Provider) (*jobs.Service, error) {
	allow, err := safehttp.Prefixes(cfg.AllowAddresses)
	if err != nil {
		return nil, fmt.Errorf("GAFF_ALLOW_ADDRESSES: %w", err)
	}
	return jobs.NewService(ctx, jobs.ServiceOptions{
		Store: st, Router: gw, Log: log, Users: usersOf(cfg), Providers: providers,
		Address: func(provider string) string {
			if address := address(cfg, "", provider); !strings.HasPrefix(address, "/") {
				return address
			}
			return ""
		},
		ReconcileAfter: cfg.ReconcileAfter, RequestsPerSecond: cfg.ReconcileRate, SubmitPatience: cfg.SubmitPatience,
		Shared:          cfg.DatabaseURL != "",
		PollLease:       cfg.Limits.Lease,
		CallbackClient:  safehttp.New(safehttp.Options{Allow: allow, Timeout: 30 * time.Second}),
		CallbackSecrets: texts(cfg.CallbackSecrets),
		Price:           cfg.Price,
		Reuse:           cfg.ReuseOf,
		Limit:           cfg.JobLimit,
		Limited:         cfg.LimitedNames(),
		Alias:           cfg.Alias,
		Mapping:         described.Map,
		Settled:         func(provider, by string, status jobs.JobStatus) { m.Settled(provider, by, status.String()) },
	})
}

// usersOf returns whose webhooks count, of the providers whose keys sign for all their users.
func usersOf(cfg *config.Config) map[string]jobs.Users {
	users, values := map[string]jobs.Users{}, cfg.ProviderValues()
	for _, p := range all.Providers() {
		if setting := p.Setting(provider.Users); setting != "" {
			users[p.Name] = jobs.Users{IDs: values.List(setting), Setting: setting}
		}
	}
	return users
}

// linkToJobs has the events of a provider's source checked against the jobs that they are about.
func linkToJobs(cfg *config.Config, src *gaff.Source, service *jobs.Service) {
	p, ok := all.Find(src.Name)
	if _, is := cfg.Described[src.Name]; !ok && !is {
		return
	}
	src.CheckCallbackToken = service.CheckCallbackToken
	if ok && p.Setting(provider.Users) != "" {
		src.Admit = service.Admit
	}
}

// proxiesOf builds the providers' proxies. public has those of the providers with a key: without
// one, there is nothing to offer to other machines.
func proxiesOf(o provider.ProxyOptions, clients map[string]jobs.Provider) (joined, public provider.Proxy, err error) {
	joined.Handlers, public.Handlers = map[string]http.Handler{}, map[string]http.Handler{}
	for _, p := range all.Providers() {
		if p.Proxy == nil {
			continue
		}
		o.Client = clients[p.Name]
		proxy, err := p.Proxy(o)
		if err != nil {
			return joined, public, err
		}
		add(&joined, proxy)
		if o.Values.Text(p.Setting(provider.Key)) != "" {
			add(&public, proxy)
		}
	}
	return joined, public, nil
}

// add adds the handlers of a proxy to another one. The first handler for keys stays.
func add(to *provider.Proxy, proxy provider.Proxy) {
	maps.Copy(to.Handlers, proxy.Handlers)
	if to.Keyed == nil {
		to.Keyed = proxy.Keyed
	}
}

// authorizeProxy names a proxy's caller. Callers send a token in place of the provider's key. The
// console's session does not count, since a page of another site could use it.
func authorizeProxy(guard *access.Guard) func(*http.Request) (string, error) {
	return func(r *http.Request) (string, error) {
		scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		if strings.EqualFold(scheme, "Key") {
			r = r.Clone(r.Context())
			r.Header.Set("Authorization", "Bearer "+strings.TrimSpace(token))
		}
		id, ok := guard.AuthorizeScoped(r)
		switch {
		case id.Err != nil:
			return "", id.Err
		case !ok || id.Via == access.ViaSession:
			return "", provider.ErrUnknownCaller
		case id.Role < access.Operator || !id.Scope.IsZero():
			return "", provider.ErrNotAllowed
		}
		return id.Caller(), nil
	}
}
