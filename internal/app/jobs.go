package app

import (
	"context"
	"fmt"
	"log/slog"
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
	"gaff/provider/custom"
	"gaff/provider/fal"
	"gaff/provider/lastframe"
)

// described are the providers that are known by their webhooks only.
func described(sources []Source) (list []jobs.Provider) {
	for _, src := range sources {
		if _, ok := src.Interpreter.(*custom.Interpreter); ok {
			list = append(list, custom.Provider(src.Name))
		}
	}
	return list
}

// newJobs makes what submits jobs and asks after them, and fal's queue, which it works
// with.
func newJobs(ctx context.Context, cfg *config.Config, log *slog.Logger, st *sqlstore.Store, gw *gaff.Gateway, m *metrics.Metrics, others []jobs.Provider) (*jobs.Service, *fal.Queue, error) {
	// The providers' addresses are the operator's own, so they may be of this machine;
	// redirects are not followed, for the key goes along.
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 16
	client := &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	queue, err := fal.NewQueue(fal.QueueOptions{Key: string(cfg.FalKey), URL: cfg.FalQueueURL, RunURL: cfg.FalRunURL, APIURL: cfg.FalAPIURL, Client: client})
	if err != nil {
		return nil, nil, err
	}
	allow, err := safehttp.Prefixes(cfg.AllowAddresses)
	if err != nil {
		return nil, nil, fmt.Errorf("GAFF_ALLOW_ADDRESSES: %w", err)
	}
	users := map[string][]string{}
	if len(cfg.FalUsers) > 0 {
		users[fal.Name] = cfg.FalUsers
	}
	ledger, err := jobs.NewService(ctx, jobs.ServiceOptions{
		Store: st, Router: gw, Log: log, Users: users,
		Providers: append(others,
			queue, lastframe.NewClient(lastframe.ClientOptions{URL: cfg.LastFrameURL, Key: string(cfg.LastFrameKey), HTTP: client})),
		Address: func(provider string) string {
			if address := address(cfg, "", provider); !strings.HasPrefix(address, "/") {
				return address
			}
			return ""
		},
		ReconcileAfter: cfg.ReconcileAfter, RequestsPerSecond: cfg.ReconcileRate, SubmitPatience: cfg.SubmitPatience,
		Shared:          cfg.DatabaseURL != "",
		CallbackClient:  safehttp.New(safehttp.Options{Allow: allow, Timeout: 30 * time.Second}),
		CallbackSecrets: texts(cfg.CallbackSecrets),
		Settled:         func(provider, by string, status jobs.JobStatus) { m.Settled(provider, by, status.String()) },
	})
	return ledger, queue, err
}

// linkToJobs has a built-in source's events judged by the jobs that they are about.
func linkToJobs(src *gaff.Source, ledger *jobs.Service) {
	switch src.Name {
	case fal.Name:
		src.CheckCallbackToken, src.Admit = ledger.CheckCallbackToken, ledger.Admit
	case lastframe.Name:
		src.CheckCallbackToken = ledger.CheckCallbackToken
	}
}

// falProxy serves programs that were written for fal. Callers show a token as they would
// show fal a key; the console's session does not count, for a page elsewhere could use it.
func falProxy(cfg *config.Config, log *slog.Logger, ledger *jobs.Service, queue *fal.Queue, guard *access.Guard, address func(*http.Request) string) *fal.Proxy {
	return fal.NewProxy(fal.ProxyOptions{
		Queue: queue, Jobs: ledger, Log: log, Origins: cfg.FalProxyOrigins, Models: cfg.FalProxyModels, BaseURL: cfg.BaseURL,
		Address: address,
		Authorize: func(r *http.Request) (string, error) {
			scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
			if strings.EqualFold(scheme, "Key") {
				r = r.Clone(r.Context())
				r.Header.Set("Authorization", "Bearer "+strings.TrimSpace(token))
			}
			id, ok := guard.Authorize(r)
			switch {
			case id.Err != nil:
				return "", id.Err
			case !ok || id.Via == access.ViaSession:
				return "", fal.ErrUnknownCaller
			case id.Role < access.Operator:
				return "", fal.ErrNotAllowed
			}
			return id.Caller(), nil
		},
	})
}
