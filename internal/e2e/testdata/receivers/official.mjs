// Verifies with the official libraries, each of which is asked for itself.
import { createServer } from "node:http";
import { Webhook as Standard } from "standardwebhooks";
import { Webhook as Svix } from "svix";

const secret = process.env.GAFF_SECRET;
const server = createServer(async (req, res) => {
  const chunks = [];
  for await (const chunk of req) chunks.push(chunk);
  const body = Buffer.concat(chunks).toString("utf8");
  const out = { path: req.url, id: req.headers["webhook-id"] };
  for (const [name, Webhook] of [["standardwebhooks", Standard], ["svix", Svix]]) {
    try {
      out[name] = new Webhook(secret).verify(body, req.headers).type;
    } catch (error) {
      out[name] = String(error);
    }
  }
  console.log(JSON.stringify(out));
  res.statusCode = 204;
  res.end();
});
server.listen(0, "127.0.0.1", () => console.log(JSON.stringify({ port: server.address().port })));
