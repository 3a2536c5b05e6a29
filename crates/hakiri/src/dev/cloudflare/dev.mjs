// node dev.mjs CONFIG.json: the generated project on this machine, with the real workerd and without Docker, login or
// network. Prints one JSON object per line: {part, at, text?, event?, …}.
//
//   part   worker · catalog · workflow · cron · container:PIPELINE · page · dev
//   event  ready {url, s3} · workerd {pid} · started {pid} · exited {pid, code, signal} · tick {time, started} ·
//          settled {time, due} · page {address} · done
//
// CONFIG, which is removed once it is read, since it holds secrets:
//   {project_dir, work_dir, node_modules, binary, port, ticks, from, every_ms, bucket, secrets, env, clock, page}
//   ticks  trigger so many times, at `from`, from + every_ms …; each waits until no instance is at work. 0: never, and
//          stay, for whoever wants to look or to fill the bucket
//   clock  trigger at each minute of the clock, until told to end
//   page   null, or {listen, args, store, token}: where the status page is, what chooses the project on the binary's
//          command line, the store's address, and the token of the catalog's public door

import { spawn } from "node:child_process";
import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

import { endWithUs, freePort, Standin } from "./standin.mjs";

const given = fs.readFileSync(process.argv[2], "utf8");
fs.unlinkSync(process.argv[2]);
const config = { port: 0, ticks: null, from: null, every_ms: 60_000, bucket: "hakiri", secrets: {}, env: {}, clock: false, page: null, ...JSON.parse(given) };
const SIDECAR = "hakiri-standin-sidecar";
const KEYS = { accessKeyId: "local", secretAccessKey: "localsecret" };
/** When nothing has moved for so long, instances are poked: the local engine does not go on by itself after a crash. */
const STILL_MS = 2_000;
/** So long a tick may take before the runner gives up. */
const STUCK_MS = 10 * 60_000;

const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const say = (part, more) => process.stdout.write(`${JSON.stringify({ part, at: Date.now(), ...more })}\n`);

// ---- the project as one script

const packages = path.resolve(config.node_modules);
const copy = path.join(config.work_dir, "project");
const require = createRequire(path.join(packages, "index.js"));
// What wrangler itself brings: the versions belong together.
const wrangler = createRequire(require.resolve("wrangler/package.json"));
const { Miniflare, convertV4MiniflareOptions, Log, LogLevel } = await import(pathToFileURL(wrangler.resolve("miniflare")));
const esbuild = wrangler("esbuild");

/** Copies the generated folder, since packages are found from it upwards and nothing is written into it. */
async function bundle() {
  fs.rmSync(copy, { recursive: true, force: true });
  fs.mkdirSync(copy, { recursive: true });
  fs.cpSync(path.join(config.project_dir, "src"), path.join(copy, "src"), { recursive: true });
  fs.symlinkSync(packages, path.join(copy, "node_modules"));
  const { outputFiles } = await esbuild.build({
    entryPoints: [path.join(copy, "src", "index.ts")],
    bundle: true, write: false, format: "esm", target: "es2024", keepNames: true, conditions: ["workerd", "worker", "browser"],
    external: ["cloudflare:*", "node:*"], logLevel: "silent",
  });
  return outputFiles[0].text;
}

/** What src/project.ts exports. */
async function project() {
  const text = fs.readFileSync(path.join(config.project_dir, "src", "project.ts"), "utf8");
  const { code } = await esbuild.transform(text, { loader: "ts" });
  return import(`data:text/javascript,${encodeURIComponent(code)}`);
}

/** The settings that matter here: comments and trailing commas are all that JSON with comments adds. */
function settings() {
  const text = fs.readFileSync(path.join(config.project_dir, "wrangler.jsonc"), "utf8");
  const plain = text.replace(/("(?:[^"\\]|\\.)*")|\/\/[^\n]*|\/\*[^]*?\*\//g, (_, string) => string ?? "");
  return JSON.parse(plain.replace(/("(?:[^"\\]|\\.)*")|,(?=\s*[}\]])/g, (_, string) => string ?? ""));
}

// ---- workerd and the stand-in

const deployment = settings();
const names = new Map(); // of a container's object, by its id
const pipelineOf = (container) => [...names].find(([id]) => container.includes(id))?.[1] ?? container;

fs.mkdirSync(config.work_dir, { recursive: true });
const socket = path.join(config.work_dir, "engine.sock");
const standin = new Standin({
  binary: path.resolve(config.binary),
  image: config.project_dir,
  work: path.join(config.work_dir, "containers"),
  sidecar: SIDECAR,
  env: config.env,
  report: ({ name, event, ...more }) => {
    moved = Date.now();
    say(`container:${pipelineOf(name)}`, event === "output" ? more : { event, name: pipelineOf(name), ...more });
  },
  trace: process.env.HAKIRI_DEV_TRACE === undefined ? undefined : (text) => say("dev", { text }),
});
await standin.listen(socket);

const port = config.port === 0 ? await freePort() : config.port;
const url = `http://127.0.0.1:${port}`;
const s3 = `${url}/cdn-cgi/local/r2/s3`;

/** When an instance or a container was last seen doing something. */
let moved = Date.now();

/** A line that the Worker logged; the Worker puts the part first. */
function logged({ level, message }) {
  moved = Date.now();
  if (message.startsWith("NOSENTRY")) return; // workerd to its makers
  for (const line of message.split("\n").filter((line) => line !== "")) {
    const [, part, text] = /^(catalog|workflow|cron)\b:? ?(.*)$/.exec(line) ?? [undefined, "worker", line];
    say(part, level === "log" || level === "info" ? { text } : { text, level });
  }
}

const script = await bundle();
const open = () => new Miniflare(
  convertV4MiniflareOptions({
    host: "127.0.0.1", port, cf: false, telemetry: { enabled: false }, log: new Log(LogLevel.NONE),
    resourcePersistencePath: path.join(config.work_dir, "state"),
    name: deployment.name, modules: true, script,
    compatibilityDate: deployment.compatibility_date, compatibilityFlags: deployment.compatibility_flags ?? [],
    bindings: {
      ...deployment.vars,
      R2_ACCESS_KEY_ID: KEYS.accessKeyId, R2_SECRET_ACCESS_KEY: KEYS.secretAccessKey, R2_ENDPOINT: s3,
      ...config.secrets,
    },
    durableObjects: Object.fromEntries(
      deployment.durable_objects.bindings.map(({ name, class_name: className }) => {
        const contained = (deployment.containers ?? []).some((c) => c.class_name === className);
        return [name, { className, useSQLite: true, ...(contained ? { container: { imageName: "hakiri:local" } } : {}) }];
      }),
    ),
    workflows: Object.fromEntries(deployment.workflows.map(({ name, binding, class_name: className }) => [binding, { name, className }])),
    // Of the S3 endpoint only: the Worker has no use for the binding.
    r2Buckets: { HAKIRI_LOCAL_BUCKET: { id: config.bucket, s3Credentials: KEYS } },
    containerEngine: { localDocker: { socketPath: `unix://${socket}`, containerEgressInterceptorImage: `${SIDECAR}:1` } },
    handleStructuredLogs: logged,
  }),
);

let miniflare = open();

/**
 * Miniflare starts a workerd that crashed again, once: one that dies before it has started is the end of that Miniflare,
 * but not of what is stored.
 */
async function reopen() {
  const old = miniflare;
  await Promise.race([old.dispose().catch(() => {}), sleep(5_000)]);
  for (const pid of workerds.keys()) {
    try {
      process.kill(pid, "SIGKILL"); // it would keep the port
    } catch {
      // It has ended.
    }
  }
  miniflare = open();
  listen();
  await miniflare.ready;
}

/** The processes that are workerd, named as they come, and made to end with us. */
const workerds = new Map();
let newest = 0;
function watchWorkerd() {
  let children = "";
  try {
    children = fs.readFileSync(`/proc/self/task/${process.pid}/children`, "utf8");
  } catch {
    return; // not Linux: the process is not named
  }
  const now = new Set();
  for (const pid of children.split(" ").filter(Boolean).map(Number)) {
    try {
      if (workerds.has(pid)) now.add(pid);
      else if (fs.readFileSync(`/proc/${pid}/comm`, "utf8").trim() === "workerd") {
        now.add(pid);
        workerds.set(pid, endWithUs(pid));
        newest = pid;
        say("dev", { event: "workerd", pid });
      }
    } catch {
      // It has ended in between.
    }
  }
  for (const [pid, off] of workerds) {
    if (now.has(pid)) continue;
    off();
    workerds.delete(pid);
  }
}

// ---- ticks

const catalog = async () => (await miniflare.getDurableObjectNamespace("CATALOG")).getByName("main");

/** One trigger of the Worker. */
async function trigger(time) {
  const worker = await miniflare.getWorker();
  const answer = await worker.scheduled({ scheduledTime: new Date(time), cron: deployment.triggers.crons[0] });
  if (answer.outcome !== "ok") throw new Error(`the trigger ended with ${answer.outcome}`);
}

/** workerd is being started again; what was asked of it may or may not have happened, and may be asked again. */
async function mend(error) {
  if (ending) return;
  say("dev", { text: `asking again: ${error?.message ?? error}`, level: "warn" });
  try {
    if (/failed to (re)?start|ERR_RUNTIME_FAILURE/.test(error?.message)) await reopen();
  } catch (again) {
    say("dev", { text: `workerd does not start: ${again?.message ?? again}`, level: "warn" });
  }
  await sleep(200);
}

const roster = async () => (await catalog()).roster();
const alive = (rows) => rows.filter((row) => row.instance !== null);

/** The clock's minutes. A minute is not kept waiting by the work of the one before, as it is not in the cloud. */
async function clock() {
  let last = 0; // the first at once
  let seen = 0;
  while (!ending) {
    const minute = Math.floor(Date.now() / 60_000) * 60_000;
    // A new workerd has instances that do not go on by themselves: the same trigger once more pokes them.
    if (minute > last || newest !== seen) {
      const again = minute === last;
      try {
        seen = newest;
        await trigger(minute);
        last = minute;
        if (!again) say("cron", { event: "tick", time: minute });
      } catch (error) {
        seen = 0;
        await mend(error);
      }
    }
    await sleep(200);
  }
}

/** Where stepping begins unless told: such that it ends now, but not before what was stepped to earlier. */
async function next() {
  const now = Math.floor(Date.now() / config.every_ms) * config.every_ms;
  return Math.max(now - (config.ticks - 1) * config.every_ms, ...(await roster()).map((row) => row.at ?? 0));
}

/** One tick until nobody is at work. Poked by triggers of the same time, which is what a repeated trigger means. */
async function tick(time) {
  let fired = 0;
  const begun = Date.now();
  let before = new Map();
  for (;;) {
    try {
      if (fired === 0 || Date.now() - moved > STILL_MS) {
        if (fired === 0) before = new Map((await roster()).map((row) => [row.pipeline, row.named]));
        await trigger(time);
        moved = Date.now();
        if (fired++ === 0) {
          const started = (await roster()).filter((row) => row.named > (before.get(row.pipeline) ?? 0)).map((row) => row.pipeline);
          say("cron", { event: "tick", time, started, text: started.length === 0 ? "nothing is due" : `woke ${started.join(", ")}` });
        }
      }
      const rows = await roster();
      if (alive(rows).length === 0) {
        say("dev", { event: "settled", time, due: Object.fromEntries(rows.map((row) => [row.pipeline, row.at])), took_ms: Date.now() - begun, pokes: fired - 1 });
        return;
      }
    } catch (error) {
      if (ending) throw error;
      await mend(error);
    }
    if (Date.now() - begun > STUCK_MS) throw new Error(`the tick of ${new Date(time).toISOString()} did not settle`);
    await sleep(50);
  }
}

// ---- the status page

let page;

/** The binary as a worker that nobody asks for anything, on the catalog's public door: as anybody outside would see it. */
function show({ listen, args, store, token }) {
  const { HAKIRI_TOKEN, ...env } = process.env; // it would close the page
  const keys = { AWS_ENDPOINT_URL: s3, AWS_ACCESS_KEY_ID: KEYS.accessKeyId, AWS_SECRET_ACCESS_KEY: KEYS.secretAccessKey, AWS_REGION: "auto" };
  page = spawn(path.resolve(config.binary), [...args, "worker", "--listen", listen, "--catalog", `${url}/catalog`, "--store", store], {
    env: { ...env, ...keys, HAKIRI_CATALOG_TOKEN: token },
    stdio: ["ignore", "ignore", "pipe"],
  });
  page.on("error", (error) => say("page", { text: `the status page cannot be started: ${error.message}`, level: "error" }));
  if (page.pid === undefined) return;
  const off = endWithUs(page.pid);
  page.on("exit", (code, signal) => {
    off();
    if (!ending) say("page", { text: `the status page has ended: ${signal ?? code}`, level: "error" });
  });
  createInterface({ input: page.stderr }).on("line", (text) => {
    const address = /working on http:\/\/([^/\s]+)/.exec(text)?.[1];
    say("page", address === undefined ? { text } : { event: "page", address, text: `the status page is on http://${address}/` });
  });
}

// ---- beginning and end

let ending = false;
async function end(code) {
  if (ending) return;
  ending = true;
  setTimeout(() => process.exit(code || 1), 15_000).unref();
  page?.kill("SIGKILL"); // it only looks
  await standin.close().catch(() => {});
  await miniflare.dispose().catch(() => {});
  process.exit(code);
}
/** Miniflare would end the process at a signal before the containers have ended; what it would do, `end` does. */
function listen() {
  for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"]) process.removeAllListeners(signal).on(signal, () => end(0));
}
listen();
process.stdout.on("error", () => end(1)); // nobody reads any more
process.stdin.on("end", () => end(0)).resume(); // whoever started this has ended, in whatever way
process.on("unhandledRejection", (error) => say("dev", { text: String(error?.stack ?? error), level: "error" }));

try {
  await miniflare.ready;
  watchWorkerd();
  setInterval(watchWorkerd, 100).unref();
  const runners = await miniflare.getDurableObjectNamespace("RUNNER");
  for (const pipeline of (await project()).PIPELINES) names.set(runners.idFromName(pipeline).toString(), pipeline);
  say("dev", { event: "ready", url, s3 });
  if (config.page !== null) show(config.page);
  const first = config.from ?? (config.ticks > 0 ? await next() : 0);
  for (let n = 0; n < (config.ticks ?? 0); n++) await tick(first + n * config.every_ms);
  if (config.clock) await clock();
  while (config.ticks === 0) await sleep(60_000);
  say("dev", { event: "done" });
  await end(0);
} catch (error) {
  if (!ending) {
    say("dev", { text: String(error?.stack ?? error), level: "error" });
    await end(1);
  }
}
