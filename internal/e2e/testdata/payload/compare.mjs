// Loads the webhook logs of a gateway into a collection of a real Payload, and asks both the queries of the standard input. It
// prints one line of JSON for each: {query, equal, gaff, payload}.
import { sqliteAdapter } from "@payloadcms/db-sqlite";
import { buildConfig, getPayload, handleEndpoints } from "payload";

const { GAFF_URL, GAFF_TOKEN } = process.env;
const text = (name, more = {}) => ({ name, type: "text", ...more });
const config = await buildConfig({
  secret: "comparison",
  db: sqliteAdapter({ client: { url: process.env.DATABASE_URL } }),
  telemetry: false,
  typescript: { autoGenerate: false },
  defaultDepth: 0,
  collections: [
    {
      slug: "manage",
      access: { read: () => true },
      defaultSort: "-processedAt",
      fields: [
        text("id", { required: true }), text("webhookId"), text("source"), text("type"),
        { name: "status", type: "select", options: ["success", "error", "pending"] },
        { name: "unhandled", type: "checkbox" }, { name: "error", type: "textarea" }, { name: "retryCount", type: "number" },
        { name: "receivedAt", type: "date" }, { name: "processedAt", type: "date" }, { name: "data", type: "json" },
      ],
    },
  ],
});
const payload = await getPayload({ config });

const ask = async (path) => {
  const response = await fetch(`${GAFF_URL}/api/v1/webhooks/manage${path}`, { headers: { authorization: `Bearer ${GAFF_TOKEN}` } });
  return { status: response.status, body: await response.json() };
};
const askPayload = async (path) => {
  const response = await handleEndpoints({ config, request: new Request(`http://localhost/api/manage${path}`) });
  return { status: response.status, body: await response.json() };
};

const { body: all } = await ask("?limit=500&sort=receivedAt");
for (const { createdAt, updatedAt, ...data } of all.docs) await payload.create({ collection: "manage", data });

const members = ["totalDocs", "limit", "totalPages", "page", "pagingCounter", "hasPrevPage", "hasNextPage", "prevPage", "nextPage"];
function summary({ status, body }) {
  if (status >= 400) return { status, errors: Array.isArray(body.errors) && body.errors.every((error) => typeof error.message === "string") };
  if (!Array.isArray(body.docs)) return { status, ...("id" in body ? { id: body.id, webhookId: body.webhookId } : { totalDocs: body.totalDocs }) };
  const envelope = Object.fromEntries(members.map((name) => [name, body[name] ?? null]));
  const keys = [...new Set(body.docs.flatMap(Object.keys))].filter((key) => key !== "createdAt" && key !== "updatedAt").sort();
  return { status, docs: body.docs.map((doc) => doc.webhookId ?? doc.id), keys, ...envelope };
}

const names = new Map(all.docs.map((log) => [log.webhookId, log]));
const queries = (await new Response(process.stdin).text()).split("\n").filter(Boolean);
for (const line of queries) {
  // {name.member} is a value of the log with that webhookId.
  const query = line.replace(/\{(\w+)\.(\w+)\}/g, (_, name, member) => encodeURIComponent(names.get(name)[member]));
  const gaff = summary(await ask(query));
  const other = summary(await askPayload(query));
  console.log(JSON.stringify({ query: line, equal: JSON.stringify(gaff) === JSON.stringify(other), gaff, payload: other }));
}
process.exit(0);
