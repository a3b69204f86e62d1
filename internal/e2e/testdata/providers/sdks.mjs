// Drives stand-ins for providers with the vendors' own SDKs, and prints one JSON line for each operation:
// client, operation, and what went wrong. VENDORS has, by provider, the stand-in's URL, the model, the input
// and the id of the catalogue's examples.
import { readFileSync } from "node:fs";
import { ElevenLabsClient } from "@elevenlabs/elevenlabs-js";
import { GoogleGenAI } from "@google/genai";
import RunwayML from "@runwayml/sdk";
import LumaAI from "lumaai";
import OpenAI from "openai";
import Replicate from "replicate";
import { Client as WaveSpeed } from "wavespeed";

const vendors = JSON.parse(process.env.VENDORS);
const webhook = "https://hooks.example.com/api/v1/webhooks/play/job_play.mac"; // no request goes there
const version = (name) => JSON.parse(readFileSync(`node_modules/${name}/package.json`, "utf8")).version;
const pause = () => new Promise((resolve) => setTimeout(resolve, 30));

const want = (got, expected, what) => {
  if (JSON.stringify(got) !== JSON.stringify(expected)) throw new Error(`${what} is ${JSON.stringify(got)}, want ${JSON.stringify(expected)}`);
};

async function measure(client, operation, run) {
  let error = null;
  try {
    await Promise.race([run(), new Promise((_, reject) => setTimeout(() => reject(new Error("no end after 20 s")), 20_000).unref())]);
  } catch (e) {
    if (process.env.TRACE) console.error(client, operation, e);
    error = String(e?.message ?? e).slice(0, 300);
  }
  console.log(JSON.stringify({ client: `${client} ${version(client)}`, operation, error }));
}

// rejected wants an error that says what the vendor's message says.
async function rejected(run, text, ...statuses) {
  try {
    await run();
  } catch (e) {
    const status = e.status ?? e.statusCode ?? e.response?.status;
    if (statuses.length && !statuses.includes(status)) throw new Error(`the error has the status ${status}: ${e.message}`);
    const said = `${e.message} ${JSON.stringify(e.error ?? e.body ?? "")}`;
    if (!said.includes(text)) throw new Error(`the error is ${said}, want ${text}`);
    return;
  }
  throw new Error("there is no error");
}

// story measures what every client does: submit, poll to the end, a rejection and failed work. submit returns
// the work, poll a newer state of it, and ended whether it has.
async function story(client, name, { submit, poll, ended, files, failure, refusedStatus }) {
  const v = vendors[name];
  let work;
  await measure(client, `${name}: submit`, async () => {
    work = await submit(v.input);
    want(typeof (work.id ?? work.name), "string", "the type of the id");
  });
  await measure(client, `${name}: poll until it is completed`, async () => {
    let polls = 0;
    for (; !ended(work); polls++) {
      await pause();
      work = await poll(work);
    }
    if (polls < 2) throw new Error(`it ended after ${polls} polls`);
  });
  await measure(client, `${name}: files of the result`, async () => want(await files(work), v.files, "the list of files"));
  await measure(client, `${name}: error of a rejected submit`, () => rejected(() => submit({ ...v.input, [v.text]: "refuse-it" }), v.refused, ...refusedStatus));
  if (failure) {
    await measure(client, `${name}: error of failed work`, async () => {
      let failed = await submit({ ...v.input, [v.text]: "fail-it" });
      while (!ended(failed)) {
        await pause();
        failed = await poll(failed);
      }
      want(failure(failed), v.error, "the error");
    });
  }
}

{
  const v = vendors.replicate;
  const client = new Replicate({ auth: "key-secret", baseUrl: `${v.url}/v1` });
  const submit = (input) => client.predictions.create({ model: v.model, input, webhook, webhook_events_filter: ["completed"] });
  await story("replicate", "replicate", {
    submit, poll: (p) => client.predictions.get(p.id), ended: (p) => ["succeeded", "failed", "canceled"].includes(p.status),
    files: (p) => p.output, failure: (p) => p.error, refusedStatus: [422],
  });
  await measure("replicate", "replicate: wait", async () => want((await client.wait(await submit(v.input), { interval: 30 })).status, "succeeded", "the status"));
  await measure("replicate", "replicate: cancel", async () => {
    const p = await submit(v.input);
    await client.predictions.cancel(p.id);
  });
}
{
  const v = vendors["openai-videos"];
  const client = new OpenAI({ apiKey: "key-secret", baseURL: `${v.url}/v1`, maxRetries: 0 });
  await story("openai", "openai-videos", {
    submit: (input) => client.videos.create({ model: v.model, ...input }), poll: (p) => client.videos.retrieve(p.id),
    ended: (p) => ["completed", "failed"].includes(p.status), files: (p) => [`${v.url}/v1/videos/${p.id}/content`],
    failure: (p) => p.error?.message, refusedStatus: [400],
  });
}
{
  const v = vendors["openai-images"];
  const client = new OpenAI({ apiKey: "key-secret", baseURL: `${v.url}/v1`, maxRetries: 0 });
  const submit = (input) => client.images.generate({ model: v.model, ...input });
  await measure("openai", "openai-images: submit", async () => {
    const made = await submit(v.input);
    want(made.data.map((d) => `data:image/${made.output_format};base64,${d.b64_json}`), v.files, "the list of files");
    want(made.usage.total_tokens, 100, "the number of tokens");
  });
  await measure("openai", "openai-images: error of a rejected submit", () => rejected(() => submit({ ...v.input, prompt: "refuse-it" }), v.refused, 400));
}
{
  const v = vendors["gemini-veo"];
  const client = new GoogleGenAI({ apiKey: "key-secret", httpOptions: { baseUrl: v.url } });
  await story("@google/genai", "gemini-veo", {
    submit: ({ prompt, parameters }) => client.models.generateVideos({ model: v.model, source: { prompt }, config: parameters }),
    poll: (operation) => client.operations.getVideosOperation({ operation }), ended: (operation) => operation.done,
    files: (operation) => operation.response.generatedVideos.map((g) => g.video.uri),
    failure: (operation) => operation.response.raiMediaFilteredReasons?.join("; "), refusedStatus: [400],
  });
}
{
  const v = vendors.runway;
  const client = new RunwayML({ apiKey: "key-secret", baseURL: v.url, maxRetries: 0 });
  await story("@runwayml/sdk", "runway", {
    submit: (input) => client.textToVideo.create(input), poll: (task) => client.tasks.retrieve(task.id),
    ended: (task) => ["SUCCEEDED", "FAILED", "CANCELLED"].includes(task.status), files: (task) => task.output,
    failure: (task) => task.failure, refusedStatus: [400],
  });
  await measure("@runwayml/sdk", "runway: cancel", async () => {
    const task = await client.textToVideo.create(v.input);
    await client.tasks.delete(task.id);
  });
}
{
  const v = vendors.luma;
  const client = new LumaAI({ authToken: "key-secret", baseURL: `${v.url}/dream-machine/v1`, maxRetries: 0 });
  await story("lumaai", "luma", {
    submit: (input) => client.generations.video.create({ model: v.model, ...input, callback_url: webhook }), poll: (g) => client.generations.get(g.id),
    ended: (g) => ["completed", "failed"].includes(g.state), files: (g) => [g.assets.video], failure: (g) => g.failure_reason, refusedStatus: [403],
  });
}
{
  const v = vendors.elevenlabs;
  const client = new ElevenLabsClient({ apiKey: "key-secret", baseUrl: v.url });
  const submit = ({ source_url }) =>
    client.speechToText.convert({ modelId: v.model, sourceUrl: source_url, webhook: true, webhookMetadata: { job_id: "job_play" } }, { maxRetries: 0 });
  let work;
  await measure("@elevenlabs/elevenlabs-js", "elevenlabs: submit", async () => {
    work = await submit(v.input);
    want(typeof work.transcriptionId, "string", "the type of the id");
  });
  await measure("@elevenlabs/elevenlabs-js", "elevenlabs: poll until it is completed", async () => {
    for (;;) {
      try {
        want((await client.speechToText.transcripts.get(work.transcriptionId, { maxRetries: 0 })).text, "Hello world", "the text");
        return;
      } catch (e) {
        if (e.statusCode !== 404) throw e;
      }
      await pause();
    }
  });
  await measure("@elevenlabs/elevenlabs-js", "elevenlabs: error of a rejected submit", () => rejected(() => submit({ source_url: "https://refuse-it/" }), v.refused, 422));
}
{
  const v = vendors["elevenlabs-speech"];
  const client = new ElevenLabsClient({ apiKey: "key-secret", baseUrl: v.url });
  const submit = ({ text, model_id }) => client.textToSpeech.convert(v.model, { text, modelId: model_id }, { maxRetries: 0 });
  await measure("@elevenlabs/elevenlabs-js", "elevenlabs-speech: submit", async () => {
    const audio = Buffer.from(await new Response(await submit(v.input)).arrayBuffer());
    want([`data:audio/mpeg;base64,${audio.toString("base64")}`], v.files, "the audio");
  });
  await measure("@elevenlabs/elevenlabs-js", "elevenlabs-speech: error of a rejected submit", () => rejected(() => submit({ ...v.input, text: "refuse-it" }), v.refused, 400));
}
{
  const v = vendors.wavespeed;
  const client = new WaveSpeed("key-secret", { baseUrl: v.url, maxConnectionRetries: 0 });
  const run = (input) => client.run(v.model, input, { pollInterval: 0.03 });
  await measure("wavespeed", "wavespeed: run", async () => want((await run(v.input)).outputs, v.files, "the list of files"));
  await measure("wavespeed", "wavespeed: error of a rejected submit", () => rejected(() => run({ ...v.input, prompt: "refuse-it" }), v.refused));
  await measure("wavespeed", "wavespeed: error of failed work", () => rejected(() => run({ ...v.input, prompt: "fail-it" }), v.error));
}
