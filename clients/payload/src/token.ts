import type { CollectionSlug, Endpoint } from "payload";
import { documentId, type TrackedState } from "./documents.js";
import type { Context } from "./options.js";

/**
 * POST /api/gaff/token {"collection", "id"}: a token for a page, which reads the document's job or run and nothing else. Who may
 * read the document gets one.
 */
export function tokenEndpoint(context: Context): Endpoint {
  return {
    path: "/gaff/token",
    method: "post",
    handler: async (req) => {
      const refuse = (status: number, message: string) => Response.json({ errors: [{ message }] }, { status });
      let body: { collection?: unknown; id?: unknown };
      try {
        body = ((await req.json!()) ?? {}) as typeof body;
      } catch {
        return refuse(400, "the body is not JSON");
      }
      const { collection, id } = body;
      const field = typeof collection === "string" ? context.tracked.get(collection) : undefined;
      if (field === undefined || (typeof id !== "string" && typeof id !== "number")) {
        return refuse(400, 'want {"collection": "…", "id": …} with a collection of the plugin\'s option jobs');
      }
      let state: TrackedState;
      try {
        const document = (await req.payload.findByID({
          collection: collection as CollectionSlug, id: documentId(req.payload, collection as string, id), depth: 0, req, overrideAccess: false,
        })) as unknown as Record<string, unknown>;
        state = (document[field] as TrackedState | undefined) ?? {};
      } catch {
        return refuse(404, "there is no such document");
      }
      const of = state.runId ? { runId: state.runId } : state.jobId ? { jobId: state.jobId } : null;
      if (!of) return refuse(409, "the document has no job yet");
      try {
        const { token, expiresAt } = await context.gaff().call("create-token", { body: of });
        return Response.json({ url: context.publicUrl(), token, expiresAt, ...of }, { headers: { "cache-control": "no-store" } });
      } catch (error) {
        req.payload.logger.error({ err: error, msg: "@gaff/payload: a token could not be created" });
        return refuse(502, "the gateway is not reachable");
      }
    },
  };
}
