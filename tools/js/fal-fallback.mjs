// What an application does that was written for fal alone: it knows nothing of candidates and budgets.
// It prints how each of its calls ended.
import { fal } from "@fal-ai/client";

fal.config({
  credentials: process.env.GAFF_TOKEN,
  proxyUrl: { url: process.env.GAFF_PROXY, when: "always" },
});

async function picture(input) {
  try {
    const seen = [];
    const { data, requestId } = await fal.subscribe("fal-ai/flux/dev", { input, pollInterval: 200, onQueueUpdate: (u) => seen.push(u.status) });
    return { requestId, images: data.images.map((image) => image.url), last: seen.at(-1) };
  } catch (e) {
    return { name: e.name, status: e.status ?? 0, detail: e.body?.detail ?? String(e) };
  }
}

const out = [];
out.push(await picture({ prompt: "a lighthouse" }));
out.push(await picture({ prompt: "a harbour", standin: { fault: "error-model" } }));
out.push(await picture({ prompt: "a whale" }));
console.log(JSON.stringify(out));
