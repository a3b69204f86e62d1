import type { JobDetail, RunDetail } from "./api.js";
import { Gaff, GaffError } from "./client.js";
import { sleep, waitOf } from "./request.js";

/** How a page reaches the gateway: a short-lived token that its application's server created (POST /api/v1/tokens). */
export interface BrowserAccess {
  url: string;
  token: string;
}

export type Followed = { job: JobDetail; run: RunDetail };

export interface FollowOptions<Kind extends keyof Followed> {
  /** Called at the start, and again when the token is no longer valid. */
  access: () => BrowserAccess | Promise<BrowserAccess>;
  signal: AbortSignal;
  onUpdate: (doc: Followed[Kind]) => void;
  /** Whether changes come by the stream; else by polling. */
  onLive?: (live: boolean) => void;
  /** The time between two reads without the stream, in milliseconds. Default: 2000. With the stream it is eight times as long. */
  pollMs?: number;
  fetch?: typeof fetch;
}

const settled = new Set(["completed", "failed", "cancelled"]);

/** A token that ends sooner than after this time was not valid when it came. */
const shortestAccess = 5_000;

/**
 * Reads a job or a run at each change until it has ended. Changes come by the stream, which reconnects and resumes; the document
 * is also read at intervals, so that it works without the stream. It rejects with an error that more attempts cannot change.
 */
export async function follow<Kind extends keyof Followed>(kind: Kind, id: string, options: FollowOptions<Kind>): Promise<void> {
  const { signal } = options;
  for (let renewals = 0; !signal.aborted; renewals++) {
    const began = Date.now();
    const { url, token } = await accessOf(options, renewals > 0);
    if (signal.aborted) return;
    const gaff = new Gaff({ url, token, retries: 0, ...(options.fetch ? { fetch: options.fetch } : {}) });
    try {
      return await followWith(gaff, kind, id, options);
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof GaffError) || error.status !== 401 || Date.now() - began < shortestAccess) throw error;
    }
  }
}

/** Asks for access. The first failure is the caller's; a renewal is repeated, because the connection may be down. */
async function accessOf({ access, signal }: { access: () => BrowserAccess | Promise<BrowserAccess>; signal: AbortSignal }, renewal: boolean): Promise<BrowserAccess> {
  for (let failures = 0; ; failures++) {
    try {
      return await access();
    } catch (error) {
      if (!renewal || signal.aborted || failures === 5) throw error;
      await sleep(waitOf(undefined, failures), signal);
    }
  }
}

async function followWith<Kind extends keyof Followed>(gaff: Gaff, kind: Kind, id: string, options: FollowOptions<Kind>): Promise<void> {
  const stop = new AbortController();
  const signal = AbortSignal.any([options.signal, stop.signal]);
  let live = false;
  let wake = () => {};
  const changed = () => wake();
  const setLive = (now: boolean) => {
    if (live !== now && !signal.aborted) options.onLive?.((live = now));
    changed();
  };
  let failure: unknown;
  const stream = (async () => {
    try {
      const filter = kind === "job" ? { jobId: id } : {};
      const changes = gaff.stream({ kinds: [kind], ...filter, signal, onOpen: () => setLive(true), onError: () => setLive(false) });
      for await (const change of changes) if (change.kind === "reset" || (change.data as { id?: string }).id === id) changed();
    } catch (error) {
      // Without the stream the document is polled; an invalid token is no use for that either.
      if (error instanceof GaffError && error.status === 401) failure = error;
      setLive(false);
    }
  })();
  const pollMs = options.pollMs ?? 2000;
  try {
    for (let failures = 0; !signal.aborted; ) {
      let due = false;
      const next = new Promise<void>((resolve) => {
        wake = () => {
          due = true;
          resolve();
        };
      });
      if (failure) throw failure;
      try {
        const doc = await read(gaff, kind, id, signal);
        if (signal.aborted) return;
        failures = 0;
        options.onUpdate(doc);
        if (settled.has(doc.status)) return;
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof GaffError && error.status < 500 && error.status !== 429 && error.status !== 408) throw error;
        failures++;
        due = false; // wait, also if a change came meanwhile
      }
      const pause = new AbortController();
      const wait = sleep((live ? 8 : 1) * pollMs * Math.min(2 ** failures, 8), AbortSignal.any([signal, pause.signal])).catch(() => undefined);
      if (!due) await (failures > 0 ? wait : Promise.race([wait, next]));
      pause.abort();
    }
  } finally {
    stop.abort();
    await stream;
  }
}

function read<Kind extends keyof Followed>(gaff: Gaff, kind: Kind, id: string, signal: AbortSignal): Promise<Followed[Kind]> {
  const doc = kind === "job" ? gaff.jobs.get(id, { signal }) : gaff.runs.get(id, { signal });
  return doc as Promise<Followed[Kind]>;
}
