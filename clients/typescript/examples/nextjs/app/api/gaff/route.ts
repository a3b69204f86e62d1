// A Next.js route: POST /api/gaff. It works in the Node and the edge runtime.
import { once, receive, Router } from "@gaff/client";
import { deliveries, saveMedia } from "../../../lib/store";

declare const process: { env: Record<string, string | undefined> };

const events = new Router().on("gaff:job.completed", (event) => saveMedia(event.job.projectId, event.media));

// once marks a delivery after the work: if saveMedia throws, gaff delivers the event again.
export const POST = receive({ secrets: (process.env.GAFF_SECRET ?? "").split(",") }, once(deliveries, events.handle));
