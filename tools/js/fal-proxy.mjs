// Uses @fal-ai/client as an application does, through gaff's proxy, and prints what came of
// it as one JSON object. Settings: GAFF_PROXY, GAFF_TOKEN.
import { createServer } from "node:http";
import { once } from "node:events";
import { createFalClient } from "@fal-ai/client";

const fal = createFalClient({
  credentials: process.env.GAFF_TOKEN,
  proxyUrl: { url: process.env.GAFF_PROXY, when: "always" },
});
const model = "fal-ai/flux/dev";
const input = (prompt, standin = {}) => ({ prompt, standin: { seconds: 0.2, ...standin } });
const out = {};

// submit, status, result
const { request_id, status_url } = await fal.queue.submit(model, {
  input: input("submitted"),
  headers: { "X-Gaff-Project": "film-1", "X-Gaff-User": "anna", "X-Gaff-Kind": "image" },
});
out.requestId = request_id;
out.statusUrl = status_url;
out.statuses = [];
for (;;) {
  const s = await fal.queue.status(model, { requestId: request_id, logs: true });
  if (out.statuses.at(-1) !== s.status) out.statuses.push(s.status);
  if (s.status === "COMPLETED") break;
  await new Promise((r) => setTimeout(r, 50));
}
const result = await fal.queue.result(model, { requestId: request_id });
out.images = result.data.images.length;
out.resultId = result.requestId;

// subscribe with a webhook of the application's own
const hooks = createServer((req, res) => {
  let body = "";
  req.on("data", (part) => (body += part));
  req.on("end", () => {
    hooks.emit("webhook", { headers: req.headers, body });
    res.end("{}");
  });
});
hooks.listen(0, "127.0.0.1");
await once(hooks, "listening");
const arrived = once(hooks, "webhook");
const subscribed = await fal.subscribe(model, {
  input: input("subscribed"),
  webhookUrl: `http://127.0.0.1:${hooks.address().port}/app?x=1`,
  // Not before the webhook has come: an answer that is polled settles the job too, and its
  // callback is then one of gaff's own.
  pollInterval: 1500,
});
out.subscribed = { requestId: subscribed.requestId, images: subscribed.data.images.length };
const [webhook] = await arrived;
out.webhook = { headers: webhook.headers, body: webhook.body };
hooks.close();

// cancel
const slow = await fal.queue.submit(model, { input: input("cancelled", { seconds: 60 }) });
await fal.queue.cancel(model, { requestId: slow.request_id });
out.cancelled = slow.request_id;

// a failure of the model
try {
  await fal.subscribe(model, { input: input("refused", { fault: "error-model" }), pollInterval: 50 });
} catch (e) {
  out.refused = { name: e.name, status: e.status, type: e.body?.detail?.[0]?.type };
}

// fal takes the job and its answer is lost: the client must not repeat the submit
try {
  await fal.queue.submit(model, { input: input("lost answer", { fault: "unknown-outcome" }) });
} catch (e) {
  out.lost = { name: e.name, status: e.status, type: e.body?.error_type, job: e.body?.gaff_job_id };
}

// without a token
try {
  await createFalClient({ proxyUrl: { url: process.env.GAFF_PROXY, when: "always" }, credentials: "not a token" })
    .queue.submit(model, { input: input("stranger") });
} catch (e) {
  out.stranger = { status: e.status };
}
console.log(JSON.stringify(out));
