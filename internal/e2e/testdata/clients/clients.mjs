// Runs the operations of official clients against a gateway, and prints one JSON line for each: client,
// operation, and what went wrong. Settings: GAFF_URL, GAFF_TOKEN, GAFF_SECRET, and PORT for the receiver to
// which the gateway forwards.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { once } from "node:events";
import { createFalClient } from "@fal-ai/client";
import * as legacy from "@fal-ai/serverless-client";
import { createFal } from "@ai-sdk/fal";
import { generateImage, generateSpeech, transcribe, experimental_generateVideo as generateVideo } from "ai";
import { HTTP } from "cloudevents";
import OpenAI from "openai";
import { validateWebhook } from "replicate";
import { Webhook as Standard } from "standardwebhooks";
import { Webhook as Svix } from "svix";

const { GAFF_URL: gaff, GAFF_TOKEN: token, GAFF_SECRET: secret } = process.env;
const version = (name) => JSON.parse(readFileSync(`node_modules/${name}/package.json`, "utf8")).version;
const want = (ok, what) => {
  if (!ok) throw new Error(what);
};

// measure runs an operation; a promise that does not end is a failure, too.
async function measure(client, operation, run) {
  let error = null;
  try {
    await Promise.race([run(), new Promise((_, reject) => setTimeout(() => reject(new Error("no end after 40 s")), 40_000).unref())]);
  } catch (e) {
    if (process.env.TRACE) console.error(client, operation, e, e?.responseBody);
    error = String(e?.message ?? e).slice(0, 300);
  }
  console.log(JSON.stringify({ client: `${client} ${version(client)}`, operation, error }));
}

const model = "fal-ai/flux/dev";
const quick = (prompt, more = {}) => ({ prompt, standin: { seconds: 0.2, ...more } });

async function falClient(name, fal, images) {
  let id;
  await measure(name, "queue.submit", async () => {
    id = (await fal.queue.submit(model, { input: quick("a") })).request_id;
    want(id, "no request_id");
  });
  await measure(name, "queue.status", async () => {
    for (;;) {
      const { status } = await fal.queue.status(model, { requestId: id, logs: true });
      if (status === "COMPLETED") return;
      await new Promise((r) => setTimeout(r, 50));
    }
  });
  await measure(name, "queue.result", async () => want(images(await fal.queue.result(model, { requestId: id })), "no image"));
  await measure(name, "subscribe", async () => want(images(await fal.subscribe(model, { input: quick("b"), pollInterval: 100 })), "no image"));
  await measure(name, "queue.cancel", async () => {
    const slow = await fal.queue.submit(model, { input: quick("c", { seconds: 60 }) });
    await fal.queue.cancel(model, { requestId: slow.request_id });
  });
  await measure(name, "run", async () => want(images(await fal.run(model, { input: quick("d") })), "no image"));
  await measure(name, "stream", async () => {
    const stream = await fal.stream(model, { input: quick("e") });
    let events = 0;
    for await (const _ of stream) events++;
    want(events > 0 && (await stream.done()), "no event");
  });
  await measure(name, "ValidationError", async () => {
    const e = await fal.subscribe(model, { input: quick("f", { fault: "error-model" }), pollInterval: 100 }).catch((e) => e);
    want(e.name === "ValidationError" && e.status === 422, `${e.name} ${e.status}`);
  });
}

await falClient("@fal-ai/client", createFalClient({ credentials: token, proxyUrl: { url: gaff + "/api/fal/proxy", when: "always" } }), (r) => r.data.images?.length);

// The legacy client uses a proxy in browsers only; on a server a fetch names the target.
const viaGaff = (input, init) => {
  const url = input instanceof Request ? input.url : String(input);
  if (!/^https:\/\/(queue\.|gateway\.)?(fal\.run|alpha\.fal\.ai)\//.test(url)) return fetch(input, init);
  const headers = new Headers(init?.headers);
  headers.set("authorization", `Bearer ${token}`);
  headers.set("x-fal-target-url", url);
  return fetch(gaff + "/api/fal/proxy", { ...init, headers });
};
legacy.config({ credentials: "unused", fetch: viaGaff });
await falClient("@fal-ai/serverless-client", legacy, (r) => r.images?.length);

// The AI SDK downloads no file of this machine. So the stand-in's files get the name of another host, for which
// this fetch stands in.
const { fetch: direct } = globalThis;
const [here, there] = [process.env.STANDIN_URL, "http://files.example"];
globalThis.fetch = async (input, init) => {
  const url = (input instanceof Request ? input.url : String(input)).replace(there, here);
  const response = await direct(url, init);
  if (!response.headers.get("content-type")?.includes("json")) return response;
  const headers = new Headers(response.headers);
  for (const name of ["content-length", "content-encoding"]) headers.delete(name);
  return new Response((await response.text()).replaceAll(here, there), { status: response.status, headers });
};
const byBase = createFal({ apiKey: token, baseURL: gaff + "/api/fal/run" });
const byFetch = createFal({ apiKey: "unused", fetch: viaGaff });
await measure("@ai-sdk/fal", "generateImage, base URL", async () => want((await generateImage({ model: byBase.image(model), prompt: "a dog" })).image.uint8Array.length, "no image"));
await measure("@ai-sdk/fal", "generateImage, fetch", async () => want((await generateImage({ model: byFetch.image(model), prompt: "a dog" })).image.uint8Array.length, "no image"));
await measure("@ai-sdk/fal", "generateSpeech, fetch", async () => want((await generateSpeech({ model: byFetch.speech("fal-ai/minimax/speech-02-hd"), text: "a dog" })).audio.uint8Array.length, "no sound"));
await measure("@ai-sdk/fal", "generateVideo, fetch", async () => want((await generateVideo({ model: byFetch.video("fal-ai/kling-video/v2.5-turbo/pro/text-to-video"), prompt: "a dog" })).video.uint8Array.length, "no video"));
await measure("@ai-sdk/fal", "transcribe, fetch", async () => want((await transcribe({ model: byFetch.transcription("whisper"), audio: new Uint8Array(100) })).text, "no text"));

// Receivers: gaff forwards one event in three formats, and each library verifies or parses it.
const arrived = new Map();
const server = createServer(async (req, res) => {
  const chunks = [];
  for await (const chunk of req) chunks.push(chunk);
  arrived.set(req.url, { headers: req.headers, body: Buffer.concat(chunks).toString("utf8") });
  server.emit("event");
  res.statusCode = 204;
  res.end();
});
server.listen(process.env.PORT, "127.0.0.1");
await once(server, "listening");
await createFalClient({ credentials: token, proxyUrl: { url: gaff + "/api/fal/proxy", when: "always" } }).queue.submit(model, { input: quick("forwarded") });
const received = async (path) => {
  while (!arrived.has(path)) await once(server, "event");
  return arrived.get(path);
};
const verifier = async (client, verify) => {
  await measure(client, "verify", async () => {
    const { headers, body } = await received("/envelope");
    want(await verify(body, headers), "not verified");
  });
  await measure(client, "reject a changed body", async () => {
    const { headers, body } = await received("/envelope");
    const accepted = await Promise.resolve().then(() => verify(body + " ", headers)).catch(() => false);
    want(!accepted, "accepted");
  });
};
await verifier("svix", (body, headers) => new Svix(secret).verify(body, headers));
await verifier("standardwebhooks", (body, headers) => new Standard(secret).verify(body, headers));
await verifier("replicate", (body, headers) => validateWebhook({ id: headers["webhook-id"], timestamp: headers["webhook-timestamp"], signature: headers["webhook-signature"], body, secret }));
await verifier("openai", (body, headers) => new OpenAI({ apiKey: "unused", webhookSecret: secret }).webhooks.unwrap(body, headers));
for (const path of ["/structured", "/binary"]) {
  await measure("cloudevents", `toEvent, ${path.slice(1)}`, async () => {
    const event = HTTP.toEvent(await received(path));
    want(event.validate() && event.type === "gaff.job.completed" && event.data.job.status === "completed", `type ${event.type}`);
  });
}
process.exit(0);
