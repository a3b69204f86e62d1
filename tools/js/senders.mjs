// Plays senders with their own official libraries, for the tests of verification.
//
//   node senders.mjs sign UNIX_SECONDS    prints a list of requests that the libraries signed
//   node senders.mjs verify < requests    prints, for each request that gaff signed, whether
//                                         the official verifier takes it: [{name, ok, error}]
//
// A request is {name, preset, secrets, settings, url, headers: {name: value}, body: base64}.
import { createRequire } from "node:module";
import { createHmac, generateKeyPairSync, randomUUID, createHash } from "node:crypto";

const require = createRequire(import.meta.url);
const base = "https://hooks.example.test/api/v1/webhooks/";
// Bytes beyond ASCII, escapes, and spaces that a library which writes JSON anew would lose.
const event = '{ "id": "evt_1", "type":"thing.done" , "text":"h\\u00e9llo \u00fc \u2603", "n": 1.0e2, "event":"thing.done","timestamp":1 }\n';
const whsec = "whsec_" + Buffer.from("a secret of thirty-two bytes....").toString("base64");
const at = (seconds) => new Date(seconds * 1000);
const json = { "Content-Type": "application/json" };
const form = { "Content-Type": "application/x-www-form-urlencoded" };

async function sign(now) {
  const out = [];
  const add = (preset, secrets, headers, body, more = {}) =>
    out.push({ name: more.name ?? preset, preset, secrets, settings: {}, url: base + "it", headers, ...more, body: Buffer.from(body).toString("base64") });

  const Stripe = (await import("stripe")).default;
  const stripe = new Stripe("sk_test_x");
  add("stripe", ["whsec_other", "whsec_stripe"], {
    ...json, "Stripe-Signature": stripe.webhooks.generateTestHeaderString({ payload: event, secret: "whsec_stripe", timestamp: now }),
  }, event);

  const svix = new (await import("svix")).Webhook(whsec);
  for (const [preset, prefix] of [["svix", "svix-"], ["svix", "webhook-"], ["clerk", "svix-"], ["resend", "svix-"], ["openai", "webhook-"], ["polar", "webhook-"]]) {
    add(preset, [whsec], {
      ...json, [prefix + "id"]: "msg_1", [prefix + "timestamp"]: String(now), [prefix + "signature"]: svix.sign("msg_1", at(now), event),
    }, event, { name: `${preset} with ${prefix} headers` });
  }
  const standard = new (await import("standardwebhooks")).Webhook(whsec);
  for (const preset of ["standard-webhooks", "replicate"]) {
    add(preset, [whsec], { ...json, "webhook-id": "msg_2", "webhook-timestamp": String(now), "webhook-signature": standard.sign("msg_2", at(now), event) }, event);
  }

  const octokit = await import("@octokit/webhooks-methods");
  const github = { "X-GitHub-Event": "push", "X-GitHub-Delivery": randomUUID() };
  add("github", ["s3cret"], { ...json, ...github, "X-Hub-Signature-256": await octokit.sign("s3cret", event) }, event);
  const wrapped = "payload=" + encodeURIComponent(event);
  add("github", ["s3cret"], { ...form, ...github, "X-Hub-Signature-256": await octokit.sign("s3cret", wrapped) }, wrapped, { name: "github as a form" });

  const twilio = require("twilio/lib/webhooks/webhooks");
  const fields = { From: "+15550001", Body: "hi & ho \u00e9", To: "+15550002", MessageSid: "SM1" };
  const text = new URLSearchParams(fields).toString();
  add("twilio", ["token"], { ...form, "X-Twilio-Signature": twilio.getExpectedTwilioSignature("token", base + "it", fields) }, text);
  const hashed = base + "it?bodySHA256=" + twilio.getExpectedBodyHash(event);
  add("twilio", ["token"], { ...json, "X-Twilio-Signature": twilio.getExpectedTwilioSignature("token", hashed, {}) }, event, { name: "twilio with JSON", url: hashed });

  const sanity = await import("@sanity/webhook");
  add("sanity", ["s3cret"], { ...json, "idempotency-key": "k1", "sanity-operation": "create", "sanity-webhook-signature": await sanity.encodeSignatureHeader(event, now * 1000, "s3cret") }, event);

  const contentful = require("@contentful/node-apps-toolkit");
  const long = "c".repeat(64);
  const request = { method: "POST", path: "/api/v1/webhooks/it?a=b%20c", headers: { ...json, "X-Contentful-Topic": "Entry.publish" }, body: event };
  // It accepts 30 seconds before and after; slow machines need most of the minute.
  add("contentful", [long], { ...request.headers, ...contentful.signRequest(long, request, (now + 25) * 1000) }, event, { url: base + "it?a=b%20c" });

  const cloudinary = require("cloudinary").v2;
  cloudinary.config({ api_secret: "s3cret" });
  add("cloudinary", ["s3cret"], { ...json, "X-Cld-Timestamp": String(now), "X-Cld-Signature": cloudinary.utils.webhook_signature(event, now, { api_secret: "s3cret" }) }, event);

  const { WorkOS } = require("@workos-inc/node");
  const workos = new WorkOS("sk_test");
  // It signs JSON.stringify of what it is given.
  const compact = JSON.stringify({ id: "evt_1", event: "user.created" });
  add("workos", ["s3cret"], { ...json, "WorkOS-Signature": `t=${now * 1000}, v1=${await workos.webhooks.computeSignature(now * 1000, JSON.parse(compact), "s3cret")}` }, compact);

  const braintree = require("braintree");
  const gateway = new braintree.BraintreeGateway({ environment: braintree.Environment.Sandbox, merchantId: "m", publicKey: "pub", privateKey: "priv" });
  const note = gateway.webhookTesting.sampleNotification(braintree.WebhookNotification.Kind.SubscriptionWentPastDue, "sub_1");
  const sample = await note;
  add("braintree", ["priv"], form, new URLSearchParams(sample).toString(), { settings: { public_key: "pub" } });

  const jose = await import("jose");
  const hash = (enc) => createHash("sha256").update(event).digest(enc);
  const qstash = await new jose.SignJWT({ body: hash("base64url") }).setProtectedHeader({ alg: "HS256" }).setIssuer("Upstash").setSubject(base + "it")
    .setIssuedAt(now).setNotBefore(now).setExpirationTime(now + 300).sign(new TextEncoder().encode("current-signing-key"));
  add("qstash", ["next-signing-key", "current-signing-key"], { ...json, "Upstash-Message-Id": "m1", "Upstash-Signature": qstash }, event);
  const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const jwks = JSON.stringify({ keys: [{ ...publicKey.export({ format: "jwk" }), kid: "k1", use: "sig", alg: "RS512" }] });
  const jws = await new jose.FlattenedSign(new TextEncoder().encode(event)).setProtectedHeader({ alg: "RS512", kid: "k1" }).sign(privateKey);
  add("fireblocks", [jwks], { ...json, "Fireblocks-Webhook-Signature": `${jws.protected}..${jws.signature}` }, event);
  return out;
}

async function verify(requests) {
  const Stripe = (await import("stripe")).default;
  const { Webhook: Svix } = await import("svix");
  const { Webhook: Standard } = await import("standardwebhooks");
  const octokit = await import("@octokit/webhooks-methods");
  const sanity = await import("@sanity/webhook");
  const { validateWebhook } = await import("replicate");
  const twilio = require("twilio/lib/webhooks/webhooks");
  const plivo = require("plivo/dist/utils/v3Security.js");
  const contentful = require("@contentful/node-apps-toolkit");
  const cloudinary = require("cloudinary").v2;
  const { WorkOS } = require("@workos-inc/node");
  const braintree = require("braintree");
  const checks = {
    stripe: (r, h, b) => new Stripe("sk").webhooks.constructEvent(b, h["stripe-signature"], r.secret),
    svix: (r, h, b) => new Svix(r.secret).verify(b, h),
    "standard-webhooks": (r, h, b) => new Standard(r.secret).verify(b, h),
    replicate: async (r, h, b) => (await validateWebhook({ id: h["webhook-id"], timestamp: h["webhook-timestamp"], signature: h["webhook-signature"], body: b, secret: r.secret })),
    github: (r, h, b) => octokit.verify(r.secret, b, h["x-hub-signature-256"]),
    sanity: (r, h, b) => sanity.isValidSignature(b, h["sanity-webhook-signature"], r.secret),
    twilio: (r, h, b) => twilio.validateRequest(r.secret, h["x-twilio-signature"], r.url, Object.fromEntries(new URLSearchParams(b))),
    plivo: (r, h, b) => plivo.validateV3Signature("POST", r.url, h["x-plivo-signature-v3-nonce"], r.secret, h["x-plivo-signature-v3"], Object.fromEntries(new URLSearchParams(b))),
    contentful: (r, h, b) => contentful.verifyRequest(r.secret, { method: "POST", path: new URL(r.url).pathname + new URL(r.url).search, headers: h, body: b }, 0),
    cloudinary: (r, h, b) => { cloudinary.config({ api_secret: r.secret }); return cloudinary.utils.verifyNotificationSignature(b, Number(h["x-cld-timestamp"]), h["x-cld-signature"]); },
    workos: (r, h, b) => new WorkOS("sk").webhooks.verifyHeader({ payload: JSON.parse(b), sigHeader: h["workos-signature"], secret: r.secret }),
    braintree: (r, h, b) => new braintree.BraintreeGateway({ environment: braintree.Environment.Sandbox, merchantId: "m", publicKey: "pub", privateKey: r.secret })
      .webhookNotification.parse(...["bt_signature", "bt_payload"].map((k) => new URLSearchParams(b).get(k))),
  };
  const out = [];
  for (const r of requests) {
    const headers = Object.fromEntries(Object.entries(r.headers).map(([k, v]) => [k.toLowerCase(), v]));
    const body = Buffer.from(r.body, "base64").toString();
    try {
      const ok = await checks[r.preset](r, headers, body);
      out.push({ name: r.name, ok: ok !== false && ok !== undefined });
    } catch (error) {
      out.push({ name: r.name, ok: false, error: String(error) });
    }
  }
  return out;
}

const [mode, arg] = process.argv.slice(2);
if (mode === "sign") {
  console.log(JSON.stringify(await sign(Number(arg))));
} else {
  const chunks = [];
  for await (const chunk of process.stdin) chunks.push(chunk);
  console.log(JSON.stringify(await verify(JSON.parse(Buffer.concat(chunks).toString()))));
}
