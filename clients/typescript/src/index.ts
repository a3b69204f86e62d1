/**
 * The client of a gaff gateway: it receives the events that gaff forwards, and calls gaff's API.
 * It has no dependencies and needs Web Crypto and fetch only: Node 20, Bun, Deno, browsers, edge runtimes.
 *
 *     const gaff = new Gaff({ url: "https://gaff.example.com", token: process.env.GAFF_TOKEN });
 *     const job = await gaff.jobs.submit({ provider: "fal", model: "fal-ai/flux/dev", input: { prompt: "a dog" } });
 *
 *     const events = new Router().on("gaff:job.completed", async (event) => save(event.job, event.media));
 *     export const POST = receive({ secrets: process.env.GAFF_SECRET! }, events.handle);
 */
export type * from "./api.js";
// These replace documents of the API with the same names.
export type { Envelope } from "./envelope.js";
export type { Handler } from "./receive.js";
export type { Change } from "./stream.js";
export * from "./client.js";
export * from "./envelope.js";
export * from "./once.js";
export * from "./receive.js";
export * from "./router.js";
export * from "./signature.js";
export * from "./stream.js";
export * from "./testing.js";
export * from "./verify.js";
