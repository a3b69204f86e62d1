import type { EnvelopeJob, EnvelopeMedia, JobSettled, JobSubmission, RunEvent, RunStart, RunDetail, JobDetail } from "@gaff/client";
import type { CollectionSlug, Payload, PayloadRequest, Where } from "payload";
import type { Context, DocumentRef } from "./options.js";

export type Found = DocumentRef & { data: Record<string, unknown> };

/** The state of a job or a run, as the group of fields has it. */
export interface TrackedState {
  status?: string | null;
  jobId?: string | null;
  runId?: string | null;
  message?: string | null;
  settledAt?: string | null;
  result?: unknown;
}

const settled = new Set(["completed", "failed", "cancelled"]);

/** What the local API needs: a payload, and the request whose transaction the change belongs to. */
interface Local {
  payload: Payload;
  req?: PayloadRequest;
}

function stateOf(context: Context, found: Found): TrackedState {
  return (found.data[context.tracked.get(found.collection)!] as TrackedState | undefined) ?? {};
}

async function find(local: Local, collection: string, where: Where): Promise<Found | null> {
  const page = await local.payload.find({ collection: collection as CollectionSlug, where, limit: 1, depth: 0, pagination: false, ...request(local) });
  const data = page.docs[0] as Record<string, unknown> | undefined;
  return data ? { collection, id: data["id"] as number | string, data } : null;
}

function request({ req }: Local): { req?: PayloadRequest } {
  return req ? { req } : {};
}

/** An id of metadata as the collection's ids are: metadata may have been through a form. */
export function documentId(payload: Payload, collection: string, id: number | string): number | string {
  const kind = payload.collections[collection as CollectionSlug]?.customIDType ?? payload.db.defaultIDType;
  return kind === "number" && typeof id === "string" && /^\d{1,15}$/.test(id) ? Number(id) : kind === "text" ? String(id) : id;
}

/** The document by an id, or by the id of its job or run. */
export async function documentOfJob(context: Context, local: Local, job: EnvelopeJob): Promise<Found | null> {
  const ref = (context.options.documentOf ?? fromMetadata)(job);
  if (ref && context.tracked.has(ref.collection)) {
    return find(local, ref.collection, { id: { equals: documentId(local.payload, ref.collection, ref.id) } });
  }
  return documentBy(context, local, "jobId", job.id);
}

export async function documentBy(context: Context, local: Local, name: "jobId" | "runId", id: string): Promise<Found | null> {
  for (const [collection, field] of context.tracked) {
    const found = await find(local, collection, { [`${field}.${name}`]: { equals: id } });
    if (found) return found;
  }
  return null;
}

function fromMetadata(job: EnvelopeJob): DocumentRef | null {
  const { collection, documentId: id } = (job.metadata ?? {}) as { collection?: unknown; documentId?: unknown };
  if (typeof collection !== "string" || (typeof id !== "string" && typeof id !== "number")) return null;
  return { collection, id };
}

async function save(context: Context, local: Local, ref: DocumentRef, state: TrackedState): Promise<void> {
  const field = context.tracked.get(ref.collection)!;
  await local.payload.update({
    collection: ref.collection as CollectionSlug,
    id: documentId(local.payload, ref.collection, ref.id),
    data: { [field]: state } as never,
    depth: 0,
    ...request(local),
  });
}

/** Writes the end of a job to its document, unless the document has a newer job or belongs to a run. */
export async function saveJob(context: Context, local: Local, found: Found, job: EnvelopeJob, data: JobSettled): Promise<void> {
  const state = stateOf(context, found);
  if (data.runId || state.runId || (state.jobId && state.jobId !== job.id)) return;
  await save(context, local, found, { status: job.status, jobId: job.id, message: job.error, settledAt: job.settledAt, result: job.result });
}

/** Writes the state of a run to its document. An end stays: events may come in another order. */
export async function saveRun(context: Context, local: Local, found: Found, run: RunEvent, at: string | null): Promise<void> {
  const state = stateOf(context, found);
  const end = settled.has(run.status);
  if (!end && settled.has(state.status ?? "")) return;
  await save(context, local, found, {
    ...state,
    status: end ? run.status : "approval",
    message: run.error || run.message || null,
    settledAt: end ? at : null,
  });
}

/** Submits a job for a document: its metadata name the document, and the document shows it as queued. */
export async function submitJob(context: Context, local: Local, ref: DocumentRef, job: JobSubmission): Promise<JobDetail> {
  tracked(context, ref);
  const submitted = await context.gaff().jobs.submit({ ...job, metadata: { ...(job.metadata as object | undefined), collection: ref.collection, documentId: ref.id } });
  await save(context, local, ref, { status: submitted.status, jobId: submitted.id, runId: null, message: null, settledAt: null, result: null });
  return submitted;
}

/** Starts a run for a document, which shows its state from then on. */
export async function startRun(context: Context, local: Local, ref: DocumentRef, run: RunStart): Promise<RunDetail> {
  tracked(context, ref);
  const started = await context.gaff().runs.start(run);
  await save(context, local, ref, { status: "processing", jobId: null, runId: started.id, message: null, settledAt: null, result: null });
  // A run that ended before its id was stored had no document when its event came.
  const now = await context.gaff().runs.get(started.id);
  if (settled.has(now.status)) await save(context, local, ref, { status: now.status, jobId: null, runId: now.id, message: now.error, settledAt: now.settledAt, result: null });
  return now;
}

function tracked(context: Context, ref: DocumentRef): void {
  if (!context.tracked.has(ref.collection)) throw new Error(`@gaff/payload: the collection ${ref.collection} is not in the plugin's option jobs`);
}

/** The values of the row of a file. */
export function mediaData(file: EnvelopeMedia): Record<string, unknown> {
  return {
    gaffId: file.id, jobId: file.jobId, mediaType: file.mediaType, projectId: file.projectId, metadata: file.metadata,
    contentType: file.contentType, size: file.size,
  };
}
