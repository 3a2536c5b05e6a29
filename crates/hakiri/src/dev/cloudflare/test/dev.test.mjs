// The runner with the Worker's own code on real workerd, and a script for the binary. Needs the packages that the node
// which runs this was installed with.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { after, test } from "node:test";

const PACKAGES = path.resolve(process.execPath, "../../..");
const DEV = path.resolve(import.meta.dirname, "../dev.mjs");
const GENERATED = path.resolve(import.meta.dirname, "../../../deploy/cloudflare");
const SECRETS = { A_TOKEN: "canary-of-a", B_TOKEN: "canary-of-b" };

/**
 * Plays the binary. As the page it says where it is, and cannot be asked to end; as a container it says what it was given
 * and then never answers an operation.
 */
const BINARY = `#!${process.execPath}
const value = (name) => process.argv[process.argv.indexOf(name) + 1];
const [host, port] = value("--listen").split(":");
const page = process.argv.includes("--page");
const server = require("node:http").createServer((request, response) => {
  if (!request.url.startsWith("/v1/")) return response.end("ok");
  console.log("asked " + request.url);
});
server.listen(Number(port), host, () => {
  if (page) process.on("SIGTERM", () => {}).on("SIGHUP", () => {});
  const { A_TOKEN, B_TOKEN, HAKIRI_TOKEN, HAKIRI_CATALOG_TOKEN, AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION } = process.env;
  const given = { A_TOKEN, B_TOKEN, HAKIRI_TOKEN, HAKIRI_CATALOG_TOKEN, AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION };
  (page ? console.error : console.log)("given " + JSON.stringify({ args: process.argv.slice(2), ...given }));
  if (page) console.error("working on http://" + host + ":" + server.address().port + "/");
});
`;

const folder = fs.mkdtempSync(path.join(os.tmpdir(), "hakiri-dev-"));
after(() => fs.rmSync(folder, { recursive: true }));

/** A generated project of two pipelines, each with a secret of its own. */
function project() {
  const dir = path.join(folder, "generated");
  if (fs.existsSync(dir)) return dir;
  fs.cpSync(path.join(GENERATED, "src"), path.join(dir, "src"), { recursive: true });
  fs.mkdirSync(path.join(dir, "project"));
  fs.writeFileSync(path.join(dir, "src", "project.ts"), `
    export const PROJECT = "shop", BUILD = "b1", SLEEP_AFTER = "2m";
    export const PIPELINES: readonly string[] = ["a", "b"];
    export const SECRETS: Readonly<Record<string, readonly string[]>> = { a: ["A_TOKEN"], b: ["B_TOKEN"] };
  `);
  const values = { triggers: '["* * * * *"]', instances: "2" };
  const settings = fs.readFileSync(path.join(GENERATED, "wrangler.jsonc"), "utf8");
  fs.writeFileSync(path.join(dir, "wrangler.jsonc"), settings.replace(/\{\{(\w+)\}\}/g, (_, name) => values[name] ?? '"shop"'));
  fs.writeFileSync(path.join(dir, "Dockerfile"), 'FROM scratch\nENTRYPOINT ["/hakiri","worker","--listen","0.0.0.0:8080"]\n');
  fs.writeFileSync(path.join(folder, "binary"), BINARY, { mode: 0o755 });
  return dir;
}

/** Starts the runner, below a process of its own with `below`, and waits until everything that it starts is there. */
async function start(t, name, below) {
  const work_dir = path.join(folder, name);
  fs.mkdirSync(work_dir);
  const config = path.join(work_dir, "dev.json");
  const page = { listen: "127.0.0.1:0", args: ["-C", "/there", "--page"], store: "s3://bucket/prefix", token: "a-token-of-the-test" };
  const binary = path.join(folder, "binary");
  const secrets = { ...SECRETS, HAKIRI_CATALOG_TOKEN: page.token };
  fs.writeFileSync(config, JSON.stringify({ project_dir: project(), work_dir, node_modules: PACKAGES, binary, secrets, clock: true, page }));
  const parent = `require("node:child_process").spawn(process.execPath, process.argv.slice(1), { stdio: ["pipe", "inherit", "inherit"] }); setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, [...(below ? ["-e", parent] : []), DEV, config], {
    stdio: ["pipe", "pipe", "inherit"],
    env: { ...process.env, HAKIRI_TOKEN: "closes-the-page", HAKIRI_DEV_TRACE: "1", XDG_CONFIG_HOME: path.join(folder, "config") },
  });
  t.after(() => child.kill("SIGKILL"));
  const lines = [];
  const waiting = [];
  createInterface({ input: child.stdout }).on("line", (line) => {
    lines.push(JSON.parse(line));
    waiting.forEach((look) => look());
  });
  const wait = (what) =>
    new Promise((done, failed) => {
      const timer = setTimeout(() => failed(new Error(`not within a minute: ${what}\n${lines.map((line) => JSON.stringify(line)).join("\n")}`)), 60_000);
      const look = () => {
        const found = lines.find(what);
        if (found === undefined) return;
        clearTimeout(timer);
        done(found);
      };
      waiting.push(look);
      look();
    });
  await wait((line) => line.event === "ready");
  await wait((line) => line.event === "workerd");
  for (const part of ["container:a", "container:b"]) await wait((line) => line.part === part && line.text === "asked /v1/begin");
  await wait((line) => line.event === "page");
  return { child, config, lines, wait };
}

/** What a process is known by: numbers are given out again. Undefined when it is gone, or dead and not yet buried. */
function identity(pid) {
  try {
    const [state, parent, ...more] = fs.readFileSync(`/proc/${pid}/stat`, "utf8").replace(/^.*\) /s, "").split(" ");
    return state === "Z" ? undefined : { pid, parent: Number(parent), born: more[17], command: fs.readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " ") };
  } catch {
    return undefined;
  }
}

/** Everything below a process. */
function below(pid) {
  const all = fs.readdirSync("/proc").filter((name) => /^\d+$/.test(name)).map((name) => identity(Number(name))).filter(Boolean);
  const under = (parents) => {
    const children = all.filter((one) => parents.includes(one.parent));
    return children.length === 0 ? [] : [...children, ...under(children.map((one) => one.pid))];
  };
  return under([pid]);
}

/** Waits until all of them are gone. */
async function gone(processes) {
  const alive = () => processes.filter((one) => identity(one.pid)?.born === one.born);
  for (let n = 0; alive().length > 0 && n < 400; n++) await new Promise((done) => setTimeout(done, 50));
  const left = alive();
  for (const one of left) process.kill(one.pid, "SIGKILL"); // not to be left by a test that fails either
  assert.deepEqual(left.map((one) => one.command), []);
}

/** That all kinds of processes are among them. */
function complete(processes) {
  const count = (text) => processes.filter((one) => one.command.includes(text)).length;
  assert.equal(count("--page"), 1);
  assert.equal(count(`${path.join(folder, "binary")} worker --listen`), 2);
  assert.ok(count("workerd") >= 1);
}

test("the configuration is removed, containers have the secrets of their own pipeline, the page its place; no trace shows a secret", async (t) => {
  const { child, config, lines, wait } = await start(t, "given");
  assert.equal(fs.existsSync(config), false);
  const given = (part) => JSON.parse(lines.find((line) => line.part === part && line.text?.startsWith("given ")).text.slice(6));
  const ready = await wait((line) => line.event === "ready");
  const keys = { AWS_ENDPOINT_URL: ready.s3, AWS_ACCESS_KEY_ID: "local", AWS_SECRET_ACCESS_KEY: "localsecret", AWS_REGION: "auto" };
  for (const [part, secret] of [["container:a", { A_TOKEN: SECRETS.A_TOKEN }], ["container:b", { B_TOKEN: SECRETS.B_TOKEN }]]) {
    const { HAKIRI_TOKEN, args, ...more } = given(part);
    assert.equal(HAKIRI_TOKEN.length, 72);
    assert.deepEqual(more, { ...keys, ...secret });
  }
  const args = ["-C", "/there", "--page", "worker", "--listen", "127.0.0.1:0", "--catalog", `${ready.url}/catalog`, "--store", "s3://bucket/prefix"];
  assert.deepEqual(given("page"), { args, ...keys, HAKIRI_CATALOG_TOKEN: "a-token-of-the-test" });
  const { address, text } = await wait((line) => line.event === "page");
  assert.match(address, /^127\.0\.0\.1:\d+$/);
  assert.equal(text, `the status page is on http://${address}/`);
  const traced = lines.filter((line) => line.part === "dev" && line.text?.includes("/containers/create"));
  assert.ok(traced.length >= 4);
  for (const { text } of traced) assert.doesNotMatch(text, /Env|canary|TOKEN/);
  const processes = below(child.pid);
  child.stdin.end();
  await gone(processes);
});

test("its standard input ends: so does everything, and itself", async (t) => {
  const { child } = await start(t, "stdin");
  const processes = below(child.pid);
  complete(processes);
  const exited = new Promise((done) => child.on("exit", done));
  child.stdin.end();
  assert.equal(await exited, 0);
  await gone(processes);
});

test("whoever started it is killed: everything ends", async (t) => {
  const { child } = await start(t, "parent", true);
  const processes = below(child.pid);
  complete(processes);
  assert.ok(processes.some((one) => one.command.includes(DEV)));
  child.kill("SIGKILL");
  await gone(processes);
});

test("it is killed itself: everything ends", async (t) => {
  const { child } = await start(t, "killed");
  const processes = below(child.pid);
  complete(processes);
  child.kill("SIGKILL");
  await gone(processes);
});
