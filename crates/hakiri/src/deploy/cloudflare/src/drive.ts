// The loop of an orchestrator: begin → steps → commit → begin … until nothing. It obeys `next` and decides nothing; what
// it does is the same as what the binary does in process. Apart from the Workflow, so that it can be tried without one.
//
// Every call has a name that depends on nothing but what was answered before: a resumed Workflow runs this code again
// from the top and is given the recorded answers by name, in whatever order its parallel calls ask for them.

export type Operation = "begin" | "step" | "commit";

/** An answer, reduced to what an orchestrator obeys: it is recorded, and records have a limit. */
export interface Next {
  next: string;
  run?: string;
  epoch?: number;
  steps?: number[];
  concurrency?: number;
  seconds?: number;
  due?: string;
  /** What the container was built from, where it says so. */
  build?: string;
}

/** What the loop needs of its surroundings. */
export interface Hands {
  /** Makes a call until it is answered. Throws when trying again does not help. */
  call(name: string, operation: Operation, body: Record<string, unknown>): Promise<Next>;
  /** Waits. */
  sleep(name: string, seconds: number): Promise<void>;
}

/** How it ended: nothing is due before `due`, or `calls` are used up with work left. */
export type End = { end: "rest"; due: string | null; build: string | null } | { end: "full" };

/** Drives a pipeline with at most about `calls` calls: those under way are finished. */
export async function drive(hands: Hands, pipeline: string, wake: string, calls: number): Promise<End> {
  let left = calls;
  const call = (name: string, operation: Operation, body: Record<string, unknown>): Promise<Next> => {
    left -= 1;
    return hands.call(name, operation, { pipeline, ...body });
  };

  /** One step to its end; false when there are no calls left for it. That it failed is in the catalog: others go on. */
  const toItsEnd = async (round: number, run: string, epoch: number, step: number): Promise<boolean> => {
    for (let n = 1; left > 0; n++) {
      const answer = await call(`step-${round}-${step}-${n}`, "step", { run, epoch, step });
      if (answer.next === "done" || answer.next === "fail") return true;
      if (answer.next === "wait") await hands.sleep(`step-${round}-${step}-${n}-wait`, answer.seconds ?? 0);
      else if (answer.next !== "again") throw unknown("step", answer);
    }
    return false;
  };

  /** All steps, so many at once. An error starts no further ones, and is thrown when those under way have ended. */
  const all = async (round: number, run: string, epoch: number, steps: number[], concurrency: number): Promise<boolean> => {
    const waiting = [...steps];
    let whole = true;
    let error: { value: unknown } | undefined;
    const work = async (): Promise<void> => {
      for (let step = waiting.shift(); step !== undefined && error === undefined; step = waiting.shift()) {
        try {
          whole = (await toItsEnd(round, run, epoch, step)) && whole;
        } catch (value) {
          error ??= { value };
        }
      }
    };
    await Promise.all(Array.from({ length: Math.min(Math.max(concurrency, 1), steps.length) }, work));
    if (error !== undefined) throw (error as { value: unknown }).value;
    return whole;
  };

  /** The commit, however often it asks for patience; undefined when there are no calls left for it. */
  const commit = async (round: number, run: string, epoch: number): Promise<Next | undefined> => {
    for (let n = 1; n === 1 || left > 0; n++) {
      const answer = await call(`commit-${round}-${n}`, "commit", { run, epoch });
      if (answer.next !== "wait") return answer;
      await hands.sleep(`commit-${round}-${n}-wait`, answer.seconds ?? 0);
    }
    return undefined;
  };

  for (let round = 1; left > 0; round++) {
    const begun = await call(`begin-${round}`, "begin", { wake });
    if (begun.next === "nothing") return rest(begun);
    if (begun.next === "wait") {
      await hands.sleep(`begin-${round}-wait`, begun.seconds ?? 0);
      continue;
    }
    const { run, epoch } = begun;
    if ((begun.next !== "steps" && begun.next !== "commit") || run === undefined || epoch === undefined) {
      throw unknown("begin", begun);
    }
    if (begun.next === "steps" && !(await all(round, run, epoch, begun.steps ?? [], begun.concurrency ?? 1))) break;
    const committed = await commit(round, run, epoch);
    if (committed === undefined) break;
    if (committed.next === "nothing") return rest(committed);
    if (committed.next !== "begin") throw unknown("commit", committed);
  }
  return { end: "full" };
}

function rest(answer: Next): End {
  return { end: "rest", due: answer.due ?? null, build: answer.build ?? null };
}

function unknown(operation: Operation, answer: Next): Error {
  return new Error(`the container answered ${operation} with next = ${JSON.stringify(answer.next)}, which this Worker does not know: deploy Worker and image of the same version`);
}
