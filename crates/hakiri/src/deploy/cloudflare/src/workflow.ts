// One instance of this Workflow drives one pipeline from a wake until nothing more is due.
//
// The instance holds no state of the pipeline: begin adopts what an earlier one left. So it may end anywhere, be ended by
// a person, or be followed by another one, and it fails early rather than try for ever: the next trigger starts anew.

import { WorkflowEntrypoint, type WorkflowEvent, type WorkflowStep, type WorkflowStepConfig } from "cloudflare:workers";
import { NonRetryableError } from "cloudflare:workflows";
import { getContainer } from "@cloudflare/containers";

import { create } from "./create";
import { drive, type End, type Next, type Operation } from "./drive";
import { catalogOf, type Env, type Params } from "./env";
import { BUILD } from "./project";
import type { Answer } from "./runner";

/** The platform allows 10,000 steps per instance; sleeps are not counted, each try of a step is not either. */
const CALLS = 5_000;

// About a minute of trying: longer than a container takes to be moved or to start cold. What takes longer than that is
// for the next trigger. The binary answers within seconds, long work piece by piece, so that the timeout bounds a call
// whose answer is lost, and a cold start before it.
const CALL: WorkflowStepConfig = { retries: { limit: 5, delay: "2 seconds", backoff: "exponential" }, timeout: "5 minutes" };
const TELL: WorkflowStepConfig = { retries: { limit: 5, delay: "2 seconds", backoff: "exponential" }, timeout: "2 minutes" };

export class Run extends WorkflowEntrypoint<Env, Params> {
  override async run(event: Readonly<WorkflowEvent<Params>>, step: WorkflowStep): Promise<End> {
    const { pipeline, wake } = event.payload;
    const hands = {
      call: (name: string, operation: Operation, body: Record<string, unknown>): Promise<Next> =>
        step.do(name, CALL, () => this.#call(pipeline, operation, body)),
      sleep: async (name: string, seconds: number): Promise<void> => {
        if (seconds > 0) await step.sleep(name, seconds * 1000);
      },
    };
    let end: End;
    try {
      end = await drive(hands, pipeline, new Date(wake).toISOString(), CALLS);
    } catch (error) {
      // The container would stop by itself, but minutes later. The row is the next trigger's to clear: it finds this
      // instance in the status that this error gives it, however the instance came to its end.
      await this.#still(step, pipeline);
      throw error;
    }
    if (end.end === "full") {
      await step.do("follow", TELL, async () => {
        const next = await catalogOf(this.env).follow(pipeline, event.instanceId);
        if (next !== null) await create(this.env, next);
      });
      return end;
    }
    await this.#still(step, pipeline);
    const { due, build } = end;
    await step.do("rest", TELL, async () => {
      await catalogOf(this.env).rest(pipeline, event.instanceId, due === null ? null : Date.parse(due), build, BUILD);
    });
    return end;
  }

  /** One call of an operation. What may pass by itself is an error to the engine, which tries again. */
  async #call(pipeline: string, operation: Operation, body: Record<string, unknown>): Promise<Next> {
    const answer: Answer = await getContainer(this.env.RUNNER, pipeline).operate(operation, JSON.stringify(body));
    if (answer.status === 200) {
      const { next, run, epoch, steps, concurrency, seconds, due } = JSON.parse(answer.text) as Next;
      const kept: Next = { next, run, epoch, steps, concurrency, seconds, due, build: answer.build };
      console.log(`workflow ${pipeline}: ${operation}${body["step"] === undefined ? "" : ` ${body["step"]}`} → ${next}`);
      return JSON.parse(JSON.stringify(kept)) as Next; // without the keys that are undefined
    }
    const said = `${operation} of pipeline ${pipeline}: ${reason(answer)}`;
    console.error(`workflow ${said}`);
    if (answer.passes) {
      if (answer.wait > 0) await scheduler.wait(answer.wait * 1000);
      throw new Error(said);
    }
    throw new NonRetryableError(said);
  }

  /** Lets the container stop, if nobody else is using it. Costs money only, so that its failure is no failure. */
  async #still(step: WorkflowStep, pipeline: string): Promise<void> {
    try {
      await step.do("still", TELL, async () => {
        await getContainer(this.env.RUNNER, pipeline).rest();
      });
    } catch (error) {
      console.error(`workflow ${pipeline}: the container could not be stopped and will sleep by itself: ${error}`);
    }
  }
}

/** The error of an answer in one line: code, message and what to do. */
function reason(answer: Answer): string {
  try {
    const { code, message, hint } = (JSON.parse(answer.text) as { error: Record<string, string> }).error;
    return [code, message].filter(Boolean).join(": ") + (hint ? ` (${hint})` : "");
  } catch {
    return `status ${answer.status}: ${answer.text.slice(0, 300)}`;
  }
}
