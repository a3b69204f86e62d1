import config from "@payload-config";
import { getPayload } from "payload";

export const dynamic = "force-dynamic";

export default async function Page() {
  const payload = await getPayload({ config });
  const films = await payload.find({ collection: "films", sort: "-createdAt", limit: 20, depth: 0 });
  return (
    <main>
      <h1>Film studio</h1>
      <form action="/films" method="post">
        <label>
          Title <input name="title" required defaultValue="The lighthouse" />
        </label>
        <label>
          Scenes, one in each line
          <textarea name="prompts" rows={4} required defaultValue={"a lighthouse at dawn\nthe lamp is lit"} />
        </label>
        <button>Make the film</button>
      </form>
      <ul>
        {films.docs.map((film) => (
          <li key={film.id}>
            <a href={`/films/${film.id}`}>{String(film.title)}</a>
          </li>
        ))}
      </ul>
    </main>
  );
}
