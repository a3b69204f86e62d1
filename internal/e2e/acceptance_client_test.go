//go:build acceptance

package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gaff/internal/standin"
)

// clientProgram is what an application does with the package: it submits a job, waits for it, reads its
// media, its event and the stream, starts nothing twice, and verifies a delivery. It prints what it saw.
// Each kind of project puts its own import before it.
const clientProgram = `
async function main() {
  const gaff = new Gaff();
  const stop = new AbortController();
  const streamed: string[] = [];
  const following = (async () => {
    for await (const change of gaff.stream({ kinds: ["job"], signal: stop.signal })) {
      if (change.kind === "job") streamed.push(change.data.status);
    }
  })();
  const submitted = await gaff.jobs.submit({ provider: "fal", model: "fal-ai/flux/dev", input: { prompt: "a dog" }, projectId: "p1", idempotencyKey: "k1" });
  const again = await gaff.jobs.submit({ provider: "fal", model: "fal-ai/flux/dev", input: { prompt: "a dog" }, projectId: "p1", idempotencyKey: "k1" });
  const job: JobDetail = await gaff.jobs.wait(submitted.id, { timeoutMs: 60_000 });
  const media: Media[] = [];
  for await (const file of gaff.media.all({ jobId: job.id })) media.push(file);
  const events = await gaff.events.list({ source: "fal" });
  const missing = await gaff.jobs.get("nobody").catch((error: unknown) => (error instanceof GaffError ? error.status : 0));
  while (!streamed.includes("completed")) await new Promise((resolve) => setTimeout(resolve, 50));
  stop.abort();
  await following;

  const body = JSON.stringify({ id: "evt_1", source: "gaff", type: "job.completed", job: { id: job.id }, media: [] });
  const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
  const kinds: string[] = [];
  const handler = receive({ secrets: secret }, new Router().on("gaff:job.completed", (event) => void kinds.push(event.job.id === job.id ? event.type : "")).handle);
  const delivered = await handler(new Request("http://app/gaff", { method: "POST", body, headers: await signWebhook(secret, "dlv_1", body) }));
  const forged = await handler(new Request("http://app/gaff", { method: "POST", body: body + " ", headers: await signWebhook(secret, "dlv_1", body) }));
  console.log(JSON.stringify({
    status: job.status, same: again.id === submitted.id, result: (job.result as { images: unknown[] }).images.length > 0, media: media.length > 0,
    event: events.docs[0]?.type, missing, streamed: streamed.at(-1), delivered: delivered.status, forged: forged.status, kinds,
  }));
}
main().catch((error: unknown) => { console.error(error); process.exit(1); });
`

// project is a kind of TypeScript project.
type project struct{ extension, manifest string }

var projects = map[string]project{
	"ES modules": {"m", `{"name":"app","private":true,"type":"module"}`},
	"CommonJS":   {"c", `{"name":"app","private":true,"type":"commonjs"}`},
}

// run compiles a program as strictly as TypeScript can, after npm has installed the packages, runs it
// against a gateway, and returns the JSON document that it prints last.
func (p project) run(t *testing.T, gateway, program string, packages ...string) (printed map[string]any) {
	t.Helper()
	app := t.TempDir()
	config := `{"compilerOptions":{"target":"es2022","lib":["es2023","dom","dom.iterable","dom.asynciterable"],"module":"nodenext","strict":true,"exactOptionalPropertyTypes":true,
		"noUncheckedIndexedAccess":true,"skipLibCheck":false,"outDir":"out","types":[]},"include":["*.mts","*.cts"]}`
	const node = "declare const process: { exit(code: number): never; env: Record<string, string | undefined> };\n"
	for name, text := range map[string]string{"package.json": p.manifest, "tsconfig.json": config, "main." + p.extension + "ts": node + program} {
		if err := os.WriteFile(filepath.Join(app, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	runIn(t, app, nil, "npm", append([]string{"install", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"}, packages...)...)
	tsc, err := filepath.Abs(filepath.Join("..", "..", "tools", "js", "node_modules", ".bin", "tsc"))
	if err != nil {
		t.Fatal(err)
	}
	runNode(t, app, tsc, "-p", ".")
	out := runIn(t, app, []string{"GAFF_URL=" + gateway, "GAFF_TOKEN=" + adminToken}, "node", filepath.Join("out", "main."+p.extension+"js"))
	out = strings.TrimSpace(out)
	if err := json.Unmarshal([]byte(out[strings.LastIndex(out, "\n")+1:]), &printed); err != nil { // warnings come before it
		t.Fatalf("%v in %q", err, out)
	}
	return printed
}

// clientGateway is a gateway with a stand-in for fal, the archive of the packed client.
func clientGateway(t *testing.T) (g *gateway, archive string) {
	t.Helper()
	root, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	runIn(t, root, nil, filepath.Join("tools", "test-setup.sh"))
	addr, err := freeAddr()
	if err != nil {
		t.Fatal(err)
	}
	_, _, settings := playFal(t, addr, standin.Options{Queue: 50 * time.Millisecond})
	if g, err = serve(t.TempDir(), environment(t.TempDir(), addr, settings...), addr); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.kill)
	return g, packClient(t)
}

// The packed client, installed by npm in projects of both module systems, against the real gateway.
func TestAcceptanceClientPackage(t *testing.T) {
	const names = "Gaff, GaffError, receive, Router, signWebhook"
	imports := map[string]string{
		"ES modules": "import { " + names + ", type JobDetail, type Media } from \"@gaff/client\";\n",
		"CommonJS":   "import client = require(\"@gaff/client\");\nimport type { JobDetail, Media } from \"@gaff/client\";\nconst { " + names + " } = client;\n",
	}
	for name, project := range projects {
		t.Run(name, func(t *testing.T) {
			g, archive := clientGateway(t)
			want := map[string]any{
				"status": "completed", "same": true, "result": true, "media": true, "event": "generation.completed", "missing": 404.0,
				"streamed": "completed", "delivered": 204.0, "forged": 401.0, "kinds": []any{"job.completed"},
			}
			if diff := cmp.Diff(want, project.run(t, g.url, imports[name]+clientProgram, archive)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// The example for FastAPI, with Debian's FastAPI and uvicorn, which make acceptance installs.
func TestAcceptanceExampleForFastAPI(t *testing.T) {
	app, err := filepath.Abs("../../examples/fastapi/app.py")
	if err != nil {
		t.Fatal(err)
	}
	src, err := filepath.Abs(filepath.Join(pythonClient, "src"))
	if err != nil {
		t.Fatal(err)
	}
	playExample(t, t.TempDir(), "env", "PYTHONPATH="+src, "PYTHONDONTWRITEBYTECODE=1", pythonWith(t, "fastapi", "uvicorn"), app)
}

// pythonWith returns a Python that has modules: that of the system has its packages.
func pythonWith(t *testing.T, modules ...string) string {
	t.Helper()
	for _, name := range []string{"/usr/bin/python3", "python3"} {
		if exec.Command(name, "-c", "import "+strings.Join(modules, ", ")).Run() == nil {
			return name
		}
	}
	t.Fatalf("no Python has %v: tools/test-setup.sh acceptance installs them", modules)
	return ""
}

// The example for Hono, with Hono from npm.
func TestAcceptanceExampleForHono(t *testing.T) {
	dir := t.TempDir()
	text, err := os.ReadFile("../../examples/hono/server.mjs")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"server.mjs": string(text), "package.json": `{"private":true,"type":"module"}`} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	runIn(t, dir, nil, "npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", "hono@4", "@hono/node-server@1", packClient(t))
	playExample(t, dir, "node", "server.mjs")
}
