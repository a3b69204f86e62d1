// Receiving: verification, limits, router, once. Run by npm test after npm run build.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { test } from "node:test";
import { memoryStore, node, once, receive, Router, signWebhook, VerificationError, verifyCallback, verifyWebhook } from "@gaff/client";

const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const envelope = (source = "gaff", type = "job.completed") => JSON.stringify({ id: "evt_1", source, type, data: {}, job: { id: "job_1" }, media: [] });

async function delivery(body, { id = "dlv_1", key = secret, now, headers } = {}) {
  return new Request("http://app.example/gaff", { method: "POST", body, headers: { ...(await signWebhook(key, id, body, now)), ...headers } });
}

test("verifyWebhook accepts the vector of Standard Webhooks", async () => {
  const request = new Request("http://app.example/", {
    method: "POST",
    body: '{"test": 2432232314}',
    headers: { "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek", "webhook-timestamp": "1614265330", "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=" },
  });
  // It is authentic, but no envelope.
  await assert.rejects(verifyWebhook(request, { secrets: secret, now: 1614265330_000 }), /not an envelope/);
});

test("verifyWebhook returns the event and the delivery's id", async () => {
  const { deliveryId, event } = await verifyWebhook(await delivery(envelope()), { secrets: ["whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD", secret] });
  assert.equal(deliveryId, "dlv_1");
  assert.equal(event.job.id, "job_1");
});

for (const [name, make, status] of [
  ["another secret", () => delivery(envelope(), { key: "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD" }), 401],
  ["an old signature", () => delivery(envelope(), { now: Date.now() - 301_000 }), 401],
  ["a signature of the future", () => delivery(envelope(), { now: Date.now() + 302_000 }), 401],
  ["another id", () => delivery(envelope(), { headers: { "webhook-id": "dlv_2" } }), 401],
  ["no signature", async () => new Request("http://app.example/", { method: "POST", body: envelope() }), 401],
  ["a body over the limit", () => delivery(envelope() + " ".repeat(2000)), 413],
]) {
  test(`receive rejects ${name} with ${status}`, async () => {
    let called = false;
    const response = await receive({ secrets: secret, maxBodyBytes: 2000 }, () => void (called = true))(await make());
    assert.equal(response.status, status);
    assert.equal(called, false);
  });
}

test("verifyWebhook stops reading at the limit", async () => {
  let chunks = 0;
  const endless = new ReadableStream({ pull: (c) => (chunks++, c.enqueue(new Uint8Array(1000))) });
  const request = new Request("http://app.example/", { method: "POST", body: endless, duplex: "half" });
  await assert.rejects(verifyWebhook(request, { secrets: secret, maxBodyBytes: 10_000 }), (e) => e instanceof VerificationError && e.status === 413);
  assert.ok(chunks < 20, `${chunks} chunks were read`);
});

test("receive answers 204, and 500 with the error of a handler", async () => {
  const ok = await receive({ secrets: secret }, () => undefined)(await delivery(envelope()));
  assert.equal(ok.status, 204);
  const failed = await receive({ secrets: secret }, async () => Promise.reject(new Error("the database is gone")))(await delivery(envelope()));
  assert.deepEqual([failed.status, await failed.text()], [500, "the database is gone"]);
});

test("node answers like receive, and explains a parsed body", async (t) => {
  const handler = node({ secrets: secret, maxBodyBytes: 2000 }, () => undefined);
  const server = createServer((request, response) => {
    if (request.url === "/parsed") request.body = {};
    void handler(request, response);
  }).listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  t.after(() => server.close());
  const post = async (path, body) =>
    fetch(`http://127.0.0.1:${server.address().port}${path}`, { method: "POST", body, headers: await signWebhook(secret, "dlv_1", body) });
  assert.equal((await post("/", envelope())).status, 204);
  assert.equal((await post("/", envelope() + " ".repeat(2000))).status, 413);
  const parsed = await post("/parsed", envelope());
  assert.deepEqual([parsed.status, /before express.json/.test(await parsed.text())], [500, true]);
});

test("verifyCallback returns the body of fal's webhook", async () => {
  const body = JSON.stringify({ request_id: "r1", status: "OK", payload: { images: [] } });
  const headers = await signWebhook(secret, "cb_1", body);
  assert.equal((await verifyCallback(secret, headers, body)).body.request_id, "r1");
  await assert.rejects(verifyCallback(secret, headers, body.replace("r1", "r2")), VerificationError);
});

test("Router calls the handlers of the kind, in order", async () => {
  const called = [];
  const router = new Router()
    .on("fal", "generation.completed", () => called.push("fal"))
    .on("gaff:job.completed", async (event) => called.push("completed " + event.job.id))
    .on("gaff:job.*", () => called.push("job.*"))
    .on("a.b:c", () => called.push("a point is not a wildcard"))
    .otherwise(() => called.push("otherwise"));
  for (const [source, type] of [["fal", "generation.completed"], ["gaff", "job.completed"], ["gaff", "job.failed"], ["axb", "c"]]) {
    await router.handle(JSON.parse(envelope(source, type)), { id: "dlv_1" });
  }
  assert.deepEqual(called, ["fal", "completed job_1", "job.*", "job.*", "otherwise"]);
  assert.throws(() => new Router().on("fal", () => undefined), /source:type/);
  assert.throws(() => new Router().on("fal", "x"), /handler is missing/);
});

test("once marks a delivery after the work", async () => {
  const store = memoryStore();
  let worked = 0;
  let fails = true;
  const handle = once(store, async () => {
    if (fails) throw new Error("the database is gone");
    worked++;
  });
  const event = JSON.parse(envelope());
  await assert.rejects(handle(event, { id: "dlv_1" }), /database is gone/);
  fails = false;
  await Promise.all([handle(event, { id: "dlv_1" }), handle(event, { id: "dlv_1" })]);
  await handle(event, { id: "dlv_1" });
  assert.equal(worked, 1);
  await handle(event, { id: "dlv_2" });
  assert.equal(worked, 2);
});

test("memoryStore keeps the newest ids", () => {
  const store = memoryStore(2);
  for (const id of ["a", "b", "c"]) store.add(id);
  assert.deepEqual(["a", "b", "c"].map((id) => store.has(id)), [false, true, true]);
});
