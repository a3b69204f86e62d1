package e2e

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"gaff/internal/pgtest"
	"gaff/jobs"
	"gaff/provider/described"
)

// chaosVendor is a provider of TestChaosProviders. Prices are millionths of a dollar: gaff's
// estimate for a job, and what its figures for completed and failed work come to.
type chaosVendor struct {
	name, unit        string
	completed, failed jobs.Micros
	*vendor
}

const chaosEstimate jobs.Micros = 10_000

// chaosVendors are ten providers of the catalogue: signed, unsigned and account webhooks, and none.
var chaosVendors = []chaosVendor{
	{name: "bfl", completed: chaosEstimate},
	{name: "comfyui", completed: chaosEstimate},
	{name: "gemini-veo", completed: chaosEstimate},
	{name: "heygen", completed: chaosEstimate},
	{name: "kie", completed: chaosEstimate},
	{name: "kling", unit: "0.02", completed: 30_000}, // 1.5 units
	{name: "luma", completed: chaosEstimate},
	{name: "replicate", unit: "0.05", completed: 25_000, failed: 20_000}, // 0.5 and 0.4 seconds
	{name: "runway", unit: "0.001", completed: 60_000},                   // 60 credits, and none
	{name: "wavespeed", completed: chaosEstimate},
}

// TestChaosProviders submits jobs to ten providers of the catalogue that misbehave, and kills the
// gateway meanwhile. Every job must settle once and be charged once, and no submit may be repeated
// unless the provider said that it did not accept it. make chaos-providers runs 2,000 jobs and ten
// kills on both stores.
func TestChaosProviders(t *testing.T) {
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		chaosProviders(t)
	})
	if os.Getenv("GAFF_CHAOS_JOBS") == "" {
		return // the other database is for make chaos-providers
	}
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		chaosProviders(t, "GAFF_DATABASE_URL="+pgtest.Empty(t))
	})
}

// providersChaos is stand-ins for ten providers, and a gateway that is meant to cope with them.
type providersChaos struct {
	chaosRun
	vendors []chaosVendor
}

var expectedLine = regexp.MustCompile(`(?m)^expected:.*$`)

func newProvidersChaos(t *testing.T, database ...string) *providersChaos {
	c := &providersChaos{
		chaosRun: chaosRun{T: t, jobs: setting(t, "GAFF_CHAOS_JOBS", 40), kills: setting(t, "GAFF_CHAOS_KILLS", 2)},
		vendors:  slices.Clone(chaosVendors),
	}
	faults := vendorFaults{
		Busy: .1, Down: .1, Cut: .1, Lost: .2, Late: .2, Doubled: .2, Forged: .1, Early: .05, PollDown: .1, PollBusy: .05, Fail: .05, LateBy: 2 * time.Second,
	}
	work, pace := 300*time.Millisecond, []string{"GAFF_RECONCILE_AFTER=1s", "GAFF_RECONCILE_RATE=100", "GAFF_SUBMIT_PATIENCE=5s"}
	if c.jobs > 500 {
		work, faults.LateBy = 2*time.Second, 20*time.Second
		faults.Busy, faults.Down, faults.Cut = .05, .02, .03
		pace = []string{"GAFF_RECONCILE_AFTER=10s", "GAFF_RECONCILE_RATE=20", "GAFF_SUBMIT_PATIENCE=1m"}
	}
	folder := t.TempDir()
	var config, prices strings.Builder
	for i := range c.vendors {
		v := &c.vendors[i]
		v.vendor = newVendor(t, v.name, uint64(i))
		v.vendor.faults, v.vendor.work = faults, work
		// The stand-in is quicker than the provider.
		text, _ := described.Text(v.name)
		file := filepath.Join(folder, v.name+".yaml")
		if err := os.WriteFile(file, expectedLine.ReplaceAll(text, []byte("expected: "+work.String())), 0o600); err != nil {
			t.Fatal(err)
		}
		var secrets []string
		for name := range v.d.Secrets {
			secrets = append(secrets, name+": "+name+"-secret")
		}
		fmt.Fprintf(&config, "  %s: {file: %q, base_url: %q, secrets: {%s}, webhook_secrets: [%s]}\n", v.name, file, v.url, strings.Join(secrets, ", "), vendorSecret)
		unit := ""
		if v.unit != "" {
			unit = fmt.Sprintf("unit: %q, ", v.unit)
		}
		fmt.Fprintf(&prices, "  - {provider: %s, job: %q, %scurrency: USD, date: \"2026-11-29\", source: test}\n", v.name, chaosEstimate, unit)
	}
	c.body = c.submission
	c.start(1, fmt.Sprintf("limits: {lease: %s}\nproviders:\n%sprices:\n%s", clusterLease, config.String(), prices.String()), func(base string) []string {
		for i := range c.vendors {
			c.vendors[i].gateway = base
		}
		return slices.Concat([]string{"WEBHOOK_BASE_URL=" + base}, pace, database)
	})
	return c
}

func chaosMark(n int) string { return fmt.Sprintf("mark-%d-", n) }

// submission is job n, at the providers in turn.
func (c *providersChaos) submission(n int) string {
	v := c.vendors[n%len(c.vendors)]
	input := maps.Clone(v.e.Input)
	input["prompt"] = chaosMark(n)
	body, err := json.Marshal(map[string]any{"provider": v.name, "model": v.e.Model, "input": input, "projectId": "chaos", "idempotencyKey": chaosMark(n)})
	if err != nil {
		panic(err)
	}
	return string(body)
}

func chaosProviders(t *testing.T, database ...string) {
	c := newProvidersChaos(t, database...)
	began := time.Now()
	c.submitAll()
	submitted := time.Now()
	c.await("/api/v1/jobs?status=queued", "/api/v1/jobs?status=processing")
	waited := time.Since(submitted)
	for _, v := range c.vendors {
		v.hooks.Wait()
	}
	works := c.checkSubmits()
	by := c.checkJobs(works)
	forged := 0
	for _, v := range c.vendors {
		forged += v.forged
		for _, wrong := range v.wrong {
			t.Error(wrong)
		}
	}
	t.Logf("%d jobs at %d providers, %d kills: submitted in %s, the last settled %s after that; %d by webhook, %d by reconciliation, %d of unknown outcome; "+
		"%d pieces of work at the providers, %d forged webhooks rejected",
		c.jobs, len(c.vendors), c.kills, submitted.Sub(began).Round(time.Millisecond), waited.Round(time.Millisecond),
		by["webhook"], by["reconciliation"], by["unknown"], len(works), forged)
}

// checkSubmits wants one submit at most for each job, beside those that were answered 429. It
// returns the work that the providers took, by mark.
func (c *providersChaos) checkSubmits() map[string]*vendorWork {
	works := map[string]*vendorWork{}
	for _, v := range c.vendors {
		for mark, times := range v.sent {
			if times != 1 {
				c.Errorf("%s got %d submits of job %s", v.name, times, mark)
			}
		}
		for _, work := range v.works {
			works[work.mark] = work
		}
	}
	return works
}

// chaosJob is a job, as the API shows it.
type chaosJob struct {
	ledgerJob
	Provider string
	Charge   *struct{ Amount, Currency, State string }
}

// checkJobs compares the jobs with the work at the providers, and the sums with the charges. It
// returns how many jobs were settled by whom.
func (c *providersChaos) checkJobs(works map[string]*vendorWork) map[string]int {
	by, seen := map[string]int{}, map[string]bool{}
	sums := map[string]jobs.Micros{}
	vendors := map[string]chaosVendor{}
	for _, v := range c.vendors {
		vendors[v.name] = v
	}
	statuses := map[string]string{}
	if err := each(c.nodes[0].gateway, "/api/v1/jobs", func(j chaosJob) {
		if seen[j.IdempotencyKey] {
			c.Errorf("two jobs of key %s", j.IdempotencyKey)
		}
		seen[j.IdempotencyKey], statuses[j.ID] = true, j.Status
		v, work := vendors[j.Provider], works[j.IdempotencyKey]
		want := v.completed
		switch unknown := j.ErrorType == "submit_outcome_unknown"; {
		case unknown:
			by["unknown"]++
			want = chaosEstimate
		case work == nil:
			c.Errorf("job %s is %s, and %s has no such work: %s", j.ID, j.Status, j.Provider, j.Error)
		case work.fails:
			want = v.failed
			fallthrough
		default:
			by[j.SettledBy]++
			if wanted := map[bool]string{false: "completed", true: "failed"}[work.fails]; j.Status != wanted {
				c.Errorf("job %s at %s is %s, want %s: %s", j.ID, j.Provider, j.Status, wanted, j.Error)
			}
		}
		got := jobs.Micros(0)
		if j.Charge != nil {
			var err error
			if got, err = jobs.ParseMicros(j.Charge.Amount); err != nil || j.Charge.Currency != "USD" || j.Charge.State == "reserved" {
				c.Errorf("job %s: the charge is %+v, %v", j.ID, *j.Charge, err)
			}
		}
		if got != want {
			c.Errorf("job %s at %s, %s %s, is charged %s, want %s", j.ID, j.Provider, j.Status, j.ErrorType, got, want)
		}
		sums[j.Provider] += got
	}); err != nil {
		c.Fatal(err)
	}
	if len(seen) != c.jobs {
		c.Errorf("%d jobs, want %d", len(seen), c.jobs)
	}
	c.checkEnds(statuses)
	c.checkSums(sums)
	return by
}

// checkEnds wants one event about the end of each job.
func (c *providersChaos) checkEnds(statuses map[string]string) {
	ends := map[string][]string{}
	for _, status := range []string{"completed", "failed"} {
		if err := each(c.nodes[0].gateway, "/api/v1/events?source=gaff&type=job."+status, func(ev struct{ CorrelationID string }) {
			ends[ev.CorrelationID] = append(ends[ev.CorrelationID], status)
		}); err != nil {
			c.Fatal(err)
		}
	}
	for id, status := range statuses {
		if !slices.Equal(ends[id], []string{status}) {
			c.Errorf("job %s, %s, ended as %v", id, status, ends[id])
		}
	}
}

// checkSums compares the sums of the cost ledger with those of the jobs.
func (c *providersChaos) checkSums(want map[string]jobs.Micros) {
	var costs struct {
		Docs []struct{ Key, Currency, Charged, Reserved string }
	}
	if err := c.nodes[0].get("/api/v1/costs?by=provider", &costs); err != nil {
		c.Fatal(err)
	}
	for _, sum := range costs.Docs {
		charged, err := jobs.ParseMicros(sum.Charged)
		if err != nil || sum.Currency != "USD" || charged != want[sum.Key] {
			c.Errorf("%s: charged %s %s, want %s: %v", sum.Key, sum.Charged, sum.Currency, want[sum.Key], err)
		}
		if reserved, err := jobs.ParseMicros(sum.Reserved); err != nil || reserved != 0 {
			c.Errorf("%s: %s are still reserved", sum.Key, sum.Reserved)
		}
		delete(want, sum.Key)
	}
	if len(want) > 0 {
		c.Errorf("no sums of %v", want)
	}
}
