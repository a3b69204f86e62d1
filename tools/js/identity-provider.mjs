// A real OpenID Connect provider, for the acceptance tests: node identity-provider.mjs PORT REDIRECT_URI LOGOUT_URI.
// Its own development pages ask for a name, and accept every password. Groups come from the name: the text before "@".
import { createServer } from "node:http";
import { Provider } from "oidc-provider";

const [port, redirect, logout] = process.argv.slice(2);
const issuer = `http://127.0.0.1:${port}`;
const provider = new Provider(issuer, {
  clients: [{
    client_id: "gaff", client_secret: "a-client-secret-of-tests", redirect_uris: [redirect], post_logout_redirect_uris: [logout],
    response_types: ["code"], grant_types: ["authorization_code"],
  }],
  claims: { openid: ["sub"], email: ["email", "email_verified"], groups: ["groups"] },
  pkce: { required: () => true },
  cookies: { keys: ["a key of tests"] },
  findAccount: (_ctx, id) => ({
    accountId: id,
    claims: () => ({ sub: id, email: `${id}@studio.example`, email_verified: true, groups: [id.split("-")[0]] }),
  }),
});
createServer(provider.callback()).listen(Number(port), "127.0.0.1", () => console.log("ready"));
