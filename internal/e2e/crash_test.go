package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"gaff/gafftest"
)

// TestCrash kills the gateway at random moments under load. Afterwards everything that
// was answered 200 must be there, and every effect must have happened exactly once.
func TestCrash(t *testing.T) {
	rounds := 5
	if text := os.Getenv("GAFF_CRASH_ROUNDS"); text != "" {
		var err error
		if rounds, err = strconv.Atoi(text); err != nil {
			t.Fatalf("GAFF_CRASH_ROUNDS: %v", err)
		}
	}
	dir := t.TempDir()
	addr, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	env := environment(dir, addr, "GAFF_LOG_LEVEL=error")
	sent := &ledger{acknowledged: map[string]webhook{}}
	began := time.Now()
	for round := range rounds {
		g, err := serve(dir, env, addr)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		var wg sync.WaitGroup
		for sender := range 16 {
			wg.Go(func() { sent.load(ctx, g.url, fmt.Sprintf("%d-%d", round, sender)) })
		}
		time.Sleep(time.Duration(50+rand.IntN(650)) * time.Millisecond)
		g.kill()
		cancel()
		wg.Wait()
	}
	g, err := serve(dir, env, addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := g.stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
	}()
	err = poll(time.Minute, func() error {
		var stats struct {
			Deliveries struct{ Waiting int } `json:"deliveries"`
		}
		if err := g.get("/api/v1/stats", &stats); err != nil {
			return err
		}
		if stats.Deliveries.Waiting > 0 {
			return fmt.Errorf("%d deliveries wait", stats.Deliveries.Waiting)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	lost, doubled := sent.audit(t, g)
	t.Logf("%d rounds in %s: %d acknowledged, %d lost, %d doubled", rounds, time.Since(began).Round(time.Second),
		len(sent.acknowledged), lost, doubled)
	if len(sent.acknowledged) < rounds*20 {
		t.Errorf("only %d webhooks were acknowledged: the test did not load the gateway", len(sent.acknowledged))
	}
	sent.resend(t, g)
}

type webhook struct {
	source string
	body   []byte
	job    string
	files  int
}

// ledger is what the senders remember.
type ledger struct {
	mu           sync.Mutex
	acknowledged map[string]webhook // by the event's id
}

// load sends until the gateway is gone.
func (l *ledger) load(ctx context.Context, url, name string) {
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	for n := 0; ctx.Err() == nil; n++ {
		w := makeWebhook(fmt.Sprintf("%s-%d", name, n), n)
		id, duplicate, err := send(ctx, client, url, w)
		if err != nil {
			continue // killed in the middle: it may be kept or not
		}
		if duplicate {
			continue
		}
		l.mu.Lock()
		l.acknowledged[id] = w
		l.mu.Unlock()
	}
}

// makeWebhook alternates between events of fal, with one or two files, and ones that
// nobody handles.
func makeWebhook(name string, n int) webhook {
	if n%3 == 2 {
		return webhook{source: "custom", body: fmt.Appendf(nil, `{"id":"c-%s","type":"order.paid"}`, name)}
	}
	files := 1 + n%2
	images := []map[string]any{}
	for i := range files {
		images = append(images, map[string]any{"url": fmt.Sprintf("https://example.com/%s/%d.jpg", name, i), "width": 1024, "height": 1024})
	}
	job := "job-" + name
	body, err := json.Marshal(map[string]any{
		"request_id": "r-" + name, "status": "completed", "result": map[string]any{"images": images},
		"metadata": map[string]any{"job_id": job, "project_id": "p", "user_id": "u", "generation_type": "image"},
	})
	if err != nil {
		panic(err)
	}
	return webhook{source: "fal", body: body, job: job, files: files}
}

func send(ctx context.Context, client *http.Client, url string, w webhook) (id string, duplicate bool, err error) {
	secret := customSecret
	if w.source == "fal" {
		secret = falSecret
	}
	req, err := gafftest.SignedRequest(ctx, url+"/api/v1/webhooks/"+w.source, w.source, secret, w.body)
	if err != nil {
		return "", false, err
	}
	resp, err := client.Do(req)
	if err != nil {
		return "", false, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", false, err
	}
	var answer struct {
		Success   bool   `json:"success"`
		ID        string `json:"id"`
		Duplicate bool   `json:"duplicate"`
	}
	if err := json.Unmarshal(text, &answer); err != nil || resp.StatusCode != http.StatusOK || !answer.Success {
		return "", false, fmt.Errorf("answered %s: %s", resp.Status, bytes.TrimSpace(text))
	}
	return answer.ID, answer.Duplicate, nil
}

// audit compares what the senders remember with what the gateway shows. Webhooks that
// were kept and not answered are fine; half of their effects are not.
func (l *ledger) audit(t *testing.T, g *gateway) (lost, doubled int) {
	type event struct{ ID, Status, Source string }
	status := map[string]string{}
	settled := map[string]int{}
	check := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	check(each(g, "/api/v1/events", func(e event) { status[e.ID] = e.Status }))
	check(each(g, "/api/v1/events?source=gaff", func(e struct{ CorrelationID string }) { settled[e.CorrelationID]++ }))
	jobs, media := map[string]int{}, map[string]map[string]int{}
	check(each(g, "/api/v1/jobs", func(j struct{ ID, Status string }) {
		jobs[j.ID]++
		if j.Status != "completed" {
			t.Errorf("job %s is %s", j.ID, j.Status)
		}
	}))
	check(each(g, "/api/v1/media", func(m struct{ JobID, Position string }) {
		if media[m.JobID] == nil {
			media[m.JobID] = map[string]int{}
		}
		media[m.JobID][m.Position]++
	}))
	for id, w := range l.acknowledged {
		switch status[id] {
		case "success":
		case "":
			lost++
			t.Errorf("acknowledged event %s is not there", id)
			continue
		default:
			t.Errorf("acknowledged event %s is %s", id, status[id])
		}
		if w.job == "" {
			continue
		}
		if jobs[w.job] != 1 || len(media[w.job]) != w.files {
			lost++
			t.Errorf("event %s: %d jobs %s, %d files, want 1 and %d", id, jobs[w.job], w.job, len(media[w.job]), w.files)
		}
	}
	for job, n := range jobs {
		if n != 1 || settled[job] != 1 {
			doubled++
			t.Errorf("job %s: %d rows, settled %d times", job, n, settled[job])
		}
		for position, n := range media[job] {
			if n != 1 {
				doubled++
				t.Errorf("job %s: %d files at %s", job, n, position)
			}
		}
		if len(media[job]) == 0 {
			t.Errorf("job %s is completed without its files", job)
		}
	}
	return lost, doubled
}

// resend sends everything again: it must be known under the same id, and change nothing.
func (l *ledger) resend(t *testing.T, g *gateway) {
	count := func() (n int) {
		if err := each(g, "/api/v1/media", func(struct{}) { n++ }); err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := count()
	client := &http.Client{Timeout: 5 * time.Second}
	for id, w := range l.acknowledged {
		again, duplicate, err := send(context.Background(), client, g.url, w)
		if err != nil || !duplicate || again != id {
			t.Errorf("event %s sent again: %s, duplicate %v, %v", id, again, duplicate, err)
		}
	}
	if after := count(); after != before {
		t.Errorf("sending everything again made %d files of %d", after, before)
	}
}

// TestSecondProcessExits: two processes on one file would work everything twice.
func TestSecondProcessExits(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	addr, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	g, err := serve(dir, environment(dir, addr), addr)
	if err != nil {
		t.Fatal(err)
	}
	defer g.kill()
	other, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	_, err = serve(dir, environment(dir, other), other)
	if err == nil {
		t.Fatal("two processes share a database")
	}
	want := fmt.Sprintf("another gaff process (pid %d) has this database open", g.cmd.Process.Pid)
	if !bytes.Contains([]byte(err.Error()), []byte(want)) {
		t.Errorf("refused with %v, want %q in it", err, want)
	}
	if _, err := os.Stat(filepath.Join(dir, "data", "url")); err != nil {
		t.Errorf("the refused process removed the first one's address: %v", err)
	}
}
