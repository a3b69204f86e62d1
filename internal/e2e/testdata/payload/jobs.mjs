// An application with Payload on PostgreSQL that queues a job for each event, as docs/recipes/payload-jobs.md
// says. GET /state runs the queued jobs, and counts the queued ones and those that ran.
import { createServer } from "node:http";
import { postgresAdapter } from "@payloadcms/db-postgres";
import { receive } from "@gaff/client";
import { buildConfig, getPayload } from "payload";

const ran = [];
const config = await buildConfig({
  secret: "a secret of tests",
  db: postgresAdapter({ pool: { connectionString: process.env.DATABASE_URL } }),
  telemetry: false,
  typescript: { autoGenerate: false },
  collections: [{ slug: "users", auth: true, fields: [] }],
  jobs: {
    deleteJobOnComplete: false,
    tasks: [
      {
        slug: "importInvoice",
        inputSchema: [{ name: "deliveryId", type: "text" }, { name: "data", type: "json" }],
        handler: async ({ input }) => {
          ran.push(input);
          return { output: {} };
        },
      },
    ],
  },
});
const payload = await getPayload({ config });

const post = receive({ secrets: process.env.GAFF_SECRET }, async (event, delivery) => {
  await payload.jobs.queue({ task: "importInvoice", input: { deliveryId: delivery.id, data: event.data } });
});

const server = createServer(async (req, res) => {
  const chunks = [];
  for await (const chunk of req) chunks.push(chunk);
  let answer;
  if (req.url === "/state") {
    await payload.jobs.run();
    answer = Response.json({ queued: (await payload.count({ collection: "payload-jobs" })).totalDocs, ran });
  } else {
    answer = await post(new Request(`http://localhost${req.url}`, { method: req.method, headers: req.headers, body: Buffer.concat(chunks) }));
  }
  res.writeHead(answer.status, { "content-type": answer.headers.get("content-type") ?? "text/plain" });
  res.end(Buffer.from(await answer.arrayBuffer()));
});
server.listen(process.env.PORT, "127.0.0.1", () => console.log(JSON.stringify({ port: server.address().port })));
