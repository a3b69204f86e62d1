package e2e

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"gaff/internal/standin"
	"gaff/workflow"
)

// number reads a bound of a test from the environment.
func number(t *testing.T, name string, usual int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return usual
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// TestWorkflowChaos runs a storyboard against stand-ins that misbehave, and kills the
// gateway in between. In the end there is one film, with every scene once and in order, and
// no attempt of a step was submitted twice. make chaos-workflows runs the whole: 30 scenes.
func TestWorkflowChaos(t *testing.T) {
	for name, store := range databases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			env, err := store(t)()
			if err != nil {
				t.Fatal(err)
			}
			chaos(t, env)
		})
	}
}

func chaos(t *testing.T, extra []string) {
	scenes, kills := number(t, "GAFF_CHAOS_SCENES", 4), number(t, "GAFF_CHAOS_KILLS", 2)
	faults, err := standin.ParseFaults("duplicate=0.3,late=0.15,lost=0.1,burst=0.2,before-answer=0.1,payload-error=0.1,busy=0.1,down=0.1," +
		"unknown-outcome=0.05,error-infra=0.1,result-504=0.1,wrong-key=0.05,stale=0.05")
	if err != nil {
		t.Fatal(err)
	}
	o := standin.Options{
		Key: "key-id:key-secret", Work: 200 * time.Millisecond, Queue: 50 * time.Millisecond, Parallel: 8, Faults: faults,
		LateBy: 1500 * time.Millisecond, BurstEvery: 500 * time.Millisecond,
	}
	fal := standin.NewFal(o)
	lastFrame := standin.NewLastFrame(lastFrameSecret, o)
	falServer, lastFrameServer := httptest.NewServer(fal), httptest.NewServer(lastFrame)
	t.Cleanup(func() { fal.Close(); lastFrame.Close(); falServer.Close(); lastFrameServer.Close() })

	dir := t.TempDir()
	addr, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	text := strings.ReplaceAll(string(workflow.Examples()["storyboard.yaml"]), "attempts: 3, wait: 5s", "attempts: 8, wait: 100ms")
	if err := os.Mkdir(filepath.Join(dir, "workflows"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "workflows", "storyboard.yaml"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	// On PostgreSQL, so soon others take over what a killed gateway had begun.
	if err := os.WriteFile(filepath.Join(dir, "gaff.yaml"), []byte("limits:\n  lease: 5s\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	env := environment(dir, addr, "WEBHOOK_BASE_URL=http://"+addr, "FAL_KEY="+o.Key, "LASTFRAME_KEY="+o.Key, "GAFF_FAL_QUEUE_URL="+falServer.URL,
		"GAFF_FAL_JWKS_URL="+falServer.URL+standin.JWKSPath, "GAFF_LASTFRAME_URL="+lastFrameServer.URL, "GAFF_RECONCILE_AFTER=1s",
		"GAFF_SUBMIT_PATIENCE=5s", "GAFF_RECONCILE_RATE=50", "GAFF_LOG_LEVEL=error", "GAFF_WORKFLOW_LIMITS=fal=6")
	env = append(env, extra...)
	var prompts []string
	for i := range scenes {
		prompts = append(prompts, fmt.Sprintf("scene %d", i))
	}
	g, err := serve(dir, env, addr)
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(map[string]any{
		"workflow": "storyboard", "projectId": "film", "idempotencyKey": "once", "input": map[string]any{"prompts": prompts, "review": false, "style": "x"},
	})
	if err != nil {
		t.Fatal(err)
	}
	runID := ""
	start := func() error {
		req, err := http.NewRequest(http.MethodPost, g.url+"/api/v1/runs", strings.NewReader(string(body)))
		if err != nil {
			return err
		}
		req.Header.Set("Authorization", "Bearer "+adminToken)
		req.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		var run struct{ ID string }
		if err := json.NewDecoder(resp.Body).Decode(&run); err != nil {
			return err
		}
		if runID != "" && run.ID != runID {
			t.Errorf("one key started %s and %s", runID, run.ID)
		}
		runID = run.ID
		return nil
	}
	if err := start(); err != nil {
		t.Fatal(err)
	}
	type row struct {
		Item    *int
		Status  string
		Attempt int
		Error   string
	}
	var run struct {
		Status, Error, Waiting string
		Steps                  []struct {
			Name string
			row
			Items []row
		}
	}
	began := time.Now()
	for range kills {
		// Spread over the whole of the run: at this many jobs at the provider.
		time.Sleep(time.Duration(100+rand.IntN(600)) * time.Millisecond)
		g.kill()
		if g, err = serve(dir, env, addr); err != nil {
			t.Fatal(err)
		}
		if err := start(); err != nil { // as a client does that heard nothing
			t.Fatal(err)
		}
	}
	defer func() {
		if err := g.stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
	}()
	err = poll(3*time.Minute, func() error {
		if err := g.get("/api/v1/runs/"+runID, &run); err != nil {
			return err
		}
		if run.Status == "failed" {
			return fatal{fmt.Errorf("the run failed: %s", run.Error)}
		}
		if run.Status != "completed" {
			time.Sleep(50 * time.Millisecond)
			return fmt.Errorf("%s, waits for %s", run.Status, run.Waiting)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}

	// What the provider was asked for, by model and scene: as often as the step was tried.
	asked := map[string]int{}
	for _, j := range fal.Jobs() {
		var in struct{ Prompt string }
		if err := json.Unmarshal(j.Input, &in); err != nil {
			t.Fatal(err)
		}
		asked[j.Model+" "+strings.TrimSuffix(in.Prompt, ", x")]++
	}
	tries, submitted := 0, len(fal.Jobs())+len(lastFrame.Jobs())
	for _, step := range run.Steps {
		model := map[string]string{"images": "fal-ai/flux/dev", "videos": "fal-ai/kling-video/v2.1/standard/image-to-video"}[step.Name]
		if step.Status != "completed" && !(step.Name == "review" && step.Status == "skipped") {
			t.Errorf("step %s is %s", step.Name, step.Status)
		}
		if model == "" {
			continue
		}
		if len(step.Items) != scenes {
			t.Errorf("step %s has %d items, want %d", step.Name, len(step.Items), scenes)
		}
		for _, item := range step.Items {
			tries += item.Attempt
			n := asked[fmt.Sprintf("%s scene %d", model, *item.Item)]
			if n < 1 || n > item.Attempt {
				t.Errorf("%s of scene %d was tried %d times and submitted %d times", step.Name, *item.Item, item.Attempt, n)
			}
		}
	}
	// The jobs of gaff: one for each attempt, and each result used once.
	jobs := map[string]int{}
	if err := each(g, "/api/v1/jobs?projectId=film", func(j struct{ Status, Model, RequestID string }) { jobs[j.Model]++ }); err != nil {
		t.Fatal(err)
	}
	if jobs["fal-ai/flux/dev"]+jobs["fal-ai/kling-video/v2.1/standard/image-to-video"] != tries {
		t.Errorf("%v jobs for %d tries", jobs, tries)
	}
	var film struct {
		Docs []struct {
			Attempt int
			Input   struct {
				Input struct{ Inputs []struct{ URL string } }
			}
		}
	}
	if err := g.get("/api/v1/runs/"+runID+"/steps/film", &film); err != nil {
		t.Fatal(err)
	}
	var videos []string
	var steps struct {
		Docs []struct {
			Item   *int
			Result json.RawMessage
		}
	}
	if err := g.get("/api/v1/runs/"+runID+"/steps/videos", &steps); err != nil {
		t.Fatal(err)
	}
	for _, doc := range steps.Docs {
		var result struct{ Video struct{ URL string } }
		if doc.Item != nil && json.Unmarshal(doc.Result, &result) == nil {
			videos = append(videos, result.Video.URL)
		}
	}
	var stitched []string
	for _, in := range film.Docs[0].Input.Input.Inputs {
		stitched = append(stitched, in.URL)
	}
	if !slices.Equal(stitched, videos) || len(videos) != scenes || len(slices.Compact(slices.Sorted(slices.Values(videos)))) != scenes {
		t.Errorf("the film is made of %d videos %v, want the %d scenes %v", len(stitched), stitched, scenes, videos)
	}
	if n := len(lastFrame.Jobs()); n < 1 || n > film.Docs[0].Attempt {
		t.Errorf("the film was tried %d times and submitted %d times", film.Docs[0].Attempt, n)
	}
	for _, kind := range []string{"storyboard.done", "run.completed"} {
		n := 0
		if err := each(g, "/api/v1/events?source=gaff&type="+kind, func(struct{}) { n++ }); err != nil {
			t.Fatal(err)
		}
		if n != 1 {
			t.Errorf("%d events %s, want 1", n, kind)
		}
	}
	t.Logf("%d scenes, %d kills, %s: %d tries of jobs, %d at the stand-ins, one film", scenes, kills, time.Since(began).Round(100*time.Millisecond),
		tries+film.Docs[0].Attempt, submitted)
}
