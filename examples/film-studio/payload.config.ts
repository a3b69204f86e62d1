import { sqliteAdapter } from "@payloadcms/db-sqlite";
import { gaffPlugin } from "@gaff/payload";
import { buildConfig, type CollectionConfig } from "payload";

/** The first user; the login form of the admin panel has its data already. Remove it in an application of your own. */
const login = { email: "studio@example.com", password: "film-studio" };

const Films: CollectionConfig = {
  slug: "films",
  admin: { useAsTitle: "title", defaultColumns: ["title", "updatedAt"] },
  access: { read: () => true },
  fields: [
    { name: "title", type: "text", required: true },
    { name: "prompts", type: "textarea", required: true, admin: { description: "One scene in each line" } },
    { name: "file", type: "relationship", relationTo: "media", admin: { description: "The finished film" } },
  ],
};

const Media: CollectionConfig = {
  slug: "media",
  admin: { useAsTitle: "gaffId", defaultColumns: ["gaffId", "mediaType", "projectId", "updatedAt"] },
  access: { read: () => true },
  fields: [{ name: "kind", type: "text" }], // the plugin adds url, mediaType, projectId, …
};

export default buildConfig({
  secret: process.env.PAYLOAD_SECRET ?? "",
  db: sqliteAdapter({ client: { url: process.env.DATABASE_URL ?? "file:.data/studio.db" }, transactionOptions: {} }),
  collections: [Films, Media, { slug: "users", auth: true, fields: [] }],
  admin: { user: "users", autoLogin: { ...login, prefillOnly: true } },
  typescript: { autoGenerate: false },
  telemetry: false,
  plugins: [
    gaffPlugin({
      jobs: { films: true },
      media: { data: (_, event) => ({ kind: event.job?.kind }) },
      // The finished film is the file of the job of kind "film".
      onEvent: async ({ event, req }) => {
        if (event.source !== "gaff" || event.type !== "media.stored" || event.job?.kind !== "film") return;
        const file = await req.payload.find({ collection: "media", where: { gaffId: { equals: event.media[0]!.id } }, req });
        await req.payload.update({ collection: "films", id: Number(event.job.projectId), data: { file: file.docs[0]!.id }, req });
      },
    }),
  ],
  onInit: async (payload) => {
    const { totalDocs } = await payload.count({ collection: "users" });
    if (totalDocs === 0) await payload.create({ collection: "users", data: login });
  },
});
