import config from "@payload-config";
import { startRun } from "@gaff/payload";
import { getPayload } from "payload";

/** Creates a film's document and starts its workflow. The project of all its jobs and files is the document's id. */
export async function POST(request: Request): Promise<Response> {
  const form = await request.formData();
  const prompts = String(form.get("prompts")).split("\n").map((line) => line.trim()).filter(Boolean);
  const payload = await getPayload({ config });
  const film = await payload.create({ collection: "films", data: { title: String(form.get("title")), prompts: prompts.join("\n") } });
  await startRun(payload, { collection: "films", id: film.id }, { workflow: "film", projectId: String(film.id), input: { prompts }, idempotencyKey: `film-${film.id}` });
  return new Response(null, { status: 303, headers: { location: `/films/${film.id}` } });
}
