// What the React hooks do, without React: a job is followed by the stream, or by polling.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { test } from "node:test";
import { follow } from "../dist/esm/follow.js";

async function gateway(t, answer) {
  const requests = [];
  const server = createServer(async (request, response) => {
    requests.push({ url: request.url, token: request.headers.authorization, closed: new Promise((resolve) => response.on("close", resolve)) });
    await answer(request, response);
  }).listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  t.after(() => (server.close(), server.closeAllConnections()));
  const stop = new AbortController();
  t.after(() => stop.abort());
  const access = { url: `http://127.0.0.1:${server.address().port}`, token: "one" };
  return { requests, access, stop };
}

const json = (response, document, status = 200) => response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(document));
const streaming = (request) => request.url.startsWith("/api/v1/stream");
const open = (response) => response.writeHead(200, { "content-type": "text/event-stream" });

test("a change of the stream leads to a read at once", async (t) => {
  let status = "processing";
  let send;
  const { access, stop } = await gateway(t, (request, response) => {
    if (!streaming(request)) return json(response, { id: "job_1", status });
    open(response).write(": alive\n\n");
    send = (id) => response.write(`id: 1\nevent: job\ndata: {"id":"${id}"}\n\n`);
  });
  const seen = [];
  const live = [];
  await follow("job", "job_1", {
    access: () => access, signal: stop.signal, pollMs: 60_000, onLive: (now) => live.push(now),
    onUpdate: (job) => {
      seen.push(job.status);
      if (live.length === 0 || status === "completed") return;
      status = "completed";
      send("job_1");
    },
  });
  assert.equal(seen.at(-1), "completed");
  assert.equal(live[0], true);
});

test("without the stream the job is polled", async (t) => {
  for (const status of [404, 503]) {
    let reads = 0;
    const { access, stop } = await gateway(t, (request, response) =>
      streaming(request) ? json(response, {}, status) : json(response, { id: "job_1", status: ++reads > 3 ? "failed" : "queued" }));
    const live = [];
    await follow("job", "job_1", { access: () => access, signal: stop.signal, pollMs: 10, onUpdate: () => {}, onLive: (now) => live.push(now) });
    assert.equal(reads, 4);
    assert.deepEqual(live, []);
  }
});

test("a stream that is held back by a proxy does not stop the reads", async (t) => {
  let reads = 0;
  const { access, stop } = await gateway(t, (request, response) => streaming(request) || json(response, { id: "run_1", status: ++reads > 2 ? "completed" : "running" }));
  await follow("run", "run_1", { access: () => access, signal: stop.signal, pollMs: 10, onUpdate: () => {} });
  assert.equal(reads, 3);
});

test("a failing read is repeated, and an unknown job is an error", async (t) => {
  let reads = 0;
  const { access, stop } = await gateway(t, (request, response) => {
    if (streaming(request)) return json(response, {}, 503);
    if (request.url.endsWith("/unknown")) return json(response, { title: "Not Found" }, 404);
    return ++reads < 3 ? json(response, {}, 502) : json(response, { id: "job_1", status: "completed" });
  });
  const options = { access: () => access, signal: stop.signal, pollMs: 10, onUpdate: () => {} };
  await follow("job", "job_1", options);
  assert.equal(reads, 3);
  await assert.rejects(follow("job", "unknown", options), (error) => error.status === 404);
});

test("an invalid token is an error at once", async (t) => {
  const { access, stop } = await gateway(t, (_, response) => json(response, {}, 401));
  let asked = 0;
  await assert.rejects(follow("job", "job_1", { access: () => (asked++, access), signal: stop.signal, onUpdate: () => {} }), (error) => error.status === 401);
  assert.equal(asked, 1);
});

test("an expired token is renewed", async (t) => {
  t.mock.timers.enable({ apis: ["Date"] });
  const { access, stop } = await gateway(t, (request, response) => {
    if (request.headers.authorization === "Bearer one") {
      t.mock.timers.setTime(60_000); // it was valid for a while
      return json(response, {}, 401);
    }
    return streaming(request) ? json(response, {}, 503) : json(response, { id: "job_1", status: "completed" });
  });
  let asked = 0;
  await follow("job", "job_1", { access: () => ({ ...access, token: ++asked === 1 ? "one" : "two" }), signal: stop.signal, onUpdate: () => {} });
  assert.equal(asked, 2);
});

test("the end of the page closes the stream, and nothing is read after it", async (t) => {
  const { access, requests, stop } = await gateway(t, (request, response) =>
    streaming(request) ? void open(response).write(": alive\n\n") : json(response, { id: "job_1", status: "queued" }));
  const following = follow("job", "job_1", { access: () => access, signal: stop.signal, pollMs: 5, onUpdate: () => {}, onLive: () => stop.abort() });
  await following;
  await requests.find(({ url }) => streaming({ url })).closed;
  const after = requests.length;
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal(requests.length, after);
});
