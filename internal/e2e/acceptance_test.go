//go:build acceptance

package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gaff/client"
	"gaff/internal/eventually"
	"gaff/internal/standin"
)

// runIn runs a program in a folder and fails the test with its output if it fails.
func runIn(t *testing.T, dir string, env []string, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// packClient packs clients/typescript as npm would publish it, and returns the archive's path.
func packClient(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	pkg := filepath.Join(dir, "client")
	buildClient(t, pkg)
	runIn(t, pkg, nil, "npm", "pack", "--ignore-scripts", "--silent", "--pack-destination", dir)
	found, err := filepath.Glob(filepath.Join(dir, "*.tgz"))
	if err != nil || len(found) != 1 {
		t.Fatalf("npm pack made %v, %v; want one archive", found, err)
	}
	return found[0]
}

// savedFile is what the application's stand-in for a database (lib/store.ts) writes.
type savedFile struct {
	Saved []struct {
		ProjectID string `json:"projectId"`
		Media     []struct{ ID, MediaType string }
	}
}

// nextStore takes the place of the example's lib/store.ts: it keeps its data in a file that the test reads.
const nextStore = `
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import type { DeliveryStore, EnvelopeMedia } from "@gaff/client";

interface Data { processed: string[]; saved: { projectId: string | null; media: EnvelopeMedia[] }[] }
const file = process.env.APP_DATA!;

function change<T>(fn: (data: Data) => T): T {
  let data: Data = { processed: [], saved: [] };
  try { data = JSON.parse(readFileSync(file, "utf8")) as Data; } catch { /* the first write */ }
  const result = fn(data);
  writeFileSync(file + ".new", JSON.stringify(data));
  renameSync(file + ".new", file);
  return result;
}

export const deliveries: DeliveryStore = {
  has: async (id) => change((data) => data.processed.includes(id)),
  add: async (id) => change((data) => data.processed.push(id)),
};
export async function saveMedia(projectId: string | null, media: EnvelopeMedia[]): Promise<void> {
  change((data) => data.saved.push({ projectId, media }));
}
`

// edgeRoute uses the client in the edge runtime: it verifies a delivery, and asks gaff about its job.
const edgeRoute = `
import { Gaff, verifyWebhook, VerificationError } from "@gaff/client";

export const runtime = "edge";

export async function POST(request: Request): Promise<Response> {
  try {
    const { event } = await verifyWebhook(request, { secrets: process.env.GAFF_SECRET!, maxBodyBytes: 10_000 });
    const gaff = new Gaff({ url: process.env.GAFF_URL!, token: process.env.GAFF_TOKEN! });
    const page = await gaff.jobs.list({ limit: 1 });
    return Response.json({ kind: event.source + ":" + event.type, jobs: page.docs.length });
  } catch (error) {
    return Response.json({ error: String(error) }, { status: error instanceof VerificationError ? error.status : 500 });
  }
}
`

// nextConfig says where the application ends: it lies beside other folders with lock files.
const nextConfig = `export default { turbopack: { root: import.meta.dirname } };`

// page is what a visitor's browser does: fal's own client, which knows the application's route only.
const page = `
import { createFalClient } from "@fal-ai/client";
const fal = createFalClient({
  proxyUrl: { url: process.env.APP_URL + "/api/fal/proxy", when: "always" },
  fetch: (url, init) => fetch(url, { ...init, headers: { ...init.headers, ...(process.env.APP_COOKIE ? { cookie: process.env.APP_COOKIE } : {}) } }),
});
try {
  const { data, requestId } = await fal.subscribe("fal-ai/flux/dev", { input: { prompt: "a lighthouse" }, pollInterval: 300 });
  console.log(JSON.stringify({ requestId, images: data.images.length }));
} catch (e) {
  console.log(JSON.stringify({ status: e.status ?? 0, message: String(e) }));
}
`

// buildNextApplication makes a Next.js application of the examples and the packed client, and returns its folder.
func buildNextApplication(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	runIn(t, root, nil, filepath.Join("tools", "test-setup.sh"))
	archive := packClient(t)
	app := t.TempDir()
	if err := os.CopyFS(app, os.DirFS(filepath.Join(root, "tools", "nextapp"))); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(app, os.DirFS(filepath.Join(root, "clients", "typescript", "examples", "nextjs"))); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(app, "app", "api", "edge"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"next.config.mjs": nextConfig, "page.mjs": page, "app/api/edge/route.ts": edgeRoute} {
		if err := os.WriteFile(filepath.Join(app, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(app, "lib", "store.ts"), []byte(nextStore), 0o600); err != nil {
		t.Fatal(err)
	}
	runIn(t, app, nil, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
	runIn(t, app, nil, "npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-save", "--loglevel=error", archive)
	runIn(t, app, []string{"NEXT_TELEMETRY_DISABLED=1", "APP_DATA=/dev/null"}, "npx", "--no-install", "next", "build")
	return app
}

// A team's Next.js application, built from the examples and the packed client: a visitor generates an
// image with fal's own client, and the application's route receives what gaff forwards.
func TestAcceptanceNextApplication(t *testing.T) {
	app := buildNextApplication(t)
	appAddr, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	addr, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	_, _, settings := playFal(t, addr, standin.Options{Queue: 50 * time.Millisecond})
	dir := t.TempDir()
	config := fmt.Sprintf("destinations:\n  app: {url: %q, events: [\"gaff:job.*\"], first_wait: 1s, secrets: [\"env:NEW\"]}\n", "http://"+appAddr+"/api/gaff")
	if err := os.WriteFile(filepath.Join(dir, "gaff.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	g, err := serve(dir, environment(dir, addr, append(settings, "NEW="+newSecret)...), addr)
	if err != nil {
		t.Fatal(err)
	}
	defer g.kill()

	data := filepath.Join(t.TempDir(), "data.json")
	host, port, _ := strings.Cut(appAddr, ":")
	next := exec.Command("node", filepath.Join("node_modules", "next", "dist", "bin", "next"), "start", "-H", host, "-p", port)
	next.Dir = app
	next.Env = append(os.Environ(), "NEXT_TELEMETRY_DISABLED=1", "APP_DATA="+data, "GAFF_SECRET="+newSecret, "GAFF_URL="+g.url, "GAFF_TOKEN="+adminToken)
	next.Stdout, next.Stderr = g.log, g.log
	if err := next.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = next.Process.Kill()
		_ = next.Wait()
		if t.Failed() {
			t.Log(g.log.String())
		}
	})
	appURL := "http://" + appAddr
	eventually.True(t, "the application answers", func() bool {
		res, err := http.Post(appURL+"/api/gaff", "application/json", strings.NewReader("{}"))
		if err != nil {
			return false
		}
		res.Body.Close()
		return res.StatusCode == http.StatusUnauthorized
	})

	visit := func(cookie string) (out struct {
		RequestID      string
		Images, Status int
		Message        string
	}) {
		t.Helper()
		said := runIn(t, app, []string{"APP_URL=" + appURL, "APP_COOKIE=" + cookie}, "node", "page.mjs")
		if err := json.Unmarshal([]byte(said), &out); err != nil {
			t.Fatalf("%v in %q", err, said)
		}
		return out
	}
	t.Run("visitor without a session is rejected", func(t *testing.T) {
		if out := visit(""); out.Status != http.StatusUnauthorized {
			t.Errorf("answered %d %s, want 401", out.Status, out.Message)
		}
	})
	t.Run("visitor generates an image", func(t *testing.T) {
		if out := visit("user=anna"); out.Images == 0 {
			t.Errorf("got %+v, want an image", out)
		}
	})
	t.Run("edge route verifies deliveries and calls the API", func(t *testing.T) {
		for body, want := range map[string]int{
			`{"id":"evt_1","source":"gaff","type":"test"}`:                                http.StatusOK,
			`{"id":"evt_1","source":"gaff","type":"` + strings.Repeat("x", 20_000) + `"}`: http.StatusRequestEntityTooLarge,
		} {
			now := time.Now().Unix()
			signature, err := client.Sign(newSecret, "dlv_1", now, []byte(body))
			if err != nil {
				t.Fatal(err)
			}
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, appURL+"/api/edge", strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Webhook-Id", "dlv_1")
			req.Header.Set("Webhook-Timestamp", fmt.Sprint(now))
			req.Header.Set("Webhook-Signature", signature)
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			text, _ := io.ReadAll(res.Body)
			res.Body.Close()
			if res.StatusCode != want {
				t.Errorf("a body of %d bytes is answered %d %s, want %d", len(body), res.StatusCode, text, want)
			}
		}
	})
	t.Run("application stores the media of the session's project", func(t *testing.T) {
		var got savedFile
		eventually.True(t, "the application has stored media", func() bool {
			text, err := os.ReadFile(data)
			return err == nil && json.Unmarshal(text, &got) == nil && len(got.Saved) == 1 && len(got.Saved[0].Media) > 0
		})
		if got.Saved[0].ProjectID != "anna-album" {
			t.Errorf("stored for project %q, want anna-album", got.Saved[0].ProjectID)
		}
	})
}
