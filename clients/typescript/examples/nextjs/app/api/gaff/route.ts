// A Next.js route: POST /api/gaff. It works in the Node and the edge runtime.
import { isGaff, receive } from "gaff-receiver";
import { markSeen, saveMedia, seenBefore } from "../../../lib/store";

declare const process: { env: Record<string, string | undefined> };

export const POST = receive({ secrets: (process.env.GAFF_SECRET ?? "").split(",") }, async (event, delivery) => {
  if (await seenBefore(delivery.id)) return;
  if (isGaff(event, "job.completed")) {
    await saveMedia(event.job.projectId, event.media);
  }
  // After the work: if it throws, the delivery comes again, and must not be taken for one that was done.
  await markSeen(delivery.id);
});
