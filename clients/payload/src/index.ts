/**
 * A plugin for Payload 3. It shows the gateway's webhook logs as a collection, writes rows of media and the status of jobs, and
 * calls hooks of the application.
 *
 *     plugins: [gaffPlugin({ jobs: { scenes: true }, onJobCompleted: async ({ job, document, req }) => … })]
 */
import { Gaff, type JobDetail, type JobSubmission, type RunDetail, type RunStart } from "@gaff/client";
import type { Config, Payload, PayloadRequest, Plugin } from "payload";
import { startRun as start, submitJob as submit } from "./documents.js";
import { eventsEndpoint } from "./events.js";
import { checkSlugs, deliveriesCollection, deliveriesSlug, extendCollections } from "./fields.js";
import { readLogsFromGaff, webhookLogs } from "./logs.js";
import { mediaEndpoint } from "./media.js";
import type { Context, DocumentRef, GaffPluginOptions } from "./options.js";
import { tokenEndpoint } from "./token.js";

export type { DocumentRef, GaffPluginOptions, HookArguments, JobHookArguments, MediaOptions, RunHookArguments, TrackedCollection, WebhookLogOptions } from "./options.js";

/** The member of the configuration's custom part that returns the context. */
const contextKey = "gaff";

export const gaffPlugin =
  (options: GaffPluginOptions = {}): Plugin =>
  (config: Config): Config => {
    const context = contextOf(options, config);
    checkSlugs(config, [context.logs, deliveriesSlug]);
    const collections = [...extendCollections(context, config.collections ?? []), deliveriesCollection()];
    if (context.logs !== null) collections.push(webhookLogs(context, context.logs, options.webhookLogs || {}));
    const endpoints = [...(config.endpoints ?? []), eventsEndpoint(context), tokenEndpoint(context)];
    if (context.media !== null) endpoints.push(mediaEndpoint(context));
    return {
      ...config,
      collections,
      endpoints,
      custom: { ...config.custom, [contextKey]: () => context },
      db: context.logs === null ? config.db : readLogsFromGaff(context, context.logs, config.db),
    };
  };

function contextOf(options: GaffPluginOptions, config: Config): Context {
  let gaff: Gaff | undefined;
  // The environment may be incomplete during a build: it is read at the first request.
  const url = () => options.url ?? process.env["GAFF_URL"] ?? "";
  return {
    options,
    gaff: () => (gaff ??= new Gaff({ url: url(), ...(options.token ? { token: options.token } : {}) })),
    publicUrl: () => (options.publicUrl ?? process.env["GAFF_PUBLIC_URL"] ?? url()).replace(/\/+$/, ""),
    secrets: () => {
      const secrets = typeof options.secrets === "string" ? [options.secrets] : (options.secrets ?? (process.env["GAFF_SECRET"] ?? "").split(",").filter(Boolean));
      if (secrets.length === 0) throw new Error("@gaff/payload: no secret: set GAFF_SECRET to the destination's secret, or give secrets");
      return secrets;
    },
    logs: options.webhookLogs === false ? null : (options.webhookLogs?.slug ?? "webhook-logs"),
    media: options.media === false ? null : (options.media?.collection ?? "media"),
    tracked: new Map(Object.entries(options.jobs ?? {}).map(([slug, tracked]) => [slug, (tracked === true ? undefined : tracked.field) ?? "gaff"])),
    api: (config.serverURL ?? "") + (config.routes?.api ?? "/api"),
  };
}

/** A payload, or a request whose transaction and user the changes belong to. */
export type Where = Payload | PayloadRequest;

function local(where: Where): { payload: Payload; req?: PayloadRequest; context: Context } {
  const req = "payload" in where ? (where as PayloadRequest) : undefined;
  const payload = req ? req.payload : (where as Payload);
  const context = (payload.config.custom?.[contextKey] as (() => Context) | undefined)?.();
  if (!context) throw new Error("@gaff/payload: the plugin is not in the configuration's plugins");
  return { payload, context, ...(req ? { req } : {}) };
}

/** The gateway's API, with the plugin's URL and token. */
export function gaffOf(where: Where): Gaff {
  return local(where).context.gaff();
}

/** Submits a job for a document of a collection of the option jobs. The document shows its status from then on. */
export function submitJob(where: Where, document: DocumentRef, job: JobSubmission): Promise<JobDetail> {
  const { context, ...of } = local(where);
  return submit(context, of, document, job);
}

/** Starts a run of a workflow for a document of a collection of the option jobs. */
export function startRun(where: Where, document: DocumentRef, run: RunStart): Promise<RunDetail> {
  const { context, ...of } = local(where);
  return start(context, of, document, run);
}
