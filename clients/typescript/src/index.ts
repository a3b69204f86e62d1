/**
 * Receive what a gaff gateway forwards. One file, no dependencies: it needs Web Crypto, which Node 20,
 * Bun, Deno, browsers and edge runtimes have.
 *
 *     export const POST = receive({ secrets: process.env.GAFF_SECRET! }, async (event) => {
 *       if (event.source === "gaff" && event.type === "job.completed") await save(event.job, event.media);
 *     });
 */

/** An event as gaff sends it. What is not known is null. */
export interface Envelope<Source extends string = string, Type extends string = string, Data = unknown> {
  /** The event's id, evt_…; the same for every destination. */
  id: string;
  source: Source;
  type: Type;
  /** When it was received, as Date.prototype.toISOString writes it. */
  timestamp: string;
  /** What the sender sent; for gaff's own events what gaff tells. */
  data: Data;
  event: {
    /** The sender's own id of it. */
    webhookId: string | null;
    /** The sender's name for the work. */
    correlationId: string | null;
    occurredAt: string | null;
    /** Of gaff's own events: the one that led to it. */
    parentId: string | null;
  };
  /** The job that it is about, as it stands now. */
  job: Job | null;
  /** The files of the job. */
  media: Media[];
}

export type JobStatus = "queued" | "processing" | "completed" | "failed" | "cancelled";

export interface Job {
  id: string;
  provider: string;
  model: string | null;
  kind: string | null;
  projectId: string | null;
  userId: string | null;
  requestId: string | null;
  status: JobStatus;
  /** As the provider sent it; null until completed, and in lists if it has more than 64 KiB (resultSize). */
  result: unknown;
  resultSize: number;
  error: string | null;
  errorType: string | null;
  settledBy: "webhook" | "reconciliation" | null;
  metadata: unknown;
  createdAt: string | null;
  submittedAt: string | null;
  settledAt: string | null;
  /** How long jobs of this model take, and when this one should be done; null where that is not known, or the job has ended. */
  expectedSeconds: number | null;
  expectedAt: string | null;
}

export type MediaType = "generated-image" | "generated-video" | "generated-audio" | "generated-model" | "generated-file";

export interface Media {
  id: string;
  jobId: string;
  projectId: string | null;
  /** Where the provider keeps it. The provider deletes it some day: store the id, not this. */
  url: string;
  /**
   * A signed link to gaff's copy. Null until the copy is made: in job.completed it is null as a rule, in media.stored it is set.
   * It ends after media.link_for (24 hours) to an hour more, so do not store it: store the id, and either copy the file when
   * media.stored comes, or read a fresh link from GET /api/v1/media/{id} when you show it.
   */
  storedUrl: string | null;
  mediaType: MediaType;
  contentType: string | null;
  size: number | null;
  sha256: string | null;
  metadata: unknown;
}

/** The data of gaff:job.completed, job.failed and job.cancelled. */
export interface JobSettled {
  jobId: string;
  provider: string;
  projectId: string;
  userId: string;
  kind: string;
  status: "completed" | "failed" | "cancelled";
  settledBy: string;
  /** The workflow's run and step that the job works for. */
  runId?: string;
  stepId?: string;
}

/** The data of gaff:run.completed, run.failed, run.cancelled and run.approval_wanted. */
export interface RunEvent {
  runId: string;
  workflow: string;
  projectId: string;
  userId: string;
  status: string;
  error?: string;
  step?: string;
  item: number;
  message?: string;
  cost: number;
}

/**
 * The data of gaff:media.created and media.stored. Size and SHA-256 are the copy's, 0 and empty before there is one.
 * In media.stored the envelope's media has the file's storedUrl.
 */
export interface MediaEvent {
  mediaId: string;
  jobId: string;
  projectId: string;
  mediaType: MediaType;
  contentType: string;
  size: number;
  sha256: string;
}

/** One envelope for each type, so that a test of the type tells the data. */
type Own<Type extends string, Data, More = unknown> = Type extends string ? Envelope<"gaff", Type, Data> & More : never;

/** gaff's own events, told apart by their type. */
export type GaffEvent =
  | Own<"job.completed" | "job.failed" | "job.cancelled", JobSettled, { job: Job }>
  | Own<"run.completed" | "run.failed" | "run.cancelled" | "run.approval_wanted", RunEvent>
  | Own<"media.created" | "media.stored", MediaEvent>
  | Own<"test", { message: string }>;

/** Whether an event is one of gaff's own of a type; it narrows the event's type. */
export function isGaff<T extends GaffEvent["type"]>(event: Envelope, type: T): event is Extract<GaffEvent, { type: T }> {
  return event.source === "gaff" && event.type === type;
}

/** What is thrown for a delivery that is not authentic, or not readable. */
export class VerificationError extends Error {
  override name = "VerificationError";
}

export interface VerifyOptions {
  /** How far the delivery's time may be from now, in seconds; 300 if not set. */
  toleranceSeconds?: number;
  /** The time to judge by, in milliseconds; now if not set. */
  now?: number;
}

type HeaderSource = Headers | Record<string, string | string[] | undefined>;

function header(headers: HeaderSource, name: string): string | undefined {
  if (typeof (headers as Headers).get === "function") return (headers as Headers).get(name) ?? undefined;
  const value = (headers as Record<string, string | string[] | undefined>)[name];
  return Array.isArray(value) ? value[0] : value;
}

function decode(secret: string): Uint8Array<ArrayBuffer> {
  let text: string;
  try {
    text = atob(secret.replace(/^whsec_/, ""));
  } catch {
    text = "";
  }
  if (text.length < 16) throw new TypeError('the secret is none: "whsec_" and at least 16 bytes in base64 are wanted');
  return Uint8Array.from(text, (c) => c.charCodeAt(0));
}

/** Checks the signature of a body, and returns the delivery's id and the body as parsed JSON. */
async function verified(secrets: string | readonly string[], headers: HeaderSource, body: string | Uint8Array, options: VerifyOptions): Promise<{ id: string; json: unknown }> {
  const id = header(headers, "webhook-id");
  const at = header(headers, "webhook-timestamp");
  const signatures = header(headers, "webhook-signature");
  if (!id || !at || !signatures) throw new VerificationError("webhook-id, webhook-timestamp or webhook-signature is missing");
  if (!/^\d{1,12}$/.test(at)) throw new VerificationError("webhook-timestamp is no time");
  const age = (options.now ?? Date.now()) / 1000 - Number(at);
  if (Math.abs(age) > (options.toleranceSeconds ?? 300)) throw new VerificationError(`signed ${Math.round(age)} seconds ago`);

  const raw = typeof body === "string" ? new TextEncoder().encode(body) : body;
  const prefix = new TextEncoder().encode(`${id}.${at}.`);
  const signed = new Uint8Array(prefix.length + raw.length);
  signed.set(prefix);
  signed.set(raw, prefix.length);

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
    const key = await crypto.subtle.importKey("raw", decode(secret), { name: "HMAC", hash: "SHA-256" }, false, ["verify"]);
    for (const signature of sent) ok = (await crypto.subtle.verify("HMAC", key, signature, signed)) || ok;
  }
  if (!ok) throw new VerificationError("the signature is of another secret or another body");
  try {
    return { id, json: JSON.parse(new TextDecoder().decode(raw)) };
  } catch {
    throw new VerificationError("the body is no JSON");
  }
}

/**
 * Checks that a body was signed with one of the secrets (whsec_…), and returns it parsed together with the
 * delivery's id, which is the same each time that it comes. The body must be the bytes as they came.
 */
export async function verify(
  secrets: string | readonly string[],
  headers: HeaderSource,
  body: string | Uint8Array,
  options: VerifyOptions = {},
): Promise<{ deliveryId: string; event: Envelope }> {
  const { id, json } = await verified(secrets, headers, body, options);
  if (typeof json !== "object" || json === null || typeof (json as Envelope).type !== "string" || typeof (json as Envelope).source !== "string") {
    throw new VerificationError("the body is no envelope of gaff's");
  }
  return { deliveryId: id, event: json as Envelope };
}

/** What fal posts to a webhook URL, and gaff to a job's callback URL. */
export interface CallbackBody<Payload = unknown> {
  request_id: string;
  status: "OK" | "ERROR";
  /** The model's result; of a job that failed, fal's error. Null if fal did not put it into the webhook. */
  payload: Payload | null;
  error?: string | null;
}

/**
 * The check of what gaff posts to a job's callbackUrl, or to the webhookUrl of a submit through the fal proxy.
 * The body's `request_id` says which job it is; the headers X-Gaff-Job-Id and X-Gaff-Reconciled are not signed.
 */
export async function verifyCallback<Payload = unknown>(
  secrets: string | readonly string[],
  headers: HeaderSource,
  body: string | Uint8Array,
  options: VerifyOptions = {},
): Promise<{ deliveryId: string; body: CallbackBody<Payload> }> {
  const { id, json } = await verified(secrets, headers, body, options);
  if (typeof json !== "object" || json === null || typeof (json as CallbackBody).request_id !== "string") {
    throw new VerificationError("the body is no callback of gaff's");
  }
  return { deliveryId: id, body: json as CallbackBody<Payload> };
}

export interface ReceiveOptions extends VerifyOptions {
  /** Of these one must have signed; several while they are rotated. */
  secrets: string | readonly string[];
}

/**
 * What to do with an event. Throwing makes gaff deliver it again later. A delivery may come twice: mark its id as
 * processed after the work, or in the same transaction, never before it.
 */
export type Handler = (event: Envelope, delivery: { id: string }) => void | Promise<void>;

/**
 * A handler of web-standard requests: a Next.js route (`export const POST = receive(…)`), Hono, Bun, Deno.
 * 401 to what is not authentic, 204 when the handler is done, 500 when it throws.
 */
export function receive(options: ReceiveOptions, handler: Handler): (request: Request) => Promise<Response> {
  return async (request) => {
    const { status, text } = await answer(options, request.headers, new Uint8Array(await request.arrayBuffer()), handler);
    return new Response(text, { status });
  };
}

interface NodeRequest extends AsyncIterable<Uint8Array> {
  headers: Record<string, string | string[] | undefined>;
  body?: unknown;
}

interface NodeResponse {
  statusCode: number;
  end(text?: string): unknown;
}

/**
 * The same for Node's http and Express: `app.post("/gaff", node({ secrets }, handler))`. Put it before any body
 * parser, or behind express.raw({ type: "*\/*" }): a body that was parsed cannot be verified any more.
 */
export function node(options: ReceiveOptions, handler: Handler): (request: NodeRequest, response: NodeResponse) => Promise<void> {
  return async (request, response) => {
    let body: Uint8Array | undefined;
    if (request.body instanceof Uint8Array) body = request.body;
    else if (request.body === undefined) {
      const chunks: Uint8Array[] = [];
      let size = 0;
      for await (const chunk of request) {
        chunks.push(chunk);
        size += chunk.length;
      }
      body = new Uint8Array(size);
      let end = 0;
      for (const chunk of chunks) {
        body.set(chunk, end);
        end += chunk.length;
      }
    }
    const { status, text } = body
      ? await answer(options, request.headers, body, handler)
      : { status: 500, text: "the body was parsed before it could be verified: put this handler before express.json()" };
    response.statusCode = status;
    response.end(text ?? undefined);
  };
}

async function answer(options: ReceiveOptions, headers: HeaderSource, body: Uint8Array, handler: Handler): Promise<{ status: number; text: string | null }> {
  let verified;
  try {
    verified = await verify(options.secrets, headers, body, options);
  } catch (error) {
    if (error instanceof VerificationError) return { status: 401, text: error.message };
    return { status: 500, text: error instanceof Error ? error.message : "failed" };
  }
  try {
    await handler(verified.event, { id: verified.deliveryId });
    return { status: 204, text: null };
  } catch (error) {
    return { status: 500, text: error instanceof Error ? error.message : "failed" };
  }
}
