import { verifyWebhook, VerificationError, type Envelope, type JobSettled, type RunEvent, type Verified } from "@gaff/client";
import { commitTransaction, initTransaction, killTransaction, type CollectionSlug, type Endpoint, type PayloadRequest } from "payload";
import { documentBy, documentOfJob, saveJob, saveRun } from "./documents.js";
import { deliveriesSlug } from "./fields.js";
import { prepareMedia, saveMedia, type Prepared } from "./media.js";
import type { Context, GaffPluginOptions } from "./options.js";

/** POST /api/gaff/events: receives what the gateway forwards. Each delivery is processed once. */
export function eventsEndpoint(context: Context): Endpoint {
  const running = new Map<string, Promise<void>>();
  return {
    path: "/gaff/events",
    method: "post",
    handler: async (req) => {
      let verified: Verified;
      try {
        const { maxBodyBytes } = context.options;
        verified = await verifyWebhook(req as unknown as Request, { secrets: context.secrets(), ...(maxBodyBytes ? { maxBodyBytes } : {}) });
      } catch (error) {
        if (error instanceof VerificationError) return new Response(error.message, { status: error.status });
        req.payload.logger.error({ err: error, msg: "@gaff/payload: an event could not be verified" });
        return new Response("the event could not be verified", { status: 500 });
      }
      // Two attempts of one delivery at the same time do the work once.
      let work = running.get(verified.deliveryId);
      if (!work) {
        work = processOnce(context, req, verified).finally(() => running.delete(verified.deliveryId));
        running.set(verified.deliveryId, work);
      }
      try {
        await work;
        return new Response(null, { status: 204 });
      } catch (error) {
        req.payload.logger.error({ err: error, msg: `@gaff/payload: the event ${verified.event.source}:${verified.event.type} failed` });
        return new Response(error instanceof Error ? error.message.slice(0, 500) : "failed", { status: 500 });
      }
    },
  };
}

/**
 * Does the work and then stores the delivery's id, in one transaction if the database has transactions. If the work fails, the
 * id is not stored, and the gateway's next attempt does it again.
 */
async function processOnce(context: Context, req: PayloadRequest, { deliveryId, event }: Verified): Promise<void> {
  const { totalDocs } = await req.payload.count({ collection: deliveriesSlug as CollectionSlug, where: { deliveryId: { equals: deliveryId } } });
  if (totalDocs > 0) return;
  const prepared = context.media !== null && stored(event) ? await prepareMedia(context, req, event.media[0]!) : undefined;
  const began = await initTransaction(req);
  try {
    await apply(context, req, event, prepared);
    await req.payload.create({ collection: deliveriesSlug as CollectionSlug, data: { deliveryId } as never, depth: 0, req });
    if (began) await commitTransaction(req);
  } catch (error) {
    if (began) await killTransaction(req);
    throw error;
  }
  await forget(context, req);
}

function stored(event: Envelope): boolean {
  return event.source === "gaff" && event.type === "media.stored" && event.media.length > 0;
}

async function apply(context: Context, req: PayloadRequest, event: Envelope, prepared: Prepared | undefined): Promise<void> {
  const args = { event, req, gaff: context.gaff() };
  const local = { payload: req.payload, req };
  const { onJobCompleted, onJobStored, onJobFailed } = context.options;
  const hooks: Record<string, GaffPluginOptions["onJobCompleted"]> = {
    "job.completed": onJobCompleted, "job.stored": onJobStored, "job.failed": onJobFailed, "job.cancelled": onJobFailed,
  };
  if (event.source === "gaff" && event.type in hooks && event.job) {
    const document = await documentOfJob(context, local, event.job);
    if (document && event.type !== "job.stored") await saveJob(context, local, document, event.job, event.data as JobSettled);
    await hooks[event.type]?.({ ...args, job: event.job, media: event.media, document });
  } else if (event.source === "gaff" && /^run\./.test(event.type)) {
    const run = event.data as RunEvent;
    const document = await documentBy(context, local, "runId", run.runId);
    if (document) await saveRun(context, local, document, run, event.timestamp);
    await context.options.onRun?.({ ...args, run, document });
  } else if (prepared) {
    await saveMedia(context, req, event.media[0]!, event, prepared);
  }
  await context.options.onEvent?.(args);
}

/** Deletes the ids of old deliveries, about once in a hundred events. The gateway has given them up long before. */
async function forget(context: Context, req: PayloadRequest): Promise<void> {
  if (Math.random() > 0.01) return;
  const before = new Date(Date.now() - (context.options.keepDeliveriesDays ?? 90) * 86_400_000).toISOString();
  try {
    await req.payload.delete({ collection: deliveriesSlug as CollectionSlug, where: { createdAt: { less_than: before } }, depth: 0 });
  } catch (error) {
    req.payload.logger.warn({ err: error, msg: "@gaff/payload: old deliveries could not be deleted" });
  }
}
