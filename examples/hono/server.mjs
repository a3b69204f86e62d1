// Hono: POST /pictures submits a job, POST /gaff receives its end. Install hono, @hono/node-server and @gaff/client.
// On Cloudflare, Bun and Deno, export the app in place of serve().
import { serve } from "@hono/node-server";
import { Hono } from "hono";
import { Gaff, memoryStore, once, receive, Router } from "@gaff/client";

const gaff = new Gaff(); // GAFF_URL, GAFF_TOKEN
const app = new Hono();

const events = new Router()
  .on("gaff:job.completed", (event) => console.log(JSON.stringify({ job: event.job.id, status: event.job.status, files: event.media.length })))
  .on("gaff:job.*", (event) => event.type !== "job.completed" && console.error(event.job.id, event.job.status, event.job.error));

// In place of memoryStore use a table of your database.
const handle = receive({ secrets: process.env.GAFF_SECRET.split(",") }, once(memoryStore(), events.handle));
app.post("/gaff", (c) => handle(c.req.raw));

app.post("/pictures", async (c) => {
  const { prompt } = await c.req.json();
  const job = await gaff.jobs.submit({ provider: "fal", model: "fal-ai/flux/dev", input: { prompt }, projectId: "pictures" });
  return c.json({ id: job.id, status: job.status }, 202);
});

serve({ fetch: app.fetch, hostname: "127.0.0.1", port: Number(process.env.PORT ?? 3001) }, ({ port }) => console.log(JSON.stringify({ port })));
