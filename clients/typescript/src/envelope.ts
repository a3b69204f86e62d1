import type { Envelope as Document, EnvelopeJob, EnvelopeMedia } from "./api.js";

export type { EnvelopeEvent, EnvelopeJob, EnvelopeMedia } from "./api.js";

/** An event as gaff sends it. Members without a value are null. */
export interface Envelope<Source extends string = string, Type extends string = string, Data = unknown> extends Omit<Document, "source" | "type" | "data"> {
  /** The sender, such as fal; gaff for internal events. */
  source: Source;
  /** Such as generation.completed, or job.completed for an internal event. */
  type: Type;
  /** The sender's body as JSON; for internal events gaff's own document. */
  data: Data;
}

export type JobStatus = EnvelopeJob["status"];
export type MediaType = EnvelopeMedia["mediaType"];

/** The data of gaff:job.completed, job.failed and job.cancelled. */
export interface JobSettled {
  jobId: string;
  provider: string;
  projectId: string;
  userId: string;
  kind: string;
  status: "completed" | "failed" | "cancelled";
  settledBy: string;
  /** The run and step of a workflow that submitted the job. */
  runId?: string;
  stepId?: string;
  /** Copies of the job's files are being made: gaff:job.stored follows. */
  awaitStored: boolean;
}

/** The data of gaff:job.stored: no copy of a completed job's files is to be made any more. */
export interface JobCopies {
  jobId: string;
  provider: string;
  projectId: string;
  userId: string;
  kind: string;
  /** The number of files, and of those that have a copy. */
  files: number;
  stored: number;
  /** The files without a copy. */
  failed: { mediaId: string; position: string; storage: "gone" | "failed" | "none"; error: string }[];
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
 * The data of gaff:media.created and media.stored. Size and SHA-256 are those of gaff's copy, 0 and empty before it exists.
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

/** One envelope for each type, so that a comparison of the type narrows the data. */
type Internal<Type extends string, Data, More = unknown> = Type extends string ? Envelope<"gaff", Type, Data> & More : never;

/** gaff's internal events; their type says which. */
export type GaffEvent =
  | Internal<"job.completed" | "job.failed" | "job.cancelled", JobSettled, { job: EnvelopeJob }>
  | Internal<"job.stored", JobCopies, { job: EnvelopeJob }>
  | Internal<"run.completed" | "run.failed" | "run.cancelled" | "run.approval_wanted", RunEvent>
  | Internal<"media.created" | "media.stored", MediaEvent>
  | Internal<"test", { message: string }>;

/** The internal event of a type. */
export type GaffEventOf<Type extends GaffEvent["type"]> = Extract<GaffEvent, { type: Type }>;

/** Whether an event is an internal event of a type; it narrows the event's type. */
export function isGaff<Type extends GaffEvent["type"]>(event: Envelope, type: Type): event is GaffEventOf<Type> {
  return event.source === "gaff" && event.type === type;
}
