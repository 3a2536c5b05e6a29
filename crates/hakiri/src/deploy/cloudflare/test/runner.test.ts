// The container's object: what a container is given, and what is done about one that does not answer.

import assert from "node:assert/strict";
import { mock, test, type TestContext } from "node:test";

import "./platform.ts";

const { Runner } = await import("../src/runner.ts");

const ENV = { R2_ACCESS_KEY_ID: "k", R2_SECRET_ACCESS_KEY: "s", R2_ENDPOINT: "https://r2", API_TOKEN: "a", DB_URL: "d", HOOK: "h", OTHER: "o" };

/** A container whose answers are the test's. */
class Box {
  running = false;
  started: Record<string, string>[] = [];
  destroyed = 0;
  signals: string[] = [];
  answer: (request: Request) => Promise<Response> = async () => Response.json({ next: "nothing" });

  ready: () => Promise<void> = async () => {};

  async start(env: Record<string, string>): Promise<void> {
    if (!this.running) this.started.push(env);
    this.running = true;
    await this.ready();
  }
  signal(signal: string): void {
    this.signals.push(signal);
  }
  destroy(): void {
    this.running = false;
    this.destroyed++;
  }
}

function runner(name: string | undefined, env: Record<string, string> = ENV) {
  const kept = new Map<string, unknown>();
  const box = new Box();
  const kv = { get: (key: string) => kept.get(key), put: (key: string, value: unknown) => kept.set(key, value) };
  return { box, runner: new Runner({ id: { name }, storage: { kv }, container: box } as never, env as never) };
}

/** Lets everything happen that waits for nothing but other code. */
const settle = (): Promise<void> => new Promise((done) => setImmediate(done));

/** A clock that moves only when told. */
function clock(t: TestContext): (ms: number) => Promise<void> {
  mock.timers.enable({ apis: ["setTimeout", "Date"] });
  t.after(() => mock.timers.reset());
  return async (ms) => {
    await settle();
    mock.timers.tick(ms);
    await settle();
  };
}

test("a container is given the secrets of its own pipeline, and no others", async () => {
  const given = async (name: string) => {
    const { box, runner: it } = runner(name);
    assert.equal((await it.operate("begin", "{}")).status, 200);
    const { AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL, AWS_REGION, HAKIRI_TOKEN, ...more } = box.started[0]!;
    assert.deepEqual([AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT_URL, AWS_REGION, HAKIRI_TOKEN!.length], ["k", "s", "https://r2", "auto", 72]);
    return more;
  };
  assert.deepEqual(await given("api"), { API_TOKEN: "a", HOOK: "h" });
  assert.deepEqual(await given("db"), { DB_URL: "d", HOOK: "h" });
  assert.deepEqual(await given("constructor"), {}); // a name that every object knows
});

test("an object without a name starts no container", async () => {
  const { box, runner: it } = runner(undefined);
  const answer = await it.operate("begin", "{}");
  assert.deepEqual([answer.status, answer.passes, box.started.length], [503, true, 0]);
  assert.match(answer.text, /has no name/);
});

test("without the secrets of the bucket nothing is started, and each is named with what to run", async () => {
  const { box, runner: it } = runner("api", { ...ENV, R2_ENDPOINT: "", R2_ACCESS_KEY_ID: "" });
  const answer = await it.operate("begin", "{}");
  assert.deepEqual([answer.status, answer.passes, box.started.length], [400, false, 0]);
  assert.match(answer.text, /`npx wrangler secret put R2_ACCESS_KEY_ID`, `npx wrangler secret put R2_ENDPOINT`/);
});

const hung: Record<string, (request: Request) => Promise<Response>> = {
  "nothing, and the library makes an answer of the abort": (request) =>
    new Promise((done) => request.signal.addEventListener("abort", () => done(new Response("Error proxying request", { status: 500 })))),
  "nothing, and the abort is an error": (request) =>
    new Promise((_, failed) => request.signal.addEventListener("abort", () => failed(request.signal.reason))),
  "nothing, whatever is aborted": () => new Promise(() => {}),
  "a status, and a body that does not end": async () => new Response(new ReadableStream({ start: (c) => c.enqueue(new TextEncoder().encode('{"next"')) })),
};
for (const [how, answer] of Object.entries(hung)) {
  test(`a container that answers ${how}: is ended after a minute, and the next call gets a new one`, async (t) => {
    const tick = clock(t);
    const { box, runner: it } = runner("api");
    box.answer = answer;
    const call = it.operate("step", "{}");
    await tick(59_000);
    assert.equal(box.destroyed, 0);
    assert.equal(await it.rest(), false); // it is in use
    await tick(1_000);
    const { status, passes, text } = await call;
    assert.deepEqual([status, passes, box.destroyed, box.running], [503, true, 1, false]);
    assert.match(text, /did not answer within 60 s/);
    box.answer = async () => Response.json({ next: "done" });
    assert.equal((await it.operate("step", "{}")).status, 200);
    assert.equal(box.started.length, 2);
    assert.notEqual(box.started[0]!["HAKIRI_TOKEN"], box.started[1]!["HAKIRI_TOKEN"]);
    await tick(120_000); // no timer of a call that was answered is left
    assert.equal(box.destroyed, 1);
  });
}

test("a container that is not ready in time is ended, and the next call gets a new one", async () => {
  const { box, runner: it } = runner("api");
  box.ready = async () => {
    throw new Error("the port is not ready");
  };
  const { status, passes, text } = await it.operate("begin", "{}");
  assert.deepEqual([status, passes, box.destroyed, box.running], [503, true, 1, false]);
  assert.match(text, /could not be reached: the port is not ready/);
  box.ready = async () => {};
  assert.equal((await it.operate("begin", "{}")).status, 200);
  assert.equal(box.started.length, 2);
});

test("two calls that hang: the later one does not end the container that was started for the next", async (t) => {
  const tick = clock(t);
  const { box, runner: it } = runner("api");
  box.answer = () => new Promise(() => {});
  const first = it.operate("step", "{}");
  await tick(10_000);
  const second = it.operate("step", "{}");
  await tick(50_000);
  assert.equal((await first).status, 503);
  box.answer = async () => Response.json({ next: "done" });
  assert.equal((await it.operate("step", "{}")).status, 200);
  await tick(10_000);
  assert.equal((await second).status, 503);
  assert.deepEqual([box.destroyed, box.running], [1, true]);
});

test("a container that was asked to end is given longer than it takes to hand over, and not for ever", async (t) => {
  mock.timers.enable({ apis: ["Date"] });
  t.after(() => mock.timers.reset());
  const { box, runner: it } = runner("api");
  await it.operate("begin", "{}");
  let waited = 0;
  let takes = 18_000; // 8 s of grace, 5 s to hand over, 5 s for the last answers
  const wait = async (ms: number): Promise<void> => {
    mock.timers.tick(ms);
    if ((waited += ms) >= takes) box.running = false;
  };
  (globalThis as unknown as { scheduler: unknown }).scheduler = { wait };
  assert.equal(await it.rest(), true);
  assert.deepEqual([box.signals, box.destroyed], [["SIGTERM"], 0]);
  await it.operate("begin", "{}");
  [waited, takes] = [0, Infinity];
  await it.rest();
  assert.deepEqual([waited, box.destroyed, box.running], [20_000, 1, false]);
});
