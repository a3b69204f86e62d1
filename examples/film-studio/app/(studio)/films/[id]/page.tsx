import config from "@payload-config";
import { notFound } from "next/navigation";
import { getPayload } from "payload";
import { Film } from "./film";

export default async function Page({ params }: { params: Promise<{ id: string }> }) {
  const payload = await getPayload({ config });
  const film = await payload.findByID({ collection: "films", id: Number((await params).id), depth: 0, disableErrors: true });
  if (!film) notFound();
  const { runId } = film.gaff as { runId: string };
  return (
    <main>
      <p><a href="/">All films</a></p>
      <h1>{String(film.title)}</h1>
      <Film id={film.id as number} runId={runId} />
    </main>
  );
}
