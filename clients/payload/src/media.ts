import { GaffError, type Envelope, type EnvelopeMedia } from "@gaff/client";
import type { CollectionSlug, Endpoint, File, PayloadRequest } from "payload";
import { mediaData } from "./documents.js";
import type { Context } from "./options.js";

const defaultMaxFileBytes = 100 << 20;

const extensions: Record<string, string> = {
  "image/jpeg": "jpg", "image/png": "png", "image/webp": "webp", "image/gif": "gif", "image/avif": "avif", "video/mp4": "mp4",
  "video/webm": "webm", "video/quicktime": "mov", "audio/mpeg": "mp3", "audio/wav": "wav", "audio/ogg": "ogg", "model/gltf-binary": "glb",
};

function uploads(context: Context, req: PayloadRequest): boolean {
  return Boolean(req.payload.collections[context.media as CollectionSlug]?.config.upload);
}

async function rowOf(context: Context, req: PayloadRequest, id: string, options: { overrideAccess?: boolean } = {}) {
  const page = await req.payload.find({ collection: context.media as CollectionSlug, where: { gaffId: { equals: id } }, limit: 1, depth: 0, pagination: false, req, ...options });
  return page.docs[0] as { id: number | string } | undefined;
}

/** What is needed for a row besides the event. */
export interface Prepared {
  url: string;
  upload?: File;
}

/** Asks the gateway for the parts of a row. It is called outside the transaction. */
export async function prepareMedia(context: Context, req: PayloadRequest, file: EnvelopeMedia): Promise<Prepared> {
  const { links, maxFileBytes } = context.options.media || {};
  if (uploads(context, req)) {
    return { url: "", ...((await rowOf(context, req, file.id)) ? {} : { upload: await download(context, file, maxFileBytes ?? defaultMaxFileBytes) }) };
  }
  // A link that stays the same: Payload checks who may read the row, and redirects to the gateway's link of the moment.
  if (links !== "gaff") return { url: `${context.api}/gaff/media/${file.id}` };
  const linkUrl = file.linkUrl ?? (await context.gaff().media.link(file.id)).linkUrl;
  if (!linkUrl) throw new Error(`the gateway gave no permanent link for ${file.id}`);
  return { url: linkUrl };
}

async function download(context: Context, file: EnvelopeMedia, max: number): Promise<File> {
  const response = await context.gaff().media.download(file.id);
  const parts: Uint8Array[] = [];
  let size = 0;
  for await (const part of response.body as unknown as AsyncIterable<Uint8Array>) {
    if ((size += part.length) > max) throw new Error(`the file ${file.id} has more than ${max} bytes: raise media.maxFileBytes of @gaff/payload`);
    parts.push(part);
  }
  const mimetype = (response.headers.get("content-type") ?? file.contentType ?? "application/octet-stream").split(";")[0]!.trim();
  return { data: Buffer.concat(parts), mimetype, size, name: `${file.id}.${extensions[mimetype] ?? "bin"}` };
}

/** Creates or updates the row of a file. */
export async function saveMedia(context: Context, req: PayloadRequest, file: EnvelopeMedia, event: Envelope, { url, upload }: Prepared): Promise<void> {
  const values = { ...mediaData(file), ...(url ? { url } : {}), ...(context.options.media || {}).data?.(file, event) } as never;
  const collection = context.media as CollectionSlug;
  const row = await rowOf(context, req, file.id);
  if (row) await req.payload.update({ collection, id: row.id, data: values, depth: 0, req });
  else await req.payload.create({ collection, data: values, depth: 0, req, ...(upload ? { file: upload } : {}) });
}

/** GET /api/gaff/media/med_…: the stable URL of a file. */
export function mediaEndpoint(context: Context): Endpoint {
  return {
    path: "/gaff/media/:id",
    method: "get",
    handler: async (req) => {
      const id = String(req.routeParams?.["id"] ?? "");
      const missing = () => Response.json({ errors: [{ message: "There is no such file." }] }, { status: 404 });
      try {
        if (!id || !(await rowOf(context, req, id, { overrideAccess: false }))) return missing();
      } catch {
        return missing(); // access to the collection is denied
      }
      try {
        const { storedUrl, url } = await context.gaff().media.get(id);
        return new Response(null, { status: 302, headers: { location: storedUrl ?? url, "cache-control": "private, max-age=300" } });
      } catch (error) {
        if (error instanceof GaffError && error.status === 404) return missing();
        req.payload.logger.error({ err: error, msg: "@gaff/payload: a file's link could not be read" });
        return Response.json({ errors: [{ message: "The gateway is not reachable." }] }, { status: 502 });
      }
    },
  };
}
