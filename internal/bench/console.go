package main

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"time"

	"github.com/chromedp/chromedp"

	"gaff/internal/storetest"
	"gaff/store/sqlite"
)

var console = flag.Int("console", 0, "fill a SQLite store with so many events, and measure the first paint of the console's pages in Chromium")

const (
	// consoleRounds is how often each page is opened.
	consoleRounds = 20
	// wantedPaint is what the first paint should take at most.
	wantedPaint = 200
	// wantedTask is how long a task of a page may block it at most. Browsers report tasks from 50 ms.
	wantedTask = 100
)

// measureConsole opens the console's pages over a long log, in a headless Chromium. The
// browser has been there before: styles and scripts come out of its cache.
func measureConsole(binary string, events int) error {
	describeMachine()
	dir, err := os.MkdirTemp("", "gaff-bench-console-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := fillConsole(filepath.Join(dir, "data", "gaff.db"), events); err != nil {
		return fmt.Errorf("fill: %w", err)
	}
	gw, addr, err := serve(binary, dir)
	if err != nil {
		return err
	}
	defer gw.stop()
	return openPages(addr, events)
}

// fillConsole makes events, and for each five of them a job with a prompt and a file; and counts of
// how long things took, such as a gateway with five sources keeps them.
func fillConsole(file string, events int) error {
	ctx := context.Background()
	st, err := sqlite.Open(ctx, file, sqlite.Options{})
	if err != nil {
		return err
	}
	began := time.Now()
	progress := func(done int) {
		if done%1_000_000 == 0 || done == events {
			fmt.Printf("filled %d in %s\n", done, time.Since(began).Round(time.Second))
		}
	}
	err = st.Between(func(c *sql.Conn) error {
		if err := storetest.Fill(ctx, "sqlite", c, events, logDays*24*time.Hour, progress); err != nil {
			return err
		}
		jobs := max(events/5, 1)
		step := logDays * 24 * time.Hour.Microseconds() / int64(jobs)
		at := fmt.Sprintf("(%d + i * %d)", time.Now().Add(-logDays*24*time.Hour).UnixMicro(), step)
		counted := `with recursive s(i) as (select 1 union all select i + 1 from s where i < $1) `
		for _, text := range []string{
			`insert into job (id, provider, model, kind, project_id, user_id, request_id, status, error, error_type, settled_by, created_at, submitted_at, settled_at, updated_at) ` + counted +
				`select 'job-' || i, 'fal', 'fal-ai/flux/dev', 'image', 'project-' || (i % 40), 'user', 'request-' || i, 2 + (i % 25 = 0), '', '', 'webhook', ` +
				at + `, ` + at + `, ` + at + ` + 4000000, ` + at + ` + 4000000 from s`,
			`insert into media (id, job_id, position, project_id, url, stored_url, media_type, content_type, size, sha256, created_at) ` + counted +
				`select 'med_' || i, 'job-' || i, '/images/0', 'project-' || (i % 40), 'https://example.com/' || i || '.png', '', 'generated-image', 'image/png', 81234, '', ` + at + ` from s`,
			`insert into job_input (job_id, input) ` + counted +
				`select 'job-' || i, cast('{"prompt":"a harbour at dawn, take ' || i || '","seed":' || i || '}' as blob) from s`,
		} {
			if _, err := c.ExecContext(ctx, text, jobs); err != nil {
				return err
			}
		}
		now := time.Now().Unix() / 60
		for span, minutes := range map[int64]int64{1: 8 * 60, 10: 3 * 24 * 60, 60: logDays * 24 * 60} {
			if _, err := c.ExecContext(ctx, counted+`insert into latency (span, at, source, kind, bucket, n)
				select $2, $3 - i * $2, 'source-' || source.value, kind.value, 5 + bucket.value, 1 + abs(random()) % 50
				from s, json_each('[0,1,2,3,4]') source, json_each('[0,1,2]') kind, json_each('[0,1,2,3,4,5]') bucket`, minutes/span, span, now-now%span); err != nil {
				return err
			}
		}
		_, err := c.ExecContext(ctx, `pragma wal_checkpoint(truncate)`)
		return err
	})
	return cmp.Or(err, st.Close())
}

// visit is what the browser measured of one page.
type visit struct {
	Paint  float64 `json:"paint"`  // ms from the navigation to the first content
	Answer float64 `json:"answer"` // ms from the request to the answer's first byte
	Bytes  float64 `json:"bytes"`  // of the page, as it was transferred
	Task   float64 `json:"task"`   // ms of the longest task; 0 if all were under 50
}

// visited waits for the first paint, and for the scripts, which run after it.
const visited = `new Promise(done => {
	const nav = performance.getEntriesByType('navigation')[0];
	let task = 0;
	new PerformanceObserver(list => list.getEntries().forEach(e => { task = Math.max(task, e.duration) })).observe({type: 'longtask', buffered: true});
	const ready = () => 'ready' in document.documentElement.dataset || !document.querySelector('script[data-then]');
	const end = paint => ready()
		? setTimeout(() => done({paint: paint.startTime, answer: nav.responseStart - nav.requestStart, bytes: nav.transferSize, task}), 100)
		: setTimeout(end, 20, paint);
	new PerformanceObserver(list => list.getEntriesByName('first-contentful-paint').forEach(end)).observe({type: 'paint', buffered: true});
})`

// typed opens the palette, types a text as a fast typist does, and returns the longest task, and how long
// the slowest answer took.
const typed = `new Promise(done => {
	const v = {task: 0, answer: 0}, text = 'take 777';
	new PerformanceObserver(list => list.getEntries().forEach(e => { v.task = Math.max(v.task, e.duration) })).observe({type: 'longtask'});
	performance.clearResourceTimings();
	document.body.dispatchEvent(new KeyboardEvent('keydown', {key: '/', bubbles: true}));
	const type = n => {
		const input = document.querySelector('dialog[open] input');
		if (!input || n <= text.length) {
			if (input) { input.value = text.slice(0, n); input.dispatchEvent(new Event('input', {bubbles: true})); }
			setTimeout(type, 80, input ? n + 1 : n);
			return;
		}
		setTimeout(() => {
			for (const r of performance.getEntriesByType('resource')) if (r.initiatorType === 'fetch') v.answer = Math.max(v.answer, r.responseStart - r.requestStart);
			done(v);
		}, 700);
	};
	type(1);
})`

func openPages(addr string, events int) error {
	path, err := exec.LookPath("chromium")
	if err != nil {
		return fmt.Errorf("%w: run tools/test-setup.sh", err)
	}
	profile, err := os.MkdirTemp("", "gaff-chromium-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(profile)
	alloc, stop := chromedp.NewExecAllocator(context.Background(), chromedp.ExecPath(path), chromedp.UserDataDir(profile), chromedp.NoFirstRun,
		chromedp.NoDefaultBrowserCheck, chromedp.Headless, chromedp.NoSandbox, chromedp.DisableGPU, chromedp.Flag("disable-background-networking", true))
	defer stop()
	browser, closeBrowser := chromedp.NewContext(alloc)
	defer closeBrowser()
	login, err := loginLink(addr)
	if err != nil {
		return err
	}
	base := "http://" + addr
	if err := chromedp.Do(browser, chromedp.EmulateViewport(1280, 860), chromedp.Navigate(base+login), chromedp.Click(chromedp.CSS("button.primary")),
		chromedp.WaitVisible(chromedp.CSS(".side"))); err != nil {
		return err
	}
	var some struct {
		Docs []struct{ ID string } `json:"docs"`
	}
	if err := get(addr, "/api/v1/events?limit=1&status=error&until=5d", &some); err != nil {
		return err
	}
	pages := []struct{ name, path string }{
		{"overview, plots of a day", "/"}, {"overview, plots of 30 days", "/?range=30d"}, {"events", "/events"}, {"events in error", "/events?status=error"},
		{"events of a source and type, last week", "/events?source=" + storetest.FillSource + "&type=type-1&since=7d"},
		{"an event five days ago", "/events/" + some.Docs[0].ID}, {"retry what failed in an hour: the count", "/bulk?action=retry&since=1h"}, {"retry all that failed: the count", "/bulk?action=retry"},
		{"jobs", "/jobs"}, {"a job", "/jobs/job-7"}, {"failed jobs of a day", "/jobs?status=failed&since=24h"}, {"jobs of a prompt", "/jobs?q=take+777"}, {"late jobs", "/jobs?late=true"},
		{"search for a prompt", "/search?q=take+777"}, {"search for an id", "/search?q=job-7"}, {"deliveries", "/deliveries"}, {"dead deliveries", "/deliveries?state=dead"},
		{"media", "/media"}, {"media of a model", "/media?model=fal-ai/flux/dev&since=24h"}, {"projects", "/projects"}, {"a project", "/projects/project-7"},
		{"sources", "/sources"}, {"rejections", "/rejections"}, {"audit log", "/audit"}, {"health", "/health"},
	}
	fmt.Printf("%d events on SQLite, first paint of %d visits each (wanted: %d ms)\n", events, consoleRounds, wantedPaint)
	fmt.Printf("| page | first paint, median | p95 | answer, median | p95 | longest task | KB |\n|---|---|---|---|---|---|---|\n")
	for _, p := range pages {
		var paints, answers []float64
		var last visit
		task := 0.0
		for range consoleRounds {
			if err := chromedp.Do(browser, chromedp.Navigate(base+p.path)); err != nil {
				return fmt.Errorf("%s: %w", p.path, err)
			}
			if last, err = chromedp.Run(browser, chromedp.Evaluate[visit](visited, chromedp.EvalAwaitPromise)); err != nil {
				return fmt.Errorf("%s: %w", p.path, err)
			}
			paints, answers, task = append(paints, last.Paint), append(answers, last.Answer), max(task, last.Task)
		}
		slices.Sort(paints)
		slices.Sort(answers)
		p95 := consoleRounds*95/100 - 1
		fmt.Printf("| %s | %.0f ms | %s | %.1f ms | %.1f ms | %s | %.1f |\n", p.name, paints[consoleRounds/2], against(paints[p95], wantedPaint),
			answers[consoleRounds/2], answers[p95], against(task, wantedTask), last.Bytes/1000)
	}
	return typePalette(browser, base)
}

// typePalette measures the search of the palette while someone types.
func typePalette(browser context.Context, base string) error {
	var answers []float64
	task := 0.0
	for range consoleRounds {
		if err := chromedp.Do(browser, chromedp.Navigate(base+"/settings")); err != nil {
			return fmt.Errorf("palette: %w", err)
		}
		if _, err := chromedp.Run(browser, chromedp.Evaluate[visit](visited, chromedp.EvalAwaitPromise)); err != nil {
			return fmt.Errorf("palette: %w", err)
		}
		v, err := chromedp.Run(browser, chromedp.Evaluate[visit](typed, chromedp.EvalAwaitPromise))
		if err != nil {
			return fmt.Errorf("palette: %w", err)
		}
		answers, task = append(answers, v.Answer), max(task, v.Task)
	}
	slices.Sort(answers)
	fmt.Printf("| typing a prompt into the palette | | | %.1f ms | %.1f ms | %s | |\n", answers[consoleRounds/2], answers[consoleRounds*95/100-1], against(task, wantedTask))
	return nil
}

// against formats milliseconds, in bold if they are more than wanted.
func against(ms, wanted float64) string {
	if ms > wanted {
		return fmt.Sprintf("**%.0f ms**", ms)
	}
	return fmt.Sprintf("%.0f ms", ms)
}

// loginLink asks for the path of a link that logs in once.
func loginLink(addr string) (string, error) {
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, "http://"+addr+"/api/v1/login-links", nil)
	if err != nil {
		return "", err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	var link struct{ Path string }
	err = json.NewDecoder(resp.Body).Decode(&link)
	return link.Path, err
}
