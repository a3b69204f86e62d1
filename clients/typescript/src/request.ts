import { operations, type Operations } from "./api.js";

export interface GaffOptions {
  /** The gateway's URL. Default: the environment's GAFF_URL. In a browser, a route of your application that passes requests on. */
  url?: string;
  /** A token of the gateway. Default: the environment's GAFF_TOKEN. */
  token?: string;
  /** Headers of every request, such as those of your own route. */
  headers?: Record<string, string>;
  /** Replaces the global fetch. */
  fetch?: typeof fetch;
  /** How often a request is repeated that failed for a while: connection errors, 429, 502, 503, 504. Default: 2. */
  retries?: number;
}

/** A response other than 2xx. */
export class GaffError extends Error {
  override name = "GaffError";
  readonly status: number;
  /** The problem document of the response, or its text. */
  readonly problem: unknown;

  constructor(status: number, message: string, problem?: unknown) {
    super(message);
    this.status = status;
    this.problem = problem;
  }
}

export interface CallOptions {
  signal?: AbortSignal;
}

/** The arguments of an operation: path parameters by name, query and body. */
export interface CallInput<Id extends keyof Operations> extends CallOptions {
  path?: Record<string, string>;
  query?: Operations[Id]["query"];
  body?: Operations[Id]["body"];
  /** Whether the request may be repeated. Default: true for GET, PUT and DELETE. */
  repeatable?: boolean;
}

/** Sends requests to a gateway. */
export class Transport {
  readonly #url: string;
  readonly #headers: Record<string, string>;
  readonly #fetch: typeof fetch;
  readonly #retries: number;

  constructor(options: GaffOptions) {
    const environment = (globalThis as { process?: { env?: Record<string, string | undefined> } }).process?.env ?? {};
    const url = options.url ?? environment["GAFF_URL"];
    const token = options.token ?? environment["GAFF_TOKEN"];
    if (!url) throw new TypeError("the gateway's URL is missing: give url, or set GAFF_URL");
    this.#url = url.replace(/\/+$/, "");
    this.#headers = { ...(token ? { authorization: `Bearer ${token}` } : {}), ...options.headers };
    this.#fetch = options.fetch ?? ((input, init) => fetch(input, init));
    this.#retries = options.retries ?? 2;
  }

  /** Calls an operation by its operationId, and returns the document of the answer. */
  async call<Id extends keyof Operations>(id: Id, input: CallInput<Id> = {}): Promise<Operations[Id]["answer"]> {
    const response = await this.send(id, input);
    if (response.status === 204 || !(response.headers.get("content-type") ?? "").includes("json")) {
      await response.body?.cancel();
      return undefined as Operations[Id]["answer"];
    }
    return (await response.json()) as Operations[Id]["answer"];
  }

  /** Calls an operation and returns the response, if it is 2xx. */
  async send<Id extends keyof Operations>(id: Id, input: CallInput<Id>, headers: Record<string, string> = {}): Promise<Response> {
    const [method, pattern] = operations[id];
    const path = pattern.replace(/\{(\w+)\}/g, (_, name: string) => {
      const value = input.path?.[name];
      if (!value) throw new TypeError(`${id}: ${name} is empty`);
      return encodeURIComponent(value);
    });
    const init: RequestInit = { method, headers: { ...this.#headers, ...headers }, redirect: "manual" };
    if (input.signal) init.signal = input.signal;
    if (input.body !== undefined) {
      init.headers = { ...(init.headers as Record<string, string>), "content-type": "application/json" };
      init.body = JSON.stringify(input.body);
    }
    const repeatable = input.repeatable ?? (method === "GET" || method === "PUT" || method === "DELETE");
    return this.#attempt(this.#url + path + queryOf(input.query), init, repeatable ? this.#retries : 0);
  }

  async #attempt(url: string, init: RequestInit, retries: number): Promise<Response> {
    for (let attempt = 0; ; attempt++) {
      let response: Response | undefined;
      try {
        response = await this.#fetch(url, init);
        if (response.ok) return response;
        if (attempt >= retries || ![429, 502, 503, 504].includes(response.status)) throw await errorOf(response);
        await response.body?.cancel();
      } catch (error) {
        if (error instanceof GaffError || init.signal?.aborted || attempt >= retries) throw error;
      }
      await sleep(waitOf(response, attempt), init.signal ?? undefined);
    }
  }
}

function queryOf(query: object | undefined): string {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query ?? {})) {
    if (value === undefined) continue;
    // The API rejects a filter without a value; saying it here names the caller's line.
    if (value === null || value === "") throw new TypeError(`the parameter ${name} is empty: give it a value, or leave it out`);
    parameters.set(name, String(value));
  }
  const text = parameters.toString();
  return text && "?" + text;
}

export async function errorOf(response: Response): Promise<GaffError> {
  const text = await response.text().catch(() => "");
  let problem: unknown = text;
  let detail = text.slice(0, 500);
  try {
    problem = JSON.parse(text);
    const { title, detail: more, error, reason } = problem as Record<string, string | undefined>;
    detail = [title ?? error, more ?? reason].filter(Boolean).join(": ");
  } catch {
    // the text itself is the detail
  }
  return new GaffError(response.status, `the gateway answered ${response.status}${detail && ": " + detail}`, problem);
}

/** The time until the next attempt, in milliseconds: Retry-After, or from half a second on doubling, with jitter. */
export function waitOf(response: Response | undefined, attempt: number): number {
  const after = Number(response?.headers.get("retry-after"));
  if (after > 0) return Math.min(after, 60) * 1000;
  return Math.min(500 * 2 ** attempt, 30_000) * (0.75 + Math.random() / 2);
}

/** Waits, or throws the signal's reason. */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason as Error);
    const stop = () => {
      clearTimeout(timer);
      reject(signal!.reason as Error);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, ms);
    signal?.addEventListener("abort", stop, { once: true });
  });
}
