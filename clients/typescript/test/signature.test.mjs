// The functions of applications that verify a shared secret: the same results as node:crypto.
import assert from "node:assert/strict";
import { createHmac, randomBytes } from "node:crypto";
import { createServer } from "node:http";
import { test } from "node:test";
import { generateTestPayload, generateWebhookSignature, testWebhook, validateWebhookTimestamp, verifyWebhookSignature } from "@gaff/client";

const expected = (payload, secret) => createHmac("sha256", secret).update(payload).digest("hex");

test("generateWebhookSignature equals HMAC-SHA-256 of node:crypto", () => {
  for (let length = 0; length < 300; length++) {
    const payload = randomBytes(length).toString("latin1") + (length % 7 === 0 ? "日本 🎬" : "");
    const secret = randomBytes(1 + (length % 150)).toString("hex").slice(0, 1 + (length % 150));
    assert.equal(generateWebhookSignature(payload, secret), expected(payload, secret), `${length} characters`);
  }
  const large = "x".repeat(1 << 20);
  assert.equal(generateWebhookSignature(large, "s"), expected(large, "s"));
});

test("verifyWebhookSignature answers at once, and false for a missing or short signature", () => {
  const signature = expected("{}", "secret");
  assert.equal(verifyWebhookSignature("{}", signature, "secret"), true);
  for (const other of [null, undefined, "", signature.slice(1), signature + "0", "0".repeat(64), expected("{ }", "secret")]) {
    assert.equal(verifyWebhookSignature("{}", other, "secret"), false, String(other));
  }
  assert.throws(() => verifyWebhookSignature("{}", signature, ""), /secret is empty/);
});

test("validateWebhookTimestamp accepts five minutes on both sides", () => {
  const now = Math.floor(Date.now() / 1000);
  for (const [offset, ok] of [[0, true], [-298, true], [298, true], [-302, false], [302, false]]) {
    assert.equal(validateWebhookTimestamp(String(now + offset)), ok, `${offset} s`);
  }
  assert.equal(validateWebhookTimestamp(String(now - 50), 10), false);
  for (const text of ["", "soon", null, undefined, "1e9", `${now}x`]) assert.equal(validateWebhookTimestamp(text), false, String(text));
});

test("generateTestPayload has the fields of the sender's body", () => {
  const fal = generateTestPayload("fal", "generation.completed");
  assert.deepEqual(Object.keys(fal).sort(), ["id", "metadata", "request_id", "result", "status", "timestamp"]);
  assert.equal(fal.result.images[0].width, 1024);
  assert.equal(generateTestPayload("fal", "generation.failed").status, "failed");
  const lastframe = generateTestPayload("lastframe", "processing.completed");
  assert.equal(lastframe.result.output_url, "https://example.com/stitched-video.mp4");
  assert.notEqual(generateTestPayload("lastframe", "processing.completed").job_id, lastframe.job_id);
});

test("testWebhook returns the response, or the error", async (t) => {
  const server = createServer((request, response) => {
    response.statusCode = request.headers["x-fal-signature"] === "s" ? 200 : 401;
    request.pipe(response);
  }).listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  t.after(() => server.close());
  const url = `http://127.0.0.1:${server.address().port}/`;
  assert.deepEqual(await testWebhook(url, { a: 1 }, { "x-fal-signature": "s" }), { success: true, status: 200, response: '{"a":1}' });
  assert.equal((await testWebhook(url, {})).status, 401);
  const gone = await testWebhook("http://127.0.0.1:1/", {});
  assert.equal(gone.success, false);
  assert.ok(gone.error);
});
