// The Worker's own doors: the trigger, and the one to the catalog.

import assert from "node:assert/strict";
import { mock, test } from "node:test";

import "./platform.ts";

const { default: worker } = await import("../src/index.ts");

const R2 = { R2_ACCESS_KEY_ID: "k", R2_SECRET_ACCESS_KEY: "s", R2_ENDPOINT: "https://r2" };
const T = 1_795_000_020_000;

/** A Worker's environment that notes what is asked of it. */
function world(secrets: Record<string, string>) {
  const asked: unknown[] = [];
  const catalog = {
    wakes: async (...args: unknown[]) => {
      asked.push(["wakes", ...args]);
      return { start: [{ pipeline: "api", id: "api-1", wake: T }], look: [] };
    },
  };
  const env = { ...secrets, CATALOG: { getByName: () => catalog }, RUN: { create: async (it: unknown) => void asked.push(["create", it]) } };
  return { asked, env };
}

const trigger = (env: unknown): Promise<void> => worker.scheduled({ scheduledTime: T } as never, env as never);

test("secrets without a value: the trigger starts nothing, writes nothing down, and says in one line what to run", async (t) => {
  const { asked, env } = world({ ...R2, R2_ENDPOINT: "", R2_SECRET_ACCESS_KEY: "" });
  const said = mock.method(console, "error", () => {});
  const logged = mock.method(console, "log", () => {});
  t.after(() => mock.restoreAll());
  await trigger(env);
  assert.deepEqual(asked, []);
  assert.deepEqual(said.mock.calls.map((call) => call.arguments), [
    ["cron: nothing is started, because secrets of the Worker have no value: run `npx wrangler secret put R2_SECRET_ACCESS_KEY`, `npx wrangler secret put R2_ENDPOINT`"],
  ]);
  // They are set later: the next trigger starts what is due.
  Object.assign(env, R2);
  await trigger(env);
  assert.deepEqual(asked, [["wakes", T, ["api", "db", "constructor"], "b1"], ["create", { id: "api-1", params: { pipeline: "api", wake: T } }]]);
  assert.equal(said.mock.callCount(), 1);
  assert.equal(logged.mock.callCount(), 1);
});

test("the door to the catalog is not there without a token that is long enough, nor is anything else", async () => {
  for (const [path, secrets] of [["/catalog/v1/info", {}], ["/catalog/v1/info", { HAKIRI_CATALOG_TOKEN: "short" }], ["/", { HAKIRI_CATALOG_TOKEN: "long-enough-0123456" }]] as const) {
    const answer = await worker.fetch(new Request(`https://w${path}`) as never, world({ ...R2, ...secrets }).env as never);
    assert.equal(answer.status, 404);
    assert.deepEqual(await answer.json(), { error: { kind: "not_found", message: "there is nothing here" } });
  }
});
