import type { EnvelopeJob, EnvelopeMedia, Envelope, Gaff, RunEvent } from "@gaff/client";
import type { Access, PayloadRequest } from "payload";

/** A document of the application that a job or a run belongs to. */
export interface DocumentRef {
  collection: string;
  id: number | string;
}

/** What the hooks get. Changes with `req` are part of the same transaction, if the database has transactions. */
export interface HookArguments {
  event: Envelope;
  req: PayloadRequest;
  gaff: Gaff;
}

export interface JobHookArguments extends HookArguments {
  job: EnvelopeJob;
  media: EnvelopeMedia[];
  /** The document that the job belongs to, as it was before this event; null without one. */
  document: (DocumentRef & { data: Record<string, unknown> }) | null;
}

export interface RunHookArguments extends HookArguments {
  run: RunEvent;
  document: (DocumentRef & { data: Record<string, unknown> }) | null;
}

export interface WebhookLogOptions {
  /** Default: webhook-logs. */
  slug?: string;
  /** Who reads the logs. Default: every user who is logged in. */
  read?: Access;
  /** Who retries failed webhooks. Default: every user who is logged in. */
  retry?: Access;
}

export interface MediaOptions {
  /** Default: media. The plugin creates the collection if the configuration has none of this name. */
  collection?: string;
  /** More fields of the row of a file, or other values than the plugin's. */
  data?: (file: EnvelopeMedia, event: Envelope) => Record<string, unknown>;
  /**
   * What `url` of a row is. "payload" is a route of Payload, which checks who may read the row. "gaff" is a permanent link of the
   * gateway, which everyone can read who has it. Default: payload.
   */
  links?: "payload" | "gaff";
  /** The largest file that is copied into an upload collection, in bytes. Default: 100 MiB. */
  maxFileBytes?: number;
}

export interface TrackedCollection {
  /** The name of the group of fields that the plugin adds. Default: gaff. */
  field?: string;
}

export interface GaffPluginOptions {
  /** The gateway's URL. Default: the environment's GAFF_URL. */
  url?: string;
  /** The URL by which browsers reach the gateway. Default: url. */
  publicUrl?: string;
  /** A token of the role operator. Default: the environment's GAFF_TOKEN. */
  token?: string;
  /** The secrets of the destination that forwards events here (whsec_…). Default: the environment's GAFF_SECRET, between commas. */
  secrets?: string | string[];
  /** The largest delivery that is read, in bytes. Default: 8 MiB. */
  maxBodyBytes?: number;
  /** The collection of webhook logs; false for none. */
  webhookLogs?: WebhookLogOptions | false;
  /** The rows of files; false for none. */
  media?: MediaOptions | false;
  /** The collections whose documents show the status of their job or run. */
  jobs?: Record<string, TrackedCollection | true>;
  /** The document of a job. Default: the job's metadata, {"collection": "scenes", "documentId": 7}. */
  documentOf?: (job: EnvelopeJob) => DocumentRef | null;
  /** A job is completed. If a hook throws, nothing of the event is stored and gaff delivers it again. */
  onJobCompleted?: (args: JobHookArguments) => unknown;
  /** A job failed or was cancelled; job.status says which. */
  onJobFailed?: (args: JobHookArguments) => unknown;
  /** Each file of a completed job has a copy, or never will (gaff:job.stored); event.data.failed lists the files without one. */
  onJobStored?: (args: JobHookArguments) => unknown;
  /** A run of a workflow ended, or waits for approval; run.status and event.type say which. */
  onRun?: (args: RunHookArguments) => unknown;
  /** Any event, after the plugin's own work. */
  onEvent?: (args: HookArguments) => unknown;
  /** For how many days the ids of processed deliveries are stored. Default: 90. */
  keepDeliveriesDays?: number;
}

/** The options with their defaults, and the client. */
export interface Context {
  options: GaffPluginOptions;
  gaff: () => Gaff;
  publicUrl: () => string;
  secrets: () => string[];
  logs: string | null;
  media: string | null;
  tracked: Map<string, string>;
  /** The path of Payload's REST API. */
  api: string;
}
