import type { EventDetail, JobDetail, JobRegistration, JobSubmission, Media, Operations, ProjectUpdate, PublishEvent, Published, PublishedList, ScheduleChange, ScheduledEvent, RunDetail, RunRetry, RunStart, Decision } from "./api.js";
import { Transport, type CallInput, type CallOptions, type GaffOptions } from "./request.js";
import { followChanges, type Change, type StreamOptions } from "./stream.js";

export { GaffError, type CallInput, type CallOptions, type GaffOptions } from "./request.js";

type Lists = "list-jobs" | "list-media" | "list-events" | "list-scheduled-events" | "list-runs" | "list-projects";
type ListQuery<Id extends Lists> = NonNullable<Operations[Id]["query"]>;
type Page<Id extends Lists> = Operations[Id]["answer"];
type Row<Id extends Lists> = Page<Id>["docs"][number];

export interface WaitOptions extends CallOptions {
  /** The longest time to wait, in milliseconds; after it the promise rejects with a TimeoutError. Default: no limit. */
  timeoutMs?: number;
}

/** The API of a gateway. Errors of the API are GaffErrors. */
export class Gaff {
  readonly #transport: Transport;
  readonly jobs: Jobs;
  readonly media: MediaFiles;
  readonly events: Events;
  readonly scheduledEvents: ScheduledEvents;
  readonly runs: Runs;
  readonly projects: Projects;

  constructor(options: GaffOptions = {}) {
    this.#transport = new Transport(options);
    this.jobs = new Jobs(this.#transport);
    this.media = new MediaFiles(this.#transport);
    this.events = new Events(this.#transport);
    this.scheduledEvents = new ScheduledEvents(this.#transport);
    this.runs = new Runs(this.#transport);
    this.projects = new Projects(this.#transport);
  }

  /**
   * Follows every change of an event, job, file or run, until the signal ends it or the loop is left. After an interruption it
   * reconnects and continues after the last change.
   */
  stream(options: StreamOptions = {}): AsyncGenerator<Change, void, undefined> {
    return followChanges(this.#transport, options);
  }

  /** Calls any operation of the API by its operationId, such as "create-destination". */
  call<Id extends keyof Operations>(id: Id, input: CallInput<Id> = {}): Promise<Operations[Id]["answer"]> {
    return this.#transport.call(id, input);
  }
}

/** A list with pages. */
abstract class Collection<Id extends Lists> {
  constructor(
    protected readonly transport: Transport,
    private readonly listId: Id,
  ) {}

  /** One page, newest first; nextCursor names the next one. */
  list(query: ListQuery<Id> = {} as ListQuery<Id>, options: CallOptions = {}): Promise<Page<Id>> {
    return this.transport.call(this.listId, { ...options, query });
  }

  /** All rows, newest first, page by page. */
  async *all(query: ListQuery<Id> = {} as ListQuery<Id>, options: CallOptions = {}): AsyncGenerator<Row<Id>, void, undefined> {
    for (let cursor: string | null | undefined = query.cursor; ; ) {
      const page: Page<Id> = await this.list({ limit: 500, ...query, ...(cursor ? { cursor } : {}) }, options);
      for (const row of page.docs) yield row as Row<Id>;
      if (!(cursor = page.nextCursor)) return;
    }
  }
}

export class Jobs extends Collection<"list-jobs"> {
  constructor(transport: Transport) {
    super(transport, "list-jobs");
  }

  /** Submits a job. Without an idempotencyKey it gets a new one, so that a broken connection does not submit it twice. */
  submit(job: JobSubmission, options: CallOptions = {}): Promise<JobDetail> {
    return this.transport.call("submit-job", { ...options, body: { idempotencyKey: crypto.randomUUID(), ...job }, repeatable: true });
  }

  /** Registers a job that your application submits itself, under an id of your own. */
  register(id: string, job: JobRegistration, options: CallOptions = {}): Promise<JobDetail> {
    return this.transport.call("register-job", { ...options, path: { id }, body: job });
  }

  get(id: string, options: CallOptions = {}): Promise<JobDetail> {
    return this.transport.call("get-job", { ...options, path: { id } });
  }

  /** Cancels a job, also at the provider. */
  cancel(id: string, options: CallOptions = {}): Promise<JobDetail> {
    return this.transport.call("cancel-job", { ...options, path: { id } });
  }

  /** Polls the provider for a job now. */
  poll(id: string, options: CallOptions = {}): Promise<JobDetail> {
    return this.transport.call("ask-job", { ...options, path: { id } });
  }

  /** Waits until a job is completed, failed or cancelled, and returns it; check its status. */
  wait(id: string, options: WaitOptions & { onUpdate?: (job: JobDetail) => void } = {}): Promise<JobDetail> {
    const settled = (job: JobDetail) => ["completed", "failed", "cancelled"].includes(job.status);
    return waitFor(this.transport, { kinds: ["job"], jobId: id }, () => this.get(id, options), settled, options);
  }
}

export class MediaFiles extends Collection<"list-media"> {
  constructor(transport: Transport) {
    super(transport, "list-media");
  }

  /** The row of a file, with fresh links to gaff's copy. */
  get(id: string, options: CallOptions = {}): Promise<Media> {
    return this.transport.call("get-media", { ...options, path: { id } });
  }

  /** Downloads gaff's copy of a file. The caller reads the response's body. */
  download(id: string, options: CallOptions = {}): Promise<Response> {
    return this.transport.send("get-media-file", { ...options, path: { id } }, { accept: "*/*" });
  }

  /** Gives a file a permanent link (linkUrl), which needs no token; the same one each time until unlink. */
  link(id: string, options: CallOptions = {}): Promise<Media> {
    return this.transport.call("link-media", { ...options, path: { id }, repeatable: true });
  }

  /** Revokes a file's permanent link. */
  unlink(id: string, options: CallOptions = {}): Promise<Media> {
    return this.transport.call("unlink-media", { ...options, path: { id } });
  }

  /** Copies a file that has no copy. */
  async retry(id: string, options: CallOptions = {}): Promise<void> {
    await this.transport.call("retry-media", { ...options, path: { id } });
  }
}

export class Events extends Collection<"list-events"> {
  constructor(transport: Transport) {
    super(transport, "list-events");
  }

  get(id: string, options: CallOptions = {}): Promise<EventDetail> {
    return this.transport.call("get-event", { ...options, path: { id } });
  }

  /** Retries the dead deliveries of an event. */
  retry(id: string, options: CallOptions = {}): Promise<Operations["retry-event"]["answer"]> {
    return this.transport.call("retry-event", { ...options, path: { id } });
  }

  /**
   * Publishes an event of your application, now, or at runAt or after delay. Without an idempotencyKey it gets a new one, so that a
   * broken connection does not publish it twice.
   */
  publish(event: PublishEvent, options: CallOptions = {}): Promise<Published> {
    const body = { idempotencyKey: crypto.randomUUID(), ...event };
    return this.transport.call("publish-events", { ...options, body, repeatable: true }) as Promise<Published>;
  }

  /** Publishes up to 1,000 events, all or none. The answers are in their order. */
  async publishAll(events: PublishEvent[], options: CallOptions = {}): Promise<Published[]> {
    const body = events.map((event) => ({ idempotencyKey: crypto.randomUUID(), ...event }));
    const answer = (await this.transport.call("publish-events", { ...options, body, repeatable: true })) as PublishedList;
    return answer.events;
  }

  /** Processes an event again by all its handlers. */
  replay(id: string, options: CallOptions = {}): Promise<Operations["replay-event"]["answer"]> {
    return this.transport.call("replay-event", { ...options, path: { id } });
  }
}

/** Events that are published at a later time. */
export class ScheduledEvents extends Collection<"list-scheduled-events"> {
  constructor(transport: Transport) {
    super(transport, "list-scheduled-events");
  }

  get(id: string, options: CallOptions = {}): Promise<ScheduledEvent> {
    return this.transport.call("get-scheduled-event", { ...options, path: { id } });
  }

  /** Changes the time, type or data. */
  change(id: string, change: ScheduleChange, options: CallOptions = {}): Promise<ScheduledEvent> {
    return this.transport.call("change-scheduled-event", { ...options, path: { id }, body: change });
  }

  cancel(id: string, options: CallOptions = {}): Promise<ScheduledEvent> {
    return this.transport.call("cancel-scheduled-event", { ...options, path: { id } });
  }
}

export class Runs extends Collection<"list-runs"> {
  constructor(transport: Transport) {
    super(transport, "list-runs");
  }

  /** Starts a run of a workflow. Without an idempotencyKey it gets a new one, as jobs do. */
  start(run: RunStart, options: CallOptions = {}): Promise<Operations["start-run"]["answer"]> {
    return this.transport.call("start-run", { ...options, body: { idempotencyKey: crypto.randomUUID(), ...run }, repeatable: true });
  }

  get(id: string, options: CallOptions = {}): Promise<RunDetail> {
    return this.transport.call("get-run", { ...options, path: { id } });
  }

  /** A step of a run and its items, with input and result. */
  step(id: string, step: string, options: CallOptions = {}): Promise<Operations["get-run-step"]["answer"]> {
    return this.transport.call("get-run-step", { ...options, path: { id, step } });
  }

  cancel(id: string, options: CallOptions = {}): Promise<Operations["cancel-run"]["answer"]> {
    return this.transport.call("cancel-run", { ...options, path: { id } });
  }

  /** Retries a failed run, from a step, or for one item of it. */
  retry(id: string, retry: RunRetry = {}, options: CallOptions = {}): Promise<Operations["retry-run"]["answer"]> {
    return this.transport.call("retry-run", { ...options, path: { id }, body: retry });
  }

  /** Approves or rejects a waiting step. */
  decide(id: string, decision: Decision, options: CallOptions = {}): Promise<Operations["decide-run"]["answer"]> {
    return this.transport.call("decide-run", { ...options, path: { id }, body: decision });
  }

  /** Waits until a run is completed, failed or cancelled, and returns it; check its status. */
  wait(id: string, options: WaitOptions & { onUpdate?: (run: RunDetail) => void } = {}): Promise<RunDetail> {
    return waitFor(this.transport, { kinds: ["run"] }, () => this.get(id, options), (run) => run.status !== "running", options, id);
  }
}

export class Projects extends Collection<"list-projects"> {
  constructor(transport: Transport) {
    super(transport, "list-projects");
  }

  get(id: string, options: CallOptions = {}): Promise<Operations["get-project"]["answer"]> {
    return this.transport.call("get-project", { ...options, path: { id } });
  }

  /** Creates a project, or sets its name, owner and metadata. */
  save(project: ProjectUpdate, options: CallOptions = {}): Promise<Operations["save-project"]["answer"]> {
    return this.transport.call("save-project", { ...options, body: project });
  }
}

/**
 * Reads a resource whenever it changes, until it is settled. It is also read after each connect of the stream, so that no
 * change in between is missed, and after each failed connect, so that it works without the stream too.
 */
async function waitFor<Doc>(
  transport: Transport,
  filter: StreamOptions,
  read: () => Promise<Doc>,
  settled: (doc: Doc) => boolean,
  options: WaitOptions & { onUpdate?: (doc: Doc) => void },
  id?: string,
): Promise<Doc> {
  const signals = [options.signal, options.timeoutMs === undefined ? undefined : AbortSignal.timeout(options.timeoutMs)].filter((s) => s !== undefined);
  const stop = new AbortController();
  return new Promise<Doc>((resolve, reject) => {
    const finish = (act: () => void) => {
      act();
      stop.abort();
    };
    for (const signal of signals) {
      if (signal.aborted) finish(() => reject(signal.reason as Error));
      signal.addEventListener("abort", () => finish(() => reject(signal.reason as Error)), { once: true, signal: stop.signal });
    }
    // Reads one after the other: a change during a read leads to another one.
    let reading = false;
    let again = false;
    const check = async () => {
      again = true;
      if (reading) return;
      reading = true;
      try {
        while (again && !stop.signal.aborted) {
          again = false;
          const doc = await read();
          if (stop.signal.aborted) return;
          options.onUpdate?.(doc);
          if (settled(doc)) finish(() => resolve(doc));
        }
      } catch (error) {
        finish(() => reject(error as Error));
      } finally {
        reading = false;
      }
    };
    const follow = async () => {
      const changes = followChanges(transport, { ...filter, signal: stop.signal, onOpen: () => void check(), onError: () => void check() });
      for await (const change of changes) {
        if (id === undefined || change.kind === "reset" || (change.data as { id?: string }).id === id) void check();
      }
    };
    follow().catch((error: unknown) => finish(() => reject(error as Error)));
  });
}
