// serve.mjs NODE PORT STATE: the test Worker on 127.0.0.1:PORT, with what its objects store in STATE, until SIGTERM or,
// where the standard input is a pipe, until that ends. NODE is the folder that holds node_modules. Prints "ready".

import { fstatSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const [node, port, state] = process.argv.slice(2);
// Both are what wrangler itself brings.
const wrangler = createRequire(createRequire(join(node, "package.json")).resolve("wrangler/package.json"));
const { Miniflare, convertV4MiniflareOptions } = wrangler("miniflare");
const esbuild = wrangler("esbuild");

const here = dirname(fileURLToPath(import.meta.url));
const { outputFiles } = esbuild.buildSync({
  entryPoints: [join(here, "index.ts")],
  bundle: true,
  write: false,
  format: "esm",
  target: "es2024",
  external: ["cloudflare:*"],
});
const workers = new Miniflare(
  convertV4MiniflareOptions({
    host: "127.0.0.1",
    port: Number(port),
    name: "catalogs",
    modules: true,
    script: outputFiles[0].text,
    compatibilityDate: "2026-11-01",
    durableObjects: { CATALOG: { className: "TestCatalog", useSQLite: true } },
    resourcePersistencePath: state,
    cf: false,
    telemetry: { enabled: false },
  }),
);
const end = async () => {
  await workers.dispose();
  process.exit(0);
};
process.on("SIGTERM", end);
if (fstatSync(0).isFIFO()) process.stdin.resume().on("end", end);
await workers.ready;
console.log("ready");
