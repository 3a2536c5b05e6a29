// The loop against scripts: which calls it makes, in which order, with which waits.

import assert from "node:assert/strict";
import { test } from "node:test";

import { drive, type End, type Next, type Operation } from "../src/drive.ts";

const R = { run: "run-1", epoch: 3 };

/** Drives against a script: for a call, such as `step 2`, its answers in order. Returns the trace and the end. */
async function play(script: Record<string, (Next | Error)[]>, calls = 100): Promise<{ trace: string[]; end?: End; error?: Error; most: number; names: Set<string> }> {
  const trace: string[] = [];
  const names = new Set<string>();
  let under = 0;
  let most = 0;
  const hands = {
    call: async (name: string, operation: Operation, body: Record<string, unknown>): Promise<Next> => {
      assert.ok(!names.has(name), `${name} twice`);
      names.add(name);
      const what = operation === "step" ? `step ${body["step"]}` : operation;
      assert.equal(body["pipeline"], "p");
      trace.push(what);
      most = Math.max(most, ++under);
      await new Promise((done) => setImmediate(done));
      under--;
      const answer = script[what]?.shift();
      assert.ok(answer !== undefined, `an unexpected ${what}`);
      if (answer instanceof Error) throw answer;
      return answer;
    },
    sleep: async (name: string, seconds: number): Promise<void> => {
      assert.ok(!names.has(name), `${name} twice`);
      names.add(name);
      trace.push(`wait ${seconds}`);
    },
  };
  try {
    return { trace, end: await drive(hands, "p", "2026-11-28T09:00:00.000Z", calls), most, names };
  } catch (error) {
    return { trace, error: error as Error, most, names };
  }
}

test("nothing is due", async () => {
  const { trace, end } = await play({ begin: [{ next: "nothing", due: "2026-11-28T09:15:00Z", build: "b" }] });
  assert.deepEqual(trace, ["begin"]);
  assert.deepEqual(end, { end: "rest", due: "2026-11-28T09:15:00Z", build: "b" });
});

test("two ticks, the first with steps one after the other, waits and a step that fails", async () => {
  const { trace, end, most } = await play({
    begin: [{ next: "wait", seconds: 5 }, { next: "steps", ...R, steps: [0, 1], concurrency: 1 }, { next: "commit", ...R }],
    "step 0": [{ next: "wait", seconds: 2 }, { next: "again" }, { next: "done" }],
    "step 1": [{ next: "fail" }],
    commit: [{ next: "begin" }, { next: "nothing" }],
  });
  assert.deepEqual(trace, ["begin", "wait 5", "begin", "step 0", "wait 2", "step 0", "step 0", "step 1", "commit", "begin", "commit"]);
  assert.deepEqual(end, { end: "rest", due: null, build: null });
  assert.equal(most, 1);
});

test("no more steps at once than told", async () => {
  const steps = Array.from({ length: 20 }, (_, n) => n);
  const script: Record<string, Next[]> = Object.fromEntries(steps.map((n) => [`step ${n}`, [{ next: "done" }]]));
  const { most, trace } = await play({ ...script, begin: [{ next: "steps", ...R, steps, concurrency: 4 }], commit: [{ next: "nothing" }] });
  assert.equal(most, 4);
  assert.equal(trace.length, 22);
});

test("an error starts no further step, lets those under way end, and there is no commit", async () => {
  const { trace, error } = await play({
    begin: [{ next: "steps", ...R, steps: [0, 1, 2, 3], concurrency: 2 }],
    "step 0": [new Error("HK0202: another run took over")],
    "step 1": [{ next: "wait", seconds: 1 }, { next: "done" }],
  });
  assert.deepEqual(trace, ["begin", "step 0", "step 1", "wait 1", "step 1"]);
  assert.match(error!.message, /HK0202/);
});

test("calls used up in the middle of steps: no commit, the next instance takes it up", async () => {
  const { trace, end } = await play({
    begin: [{ next: "steps", ...R, steps: [0, 1, 2], concurrency: 1 }],
    "step 0": [{ next: "done" }],
    "step 1": [{ next: "again" }, { next: "again" }],
  }, 4);
  assert.deepEqual(trace, ["begin", "step 0", "step 1", "step 1"]);
  assert.deepEqual(end, { end: "full" });
});

test("calls used up between ticks, and by waiting", async () => {
  const ticks = await play({ begin: [{ next: "commit", ...R }], commit: [{ next: "begin" }] }, 2);
  assert.deepEqual(ticks.end, { end: "full" });
  const waits = await play({ begin: [{ next: "wait", seconds: 9 }, { next: "wait", seconds: 9 }] }, 2);
  assert.deepEqual(waits.trace, ["begin", "wait 9", "begin", "wait 9"]);
  assert.deepEqual(waits.end, { end: "full" });
});

test("a commit that asks for patience is asked again, with the same run and epoch", async () => {
  const script = {
    begin: [{ next: "commit", ...R }, { next: "nothing" }],
    commit: [{ next: "wait", seconds: 3 }, { next: "wait", seconds: 7 }, { next: "begin" }],
  };
  const { trace, end, names } = await play(script);
  assert.deepEqual(trace, ["begin", "commit", "wait 3", "commit", "wait 7", "commit", "begin"]);
  assert.deepEqual(end, { end: "rest", due: null, build: null });
  assert.deepEqual([...names].filter((name) => name.startsWith("commit")), ["commit-1-1", "commit-1-1-wait", "commit-1-2", "commit-1-2-wait", "commit-1-3"]);
});

test("calls used up by a commit that waits: the next instance takes it up", async () => {
  const patient = { begin: [{ next: "commit", ...R }], commit: [{ next: "wait", seconds: 3 }, { next: "wait", seconds: 3 }] };
  const { trace, end } = await play(patient, 3);
  assert.deepEqual(trace, ["begin", "commit", "wait 3", "commit", "wait 3"]);
  assert.deepEqual(end, { end: "full" });
});

test("calls used up by the last step: its commit is made all the same, and one that waits is left to the next instance", async () => {
  const script = (answer: Next) => ({ begin: [{ next: "steps", ...R, steps: [0] }], "step 0": [{ next: "done" }], commit: [answer] });
  assert.deepEqual((await play(script({ next: "nothing" }), 2)).end, { end: "rest", due: null, build: null });
  assert.deepEqual((await play(script({ next: "wait", seconds: 1 }), 2)).end, { end: "full" });
});

test("an answer of another contract ends it with a word about versions", async () => {
  for (const script of [{ begin: [{ next: "dance" }] }, { begin: [{ next: "steps" }] }, { begin: [{ next: "commit", ...R }], commit: [{ next: "dance" }] }]) {
    assert.match((await play(script)).error!.message, /same version/);
  }
});
