// Calls the Next.js example's route as Next.js does: with a web-standard request.
import { createServer } from "node:http";
import { POST } from "./out/nextjs/app/api/gaff/route.js";
import { saved } from "./out/nextjs/lib/store.js";

if (process.env.FAIL_ONCE) {
  // The application's database is down for a moment.
  saved.push = () => {
    delete saved.push;
    throw new Error("the database is down");
  };
}

const server = createServer(async (req, res) => {
  const chunks = [];
  for await (const chunk of req) chunks.push(chunk);
  const answer = await POST(new Request("http://localhost" + req.url, { method: "POST", headers: req.headers, body: Buffer.concat(chunks) }));
  console.log(JSON.stringify({ status: answer.status, saved: saved.length, files: saved.at(-1)?.media.length ?? 0, text: await answer.text() }));
  res.statusCode = answer.status;
  res.end();
});
server.listen(0, "127.0.0.1", () => console.log(JSON.stringify({ port: server.address().port })));
