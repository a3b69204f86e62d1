"use client";

/**
 * Hooks for React: a job or a run of a workflow in a page, live.
 *
 *     const { job, progress, error } = useJob(jobId, () => fetch("/api/token").then((r) => r.json()));
 *
 * The server of the application creates the token: gaff.call("create-token", { body: { jobId } }).
 */
import { useEffect, useRef, useState } from "react";
import type { JobDetail, RunDetail } from "./api.js";
import { follow, type BrowserAccess, type Followed } from "./follow.js";

export type { BrowserAccess } from "./follow.js";

/** Returns the gateway's URL and a token; it is called again when the token has expired. */
export type AccessOf = () => BrowserAccess | Promise<BrowserAccess>;

export interface HookOptions {
  /** The time between two reads while the stream is not available, in milliseconds. Default: 2000. */
  pollMs?: number;
}

interface State<Doc> {
  doc: Doc | null;
  error: Error | null;
  live: boolean;
}

/** The state of a job in a page. */
export interface JobState {
  /** Null until it was read. */
  job: JobDetail | null;
  /** An estimate from 0 to 1, by the time that jobs of the model take; null if it is unknown. 1 if the job is completed. */
  progress: number | null;
  /** The result as the provider sent it; null until the job is completed. */
  result: unknown;
  /** Why the job cannot be read. A failed job is no error: see job.status and job.error. */
  error: Error | null;
  /** Whether changes come by the stream; else the job is polled. */
  live: boolean;
}

/** Follows a job until it has ended. Without an id it waits. */
export function useJob(id: string | null | undefined, access: AccessOf, options: HookOptions = {}): JobState {
  const { doc, error, live } = useFollowed("job", id, access, options);
  return { job: doc, progress: useProgress(doc), result: doc?.result ?? null, error, live };
}

/** The state of a run in a page. */
export interface RunState {
  /** Null until it was read. */
  run: RunDetail | null;
  error: Error | null;
  live: boolean;
}

/** Follows a run of a workflow until it has ended. Without an id it waits. */
export function useRun(id: string | null | undefined, access: AccessOf, options: HookOptions = {}): RunState {
  const { doc, error, live } = useFollowed("run", id, access, options);
  return { run: doc, error, live };
}

function useFollowed<Kind extends keyof Followed>(kind: Kind, id: string | null | undefined, access: AccessOf, { pollMs }: HookOptions): State<Followed[Kind]> {
  const [state, setState] = useState<State<Followed[Kind]> & { id: string | null | undefined }>({ doc: null, error: null, live: false, id });
  // A page may give a new function at each render.
  const latest = useRef(access);
  latest.current = access;
  useEffect(() => {
    const stop = new AbortController();
    const change = (part: Partial<State<Followed[Kind]>>) => {
      if (!stop.signal.aborted) setState((before) => ({ ...(before.id === id ? before : { doc: null, error: null, live: false }), ...part, id }));
    };
    change({ error: null, live: false });
    if (id) {
      follow(kind, id, {
        access: () => latest.current(),
        signal: stop.signal,
        onUpdate: (doc) => change({ doc, error: null }),
        onLive: (live) => change({ live }),
        ...(pollMs === undefined ? {} : { pollMs }),
      }).then(
        () => change({ live: false }),
        (error: unknown) => change({ error: error instanceof Error ? error : new Error(String(error)), live: false }),
      );
    }
    return () => stop.abort();
  }, [kind, id, pollMs]);
  // The state of another id is not shown until the effect has run.
  return state.id === id ? state : { doc: null, error: null, live: false };
}

/** The most that an unfinished job shows. */
const almost = 0.95;

function progressOf(job: JobDetail | null, now: number): number | null {
  if (!job) return null;
  if (job.status === "completed") return 1;
  const begin = Date.parse(job.submittedAt ?? job.createdAt ?? "");
  if (!job.expectedSeconds || Number.isNaN(begin) || job.settledAt) return null;
  return Math.min(Math.max(0, (now - begin) / 1000 / job.expectedSeconds), almost);
}

function useProgress(job: JobDetail | null): number | null {
  const [now, setNow] = useState(0);
  const running = Boolean(job && !job.settledAt && job.expectedSeconds);
  useEffect(() => {
    if (!running) return;
    setNow(Date.now());
    const timer = setInterval(() => setNow(Date.now()), 500);
    return () => clearInterval(timer);
  }, [running]);
  return progressOf(job, now);
}
