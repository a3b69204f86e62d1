//go:build acceptance

package e2e

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// reactProgram shows a job by the hook, in strict mode: React then runs each effect twice. It prints what
// the component rendered, and whether its removal ended the stream of a second job that has no end.
const reactProgram = `
import { Gaff } from "@gaff/client";
import { useJob, type JobState } from "@gaff/client/react";
import { createElement, StrictMode } from "react";
import { create } from "react-test-renderer";

async function main() {
  const gaff = new Gaff();
  const streams: AbortSignal[] = [];
  const real = globalThis.fetch;
  globalThis.fetch = (input, init) => {
    if (String(input).includes("/api/v1/stream") && init?.signal) streams.push(init.signal);
    return real(input, init);
  };
  const { id } = await gaff.jobs.submit({ provider: "fal", model: "fal-ai/flux/dev", input: { prompt: "a dog" } });
  let asked = 0;
  const access = async () => {
    asked++;
    const { token } = await gaff.call("create-token", { body: { jobId: id } });
    return { url: process.env["GAFF_URL"]!, token };
  };
  const seen: JobState[] = [];
  const Picture = ({ id }: { id: string }) => {
    seen.push(useJob(id, access));
    return null;
  };
  const renderer = create(createElement(StrictMode, null, createElement(Picture, { id })));
  const until = async (ok: () => boolean) => { while (!ok()) await new Promise((resolve) => setTimeout(resolve, 20)); };
  await until(() => seen.at(-1)?.job?.status === "completed");
  const last = seen.at(-1)!;
  const first = seen[0]!;
  await until(() => streams.every((signal) => signal.aborted));

  renderer.update(createElement(StrictMode, null, createElement(Picture, { id: "nobody" })));
  await until(() => seen.at(-1)?.error !== null);
  const unknown = seen.at(-1)!;

  const open = await gaff.jobs.submit({ provider: "fal", model: "fal-ai/flux/dev", input: { prompt: "a dog", standin: { seconds: 600 } } });
  renderer.update(createElement(StrictMode, null, createElement(Picture, { id: open.id })));
  const before = streams.length;
  await until(() => streams.length > before);
  renderer.unmount();
  await until(() => streams.every((signal) => signal.aborted));
  console.log(JSON.stringify({
    first: first.job, progress: last.progress, images: (last.result as { images: unknown[] }).images.length > 0, error: last.error,
    unknown: unknown.job === null && unknown.error instanceof Error, asked: asked > 0,
  }));
  process.exit(0);
}
main().catch((error: unknown) => { console.error(error); process.exit(1); });
`

// The hook for a job, with React from npm in projects of both module systems.
func TestAcceptanceReactHook(t *testing.T) {
	for name, project := range projects {
		t.Run(name, func(t *testing.T) {
			g, archive := clientGateway(t)
			got := project.run(t, g.url, reactProgram, archive, "react@19.3.1", "react-test-renderer@19.3.1", "@types/react@19", "@types/react-test-renderer@19")
			want := map[string]any{"first": nil, "progress": 1.0, "images": true, "error": nil, "unknown": true, "asked": true}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
