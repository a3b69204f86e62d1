package app

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"gaff/internal/config"
	"gaff/internal/standin"
	"gaff/provider"
	"gaff/provider/all"
)

const (
	// DevDir is the data folder of "gaff dev". It is never the one of "gaff serve":
	// experiments must not mix with real data.
	DevDir = "gaff-dev"
	// DevEnvFile holds the secrets of a development gateway, in its data folder, for the
	// commands that play a sender.
	DevEnvFile = "dev.env"

	devAddr = "127.0.0.1:3000"
	devKey  = "standin-id:standin-secret"
	// devReconcile is short, so that one sees how a lost webhook is made up for.
	devReconcile = 15 * time.Second
)

// DevOptions of a development gateway.
type DevOptions struct {
	// Addr is where the gateway listens; empty: 127.0.0.1:3000, or another port where that
	// one is taken.
	Addr string
	// Dir is the data folder; empty: DevDir.
	Dir string
	// Faults happen at the stand-ins.
	Faults standin.Faults
	// Seed makes the stand-ins do the same in every run; zero: they do not.
	Seed uint64
	// Tunnel opens the tunnel for the receiving addresses.
	Tunnel bool
	// Samples asks for a few jobs at the start.
	Samples bool
	// quick makes the stand-ins take no time.
	quick bool
}

// Dev runs the gateway with stand-ins for the providers until ctx ends. cfg gives
// limits and logging, and secrets where they are set; its addresses, its database and its
// keys are not used, so nothing real is reached.
func Dev(ctx context.Context, cfg *config.Config, o DevOptions, log *slog.Logger, out io.Writer) error {
	cfg.DataDir, cfg.DatabaseURL, cfg.AdminToken, cfg.Fixed = o.Dir, "", "", true
	cfg.AdminAddr, cfg.TLSCert, cfg.TLSKey = "", "", "" // one plain listener on this machine
	if cfg.DataDir == "" {
		cfg.DataDir = DevDir
	}
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return fmt.Errorf("data folder: %w; name another one with --data-dir", err)
	}
	if err := devSecrets(cfg); err != nil {
		return err
	}
	if err := devAddress(cfg, o.Addr); err != nil {
		return err
	}
	_, port, err := net.SplitHostPort(cfg.Addr)
	if err != nil {
		return fmt.Errorf("--addr %s: %w", cfg.Addr, err)
	}
	base := "http://127.0.0.1:" + port
	cfg.BaseURL = base
	if err := unsetWebhookURLs(cfg); err != nil {
		return err
	}
	cfg.Tunnel = o.Tunnel
	cfg.AllowAddresses = append(slices.Clone(cfg.AllowAddresses), "127.0.0.1/32", "::1/128")
	if cfg.ReconcileAfter == config.Default().ReconcileAfter {
		cfg.ReconcileAfter = devReconcile
	}

	if err := devWorkflows(cfg); err != nil {
		return err
	}
	players, err := startStandins(cfg, o, log)
	if err != nil {
		return err
	}
	defer players.close()
	if err := players.configure(cfg); err != nil {
		return err
	}

	// The gateway prints the first part of its start; the rest is printed when it is ready.
	ready, stop := context.WithCancel(ctx)
	var after sync.WaitGroup
	after.Go(func() {
		if awaitReady(ready, base) != nil {
			return
		}
		players.greet(out, cfg, o)
		if o.Samples {
			if err := submitSamples(ready, cfg, base, out); err != nil && ready.Err() == nil {
				log.Error("submit the sample jobs", "error", err)
			}
		}
	})
	err = Serve(ctx, cfg, log, out)
	stop()
	after.Wait()
	return err
}

// DevSecrets adds the secrets of the development gateway in a folder to those of cfg, in
// front, so that they sign.
func DevSecrets(cfg *config.Config, dir string) error {
	text, err := os.ReadFile(filepath.Join(dir, DevEnvFile))
	if err != nil {
		return fmt.Errorf("development secrets: %w", err)
	}
	found := map[string]string{}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		found[name] = value
	}
	if value := found[ownSecret]; value != "" {
		cfg.WebhookSecrets = append([]config.Secret{config.Secret(value)}, cfg.WebhookSecrets...)
	}
	values := cfg.ProviderValues()
	for _, name := range providerSecrets() {
		secrets := values.List(name)
		if found[name] != "" {
			secrets = append([]string{found[name]}, secrets...)
		}
		if len(secrets) == 0 {
			return fmt.Errorf("development secrets: %s in %s has no %s; remove the file, and the next start writes a new one", DevEnvFile, dir, name)
		}
		if err := cfg.SetProvider(name, secrets...); err != nil {
			return err
		}
	}
	return nil
}

// ownSecret is the setting with the secrets of sources that no provider has.
const ownSecret = "WEBHOOK_SECRET"

// providerSecrets returns the settings with the secrets of providers' sources.
func providerSecrets() (names []string) {
	for _, p := range all.Providers() {
		if name := p.Setting(provider.WebhookSecrets); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// devSecrets is DevSecrets for the gateway itself, whose first start makes them.
func devSecrets(cfg *config.Config) error {
	var text strings.Builder
	for _, name := range append(providerSecrets(), ownSecret) {
		fmt.Fprintf(&text, "%s=%s\n", name, rand.Text())
	}
	f, err := os.OpenFile(filepath.Join(cfg.DataDir, DevEnvFile), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		_, err = f.WriteString(text.String())
		err = errors.Join(err, f.Close())
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("development secrets: %w", err)
	}
	return DevSecrets(cfg, cfg.DataDir)
}

// devWorkflows gives the gateway the workflows that come with it, where the working folder
// has none of its own.
func devWorkflows(cfg *config.Config) error {
	if cfg.WorkflowsDir != "" {
		return nil
	}
	if _, err := os.Stat(DefaultWorkflows); err == nil {
		return nil
	}
	cfg.WorkflowsDir = filepath.Join(cfg.DataDir, DefaultWorkflows)
	if _, _, err := CopyExamples(cfg.WorkflowsDir); err != nil {
		return fmt.Errorf("workflows: %w", err)
	}
	return nil
}

// devAddress settles where the gateway listens. The port must be known before it does,
// for the stand-ins' webhooks are addressed to it.
func devAddress(cfg *config.Config, addr string) error {
	wanted := addr
	if wanted == "" {
		wanted = devAddr
	}
	for {
		ln, err := net.Listen("tcp", wanted)
		if err != nil && addr == "" && wanted == devAddr {
			wanted = "127.0.0.1:0"
			continue
		}
		if err != nil {
			return listenError(wanted, err, "--addr")
		}
		host, _, err := net.SplitHostPort(wanted)
		cfg.Addr = net.JoinHostPort(host, strconv.Itoa(ln.Addr().(*net.TCPAddr).Port))
		return errors.Join(err, ln.Close())
	}
}

// standins are the services' players, each with a listener of its own.
type standins struct {
	services []standin.Service
	urls     []string // of services
	players  []standin.Player
	servers  []*http.Server
	running  sync.WaitGroup
}

func startStandins(cfg *config.Config, o DevOptions, log *slog.Logger) (*standins, error) {
	s := &standins{services: standin.Services()}
	_, port, _ := net.SplitHostPort(cfg.Addr)
	first, _ := strconv.Atoi(port)
	var listeners []net.Listener
	for i := range s.services {
		// The ports after the gateway's are easy to remember; any other will do if they are taken.
		ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", first+1+i))
		if err != nil {
			ln, err = net.Listen("tcp", "127.0.0.1:0")
		}
		if err != nil {
			for _, other := range listeners {
				_ = other.Close()
			}
			return nil, fmt.Errorf("listen for a stand-in: %w", err)
		}
		listeners = append(listeners, ln)
	}
	options := standin.Options{Key: devKey, Seed: o.Seed, Faults: o.Faults, Log: log.With("component", "standin")}
	if o.quick {
		options.Work, options.Queue = -1, -1
	}
	values := cfg.ProviderValues()
	for i, service := range s.services {
		options.URL = "http://" + listeners[i].Addr().String()
		p, _ := all.Find(service.Provider)
		player := service.Start(values.Text(p.Setting(provider.WebhookSecrets)), options)
		s.urls, s.players = append(s.urls, options.URL), append(s.players, player)
		srv := &http.Server{Handler: standin.Local(player), ReadHeaderTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug)}
		s.servers = append(s.servers, srv)
		s.running.Go(func() { _ = srv.Serve(listeners[i]) })
	}
	return s, nil
}

// configure has the gateway use the stand-ins.
func (s *standins) configure(cfg *config.Config) error {
	for i, service := range s.services {
		for name, value := range service.Settings(s.urls[i], devKey) {
			if err := cfg.SetProvider(name, value); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *standins) close() {
	for _, player := range s.players {
		player.Close()
	}
	for _, srv := range s.servers {
		_ = srv.Close()
	}
	s.running.Wait()
}

func (s *standins) greet(out io.Writer, cfg *config.Config, o DevOptions) {
	fmt.Fprintf(out, "\nThis is a development gateway: stand-ins for %s run on this machine, nothing leaves it, nothing costs.\n\n", all.Titles())
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	faults := "none (--fault duplicate,lost=0.2,… makes some)"
	if len(o.Faults) > 0 {
		faults = o.Faults.String()
	}
	for i, service := range s.services {
		fmt.Fprintf(table, "  %s\t%s%s\n", service.Title, s.urls[i], service.Note)
	}
	fmt.Fprintf(table, "  faults\t%s\n  data\t%s  (remove it to start over)\n", faults, cfg.DataDir)
	_ = table.Flush()
	fmt.Fprintf(out, "\nIn a second terminal, in this folder: gaff jobs list, gaff media list, gaff events tail, gaff send %s\n", all.Default().Name)
}

// awaitReady asks the gateway until it can keep a webhook.
func awaitReady(ctx context.Context, base string) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/readyz", nil)
		if err != nil {
			return err
		}
		if resp, err := http.DefaultClient.Do(req); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// sampleProject is the one of the jobs that are submitted at the start.
const sampleProject = "sample-film"

// submitSamples asks the gateway for the sample jobs, as an application would. Those of an earlier
// start are known by their keys.
func submitSamples(ctx context.Context, cfg *config.Config, base string, out io.Writer) error {
	token, _, err := adminToken(cfg)
	if err != nil {
		return err
	}
	submitted := 0
	for i, s := range standin.SampleJobs() {
		reply, err := postSample(ctx, base+"/api/v1/jobs", token, map[string]any{
			"provider": s.Provider, "model": s.Model, "kind": s.Kind, "input": s.Input, "projectId": sampleProject, "userId": "you",
			"idempotencyKey": fmt.Sprint("sample-", i+1),
		})
		if err != nil {
			return err
		}
		if reply.status/100 != 2 {
			return fmt.Errorf("%s %s: status %d: %s", s.Provider, s.Model, reply.status, reply.body)
		}
		if !reply.replayed {
			submitted++
		}
	}
	if err := startSample(ctx, base, token, out); err != nil {
		return err
	}
	if submitted == 0 {
		fmt.Fprintf(out, "The sample jobs of the project %q are there from an earlier start.\n", sampleProject)
	} else {
		fmt.Fprintf(out, "%d sample jobs were submitted for the project %q; they finish within seconds.\n", submitted, sampleProject)
	}
	reply, err := postSample(ctx, base+"/api/v1/login-links", token, nil)
	var link struct{ Path string }
	if err == nil {
		err = json.Unmarshal(reply.body, &link)
	}
	if err != nil || link.Path == "" {
		return fmt.Errorf("link to the files: status %d: %w", reply.status, err)
	}
	fmt.Fprintf(out, "See their files at this link, which logs you in, once:\n\n  %s%s?next=/media\n", base, link.Path)
	return nil
}

// sampleReply is how the gateway answered a sample request.
type sampleReply struct {
	status   int
	body     []byte
	replayed bool // the idempotency key was known
}

func postSample(ctx context.Context, url, token string, content map[string]any) (r sampleReply, err error) {
	body, err := json.Marshal(content)
	if err != nil {
		return r, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return r, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return r, err
	}
	defer resp.Body.Close()
	r.status, r.replayed = resp.StatusCode, resp.Header.Get("Idempotency-Replayed") == "true"
	r.body, err = io.ReadAll(io.LimitReader(resp.Body, 4096))
	return r, err
}

// sampleRun is the workflow that is started at the start, if it is there.
const sampleRun = "storyboard"

// startSample starts a run of the storyboard, which waits for a decision after its images.
func startSample(ctx context.Context, base, token string, out io.Writer) error {
	reply, err := postSample(ctx, base+"/api/v1/runs", token, map[string]any{
		"workflow": sampleRun, "projectId": sampleProject, "userId": "you", "idempotencyKey": "sample",
		"input": map[string]any{"prompts": []string{"a lighthouse at dawn", "the keeper climbs the stairs", "the lamp is lit"}},
	})
	switch {
	case err != nil:
		return err
	case reply.status == http.StatusNotFound:
		return nil // the folder has workflows of its own
	case reply.status/100 != 2:
		return fmt.Errorf("workflow %s: status %d: %s", sampleRun, reply.status, reply.body)
	case reply.replayed:
		return nil // it was started earlier, and may be at any step
	}
	var run struct{ ID string }
	if err := json.Unmarshal(reply.body, &run); err != nil {
		return err
	}
	fmt.Fprintf(out, "A storyboard of three scenes was started; it will ask you to approve its images: gaff runs approve %s\n", run.ID)
	return nil
}
