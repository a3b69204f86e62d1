import type { BrowserAccess } from "@gaff/client/react";

/**
 * What useJob and useRun of @gaff/client/react need for the job or run of a document: a token from the plugin's endpoint.
 *
 *     const { run } = useRun(runId, documentAccess("films", film.id));
 */
export function documentAccess(collection: string, id: number | string, api = "/api"): () => Promise<BrowserAccess> {
  return async () => {
    const response = await fetch(`${api}/gaff/token`, {
      method: "POST", credentials: "include", headers: { "content-type": "application/json" }, body: JSON.stringify({ collection, id }),
    });
    const answer = (await response.json()) as BrowserAccess & { errors?: { message: string }[] };
    if (!response.ok) throw new Error(answer.errors?.[0]?.message ?? `the token endpoint answered ${response.status}`);
    return answer;
  };
}
