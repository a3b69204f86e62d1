import config from "@payload-config";
import { gaffOf } from "@gaff/payload";
import { getPayload } from "payload";

/** Approves or rejects the pictures of a film. In an application of your own, check who decides. */
export async function POST(request: Request, { params }: { params: Promise<{ id: string }> }): Promise<Response> {
  const approved = (await request.formData()).get("approved") === "yes";
  const { id } = await params;
  const payload = await getPayload({ config });
  const film = (await payload.findByID({ collection: "films", id: Number(id), depth: 0 })) as { gaff?: { runId?: string } };
  await gaffOf(payload).runs.decide(film.gaff?.runId ?? "", { step: "review", approved });
  return new Response(null, { status: 303, headers: { location: `/films/${id}` } });
}
