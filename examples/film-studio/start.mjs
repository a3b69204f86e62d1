// Starts gaff with simulated providers, and the studio in front of it. Everything stays on this machine.
import { execFileSync, spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";

const here = import.meta.dirname;
process.chdir(here);
const clients = process.env.GAFF_CLIENTS ?? join(here, "..", "..", "clients");
const built = join(here, "..", "..", "bin", "gaff");
const gaff = process.env.GAFF_BIN ?? (existsSync(built) ? built : "gaff");
const port = process.env.PORT ?? "3000";
const gaffAddr = process.env.GAFF_ADDR ?? "127.0.0.1:4000";
const studio = `http://localhost:${port}`;

const run = (command, args, options = {}) => execFileSync(command, args, { stdio: ["ignore", "ignore", "inherit"], ...options });
const npm = (...args) => run("npm", [...args, "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]);

// What Payload and gaff are built of comes from npm; gaff's own packages from this repository.
if (!existsSync("node_modules/next")) {
  console.log("installing Next.js and Payload …");
  npm("ci");
}
if (!existsSync("node_modules/@gaff/payload")) {
  console.log("building @gaff/client and @gaff/payload …");
  const env = { ...process.env, PATH: join(here, "node_modules", ".bin") + delimiter + process.env.PATH };
  const work = mkdtempSync(join(tmpdir(), "gaff-packages-"));
  for (const [folder, build] of [["typescript", ["node", "build.mjs"]], ["payload", ["tsc", "-p", "."]]]) {
    const dir = join(here, "node_modules", ".gaff", folder); // below node_modules, so that types of its peers are found
    rmSync(dir, { recursive: true, force: true });
    cpSync(join(clients, folder), dir, { recursive: true, filter: (path) => !/node_modules$|dist$/.test(path) });
    run(build[0], build.slice(1), { cwd: dir, env });
    run("npm", ["pack", "--ignore-scripts", "--silent", "--pack-destination", work], { cwd: dir });
    npm("install", "--no-save", ...readdirSync(work).map((name) => join(work, name)));
  }
  rmSync(work, { recursive: true });
}

mkdirSync(".data", { recursive: true });
if (!existsSync(".data/secret")) writeFileSync(".data/secret", randomBytes(32).toString("base64"), { mode: 0o600 });
const secret = readFileSync(".data/secret", "utf8");
const env = {
  ...process.env,
  GAFF_SECRET: "whsec_" + secret,
  GAFF_URL: `http://${gaffAddr}`,
  GAFF_CORS_ORIGINS: studio,
  STUDIO_EVENTS_URL: `http://127.0.0.1:${port}/api/gaff/events`,
  PAYLOAD_SECRET: createHash("sha256").update(secret).digest("hex"),
  NEXT_TELEMETRY_DISABLED: "1",
};

const children = [];
const start = (command, args, more = {}) => {
  const child = spawn(command, args, { stdio: "inherit", env: { ...env, ...more } });
  child.on("error", (error) => stop(error.code === "ENOENT" ? `${command} is not found: build it (README.md), or name it in GAFF_BIN` : `${command}: ${error.message}`));
  child.on("exit", (code) => stop(`${command} ended with ${code}`));
  children.push(child);
};
let stopping = false;
function stop(reason) {
  if (stopping) return;
  stopping = true;
  if (reason) console.error(reason);
  for (const child of children) child.kill();
  process.exitCode = reason ? 1 : 0;
}
process.on("SIGINT", () => stop());
process.on("SIGTERM", () => stop());

start(gaff, ["dev", "--addr", gaffAddr, "--data-dir", ".data/gaff", "--samples=false"]);
for (let i = 0; ; i++) {
  const ready = await fetch(`http://${gaffAddr}/readyz`).then((response) => response.ok, () => false);
  if (ready) break;
  if (stopping) process.exit(1);
  if (i === 300) stop("gaff does not start");
  await new Promise((resolve) => setTimeout(resolve, 100));
}
start("node", ["node_modules/next/dist/bin/next", "dev", "--turbopack", "-p", port], { GAFF_TOKEN: readFileSync(".data/gaff/admin-token", "utf8").trim() });
console.log(`\nThe studio: ${studio}   Payload's admin panel: ${studio}/admin   gaff's console: http://${gaffAddr}\n`);
