package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"gaff"
	"gaff/internal/config"
	"gaff/pipeline"
	"gaff/verify"
)

// job is what the API says about a job.
type job struct {
	ID, Provider, Model, Kind    string
	ProjectID, UserID, RequestID string
	Status, Error, ErrorType     string
	SettledBy                    string
	Result, Metadata, Input      json.RawMessage
	Submit, WebhookURL, Cost     string
	NextAskAt                    *time.Time
	Log                          []struct {
		At         *time.Time
		What, Text string
	}
	CreatedAt, SubmittedAt, SettledAt *time.Time
	// ExpectedAt is nil where it is not known, or the job has ended.
	ExpectedAt      *time.Time
	ExpectedSeconds float64
}

func (j *job) settled() bool {
	status, ok := pipeline.ParseJobStatus(j.Status)
	return ok && status.Settled()
}

func (p *program) jobsCommand() *cobra.Command {
	var status, project, user string
	list := p.listCommand(listing{
		use: "list", short: "List jobs, newest first", path: "/api/v1/jobs",
		heads: []string{"ID", "PROVIDER", "MODEL", "STATUS", "PROJECT", "CREATED", "EXPECTED", "SETTLED", "ERROR"},
		query: func() (url.Values, error) {
			if _, ok := pipeline.ParseJobStatus(status); status != "" && !ok {
				return nil, usagef("--status %q is none; write queued, processing, completed, failed or cancelled", status)
			}
			return given("status", status, "projectId", project, "userId", user), nil
		},
		cells: func(doc json.RawMessage) ([]string, error) {
			var j job
			err := json.Unmarshal(doc, &j)
			return []string{
				clean(j.ID), clean(j.Provider), cut(orDash(j.Model), 40), clean(j.Status), cut(orDash(j.ProjectID), 40),
				stamp(j.CreatedAt), stamp(j.ExpectedAt), stamp(j.SettledAt), cut(j.Error, 80),
			}, err
		},
	})
	list.Flags().StringVar(&status, "status", "", "only with this status: queued, processing, completed, failed or cancelled")
	list.Flags().StringVar(&project, "project", "", "only of this project")
	list.Flags().StringVar(&user, "user", "", "only of this user")
	return group("jobs", "The work that was asked for, and how it stands", list, p.jobsShowCommand(), p.jobsWatchCommand(),
		p.jobsSubmitCommand(), p.jobsRegisterCommand(),
		p.jobActionCommand("cancel", "Cancel a job, at the provider too", "Cancel a job, at the provider too. What the provider did until then it may bill."),
		p.jobActionCommand("ask", "Ask the provider after a job now", "Ask the provider after a job now, rather than wait for its webhook."))
}

// given makes a query of names and values; empty values are left out.
func given(pairs ...string) url.Values {
	v := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			v.Set(pairs[i], pairs[i+1])
		}
	}
	return v
}

func (p *program) jobsShowCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "show ID", Short: "Show a job with its result", Args: arguments(1, 1, "one ID"),
		RunE: work(func(ctx context.Context, args []string) error {
			c, err := p.dial()
			if err != nil {
				return err
			}
			var j job
			raw, err := c.one(ctx, "/api/v1/jobs", args[0], &j)
			if err != nil {
				return err
			}
			if asJSON {
				return writeRawJSON(p.Stdout, raw)
			}
			t := newTable(p.Stdout)
			for _, pair := range [][2]string{
				{"id", j.ID}, {"status", j.Status}, {"error", j.Error}, {"error type", j.ErrorType},
				{"provider", j.Provider}, {"model", j.Model}, {"kind", j.Kind}, {"project", j.ProjectID},
				{"user", j.UserID}, {"request id", j.RequestID}, {"submit", j.Submit}, {"webhook", j.WebhookURL},
				{"settled by", j.SettledBy}, {"cost", j.Cost},
			} {
				t.pair(pair[0], clean(pair[1]))
			}
			t.row("created", stamp(j.CreatedAt))
			t.row("submitted", stamp(j.SubmittedAt))
			t.row("settled", stamp(j.SettledAt))
			if j.ExpectedAt != nil {
				t.row("expected", fmt.Sprintf("%s, for jobs of this model take about %.3g s", stamp(j.ExpectedAt), j.ExpectedSeconds))
			}
			if j.NextAskAt != nil {
				t.row("asked after at", stamp(j.NextAskAt))
			}
			for _, note := range j.Log {
				t.row(clean(note.What), stamp(note.At)+"  "+cut(note.Text, 300))
			}
			if err := t.flush(); err != nil {
				return err
			}
			for _, part := range []struct {
				name string
				text json.RawMessage
			}{{"metadata", j.Metadata}, {"input", j.Input}, {"result", j.Result}} {
				if len(part.text) > 0 && string(part.text) != "null" {
					fmt.Fprintf(p.Stdout, "\n%s:\n", part.name)
					if err := writeIndented(p.Stdout, part.text); err != nil {
						return err
					}
				}
			}
			return nil
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	p.clientFlags(cmd)
	return cmd
}

func (p *program) jobsWatchCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "watch [ID]",
		Short: "Print jobs as they change, until interrupted or the one named is settled",
		Long: `Print a line for each change of a job. With an ID, only that job's, and the command ends
when the job does: with exit code 0 if it was completed, 1 if it failed or was cancelled.`,
		Args: arguments(0, 1, "at most one ID"),
		RunE: work(func(ctx context.Context, args []string) error {
			c, err := p.dial()
			if err != nil {
				return err
			}
			want := ""
			if len(args) == 1 {
				want = args[0]
			}
			return p.watchJob(ctx, c, want, asJSON)
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON document a line")
	p.clientFlags(cmd)
	return cmd
}

// watchJob prints jobs as they change; the one wanted until its end, which decides the
// exit code.
func (p *program) watchJob(ctx context.Context, c *client, want string, asJSON bool) error {
	last, ended := "", ""
	show := func(j *job, raw json.RawMessage) error {
		if want != "" {
			if j.ID != want || j.Status == last {
				return nil
			}
			last = j.Status
		}
		var err error
		if asJSON {
			err = writeRawJSON(p.Stdout, raw)
		} else {
			_, err = fmt.Fprintf(p.Stdout, "%s  %s  %-10s %s\n", stamp(latest(j)), clean(j.ID), clean(j.Status), cut(j.Error, 200))
		}
		if err == nil && want != "" && j.settled() {
			ended = j.Status
			err = errEndStream
		}
		return err
	}
	err := c.stream(ctx, func() error {
		if want == "" {
			return nil
		}
		// Asked for once the stream stands, so that no change falls in between.
		var j job
		raw, err := c.one(ctx, "/api/v1/jobs", want, &j)
		if err != nil {
			return err
		}
		return show(&j, raw)
	}, func(m message) error {
		if m.event != "job" {
			return nil
		}
		var j job
		if err := json.Unmarshal(m.data, &j); err != nil {
			return fmt.Errorf("read the stream: %w", err)
		}
		return show(&j, m.data)
	})
	if want == "" {
		return unlessInterrupted(ctx, err)
	}
	if err == nil && ended != pipeline.JobCompleted.String() {
		err = errReported
	}
	return err
}

// latest is the newest time that a job tells of.
func latest(j *job) *time.Time {
	for _, t := range []*time.Time{j.SettledAt, j.SubmittedAt} {
		if t != nil {
			return t
		}
	}
	return j.CreatedAt
}

// media is what the API says about a file.
type media struct {
	ID, JobID, ProjectID, URL, StoredURL, ThumbnailURL, MediaType, ContentType string
	Storage, StorageError, SHA256, Position                                    string
	Size                                                                       int64
	Metadata                                                                   json.RawMessage
	CreatedAt, StoredAt                                                        *time.Time
}

func (p *program) mediaCommand() *cobra.Command {
	var project, jobID, kind, storage string
	list := p.listCommand(listing{
		use: "list", short: "List files, newest first", path: "/api/v1/media",
		heads: []string{"ID", "TYPE", "SIZE", "STORAGE", "PROJECT", "JOB", "CREATED", "URL"},
		query: func() (url.Values, error) {
			if _, ok := pipeline.ParseStorage(storage); storage != "" && !ok {
				return nil, usagef("--storage %q is none; write none, pending, stored, gone or failed", storage)
			}
			return given("projectId", project, "jobId", jobID, "mediaType", kind, "storage", storage), nil
		},
		cells: func(doc json.RawMessage) ([]string, error) {
			var m media
			err := json.Unmarshal(doc, &m)
			size, address := "-", m.StoredURL
			if m.Size > 0 {
				size = strconv.FormatInt(m.Size, 10)
			}
			if address == "" {
				address = m.URL
			}
			return []string{
				clean(m.ID), clean(m.MediaType), size, clean(orDash(m.Storage)), cut(orDash(m.ProjectID), 40), clean(orDash(m.JobID)), stamp(m.CreatedAt), cut(address, 300),
			}, err
		},
	})
	list.Flags().StringVar(&project, "project", "", "only of this project")
	list.Flags().StringVar(&jobID, "job", "", "only of this job")
	list.Flags().StringVar(&kind, "type", "", "only of this media type, such as generated-image")
	list.Flags().StringVar(&storage, "storage", "", "only those whose copy has come so far: none, pending, stored, gone or failed")
	return group("media", "The files that jobs produced", list, p.mediaShowCommand(), p.mediaGetCommand(), p.mediaRetryCommand())
}

// source is what the API says about a source.
type source struct {
	Name         string                        `json:"name"`
	Address      string                        `json:"address"`
	Path         string                        `json:"path"`
	Quiet        string                        `json:"quiet"`
	About        map[string]string             `json:"about"`
	MaxBodyBytes int64                         `json:"maxBodyBytes"`
	Handlers     []struct{ Name, Type string } `json:"handlers"`
	Counts       map[string]any                `json:"counts"`
	Keys         []keyUse                      `json:"keys"`
}

func (s *source) state() string {
	if s.Quiet != "" {
		return "refuses everything"
	}
	return "ready"
}

func (s *source) where() string {
	if s.Address != "" {
		return s.Address
	}
	return s.Path
}

// verifier is what the sender must do to be believed.
func (s *source) verifier() string {
	for _, name := range []string{"verifier", "fal.ai"} {
		if text := s.About[name]; text != "" {
			return text
		}
	}
	return "-"
}

// eachSource calls f for each source: of the running gateway, or, where none runs, of the
// configuration, which knows no handlers and no counts.
func (p *program) eachSource(ctx context.Context, f func(*source, json.RawMessage) error) error {
	cfg, err := p.load()
	if err == nil && p.locate(cfg) == "" {
		return p.eachConfigured(cfg, f)
	}
	c, err := p.dial()
	if err != nil {
		return err
	}
	text, err := c.call(ctx, http.MethodGet, "/api/v1/sources", nil, nil)
	if err != nil {
		return err
	}
	var page struct{ Docs []json.RawMessage }
	if err := json.Unmarshal(text, &page); err != nil {
		return fmt.Errorf("read the sources: %w", err)
	}
	for _, raw := range page.Docs {
		var s source
		if err := json.Unmarshal(raw, &s); err != nil {
			return fmt.Errorf("read the sources: %w", err)
		}
		if err := f(&s, raw); err != nil {
			return err
		}
	}
	return nil
}

func (p *program) eachConfigured(cfg *config.Config, f func(*source, json.RawMessage) error) error {
	built, err := p.sources(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	fmt.Fprintln(p.Stderr, "no gateway runs here: this is what the configuration says")
	for _, b := range built {
		s := source{
			Name: b.Name, Path: gaff.PathPrefix + b.Name, Quiet: b.Quiet, About: b.About, MaxBodyBytes: b.MaxBodyBytes,
			Handlers: []struct{ Name, Type string }{},
		}
		if strings.Contains(b.Address, "://") {
			s.Address = b.Address
		}
		raw, err := json.Marshal(s)
		if err != nil {
			return fmt.Errorf("describe %s: %w", b.Name, err)
		}
		if err := f(&s, raw); err != nil {
			return err
		}
	}
	return nil
}

func (p *program) sourcesCommand() *cobra.Command {
	var asJSON bool
	list := &cobra.Command{
		Use:   "list",
		Short: "List the senders: addresses, verifiers",
		Args:  arguments(0, 0, ""),
		RunE: work(func(ctx context.Context, _ []string) error {
			t := newTable(p.Stdout, "NAME", "STATE", "ADDRESS", "HANDLERS", "VERIFIER")
			err := p.eachSource(ctx, func(s *source, raw json.RawMessage) error {
				if asJSON {
					return writeRawJSON(p.Stdout, raw)
				}
				t.row(clean(s.Name), s.state(), clean(s.where()), strconv.Itoa(len(s.Handlers)), cut(s.verifier(), 100))
				return nil
			})
			if err != nil || asJSON {
				return err
			}
			return t.flush()
		}),
	}
	list.Flags().BoolVar(&asJSON, "json", false, "print one JSON document a line")
	p.clientFlags(list)

	show := &cobra.Command{
		Use:   "show NAME",
		Short: "Show a source or a preset, and what to enter at the sender",
		Args:  arguments(1, 1, "one NAME"),
		RunE: work(func(ctx context.Context, args []string) error {
			var found *source
			var text json.RawMessage
			var names []string
			err := p.eachSource(ctx, func(s *source, raw json.RawMessage) error {
				if names = append(names, s.Name); s.Name == args[0] {
					found, text = s, raw
				}
				return nil
			})
			switch {
			case err != nil:
				return err
			case found == nil && slices.Contains(verify.Presets(), args[0]):
				return p.showPreset(args[0], "the gateway's public base, then "+gaff.PathPrefix+args[0], asJSON)
			case found == nil:
				return fmt.Errorf("there is no source %s; those known are %s", cut(args[0], 60), clean(strings.Join(names, ", ")))
			case asJSON:
				return writeRawJSON(p.Stdout, text)
			}
			return p.showSource(found)
		}),
	}
	show.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	p.clientFlags(show)
	return group("sources", "The senders: addresses, verifiers, handlers", list, show, p.sourcesTestCommand(), p.presetsCommand(), p.reloadCommand(), p.handedCommand())
}

func (p *program) showSource(s *source) error {
	t := newTable(p.Stdout)
	t.row("name", clean(s.Name))
	t.row("state", s.state())
	t.pair("why", clean(s.Quiet))
	if s.MaxBodyBytes > 0 {
		t.row("largest body", strconv.FormatInt(s.MaxBodyBytes, 10)+" bytes")
	}
	for _, h := range s.Handlers {
		t.row("handler", clean(h.Name)+" for "+clean(h.Type))
	}
	for _, name := range slices.Sorted(maps.Keys(s.Counts)) {
		t.row("count "+clean(name), clean(fmt.Sprint(s.Counts[name])))
	}
	for _, name := range slices.Sorted(maps.Keys(s.About)) {
		if !strings.HasPrefix(name, "key ") {
			t.row(clean(name), clean(s.About[name]))
		}
	}
	if err := t.flush(); err != nil {
		return err
	}
	if err := p.showKeys(s); err != nil {
		return err
	}

	fmt.Fprintln(p.Stdout, "\nTo enter at the sender:")
	if preset := s.About["preset"]; preset != "" {
		address := s.Address
		if address == "" {
			address = "the gateway's public base, then " + s.Path + " (set WEBHOOK_BASE_URL to see it whole)"
		}
		return p.showSetup(preset, address)
	}
	t = newTable(p.Stdout)
	if s.Address != "" {
		t.row("  address", clean(s.Address))
	} else {
		t.row("  address", "the gateway's public base, then "+clean(s.Path)+" (set WEBHOOK_BASE_URL to see it whole)")
	}
	switch s.Name {
	case "fal":
		address := s.Address
		if address == "" {
			address = "https://YOUR-GATEWAY" + s.Path
		}
		t.row("  at submit", "https://queue.fal.run/MODEL?fal_webhook="+clean(url.QueryEscape(address)))
		t.row("  secret", "none: fal signs with keys that it publishes. FAL_WEBHOOK_SECRET is for senders of the HMAC form (x-fal-signature)")
	case "lastframe":
		t.row("  secret", "the value of LASTFRAME_WEBHOOK_SECRET")
	case "custom":
		t.row("  secret", "the value of WEBHOOK_SECRET")
	default:
		t.row("  secret", "the one under sources."+clean(s.Name)+".secrets in the configuration file")
	}
	return t.flush()
}
