// app/api/fal/proxy/route.ts: fal's client in a page calls this route, and it calls gaff with the token.
import { sessionOf } from "../../../../lib/session";

declare const process: { env: Record<string, string | undefined> };

// What fal's client reads of an answer, and what says which job it is.
const passedBack = [
  "content-type", "retry-after", "x-fal-request-id", "x-fal-error-type", "x-fal-request-timeout-type", "x-fal-retryable", "x-fal-needs-retry",
  "x-fal-billable-units", "x-gaff-job-id", "idempotency-replayed",
];

async function forward(request: Request): Promise<Response> {
  const session = await sessionOf(request);
  if (!session) return Response.json({ detail: "log in first" }, { status: 401 });
  let target: URL;
  try {
    target = new URL(request.headers.get("x-fal-target-url") ?? "");
  } catch {
    return Response.json({ detail: "Invalid request" }, { status: 400 });
  }
  target.searchParams.delete("fal_webhook"); // where results go is not for a page to say

  const headers = new Headers({ authorization: `Bearer ${process.env.GAFF_TOKEN}`, "content-type": "application/json" });
  request.headers.forEach((value, name) => {
    if (name.startsWith("x-fal-") || name === "accept") headers.set(name, value);
  });
  headers.set("x-fal-target-url", target.href);
  // Whose job it is says the session. A page could name any project and any user.
  headers.set("x-gaff-project", session.projectId);
  headers.set("x-gaff-user", session.userId);
  // All visitors share the token, and so one space of idempotency keys.
  const key = request.headers.get("idempotency-key");
  if (key) headers.set("idempotency-key", `${session.userId}:${key}`);

  const answer = await fetch(`${process.env.GAFF_URL}/api/fal/proxy`, {
    method: request.method,
    headers,
    body: request.method === "GET" ? undefined : await request.text(),
    signal: request.signal, // gaff learns that the visitor left, and gives a repeated call the same job
  });
  const back = new Headers();
  for (const name of passedBack) {
    const value = answer.headers.get(name);
    if (value !== null) back.set(name, value);
  }
  return new Response(answer.body, { status: answer.status, headers: back });
}

export { forward as GET, forward as POST, forward as PUT };
