import type { Event as GatewayEvent, Job, Media, Operations, Run } from "./api.js";
import { GaffError, sleep, waitOf, type Transport } from "./request.js";
import { iterate } from "./verify.js";

/**
 * A change of the gateway: the resource as it is now. After a reset, changes in between are unknown: load everything again.
 * The id is the position to resume after.
 */
export type Change =
  | { kind: "event"; id: string; data: GatewayEvent }
  | { kind: "job"; id: string; data: Job }
  | { kind: "media"; id: string; data: Media }
  | { kind: "run"; id: string; data: Run }
  | { kind: "reset"; id: string; data: Record<string, never> };

export interface StreamOptions extends Omit<NonNullable<Operations["stream-changes"]["query"]>, "kinds" | "lastEventId"> {
  /** Only these kinds of changes. */
  kinds?: ("event" | "job" | "media" | "run")[];
  /** Start after this position. Default: now. */
  lastEventId?: string;
  /** Ends the stream. */
  signal?: AbortSignal;
  /** Called when the stream is connected, also again after an interruption: no change after it is missed. */
  onOpen?: () => void;
  /** Called when a connection failed, before the next attempt. */
  onError?: (error: unknown) => void;
}

/** The gateway writes at least every 15 seconds; after three times that, the connection is dead. */
const silenceMs = 45_000;

/** Follows the changes of a gateway. It reconnects after an interruption and continues after the last change. */
export async function* followChanges(transport: Transport, options: StreamOptions): AsyncGenerator<Change, void, undefined> {
  const { kinds, signal, onOpen, onError, ...filter } = options;
  let { lastEventId } = options;
  for (let failures = 0; ; failures++) {
    const connection = new AbortController();
    const end = () => connection.abort(signal?.reason);
    if (signal?.aborted) return;
    signal?.addEventListener("abort", end, { once: true });
    let response: Response | undefined;
    try {
      const query = { ...filter, ...(kinds?.length ? { kinds: kinds.join(",") } : {}), ...(lastEventId ? { lastEventId } : {}) };
      response = await transport.send("stream-changes", { query, signal: connection.signal, repeatable: false }, { accept: "text/event-stream" });
      failures = 0;
      onOpen?.();
      for await (const message of messages(alive(response.body, connection))) {
        if (message.id) lastEventId = message.id;
        if (message.event && message.data) yield { kind: message.event, id: message.id, data: JSON.parse(message.data) } as Change;
      }
    } catch (error) {
      if (signal?.aborted) return;
      if (error instanceof GaffError && error.status < 500 && error.status !== 429 && error.status !== 408) throw error;
      onError?.(error);
    } finally {
      signal?.removeEventListener("abort", end);
      connection.abort();
    }
    try {
      await sleep(waitOf(response, failures), signal);
    } catch {
      return;
    }
  }
}

/** Ends the connection if it is silent for too long. */
async function* alive(body: ReadableStream<Uint8Array> | null, connection: AbortController): AsyncGenerator<Uint8Array> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const reset = () => {
    clearTimeout(timer);
    timer = setTimeout(() => connection.abort(new Error("the stream is silent")), silenceMs);
  };
  reset();
  try {
    for await (const chunk of iterate(body)) {
      reset();
      yield chunk;
    }
  } finally {
    clearTimeout(timer);
  }
}

export interface Message {
  id: string;
  event: string;
  data: string;
}

/** The longest message that is read, in characters. */
const maxMessage = 32 << 20;

/** Reads server-sent events. A message that the end of the stream cuts off is dropped. */
export async function* messages(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Message> {
  const decoder = new TextDecoder();
  let rest = "";
  let message: Message = { id: "", event: "", data: "" };
  for await (const chunk of chunks) {
    rest += decoder.decode(chunk, { stream: true });
    if (rest.length + message.data.length > maxMessage) throw new Error("a message of the stream is too long");
    let end: number;
    // A lone CR at the end of a chunk may be half of CR LF.
    while ((end = rest.search(/\r\n|\n|\r(?!$)/)) >= 0) {
      const line = rest.slice(0, end);
      rest = rest.slice(end + (rest.startsWith("\r\n", end) ? 2 : 1));
      if (line === "") {
        if (message.id || message.data) yield message;
        message = { id: "", event: "", data: "" };
        continue;
      }
      const colon = line.indexOf(":");
      const name = colon < 0 ? line : line.slice(0, colon);
      const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
      if (name === "id") message.id = value;
      else if (name === "event") message.event = value;
      else if (name === "data") message.data += (message.data && "\n") + value;
    }
  }
}
