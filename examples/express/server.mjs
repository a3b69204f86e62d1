// Express: POST /pictures submits a job, POST /gaff receives its end. Install express and @gaff/client.
import express from "express";
import { Gaff, memoryStore, node, once, Router } from "@gaff/client";

const gaff = new Gaff(); // GAFF_URL, GAFF_TOKEN
const app = express();

const events = new Router()
  .on("gaff:job.completed", (event) => console.log(JSON.stringify({ job: event.job.id, status: event.job.status, files: event.media.length })))
  .on("gaff:job.*", (event) => event.type !== "job.completed" && console.error(event.job.id, event.job.status, event.job.error));

// Before express.json(): a parsed body cannot be verified. In place of memoryStore use a table of your database.
app.post("/gaff", node({ secrets: process.env.GAFF_SECRET.split(",") }, once(memoryStore(), events.handle)));

app.post("/pictures", express.json(), async (request, response) => {
  const job = await gaff.jobs.submit({ provider: "fal", model: "fal-ai/flux/dev", input: { prompt: request.body.prompt }, projectId: "pictures" });
  response.status(202).json({ id: job.id, status: job.status });
});

const server = app.listen(process.env.PORT ?? 3001, "127.0.0.1", () => console.log(JSON.stringify({ port: server.address().port })));
