// An application with Payload on PostgreSQL and the plugin, without pages. GET /state counts what it has.
import { createServer } from "node:http";
import { postgresAdapter } from "@payloadcms/db-postgres";
import { gaffPlugin } from "@gaff/payload";
import { buildConfig, getPayload, handleEndpoints } from "payload";

let failures = 1; // of the hook: its first call rolls the delivery back
const config = await buildConfig({
  secret: "a secret of tests",
  db: postgresAdapter({ pool: { connectionString: process.env.DATABASE_URL } }),
  telemetry: false,
  typescript: { autoGenerate: false },
  collections: [
    { slug: "media", access: { read: () => true }, fields: [] },
    { slug: "notes", fields: [{ name: "job", type: "text" }] },
    { slug: "users", auth: true, fields: [] },
  ],
  plugins: [
    gaffPlugin({
      onJobCompleted: async ({ job, req }) => {
        await req.payload.create({ collection: "notes", data: { job: job.id }, req });
        if (failures-- > 0) throw new Error("once");
      },
    }),
  ],
});
const payload = await getPayload({ config });

const server = createServer(async (req, res) => {
  const chunks = [];
  for await (const chunk of req) chunks.push(chunk);
  let answer;
  if (req.url === "/state") {
    const count = async (collection) => (await payload.count({ collection })).totalDocs;
    const logs = await payload.find({ collection: "webhook-logs", where: { source: { equals: "fal" } } });
    answer = Response.json({ media: await count("media"), notes: await count("notes"), logs: logs.docs.length });
  } else {
    const body = chunks.length ? Buffer.concat(chunks) : undefined;
    answer = await handleEndpoints({ config, request: new Request(`http://localhost${req.url}`, { method: req.method, headers: req.headers, body }) });
  }
  res.writeHead(answer.status, { "content-type": answer.headers.get("content-type") ?? "text/plain" });
  res.end(Buffer.from(await answer.arrayBuffer()));
});
server.listen(process.env.PORT, "127.0.0.1", () => console.log(JSON.stringify({ port: server.address().port })));
