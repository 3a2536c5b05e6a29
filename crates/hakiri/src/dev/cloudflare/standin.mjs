// A stand-in for the Docker Engine, as far as workerd asks it: "containers" are processes of this machine.
//
// workerd is told of an engine by a unix socket. For each container it creates two: a sidecar that is the way in (HTTP
// CONNECT to a port of the container) and the way out (what the container asks of some hosts goes to a port of workerd),
// and the container itself, in the sidecar's network. Here a sidecar is a listener of this process, and the container is
// what the Dockerfile's ENTRYPOINT says, with the binary and a copy of the project in the places that it names. The ways
// out are told apart by one proxy per container.
//
// What this shows nothing of: the image, its isolation, its limits of memory and disk.

import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import fs from "node:fs";
import http from "node:http";
import net from "node:net";
import path from "node:path";

/** The instructions of a Dockerfile that matter to a process. */
export function dockerfile(text) {
  const lines = text.replace(/\\\r?\n/g, " ").split(/\r?\n/);
  const of = (word) => lines.filter((line) => line.startsWith(`${word} `)).map((line) => line.slice(word.length + 1).trim());
  const entrypoint = of("ENTRYPOINT").at(-1);
  if (entrypoint === undefined || !entrypoint.startsWith("[")) throw new Error('the Dockerfile has no ENTRYPOINT of the form ["…"]');
  const env = {};
  for (const line of of("ENV")) {
    for (const [, key, quoted, plain] of line.matchAll(/([A-Za-z_]\w*)=(?:"([^"]*)"|(\S*))/g)) env[key] = quoted ?? plain;
  }
  return { entrypoint: JSON.parse(entrypoint), env };
}

/** The command of a container: the binary for /hakiri, a folder for /project, a port of its own. */
export function command(entrypoint, { binary, project, port }) {
  return entrypoint.map((word) => {
    if (word === "/hakiri") return binary;
    if (word === "/project" || word.startsWith("/project/")) return project + word.slice("/project".length);
    return word.replace(/^0\.0\.0\.0:\d+$/, `127.0.0.1:${port}`);
  });
}

/** What a request may be traced by: a container's environment holds secrets. */
function traceable(body) {
  if (body === "") return "";
  try {
    return JSON.stringify({ ...JSON.parse(body), Env: undefined }).slice(0, 2000);
  } catch {
    return `${body.length} characters that are no JSON`;
  }
}

/** A port that nobody has, of those that the system gives to no connection by itself: one could have it before we do. */
export async function freePort() {
  for (;;) {
    const port = 10_000 + Math.floor(Math.random() * 20_000);
    const server = net.createServer();
    const error = await new Promise((done) => server.once("error", done).listen(port, "127.0.0.1", done));
    if (!error) {
      await new Promise((done) => server.close(done));
      return port;
    }
    if (error.code !== "EADDRINUSE") throw error;
  }
}

/**
 * Ends a process if this one ends, however it does: a shell waits at a pipe that only we hold open. Returns how to call
 * that off once the process has ended by itself.
 */
export function endWithUs(pid) {
  const watch = spawn("sh", ["-c", `read -r _; kill -9 ${Number(pid)} 2>/dev/null`], { stdio: ["pipe", "ignore", "ignore"], detached: true });
  watch.on("error", () => {});
  watch.stdin.on("error", () => {});
  watch.unref();
  return () => watch.kill("SIGKILL");
}

/**
 * Serves at the socket.
 * `binary`: the binary · `image`: folder with the Dockerfile and project/ · `work`: a folder for copies ·
 * `env`: more environment · `report({name, event, …})`: started, exited, output
 */
export class Standin {
  #containers = new Map();
  #options;
  #server;
  #ended = false;

  constructor(options) {
    this.#options = options;
    this.#server = http.createServer((request, response) => {
      let body = "";
      request.setEncoding("utf8");
      request.on("data", (chunk) => (body += chunk));
      request.on("end", () => {
        this.#answer(request, body)
          .catch((error) => [500, { message: String(error) }])
          .then(([status, value]) => {
            this.#options.trace?.(`${request.method} ${request.url} ${traceable(body)} -> ${status}`);
            const text = value === undefined ? "" : JSON.stringify(value);
            response.writeHead(status, { "content-type": "application/json", "content-length": Buffer.byteLength(text) });
            response.end(text);
          });
      });
    });
  }

  async listen(socket) {
    fs.rmSync(socket, { force: true });
    fs.rmSync(this.#options.work, { recursive: true, force: true }); // copies of one that was killed
    await new Promise((done, failed) => this.#server.on("error", failed).listen(socket, done));
  }

  /** Ends every container, at first politely. */
  async close(grace = 5_000) {
    this.#ended = true;
    const running = [...this.#containers.values()].filter((c) => c.process !== undefined && c.running);
    for (const c of running) c.process.kill("SIGTERM");
    const timer = setTimeout(() => running.forEach((c) => c.process?.kill("SIGKILL")), grace);
    await Promise.all(running.map((c) => new Promise((done) => (c.running ? c.waiting.push(done) : done()))));
    clearTimeout(timer);
    for (const c of this.#containers.values()) c.close?.();
    this.#server.close();
    this.#server.closeAllConnections();
    fs.rmSync(this.#options.work, { recursive: true, force: true });
  }

  #find(key) {
    const name = decodeURIComponent(key);
    return this.#containers.get(name) ?? [...this.#containers.values()].find((c) => c.name === name || c.id.startsWith(name));
  }

  async #answer(request, text) {
    const url = new URL(request.url, "http://engine");
    const route = url.pathname.replace(/^\/v[\d.]+/, "");
    const body = text === "" ? {} : JSON.parse(text);
    if (route === "/_ping") return [200, "OK"];
    if (route === "/version") return [200, { ApiVersion: "1.50", Version: "28.0", Os: "linux", Arch: "amd64" }];
    if (route === "/info") return [200, { OSType: "linux", Architecture: "x86_64", ServerVersion: "28.0", SecurityOptions: [] }];
    if (route === "/volumes") return [200, { Volumes: [] }];
    if (route === "/networks/bridge") return [200, { Name: "bridge", IPAM: { Config: [{ Subnet: "127.0.0.0/8", Gateway: "127.0.0.1" }] } }];
    const image = /^\/images\/(.+)\/json$/.exec(route);
    if (image) return [200, { Id: `sha256:${"0".repeat(64)}`, RepoTags: [decodeURIComponent(image[1])], Config: { ExposedPorts: { "8080/tcp": {} } } }];
    if (route === "/containers/json") {
      const wanted = JSON.parse(url.searchParams.get("filters") ?? "{}").label ?? [];
      const labels = Array.isArray(wanted) ? wanted : Object.keys(wanted);
      const has = (c) => labels.every((label) => `${label.split("=")[0]}=${c.body.Labels?.[label.split("=")[0]]}` === label);
      return [200, [...this.#containers.values()].filter(has).map((c) => ({ Id: c.id, Names: [`/${c.name}`], State: c.running ? "running" : "exited", Labels: c.body.Labels ?? {} }))];
    }
    if (route === "/containers/create") {
      const name = url.searchParams.get("name") ?? randomBytes(6).toString("hex");
      if (this.#find(name) !== undefined) return [409, { message: `Conflict. The container name "/${name}" is already in use` }];
      const c = { id: randomBytes(32).toString("hex"), name, body, running: false, exit: undefined, ports: {}, waiting: [], created: new Date().toISOString() };
      this.#containers.set(c.id, c);
      return [201, { Id: c.id, Warnings: [] }];
    }
    const one = /^\/containers\/([^/]+)(?:\/(\w+))?$/.exec(route);
    if (one === null) return [404, { message: `no ${route} here` }];
    const c = this.#find(one[1]);
    if (c === undefined) return [404, { message: `No such container: ${one[1]}` }];
    switch (one[2]) {
      case undefined:
        if (request.method !== "DELETE") return [405, { message: "not here" }];
        this.#containers.delete(c.id);
        if (c.running) this.#signal(c, "SIGKILL");
        return [204];
      case "json":
        return [200, inspect(c)];
      case "start":
        if (c.running || this.#ended) return [304];
        await this.#start(c);
        return [204];
      case "wait":
        if (!c.running && c.exit !== undefined) return [200, { StatusCode: c.exit }];
        return new Promise((done) => c.waiting.push((code) => done([200, { StatusCode: code }])));
      case "stop":
      case "kill":
        if (!c.running) return [one[2] === "kill" ? 409 : 304, { message: "it is not running" }];
        this.#signal(c, url.searchParams.get("signal") ?? (one[2] === "kill" ? "SIGKILL" : "SIGTERM"));
        return [204];
      default:
        return [404, { message: `no ${route} here` }];
    }
  }

  async #start(c) {
    c.exit = undefined;
    c.running = true;
    await (c.body.Image.startsWith(this.#options.sidecar) ? this.#startSidecar(c) : this.#startProcess(c));
  }

  /** The sidecar in whose network a container is. */
  #sidecarOf(c) {
    const name = /^container:(.+)$/.exec(c.body.HostConfig?.NetworkMode ?? "")?.[1];
    return name === undefined ? undefined : this.#find(name);
  }

  async #startProcess(c) {
    const { binary, image, work, env, report } = this.#options;
    const file = dockerfile(fs.readFileSync(path.join(image, "Dockerfile"), "utf8"));
    const folder = path.join(work, c.id.slice(0, 12));
    // A container's disk is new at every start and gone at its end.
    fs.rmSync(folder, { recursive: true, force: true });
    fs.mkdirSync(path.join(folder, "tmp"), { recursive: true });
    fs.cpSync(path.join(image, "project"), path.join(folder, "project"), { recursive: true });
    const port = await freePort();
    const proxy = await this.#wayOut(c);
    const given = Object.fromEntries((c.body.Env ?? []).map((pair) => [pair.slice(0, pair.indexOf("=")), pair.slice(pair.indexOf("=") + 1)]));
    const [program, ...args] = command(file.entrypoint, { binary, project: path.join(folder, "project"), port });
    const process_ = spawn(program, args, {
      cwd: path.join(folder, "project"),
      env: { TMPDIR: path.join(folder, "tmp"), http_proxy: `http://127.0.0.1:${proxy.address().port}`, no_proxy: "127.0.0.1,localhost", ...file.env, ...given, ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    c.process = process_;
    c.port = port;
    const started = await new Promise((done) => process_.on("spawn", () => done(true)).on("error", (error) => done(error)));
    const gone = (code, signal) => {
      if (!c.running) return;
      proxy.close();
      proxy.closeAllConnections();
      fs.rmSync(folder, { recursive: true, force: true });
      report({ name: c.name, event: "exited", pid: process_.pid, code, signal });
      ended(c, code ?? 128 + (signals[signal] ?? 9));
    };
    if (started !== true) {
      gone(127, null);
      throw started;
    }
    const off = endWithUs(process_.pid);
    process_.on("exit", (code, signal) => {
      off();
      gone(code, signal);
    });
    for (const stream of [process_.stdout, process_.stderr]) {
      let rest = "";
      stream.setEncoding("utf8").on("data", (chunk) => {
        const lines = (rest + chunk).split("\n");
        rest = lines.pop();
        for (const text of lines) report({ name: c.name, event: "output", text });
      });
    }
    report({ name: c.name, event: "started", pid: process_.pid, port });
  }

  /** What the container asks of the outside over plain HTTP: workerd's hosts by way of the sidecar, others directly. */
  async #wayOut(c) {
    const proxy = http.createServer((request, response) => {
      const url = new URL(request.url);
      const headers = { ...request.headers, host: url.host };
      delete headers["proxy-connection"];
      const failed = (error) => {
        if (response.headersSent) response.destroy();
        else response.writeHead(502).end(String(error));
      };
      const pass = (how) => {
        const outer = http.request({ method: request.method, path: url.pathname + url.search, headers, ...how }, (inner) => {
          response.writeHead(inner.statusCode, inner.headers);
          inner.on("error", failed).pipe(response);
        });
        outer.on("error", failed);
        response.on("close", () => outer.destroy());
        request.pipe(outer);
      };
      const egress = this.#sidecarOf(c)?.egress;
      if (!url.hostname.endsWith(".hakiri")) return pass({ host: url.hostname, port: url.port || 80 });
      if (egress === undefined) return failed("workerd has not said where it listens");
      http
        .request({ host: "127.0.0.1", port: egress, method: "CONNECT", path: `${url.hostname}:${url.port || 80}`, headers: { "X-Hostname": url.hostname } })
        .on("connect", (answer, socket) => {
          if (answer.statusCode !== 200) return failed(`workerd: ${answer.statusCode}`);
          response.on("close", () => socket.destroy());
          pass({ createConnection: () => socket });
        })
        .on("error", failed)
        .end();
    });
    await new Promise((done) => proxy.listen(0, "127.0.0.1", done));
    return proxy;
  }

  async #startSidecar(c) {
    const servers = [];
    for (const port of Object.keys({ ...c.body.ExposedPorts, ...c.body.HostConfig?.PortBindings })) {
      const server = http.createServer((request, response) => {
        let body = "";
        request.on("data", (chunk) => (body += chunk));
        request.on("end", () => {
          this.#options.trace?.(`sidecar ${c.name} ${request.method} ${request.url} ${body.slice(0, 300)}`);
          if (request.url === "/egress" && body !== "") c.egress = JSON.parse(body).port;
          response.end("{}");
        });
      });
      server.on("connect", (request, socket, head) => this.#wayIn(c, request, socket, head));
      await new Promise((done) => server.listen(0, "127.0.0.1", done));
      servers.push(server);
      c.ports[port] = [{ HostIp: "127.0.0.1", HostPort: String(server.address().port) }];
    }
    c.close = () => {
      for (const server of servers) {
        server.close();
        server.closeAllConnections();
      }
    };
  }

  /** A connection to a port of the container that is in the sidecar's network. */
  #wayIn(sidecar, request, socket, head) {
    const container = [...this.#containers.values()].find((c) => c.process !== undefined && c.running && this.#sidecarOf(c) === sidecar);
    const refuse = (why) => socket.end(`HTTP/1.1 502 Bad Gateway\r\nContent-Length: ${Buffer.byteLength(why)}\r\n\r\n${why}`);
    socket.on("error", () => {});
    if (container === undefined) return refuse("connection refused: no process");
    const inner = net.connect(container.port, "127.0.0.1", () => {
      socket.write("HTTP/1.1 200 OK\r\n\r\n");
      if (head.length > 0) inner.write(head);
      inner.pipe(socket);
      socket.pipe(inner);
    });
    inner.on("error", (error) => (inner.bytesRead > 0 ? socket.destroy() : refuse(error.message)));
    inner.on("close", () => socket.destroy());
    socket.on("close", () => inner.destroy());
  }

  #signal(c, signal) {
    if (c.process !== undefined) {
      c.process.kill(/^\d+$/.test(signal) ? Number(signal) : signal.startsWith("SIG") ? signal : `SIG${signal}`);
    } else {
      c.close?.();
      c.close = undefined;
      ended(c, 0);
    }
  }
}

const signals = { SIGHUP: 1, SIGINT: 2, SIGABRT: 6, SIGKILL: 9, SIGSEGV: 11, SIGTERM: 15 };

function ended(c, code) {
  c.running = false;
  c.process = undefined;
  c.exit = code;
  for (const done of c.waiting.splice(0)) done(code);
}

function inspect(c) {
  const status = c.running ? "running" : c.exit === undefined ? "created" : "exited";
  return {
    Id: c.id, Name: `/${c.name}`, Image: c.body.Image, Created: c.created, Mounts: [],
    Config: { ...c.body, Labels: c.body.Labels ?? {} },
    HostConfig: c.body.HostConfig ?? {},
    State: { Status: status, Running: c.running, Paused: false, ExitCode: c.exit ?? 0, Pid: c.process?.pid ?? 1, Error: "", StartedAt: c.created, FinishedAt: c.created },
    NetworkSettings: { IPAddress: "127.0.0.1", Ports: c.ports, Networks: { bridge: { IPAddress: "127.0.0.1", Gateway: "127.0.0.1" } } },
  };
}
