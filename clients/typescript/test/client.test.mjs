// The API client, against a stand-in for the gateway.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { test } from "node:test";
import { Gaff, GaffError } from "@gaff/client";

async function gateway(t, answer) {
  const requests = [];
  const server = createServer(async (request, response) => {
    let body = "";
    for await (const chunk of request) body += chunk;
    requests.push({ method: request.method, url: request.url, headers: request.headers, body: body && JSON.parse(body) });
    await answer(request, response, requests.length);
  }).listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  t.after(() => (server.close(), server.closeAllConnections()));
  return { requests, gaff: new Gaff({ url: `http://127.0.0.1:${server.address().port}/`, token: "t0ken" }) };
}

const json = (response, document, status = 200, headers = {}) =>
  response.writeHead(status, { "content-type": status < 400 ? "application/json" : "application/problem+json", ...headers }).end(JSON.stringify(document));

test("jobs.submit sends the token and an idempotency key, and repeats the same request", async (t) => {
  const { gaff, requests } = await gateway(t, (_, response, n) => (n === 1 ? response.destroy() : json(response, { id: "job_1" }, 202)));
  assert.equal((await gaff.jobs.submit({ provider: "fal", model: "fal-ai/flux/dev" })).id, "job_1");
  assert.equal(requests.length, 2);
  assert.equal(requests[1].headers.authorization, "Bearer t0ken");
  assert.match(requests[0].body.idempotencyKey, /^[0-9a-f-]{36}$/);
  assert.equal(requests[1].body.idempotencyKey, requests[0].body.idempotencyKey);
});

test("a change without a key is sent once", async (t) => {
  const { gaff, requests } = await gateway(t, (_, response) => json(response, {}, 503));
  await assert.rejects(gaff.jobs.cancel("job_1"), GaffError);
  assert.equal(requests.length, 1);
});

test("a GET is repeated after Retry-After", async (t) => {
  const { gaff, requests } = await gateway(t, (_, response, n) => (n === 1 ? json(response, {}, 429, { "retry-after": "1" }) : json(response, { id: "med_1" })));
  assert.equal((await gaff.media.get("med_1")).id, "med_1");
  assert.equal(requests.length, 2);
});

test("a GaffError has the status and the problem", async (t) => {
  const { gaff } = await gateway(t, (_, response) => json(response, { title: "Not Found", detail: "no job x" }, 404));
  await assert.rejects(gaff.jobs.get("x/y"), (error) => error instanceof GaffError && error.status === 404 && /Not Found: no job x/.test(error.message) && error.problem.detail === "no job x");
});

test("paths are escaped, and an empty id or filter is an error before the request", async (t) => {
  const { gaff, requests } = await gateway(t, (_, response) => json(response, {}));
  await gaff.jobs.get("a/b?c");
  assert.equal(requests[0].url, "/api/v1/jobs/a%2Fb%3Fc");
  await assert.rejects(gaff.media.list({ projectId: "" }), /projectId is empty/);
  await assert.rejects(gaff.jobs.get(""), /id is empty/);
  assert.equal(requests.length, 1);
});

test("all reads every page", async (t) => {
  const { gaff, requests } = await gateway(t, (request, response) => {
    const cursor = new URL(request.url, "http://h").searchParams.get("cursor");
    json(response, cursor ? { docs: [{ id: "c" }], nextCursor: null } : { docs: [{ id: "a" }, { id: "b" }], nextCursor: "b" });
  });
  const ids = [];
  for await (const job of gaff.jobs.all({ status: "queued" })) ids.push(job.id);
  assert.deepEqual(ids, ["a", "b", "c"]);
  assert.equal(requests[1].url, "/api/v1/jobs?limit=500&status=queued&cursor=b");
});

test("a redirect is an error, and the token is not sent on", async (t) => {
  const { gaff, requests } = await gateway(t, (_, response) => response.writeHead(302, { location: "/elsewhere" }).end());
  await assert.rejects(gaff.jobs.get("x"), GaffError);
  assert.equal(requests.length, 1);
});

test("stream resumes after the last id, and drops half a message", async (t) => {
  const { gaff, requests } = await gateway(t, (_, response, n) => {
    response.writeHead(200, { "content-type": "text/event-stream" });
    if (n === 1) {
      response.write(': alive\nid: 40\n\nid: 41\r\nevent: job\r\nda');
      response.write('ta: {"id":"job_1","status":"queued"}\r\n\r\nid: 42\nevent: job\ndata: {"id":"lost"');
      return setTimeout(() => response.destroy(), 50);
    }
    response.write('id: 42\nevent: media\ndata: {"id":"med_1"}\n\n');
  });
  const stop = new AbortController();
  const changes = [];
  for await (const change of gaff.stream({ kinds: ["job", "media"], signal: stop.signal })) {
    changes.push([change.kind, change.id, change.data.id]);
    if (changes.length === 2) stop.abort();
  }
  assert.deepEqual(changes, [["job", "41", "job_1"], ["media", "42", "med_1"]]);
  assert.equal(requests[0].url, "/api/v1/stream?kinds=job%2Cmedia");
  assert.match(requests[1].url, /lastEventId=41/);
});

test("stream ends at an error that another attempt cannot mend", async (t) => {
  const { gaff, requests } = await gateway(t, (_, response) => json(response, { title: "Unauthorized" }, 401));
  await assert.rejects((async () => { for await (const _ of gaff.stream()); })(), (error) => error.status === 401);
  assert.equal(requests.length, 1);
});

test("jobs.wait returns the settled job, and misses no change before the stream is open", async (t) => {
  let status = "queued";
  const { gaff } = await gateway(t, (request, response) => {
    if (!request.url.startsWith("/api/v1/stream")) return json(response, { id: "job_1", status, result: { images: [] } });
    status = "completed"; // between the caller's submit and the stream
    response.writeHead(200, { "content-type": "text/event-stream" }).write(": alive\nid: 1\n\n");
  });
  const seen = [];
  const job = await gaff.jobs.wait("job_1", { onUpdate: (j) => seen.push(j.status) });
  assert.deepEqual([job.status, job.result, seen], ["completed", { images: [] }, ["completed"]]);
});

test("jobs.wait works without the stream", async (t) => {
  let reads = 0;
  const { gaff } = await gateway(t, (request, response) =>
    request.url.startsWith("/api/v1/stream") ? json(response, {}, 503) : json(response, { id: "job_1", status: ++reads > 1 ? "failed" : "queued" }));
  assert.equal((await gaff.jobs.wait("job_1", { timeoutMs: 20_000 })).status, "failed");
});

test("jobs.wait ends by timeout, by signal and by an unknown job", async (t) => {
  const { gaff } = await gateway(t, (request, response) => {
    if (request.url.startsWith("/api/v1/stream")) return response.writeHead(200, { "content-type": "text/event-stream" }).write(": alive\n\n");
    if (request.url.endsWith("/unknown")) return json(response, { title: "Not Found" }, 404);
    json(response, { id: "job_1", status: "queued" });
  });
  await assert.rejects(gaff.jobs.wait("job_1", { timeoutMs: 100 }), { name: "TimeoutError" });
  await assert.rejects(gaff.jobs.wait("job_1", { signal: AbortSignal.timeout(50) }), { name: "TimeoutError" });
  await assert.rejects(gaff.jobs.wait("unknown"), (error) => error.status === 404);
});
