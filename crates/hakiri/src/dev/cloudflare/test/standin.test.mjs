// Run with node itself: `node --test test/`.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import fs from "node:fs";
import http from "node:http";
import os from "node:os";
import path from "node:path";
import { test } from "node:test";

import { command, dockerfile, endWithUs, Standin } from "../standin.mjs";

test("of a Dockerfile: the last entrypoint, the environment, lines that go on", () => {
  const text = 'FROM scratch\nENV A=1 B="two words"\nENV C=3\nENTRYPOINT ["/old"]\nENTRYPOINT ["/hakiri", \\\n  "-C", "/project"]\n';
  assert.deepEqual(dockerfile(text), { entrypoint: ["/hakiri", "-C", "/project"], env: { A: "1", B: "two words", C: "3" } });
  assert.throws(() => dockerfile("FROM scratch\nENTRYPOINT /hakiri\n"), /ENTRYPOINT/);
});

test("of a command: binary, project and address are those of this machine, the rest stays", () => {
  const entrypoint = ["/hakiri", "-C", "/project", "worker", "--listen", "0.0.0.0:8080", "--store", "s3://b/project", "--x", "/project/y", "/projects"];
  const here = command(entrypoint, { binary: "/b/hakiri", project: "/w/1", port: 4000 });
  assert.deepEqual(here, ["/b/hakiri", "-C", "/w/1", "worker", "--listen", "127.0.0.1:4000", "--store", "s3://b/project", "--x", "/w/1/y", "/projects"]);
});

test("a process ends with the one that watches it, unless that was called off", async () => {
  const watcher = `import { endWithUs } from ${JSON.stringify(path.resolve(import.meta.dirname, "../standin.mjs"))}; const off = endWithUs(+process.argv[1]); if (process.argv[2] === "off") off(); setTimeout(() => process.kill(process.pid, "SIGKILL"), 300);`;
  for (const [how, lives] of [["on", false], ["off", true]]) {
    const child = spawn("sleep", ["30"]);
    const gone = new Promise((done) => child.on("exit", () => done(false)));
    const watching = spawn(process.execPath, ["--input-type=module", "-e", watcher, String(child.pid), how]);
    await new Promise((done) => watching.on("exit", done));
    assert.equal(await Promise.race([gone, new Promise((done) => setTimeout(() => done(true), 500))]), lives, how);
    child.kill("SIGKILL");
  }
});

test("a container has a project of its own, its environment, and leaves nothing", async () => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), "hakiri-standin-"));
  const image = path.join(folder, "image");
  fs.mkdirSync(path.join(image, "project"), { recursive: true });
  fs.writeFileSync(path.join(image, "project", "hakiri.toml"), "text\n");
  fs.writeFileSync(path.join(image, "Dockerfile"), 'FROM scratch\nENTRYPOINT ["/hakiri","-c","cat hakiri.toml; echo $GIVEN; echo own > own; pwd; trap exit TERM; while :; do sleep 0.05; done"]\n');
  const events = [];
  const traced = [];
  const standin = new Standin({ binary: "/bin/sh", image, work: path.join(folder, "work"), sidecar: "side", env: { PATH: process.env.PATH }, report: (event) => events.push(event), trace: (text) => traced.push(text) });
  const socketPath = path.join(folder, "s");
  await standin.listen(socketPath);
  const ask = (method, url, body) =>
    new Promise((done) => {
      const request = http.request({ socketPath, method, path: `/v1.50${url}` }, (response) => {
        let text = "";
        response.on("data", (chunk) => (text += chunk)).on("end", () => done([response.statusCode, text === "" ? undefined : JSON.parse(text)]));
      });
      request.end(body === undefined ? undefined : JSON.stringify(body));
    });
  const until = async (what) => {
    for (let n = 0; !what() && n < 200; n++) await new Promise((done) => setTimeout(done, 25));
  };
  assert.equal((await ask("POST", "/containers/create?name=a", { Image: "any:1", Env: ["GIVEN=a=b"], Labels: { session: "1" } }))[0], 201);
  assert.equal((await ask("POST", "/containers/create?name=a", { Image: "any:1" }))[0], 409);
  assert.equal(traced[0], 'POST /v1.50/containers/create?name=a {"Image":"any:1","Labels":{"session":"1"}} -> 201');
  assert.equal((await ask("POST", "/containers/a/start"))[0], 204);
  await until(() => events.length >= 4);
  assert.deepEqual(events.slice(1, 3).map((event) => event.text), ["text", "a=b"]);
  assert.ok(events[3].text.startsWith(path.join(folder, "work")));
  assert.equal((await ask("GET", "/containers/a/json"))[1].State.Running, true);
  const listed = async (session) => (await ask("GET", `/containers/json?all=true&filters=${encodeURIComponent(JSON.stringify({ label: [`session=${session}`] }))}`))[1].length;
  assert.deepEqual([await listed(1), await listed(2)], [1, 0]);
  const waited = ask("POST", "/containers/a/wait");
  assert.equal((await ask("POST", "/containers/a/kill?signal=SIGTERM"))[0], 204);
  assert.equal((await waited)[0], 200);
  assert.equal(events.at(-1).event, "exited");
  assert.deepEqual(fs.readdirSync(path.join(folder, "work")), []);
  assert.equal(fs.existsSync(path.join(image, "project", "own")), false);
  await standin.close();
  fs.rmSync(folder, { recursive: true });
});
