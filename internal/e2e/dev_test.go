package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"gaff/internal/eventually"
)

// devGateway is a running "gaff dev".
type devGateway struct {
	gateway
	dir, fal, lastFrame string
}

// dev starts the binary's dev command in a new folder, with an environment that would lead
// it to real services if it used it.
func dev(t *testing.T, args ...string) *devGateway {
	t.Helper()
	addr, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	g := &devGateway{dir: t.TempDir()}
	g.url, g.log, g.done = "http://"+addr, &logBuffer{}, make(chan error, 1)
	g.cmd = exec.Command(binary, append([]string{"dev", "--addr", addr}, args...)...)
	g.cmd.Dir = g.dir
	g.cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + g.dir, "GAFF_DATABASE_URL=postgres://nobody@127.0.0.1:1/none", "FAL_KEY=real",
		"GAFF_FAL_QUEUE_URL=http://127.0.0.1:1", "WEBHOOK_BASE_URL=https://real.example.com", "GAFF_ADMIN_TOKEN=" + adminToken,
	}
	out := filepath.Join(g.dir, "out")
	f, err := os.Create(out)
	if err != nil {
		t.Fatal(err)
	}
	g.cmd.Stdout, g.cmd.Stderr = f, f
	if err := g.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { g.done <- g.cmd.Wait(); _ = f.Close() }()
	t.Cleanup(g.kill)
	said := func() string {
		text, _ := os.ReadFile(out)
		return string(text)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(said())
		}
	})
	err = poll(eventually.Limit, func() error {
		for line := range strings.Lines(said()) {
			if _, after, ok := strings.Cut(line, "fal's stand-in"); ok {
				g.fal = strings.Fields(after)[0]
			}
			if _, after, ok := strings.Cut(line, "Last Frame's stand-in"); ok {
				g.lastFrame = strings.Fields(after)[0]
			}
		}
		if g.lastFrame == "" {
			return fmt.Errorf("not ready:\n%s", said())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// gaff runs a command in the gateway's folder, as a person in a second terminal does.
func (g *devGateway) gaff(args ...string) (string, error) {
	cmd := exec.Command(binary, args...)
	cmd.Dir, cmd.Env = g.dir, []string{"PATH=" + os.Getenv("PATH"), "HOME=" + g.dir}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func TestDev(t *testing.T) {
	t.Parallel()
	g := dev(t, "--samples=false", "--fault", "duplicate")

	// The commands find it and its secrets.
	for _, source := range []string{"fal", "lastframe", "custom"} {
		if out, err := g.gaff("send", source); err != nil || !strings.Contains(out, `"success":true`) && !strings.Contains(out, "200") {
			t.Errorf("gaff send %s: %v\n%s", source, err, out)
		}
	}
	err := poll(eventually.Limit, func() error {
		if out, err := g.gaff("media", "list"); err != nil || strings.Count(out, "med_") < 2 {
			return fmt.Errorf("gaff media list: %v\n%s", err, out)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}

	// The stand-in signs as fal does, and the gateway takes what it sends, twice for once.
	req, _ := http.NewRequest(http.MethodPost,
		g.fal+"/fal-ai/flux/dev?fal_webhook="+url.QueryEscape(g.url+"/api/v1/webhooks/fal"),
		strings.NewReader(`{"prompt":"a dog","standin":{"seconds":0}}`))
	req.Header.Set("Authorization", "Key standin-id:standin-secret")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	var s struct {
		RequestID string `json:"request_id"`
	}
	_ = json.NewDecoder(resp.Body).Decode(&s)
	resp.Body.Close()
	err = poll(eventually.Limit, func() error {
		var jobs []struct {
			RequestID  string `json:"request_id"`
			Deliveries []struct{ Status int }
		}
		resp, err := http.Get(g.fal + "/_standin/jobs")
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if err := json.NewDecoder(resp.Body).Decode(&jobs); err != nil {
			return err
		}
		for _, j := range jobs {
			if j.RequestID == s.RequestID && len(j.Deliveries) == 2 && j.Deliveries[0].Status == 200 {
				return nil
			}
		}
		return fmt.Errorf("jobs: %+v", jobs)
	})
	if err != nil {
		t.Error(err)
	}

	if err := g.cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-g.done:
		g.done <- err
		if err != nil {
			t.Errorf("after Ctrl-C: %v", err)
		}
	case <-time.After(eventually.Limit):
		t.Error("still running after Ctrl-C")
	}
	if _, err := os.Stat(filepath.Join(g.dir, "gaff-data")); !os.IsNotExist(err) {
		t.Error("it touched the folder of gaff serve")
	}
}

func TestDevRejectsUnknownFault(t *testing.T) {
	t.Parallel()
	cmd := exec.Command(binary, "dev", "--fault", "nonsense")
	cmd.Dir = t.TempDir()
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != 2 || !strings.Contains(string(out), "there are duplicate, late, lost") {
		t.Errorf("%v\n%s", err, out)
	}
}

// The sample project runs by itself to its end, also where every webhook is lost; and what
// it made is kept and can be fetched.
func TestDevLoop(t *testing.T) {
	t.Parallel()
	for fault, settledBy := range map[string]string{"duplicate": "webhook", "lost": "reconciliation"} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			g := dev(t, "--fault", fault, "--reconcile-after", "1s", "--seed", "1")
			token, err := os.ReadFile(filepath.Join(g.dir, "gaff-dev", "admin-token"))
			if err != nil {
				t.Fatal(err)
			}
			read := func(path string, into any) error {
				req, _ := http.NewRequest(http.MethodGet, g.url+path, nil)
				req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
				resp, err := http.DefaultClient.Do(req)
				if err != nil {
					return err
				}
				defer resp.Body.Close()
				return json.NewDecoder(resp.Body).Decode(into)
			}
			type jobDoc struct{ ID, Provider, Status, SettledBy, ErrorType, RunID string }
			type fileDoc struct{ ID, JobID, MediaType, Storage, StoredURL, SHA256 string }
			var jobs struct{ Docs []jobDoc }
			var files struct{ Docs []fileDoc }
			err = poll(eventually.Limit, func() error {
				jobs.Docs, files.Docs = nil, nil
				if err := read("/api/v1/jobs?projectId=sample-film", &jobs); err != nil {
					return err
				}
				if err := read("/api/v1/media?projectId=sample-film", &files); err != nil {
					return err
				}
				// Jobs of runs are the workflows', and tested there.
				jobs.Docs = slices.DeleteFunc(jobs.Docs, func(j jobDoc) bool { return j.RunID != "" })
				files.Docs = slices.DeleteFunc(files.Docs, func(m fileDoc) bool {
					return !slices.ContainsFunc(jobs.Docs, func(j jobDoc) bool { return j.ID == m.JobID })
				})
				settled, stored := 0, 0
				for _, j := range jobs.Docs {
					if j.SettledBy != "" {
						settled++
					}
				}
				for _, m := range files.Docs {
					if m.Storage == "stored" {
						stored++
					}
				}
				if settled != 6 || stored != 6 {
					time.Sleep(100 * time.Millisecond)
					return fmt.Errorf("%d jobs are settled, %d files stored: %+v %+v", settled, stored, jobs, files)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			failed := 0
			for _, j := range jobs.Docs {
				if j.Status == "failed" { // it asks for that fault instead of the others
					failed++
				} else if j.SettledBy != settledBy {
					t.Errorf("%s of %s: settled by %s, want %s", j.ID, j.Provider, j.SettledBy, settledBy)
				}
			}
			if failed != 1 {
				t.Errorf("%d jobs failed, want the one that asks for it", failed)
			}
			for _, m := range files.Docs {
				resp, err := http.Get(m.StoredURL)
				if err != nil {
					t.Fatal(err)
				}
				hash := sha256.New()
				_, err = io.Copy(hash, resp.Body)
				resp.Body.Close()
				if got := hex.EncodeToString(hash.Sum(nil)); err != nil || resp.StatusCode != 200 || got != m.SHA256 {
					t.Errorf("%s: %s, sha256 %s, want %s (%v)", m.StoredURL, resp.Status, got, m.SHA256, err)
				}
			}
			if out, err := g.gaff("media", "get", files.Docs[0].ID, "-o", "file"); err != nil {
				t.Errorf("gaff media get: %v\n%s", err, out)
			}
			if info, err := os.Stat(filepath.Join(g.dir, "file")); err != nil || info.Size() == 0 {
				t.Errorf("the download: %v", err)
			}
		})
	}
}
