// Builds dist/esm and dist/cjs of src. tsc comes from the PATH, as npm run sets it.
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";

process.chdir(dirname(fileURLToPath(import.meta.url)));
const tsc = (project) => execFileSync("tsc", ["-p", project], { stdio: "inherit" });

rmSync("dist", { recursive: true, force: true });
tsc(".");

// tsc writes CommonJS for sources under a package.json of that type.
const commonJS = '{ "type": "commonjs" }\n';
mkdirSync("dist/.cjs", { recursive: true });
cpSync("src", "dist/.cjs/src", { recursive: true });
writeFileSync("dist/.cjs/package.json", commonJS);
writeFileSync("dist/.cjs/tsconfig.json", JSON.stringify({
  extends: "../../tsconfig.json", compilerOptions: { rootDir: "src", outDir: "../cjs" }, include: ["src"],
}));
tsc("dist/.cjs");
rmSync("dist/.cjs", { recursive: true });
writeFileSync("dist/cjs/package.json", commonJS);
