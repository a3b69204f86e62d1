import type { Envelope } from "./envelope.js";

/** A delivery that is not authentic, or that cannot be read. Answer it with its status. */
export class VerificationError extends Error {
  override name = "VerificationError";
  /** 401, or 413 for a body that is too large. */
  readonly status: number;

  constructor(message: string, status = 401) {
    super(message);
    this.status = status;
  }
}

export interface VerifyOptions {
  /** The largest difference between the delivery's time and now, in seconds. Default: 300. */
  toleranceSeconds?: number;
  /** The time to verify at, in milliseconds. Default: now. */
  now?: number;
}

export interface VerifyWebhookOptions extends VerifyOptions {
  /** The signing secrets (whsec_…), one of which must have signed; several during a rotation. */
  secrets: string | readonly string[];
  /** The largest body that is read, in bytes. Default: 8 MiB. */
  maxBodyBytes?: number;
}

export type HeaderSource = Headers | Record<string, string | string[] | undefined>;

/** A verified delivery. Its id is the same at each attempt. */
export interface Verified<Event extends Envelope = Envelope> {
  deliveryId: string;
  event: Event;
}

export const defaultMaxBodyBytes = 8 << 20;

function header(headers: HeaderSource, name: string): string | undefined {
  if (typeof (headers as Headers).get === "function") return (headers as Headers).get(name) ?? undefined;
  const value = (headers as Record<string, string | string[] | undefined>)[name];
  return Array.isArray(value) ? value[0] : value;
}

function keyOf(secret: string): Uint8Array<ArrayBuffer> {
  let text: string;
  try {
    text = atob(secret.replace(/^whsec_/, ""));
  } catch {
    text = "";
  }
  if (text.length < 16) throw new TypeError('the secret is invalid: write "whsec_" and at least 16 bytes in base64');
  return Uint8Array.from(text, (c) => c.charCodeAt(0));
}

function signedContent(id: string, timestamp: string, body: string | Uint8Array): Uint8Array<ArrayBuffer> {
  const raw = typeof body === "string" ? new TextEncoder().encode(body) : body;
  const prefix = new TextEncoder().encode(`${id}.${timestamp}.`);
  const content = new Uint8Array(prefix.length + raw.length);
  content.set(prefix);
  content.set(raw, prefix.length);
  return content;
}

async function importKey(secret: string, usage: "sign" | "verify"): Promise<CryptoKey> {
  return crypto.subtle.importKey("raw", keyOf(secret), { name: "HMAC", hash: "SHA-256" }, false, [usage]);
}

/** The headers that gaff would send with a body (Standard Webhooks), to test a receiver. */
export async function signWebhook(secret: string, deliveryId: string, body: string | Uint8Array, now = Date.now()): Promise<Record<string, string>> {
  const timestamp = String(Math.floor(now / 1000));
  const signature = await crypto.subtle.sign("HMAC", await importKey(secret, "sign"), signedContent(deliveryId, timestamp, body));
  return {
    "webhook-id": deliveryId,
    "webhook-timestamp": timestamp,
    "webhook-signature": "v1," + btoa(String.fromCharCode(...new Uint8Array(signature))),
  };
}

/** Verifies the signature of a body, and returns the delivery's id and the body as parsed JSON. */
async function verifyJSON(secrets: string | readonly string[], headers: HeaderSource, body: string | Uint8Array, options: VerifyOptions): Promise<{ id: string; json: unknown }> {
  const id = header(headers, "webhook-id");
  const timestamp = header(headers, "webhook-timestamp");
  const signatures = header(headers, "webhook-signature");
  if (!id || !timestamp || !signatures) throw new VerificationError("webhook-id, webhook-timestamp or webhook-signature is missing");
  if (!/^\d{1,12}$/.test(timestamp)) throw new VerificationError("webhook-timestamp is not a Unix time in seconds");
  const age = (options.now ?? Date.now()) / 1000 - Number(timestamp);
  const tolerance = options.toleranceSeconds ?? 300;
  if (Math.abs(age) > tolerance) throw new VerificationError(`signed ${Math.round(age)} seconds ago; at most ${tolerance} are allowed`);

  const content = signedContent(id, timestamp, body);
  const sent = signatures.split(" ").flatMap((s) => {
    if (!s.startsWith("v1,")) return [];
    try {
      return [Uint8Array.from(atob(s.slice(3)), (c) => c.charCodeAt(0))];
    } catch {
      return [];
    }
  });
  let ok = false;
  for (const secret of typeof secrets === "string" ? [secrets] : secrets) {
    const key = await importKey(secret, "verify");
    for (const signature of sent) ok = (await crypto.subtle.verify("HMAC", key, signature, content)) || ok;
  }
  if (!ok) throw new VerificationError("no signature matches: the secret differs, or the body was changed");
  try {
    return { id, json: JSON.parse(typeof body === "string" ? body : new TextDecoder().decode(body)) };
  } catch {
    throw new VerificationError("the body is not JSON");
  }
}

/**
 * Verifies that a body was signed with one of the secrets, and returns the event. The body must be the exact bytes that were
 * received.
 */
export async function verify(secrets: string | readonly string[], headers: HeaderSource, body: string | Uint8Array, options: VerifyOptions = {}): Promise<Verified> {
  const { id, json } = await verifyJSON(secrets, headers, body, options);
  if (typeof json !== "object" || json === null || typeof (json as Envelope).type !== "string" || typeof (json as Envelope).source !== "string") {
    throw new VerificationError("the body is not an envelope of gaff");
  }
  return { deliveryId: id, event: json as Envelope };
}

/** Reads the body of a request, up to a size, verifies it and returns the event. It throws a VerificationError. */
export async function verifyWebhook(request: Request, options: VerifyWebhookOptions): Promise<Verified> {
  const body = await readBody(request.body, options.maxBodyBytes);
  return verify(options.secrets, request.headers, body, options);
}

/** The body of fal's webhook, as gaff also sends it to a job's callback URL. */
export interface CallbackBody<Payload = unknown> {
  request_id: string;
  status: "OK" | "ERROR";
  /** The model's result; for a failed job, fal's error. Null if fal left it out of the webhook. */
  payload: Payload | null;
  error?: string | null;
}

/**
 * Verifies a request to a job's callbackUrl, or to the webhookUrl of a submit through the fal proxy. `request_id` in the body
 * names the job; the headers X-Gaff-Job-Id and X-Gaff-Reconciled are not signed.
 */
export async function verifyCallback<Payload = unknown>(
  secrets: string | readonly string[],
  headers: HeaderSource,
  body: string | Uint8Array,
  options: VerifyOptions = {},
): Promise<{ deliveryId: string; body: CallbackBody<Payload> }> {
  const { id, json } = await verifyJSON(secrets, headers, body, options);
  if (typeof json !== "object" || json === null || typeof (json as CallbackBody).request_id !== "string") {
    throw new VerificationError("the body is not a callback of gaff");
  }
  return { deliveryId: id, body: json as CallbackBody<Payload> };
}

/** Reads a body chunk by chunk. A body over the limit is a VerificationError with status 413, and is not read further. */
export async function readBody(chunks: AsyncIterable<Uint8Array> | ReadableStream<Uint8Array> | null, maxBytes = defaultMaxBodyBytes): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of iterate(chunks)) {
    size += chunk.length;
    if (size > maxBytes) throw new VerificationError(`the body is larger than ${maxBytes} bytes`, 413);
    parts.push(chunk);
  }
  const body = new Uint8Array(size);
  let end = 0;
  for (const part of parts) {
    body.set(part, end);
    end += part.length;
  }
  return body;
}

/** The chunks of a stream. Not every browser's streams are async iterables. */
export async function* iterate(chunks: AsyncIterable<Uint8Array> | ReadableStream<Uint8Array> | null): AsyncGenerator<Uint8Array> {
  if (chunks === null) return;
  if (!("getReader" in chunks)) {
    yield* chunks;
    return;
  }
  const reader = chunks.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    reader.cancel().catch(() => undefined);
  }
}
