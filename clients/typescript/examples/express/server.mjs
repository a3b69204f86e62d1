// An Express server: POST /gaff.
import express from "express";
import { node } from "@gaff/client";

const app = express();

app.post(
  "/gaff",
  node({ secrets: process.env.GAFF_SECRET.split(",") }, async (event, delivery) => {
    console.log(JSON.stringify({ delivery: delivery.id, kind: `${event.source}:${event.type}`, job: event.job?.status ?? null, media: event.media.length }));
  }),
);

const server = app.listen(process.env.PORT ?? 3001, "127.0.0.1", () => console.log(JSON.stringify({ port: server.address().port })));
