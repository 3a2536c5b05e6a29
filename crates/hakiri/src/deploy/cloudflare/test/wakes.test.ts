// Run with node itself: `node --test test/`. Its SQLite stands for the object's.

import assert from "node:assert/strict";
import { DatabaseSync, type SQLInputValue } from "node:sqlite";
import { test } from "node:test";

import { again, due, ended, name, poke, Wakes, type Row } from "../src/wakes.ts";

const MINUTE = 60_000;
const T = 1_795_000_020_000;

function wakes(): Wakes {
  const db = new DatabaseSync(":memory:");
  return new Wakes({
    exec: (sql: string, ...values: SQLInputValue[]) => {
      const statement = db.prepare(sql);
      const rows = statement.all(...values);
      return { toArray: () => rows };
    },
  } as never);
}

const row = (change: Partial<Row>): Row =>
  ({ pipeline: "p", at: T, instance: null, since: T - MINUTE, seen: T - MINUTE, build: "b", named: 1, failures: 0, ...change });

test("due: new, of another build, its time come, forgotten for a day; never while an instance stands for it", () => {
  assert.equal(due(undefined, T, "b"), true);
  assert.equal(due(row({ at: T }), T, "b"), true);
  assert.equal(due(row({ at: T + 1 }), T, "b"), false);
  assert.equal(due(row({ at: T + 1 }), T, "c"), true);
  assert.equal(due(row({ at: null }), T, "b"), false);
  assert.equal(due(row({ at: null, since: T - 24 * 60 * MINUTE }), T, "b"), true);
  assert.equal(due(row({ instance: "p-1-1" }), T, "b"), false);
  assert.equal(due(row({ instance: "p-1-1" }), T, "c"), false);
});

test("poked: by a repeated trigger, and at 1, 2, 4, 8 … minutes of age", () => {
  const pokes = (minutes: number, seen: number) => poke(row({ instance: "i", since: T, seen: T + seen * MINUTE }), T + minutes * MINUTE);
  assert.equal(pokes(0, 0), true);
  assert.equal(pokes(3, 3), true);
  assert.deepEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 20, 32].filter((n) => pokes(n, n - 1)), [1, 2, 4, 8, 16, 32]);
});

test("after failures: at once, then 1, 2, 4 … 32 minutes", () => {
  assert.deepEqual([1, 2, 3, 4, 5, 6, 7, 8, 99].map((n) => (again(n, T) - T) / MINUTE), [0, 1, 2, 4, 8, 16, 32, 32, 32]);
});

test("names are always new, valid, and within a hundred characters", () => {
  const long = "p".repeat(63);
  const named = name(row({ pipeline: long, named: 99_999 }), long, T, "b").instance;
  assert.match(named, /^[a-zA-Z0-9_][a-zA-Z0-9_-]{0,99}$/);
  assert.notEqual(name(row({ named: 1 }), "p", T, "b").instance, name(row({ named: 2 }), "p", T, "b").instance);
});

test("ended: what cannot go on by itself; anything unknown is looked at again", () => {
  for (const status of ["errored", "terminated", "complete"]) assert.equal(ended(status), true);
  for (const status of ["queued", "running", "paused", "waiting", "waitingForPause", "unknown", "new word"]) assert.equal(ended(status), false);
});

test("a pipeline's way: named at its first trigger, looked at while it lives, at rest until it is due", () => {
  const w = wakes();
  const first = w.plan(T, ["a"], "b");
  assert.deepEqual(first, { start: [{ pipeline: "a", id: `a-${T}-1`, wake: T }], look: [] });
  assert.deepEqual(w.plan(T, ["a"], "b").look, [{ pipeline: "a", id: `a-${T}-1`, wake: T, poke: true }]);
  assert.deepEqual(w.plan(T + MINUTE, ["a"], "b"), { start: [], look: [{ pipeline: "a", id: `a-${T}-1`, wake: T, poke: true }] });
  w.rest("a", `a-${T}-1`, T + 5 * MINUTE, null, "b");
  assert.deepEqual(w.plan(T + 4 * MINUTE, ["a"], "b"), { start: [], look: [] });
  assert.deepEqual(w.plan(T + 5 * MINUTE, ["a"], "b").start, [{ pipeline: "a", id: `a-${T + 5 * MINUTE}-2`, wake: T + 5 * MINUTE }]);
});

test("an instance found ended is replaced at once, then with growing pauses; its late words change nothing", () => {
  const w = wakes();
  let id = w.plan(T, ["a"], "b").start[0]!.id;
  const next = w.ended("a", id, T, "b")!;
  assert.deepEqual(next, { pipeline: "a", id: `a-${T}-2`, wake: T });
  w.rest("a", id, T + MINUTE, null, "b");
  assert.equal(w.ended("a", id, T, "b"), null);
  assert.equal(w.all()[0]!.instance, next.id);
  assert.equal(w.ended("a", next.id, T, "b"), null); // the second failure waits a minute
  assert.deepEqual(w.plan(T, ["a"], "b"), { start: [], look: [] });
  id = w.plan(T + MINUTE, ["a"], "b").start[0]!.id;
  w.rest("a", id, T + 2 * MINUTE, null, "b");
  assert.equal(w.all()[0]!.failures, 0);
});

test("a follow-on has a name of its own, the same one however often it is asked for", () => {
  const w = wakes();
  const { id } = w.plan(T, ["a"], "b").start[0]!;
  const next = w.follow("a", id);
  assert.deepEqual(next, { pipeline: "a", id: `a-${T}-2`, wake: T });
  assert.deepEqual(w.follow("a", id), next);
  assert.equal(w.ended("a", id, T, "b"), null); // it is complete, and no longer the one that stands for the pipeline
  w.rest("a", next!.id, null, null, "b");
  assert.equal(w.follow("a", id), null);
});

test("another build: pipelines it lacks are dropped, those at rest are due, live ones when they rest", () => {
  const w = wakes();
  const ids = Object.fromEntries(w.plan(T, ["a", "b", "c"], "one").start.map((s) => [s.pipeline, s.id]));
  w.rest("a", ids["a"]!, T + 60 * MINUTE, null, "one");
  const plan = w.plan(T + MINUTE, ["a", "b"], "two");
  assert.deepEqual(plan.start.map((s) => s.pipeline), ["a"]);
  assert.deepEqual(plan.look.map((s) => s.pipeline), ["b"]);
  assert.deepEqual(w.all().map((r) => r.pipeline), ["a", "b"]);
  w.rest("c", ids["c"]!, T + 60 * MINUTE, null, "two");
  w.rest("b", ids["b"]!, T + 60 * MINUTE, null, "two");
  assert.deepEqual(w.plan(T + 2 * MINUTE, ["a", "b"], "two").start.map((s) => s.pipeline), ["b"]);
});

test("an old image that answers the new Worker leaves its pipeline due after a minute", () => {
  const w = wakes();
  const { id } = w.plan(T, ["a"], "new").start[0]!;
  w.rest("a", id, T + 60 * MINUTE, "old", "new");
  const again = w.plan(T + MINUTE, ["a"], "new").start[0]!;
  w.rest("a", again.id, T + 60 * MINUTE, "new", "new");
  assert.deepEqual(w.plan(T + 2 * MINUTE, ["a"], "new"), { start: [], look: [] });
  assert.equal(w.all()[0]!.failures, 0);
});

test("a new image that answers an instance of the old Worker, once the new Worker is there", () => {
  const w = wakes();
  const { id } = w.plan(T, ["a"], "old").start[0]!;
  w.rest("a", id, T + 60 * MINUTE, "new", "new");
  assert.deepEqual(w.plan(T + MINUTE, ["a"], "new"), { start: [], look: [] });
});

/** The minutes at which a pipeline is started that rests at once, by an image of a build and with when it says it is due. */
function starts(w: Wakes, minutes: number, build: (minute: number) => string, due: (minute: number) => number | null): number[] {
  const started: number[] = [];
  for (let minute = 0; minute < minutes; minute++) {
    for (const { id } of w.plan(T + minute * MINUTE, ["a"], "own").start) {
      started.push(minute);
      const at = due(minute);
      w.rest("a", id, at === null ? null : T + at * MINUTE, build(minute), "own");
    }
  }
  return started;
}

test("builds that differ for good: asked after 1, 2, 4 … 32 minutes, not at every trigger, whether it says when it is due or not", () => {
  for (const due of [null, 24 * 60]) {
    const started = starts(wakes(), 24 * 60, () => "other", () => due);
    assert.deepEqual(started.slice(0, 10), [0, 1, 3, 7, 15, 31, 63, 95, 127, 159]);
    assert.equal(started.length, 6 + Math.ceil((24 * 60 - 31) / 32) - 1);
  }
});

test("builds that differ for good: what is due earlier than the pause is done when it is due", () => {
  const started = starts(wakes(), 121, () => "other", (minute) => (Math.floor(minute / 10) + 1) * 10);
  assert.deepEqual(started, [0, 1, 3, 7, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120]);
});

test("builds that differ for a while: the image arrives, its word counts, and the pauses begin anew the next time", () => {
  const w = wakes();
  const image = (minute: number): string => (minute >= 7 && minute < 60 ? "own" : "other");
  assert.deepEqual(starts(w, 70, image, (minute) => (minute < 60 ? 60 : 200)), [0, 1, 3, 7, 60, 61, 63, 67]);
});

test("builds that differ, and the Worker is deployed with yet another: due at once, with pauses from the beginning", () => {
  const w = wakes();
  starts(w, 40, () => "other", () => null);
  const { id } = w.plan(T + 41 * MINUTE, ["a"], "newest").start[0]!;
  assert.equal(w.all()[0]!.failures, 0);
  w.rest("a", id, null, "other", "newest");
  assert.equal(w.all()[0]!.at, T + 42 * MINUTE);
});

test("a write from outside makes everybody due, also who is at work or was never to be woken", () => {
  const w = wakes();
  const ids = Object.fromEntries(w.plan(T, ["a", "b"], "b").start.map((s) => [s.pipeline, s.id]));
  w.rest("a", ids["a"]!, null, null, "b"); // paused
  assert.deepEqual(w.plan(T + MINUTE, ["a", "b"], "b").start, []);
  w.stir();
  assert.deepEqual(w.plan(T + 2 * MINUTE, ["a", "b"], "b").start.map((s) => s.pipeline), ["a"]);
  w.rest("b", ids["b"]!, T + 60 * MINUTE, null, "b");
  assert.deepEqual(w.plan(T + 3 * MINUTE, ["a", "b"], "b").start.map((s) => s.pipeline), ["b"]);
});
