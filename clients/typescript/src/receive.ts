import type { Envelope } from "./envelope.js";
import { defaultMaxBodyBytes, readBody, VerificationError, verify, verifyWebhook, type Verified, type VerifyWebhookOptions } from "./verify.js";

/** A delivery of an event. Its id is the same at each attempt. */
export interface ReceivedDelivery {
  id: string;
}

/**
 * Processes an event. If it throws, gaff delivers the event again later. A delivery may be received twice: mark its id as
 * processed after the work, or in the same transaction, never before it (see once).
 */
export type Handler<Event extends Envelope = Envelope> = (event: Event, delivery: ReceivedDelivery) => unknown;

export type ReceiveOptions = VerifyWebhookOptions;

/**
 * A handler of web-standard requests: a Next.js route (`export const POST = receive(…)`), Hono, Bun, Deno.
 * It answers 401 if a delivery is not authentic, 413 if its body is too large, 204 after the handler, 500 if the handler throws.
 */
export function receive(options: ReceiveOptions, handler: Handler): (request: Request) => Promise<Response> {
  return async (request) => {
    const { status, text } = await answer(() => verifyWebhook(request, options), handler);
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
 * The same for Node's http and Express: `app.post("/gaff", node({ secrets }, handler))`. Put it before any body parser, or
 * after express.raw({ type: "*\/*" }): a parsed body cannot be verified.
 */
export function node(options: ReceiveOptions, handler: Handler): (request: NodeRequest, response: NodeResponse) => Promise<void> {
  return async (request, response) => {
    const { status, text } = await answer(async () => {
      let body = request.body;
      if (body === undefined) body = await readBody(request, options.maxBodyBytes);
      if (!(body instanceof Uint8Array)) throw new Error("the body was parsed before it was verified: put this handler before express.json()");
      if (body.length > (options.maxBodyBytes ?? defaultMaxBodyBytes)) throw new VerificationError("the body is too large", 413);
      return verify(options.secrets, request.headers, body, options);
    }, handler);
    response.statusCode = status;
    response.end(text ?? undefined);
  };
}

/** Verifies and processes a delivery, and returns the answer for gaff. */
async function answer(verified: () => Promise<Verified>, handler: Handler): Promise<{ status: number; text: string | null }> {
  try {
    const { deliveryId, event } = await verified();
    await handler(event, { id: deliveryId });
    return { status: 204, text: null };
  } catch (error) {
    const text = error instanceof Error ? error.message : "failed";
    return { status: error instanceof VerificationError ? error.status : 500, text };
  }
}
