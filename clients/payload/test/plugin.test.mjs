// The plugin in a real Payload with SQLite, against a stand-in for the gateway. Payload and the packages are installed beside it.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { signWebhook } from "@gaff/client";
import { gaffPlugin, startRun, submitJob } from "@gaff/payload";
import { sqliteAdapter } from "@payloadcms/db-sqlite";
import { buildConfig, getPayload, handleEndpoints } from "payload";

// Databases with equal tables are several here: Payload would create the tables of the first only.
process.env.PAYLOAD_FORCE_DRIZZLE_PUSH = "true";
const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const dir = mkdtempSync(join(tmpdir(), "gaff-plugin-"));

const requests = [];
let answers = {};
const server = createServer(async (request, response) => {
  let body = "";
  for await (const chunk of request) body += chunk;
  requests.push({ method: request.method, url: request.url, body: body && JSON.parse(body) });
  const answer = answers[`${request.method} ${request.url.split("?")[0]}`] ?? { status: 404, json: { title: "Not Found" } };
  if (answer.bytes) return response.writeHead(200, { "content-type": answer.type }).end(answer.bytes);
  response.writeHead(answer.status ?? 200, { "content-type": "application/json" }).end(JSON.stringify(answer.json));
}).listen(0, "127.0.0.1");
await new Promise((resolve) => server.once("listening", resolve));
const url = `http://127.0.0.1:${server.address().port}`;

const calls = [];
let fail = false;
const hook = (name) => async (args) => {
  calls.push([name, args.job?.id ?? args.run?.runId, args.document?.id ?? null]);
  await args.req.payload.create({ collection: "notes", data: { text: name }, req: args.req });
  if (fail) throw new Error("the hook failed");
};

async function start(name, options, more = {}) {
  const config = await buildConfig({
    secret: "test",
    db: sqliteAdapter({ client: { url: `file:${join(dir, name)}.db` }, transactionOptions: {} }),
    telemetry: false,
    typescript: { autoGenerate: false },
    collections: [
      { slug: "scenes", access: { read: () => true }, fields: [{ name: "title", type: "text" }] },
      { slug: "notes", fields: [{ name: "text", type: "text" }] },
      ...(more.collections ?? []),
    ],
    plugins: [gaffPlugin({ url, token: "t", secrets: secret, jobs: { scenes: true }, ...options })],
  });
  return { config, payload: await getPayload({ config, key: name }) };
}

const { config, payload } = await start("plugin", { onJobCompleted: hook("completed"), onJobFailed: hook("failed"), onJobStored: hook("stored"), onRun: hook("run") });
after(() => {
  server.close();
  server.closeAllConnections();
  setTimeout(() => process.exit(), 100).unref(); // the database has no end
});

let deliveries = 0;
async function deliver(event, { id = `dlv_${++deliveries}`, to = config, key = "plugin" } = {}) {
  const body = JSON.stringify({ id: "evt_1", source: "gaff", timestamp: "2026-11-29T12:00:00Z", data: {}, event: {}, job: null, media: [], ...event });
  const headers = await signWebhook(secret, id, body);
  return handleEndpoints({ config: to, payloadInstanceCacheKey: key, request: new Request("http://localhost/api/gaff/events", { method: "POST", body, headers }) });
}

const job = (id, document, status = "completed", more = {}) => ({
  type: `job.${status}`, data: { jobId: id, status },
  job: { id, status, error: status === "failed" ? "no luck" : null, result: { images: [] }, settledAt: "2026-11-29T12:00:00.000Z", metadata: { collection: "scenes", documentId: document }, ...more },
});
const scene = () => payload.create({ collection: "scenes", data: { title: "a" } });
const read = (id) => payload.findByID({ collection: "scenes", id });
const count = async (collection) => (await payload.count({ collection })).totalDocs;

test("a completed job is written to its document, and the hook is called with it", async () => {
  const { id } = await scene();
  assert.equal((await deliver(job("job_1", String(id)))).status, 204);
  const { gaff } = await read(id);
  assert.deepEqual([gaff.status, gaff.jobId, gaff.result], ["completed", "job_1", { images: [] }]);
  assert.deepEqual(calls.at(-1), ["completed", "job_1", id]);
});

test("a failed job has its error", async () => {
  const { id } = await scene();
  await deliver(job("job_2", id, "failed"));
  const { gaff } = await read(id);
  assert.deepEqual([gaff.status, gaff.message], ["failed", "no luck"]);
  assert.equal(calls.at(-1)[0], "failed");
});

test("the end of a job's copies calls its hook, and leaves the status", async () => {
  const { id } = await scene();
  await deliver({ ...job("job_s", id), type: "job.stored", data: { jobId: "job_s", files: 1, stored: 1, failed: [] } });
  assert.deepEqual([calls.at(-1), (await read(id)).gaff?.status ?? null], [["stored", "job_s", id], null]);
});

test("submitJob shows the job, and the end of an older one does not change it", async () => {
  const { id } = await scene();
  answers = { "POST /api/v1/jobs": { status: 202, json: { id: "job_new", status: "queued" } } };
  await submitJob(payload, { collection: "scenes", id }, { provider: "fal", model: "m", metadata: { own: 1 } });
  assert.deepEqual(requests.at(-1).body.metadata, { own: 1, collection: "scenes", documentId: id });
  await deliver(job("job_old", id));
  assert.deepEqual([(await read(id)).gaff.status, (await read(id)).gaff.jobId], ["queued", "job_new"]);
  await deliver(job("job_new", id));
  assert.equal((await read(id)).gaff.status, "completed");
});

test("a run changes its document, its jobs do not, and its end stays", async () => {
  const { id } = await scene();
  answers = { "POST /api/v1/runs": { json: { id: "run_1", status: "running" } }, "GET /api/v1/runs/run_1": { json: { id: "run_1", status: "running" } } };
  await startRun(payload, { collection: "scenes", id }, { workflow: "w" });
  await deliver({ ...job("job_3", id), data: { jobId: "job_3", status: "completed", runId: "run_1" } });
  assert.equal((await read(id)).gaff.status, "processing");
  await deliver({ type: "run.completed", data: { runId: "run_1", status: "completed" } });
  await deliver({ type: "run.approval_wanted", data: { runId: "run_1", status: "running", message: "?" } });
  assert.equal((await read(id)).gaff.status, "completed");
});

test("a run that ended before its id was stored is not missed", async () => {
  const { id } = await scene();
  answers = { "POST /api/v1/runs": { json: { id: "run_2", status: "running" } }, "GET /api/v1/runs/run_2": { json: { id: "run_2", status: "failed", error: "no key" } } };
  await startRun(payload, { collection: "scenes", id }, { workflow: "w" });
  assert.deepEqual([(await read(id)).gaff.status, (await read(id)).gaff.message], ["failed", "no key"]);
});

test("a failed hook leaves nothing behind, and the next attempt does the work once", async () => {
  const { id } = await scene();
  const notes = await count("notes");
  fail = true;
  assert.equal((await deliver(job("job_4", id), { id: "dlv_same" })).status, 500);
  assert.deepEqual([await count("notes"), (await read(id)).gaff?.status ?? null], [notes, null]);
  fail = false;
  const statuses = await Promise.all([1, 2, 3].map(() => deliver(job("job_4", id), { id: "dlv_same" }).then((response) => response.status)));
  assert.deepEqual(statuses, [204, 204, 204]);
  assert.equal((await deliver(job("job_4", id), { id: "dlv_same" })).status, 204);
  assert.equal(await count("notes"), notes + 1);
});

test("an unknown collection in the metadata of a job is no document", async () => {
  assert.equal((await deliver(job("job_5", 1, "completed", { metadata: { collection: "gaff-deliveries", documentId: 1 } }))).status, 204);
  assert.deepEqual(calls.at(-1), ["completed", "job_5", null]);
});

test("a forged, a changed and a too large event are rejected", async () => {
  const post = (body, headers) => handleEndpoints({ config, payloadInstanceCacheKey: "plugin", request: new Request("http://localhost/api/gaff/events", { method: "POST", body, headers }) });
  assert.equal((await post("{}", {})).status, 401);
  assert.equal((await post("{ }", await signWebhook(secret, "dlv_f", "{}"))).status, 401);
  const large = " ".repeat(9 << 20);
  assert.equal((await post(large, await signWebhook(secret, "dlv_l", large))).status, 413);
});

const file = (id) => ({ type: "media.stored", data: { mediaId: id }, media: [{ id, jobId: "job_1", mediaType: "generated-image", projectId: "p", contentType: "image/png", size: 3, url: "https://f.example/a.png", metadata: { width: 2 } }] });

test("a file has one row with a stable URL, however often it is stored", async () => {
  await deliver(file("med_1"));
  await deliver(file("med_1"));
  const page = await payload.find({ collection: "media" });
  assert.deepEqual(page.docs.map((row) => [row.url, row.gaffId, row.metadata.width]), [["/api/gaff/media/med_1", "med_1", 2]]);
});

test("the stable URL is for those who may read the row", async () => {
  const get = (of, key, id) => handleEndpoints({ config: of, payloadInstanceCacheKey: key, request: new Request(`http://localhost/api/gaff/media/${id}`) });
  answers = { "GET /api/v1/media/med_1": { json: { id: "med_1", url: "https://f.example/a.png", storedUrl: `${url}/media/med_1/file?signature=s` } } };
  assert.equal((await get(config, "plugin", "med_1")).status, 404);
  assert.equal((await get(config, "plugin", "med_none")).status, 404);
  const open = await start("open", {}, { collections: [{ slug: "media", access: { read: () => true }, fields: [] }] });
  await deliver(file("med_1"), { to: open.config, key: "open" });
  const response = await get(open.config, "open", "med_1");
  assert.deepEqual([response.status, response.headers.get("location")], [302, `${url}/media/med_1/file?signature=s`]);
});

test("with permanent links the row has one, and it is made only once", async () => {
  const linked = await start("linked", { media: { links: "gaff" } });
  answers = { "POST /api/v1/media/med_4/link": { json: { id: "med_4", linkUrl: `${url}/files/t4` } } };
  await deliver(file("med_4"), { to: linked.config, key: "linked" });
  const sent = requests.length;
  const event = file("med_5");
  event.media[0].linkUrl = `${url}/files/t5`;
  await deliver(event, { to: linked.config, key: "linked" });
  assert.equal(requests.length, sent);
  const { docs } = await linked.payload.find({ collection: "media", sort: "gaffId" });
  assert.deepEqual(docs.map((row) => row.url), [`${url}/files/t4`, `${url}/files/t5`]);
});

test("webhook logs cannot be changed", async () => {
  await assert.rejects(payload.create({ collection: "webhook-logs", data: { id: "x", webhookId: "x" } }), /not changed/);
  await assert.rejects(payload.delete({ collection: "webhook-logs", where: { id: { equals: "evt_1" } } }), /not changed/);
});

test("webhook logs are asked for with Payload's conditions, and an error of the gateway is passed on", async () => {
  const log = { id: "evt_1", webhookId: "w", source: "fal", type: "t", status: "error", data: {}, createdAt: "2026-11-29T12:00:00Z", updatedAt: "2026-11-29T12:00:00Z" };
  answers = { "GET /api/v1/webhooks/manage": { json: { docs: [log], totalDocs: 1, limit: 10, page: 1, totalPages: 1 } }, "GET /api/v1/webhooks/manage/evt_1": { json: log }, "GET /api/v1/webhooks/manage/count": { json: { totalDocs: 7 } } };
  const where = { or: [{ and: [{ source: { in: ["fal", "a,b"] } }, { status: { equals: "error" } }] }] };
  assert.equal((await payload.find({ collection: "webhook-logs", where, sort: ["-processedAt", "source"], limit: 1000 })).docs[0].id, "evt_1");
  const query = Object.fromEntries(new URL(requests.at(-1).url, url).searchParams);
  assert.deepEqual(query, { "where[and][0][source][in][0]": "fal", "where[and][0][source][in][1]": "a,b", "where[and][1][status][equals]": "error", sort: "-processedAt,source", limit: "500" });
  assert.equal((await payload.findByID({ collection: "webhook-logs", id: "evt_1" })).webhookId, "w");
  assert.equal((await payload.count({ collection: "webhook-logs" })).totalDocs, 7);
  answers = { "GET /api/v1/webhooks/manage": { status: 400, json: { error: "sort is wrong", errors: [{ message: "sort is wrong" }] } } };
  await assert.rejects(payload.find({ collection: "webhook-logs" }), (error) => error.status === 400 && /sort is wrong/.test(error.message));
  answers = { "GET /api/v1/webhooks/manage": { status: 401, json: { title: "Unauthorized" } } };
  await assert.rejects(payload.find({ collection: "webhook-logs" }), (error) => error.status === 502);
});

test("a collection with uploads gets the file, and one that is too large is an error", async () => {
  const other = await start("upload", { media: { maxFileBytes: 10 } }, { collections: [{ slug: "media", upload: { staticDir: join(dir, "files") }, fields: [] }] });
  answers = { "GET /api/v1/media/med_2/file": { bytes: Buffer.from("abc"), type: "text/plain" }, "GET /api/v1/media/med_3/file": { bytes: Buffer.alloc(11), type: "text/plain" } };
  assert.equal((await deliver(file("med_2"), { to: other.config, key: "upload" })).status, 204);
  assert.equal((await deliver(file("med_3"), { to: other.config, key: "upload" })).status, 500);
  const { docs } = await other.payload.find({ collection: "media" });
  assert.deepEqual(docs.map((row) => [row.gaffId, row.filesize, row.filename]), [["med_2", 3, "med_2.bin"]]);
});
