// The container of one pipeline: the `hakiri` binary, which answers the operations over HTTP.

import { Container } from "@cloudflare/containers";

import { ask } from "./catalog";
import type { Operation } from "./drive";
import { catalogOf, lacking, remedy, secret, type Env } from "./env";
import { SECRETS, SLEEP_AFTER } from "./project";

/** What came of a call. */
export interface Answer {
  /** The status of the container's answer, or what stands for one. */
  status: number;
  text: string;
  /** Whether the same call may succeed later. */
  passes: boolean;
  /** Seconds to wait before it, at most. */
  wait: number;
  /** What the container was built from, where it says so. */
  build?: string;
}

/** The version of the operations' contract that this Worker speaks. */
const CONTRACT = "1";
const PORT = 8080;
/** A call older than this is none any more: whoever made it has given up (after five minutes, see the Workflow). */
const OLDEST = 10 * 60_000;
/**
 * How long a container may take to end after it was asked to. With nothing to finish it takes a moment. Else it finishes
 * what it can within 8 s (`--grace` in the Dockerfile) and hands over the rest, which takes 5 s more at most, and as much
 * again for the last answers: to end it before would leave leases that the next one has to wait for.
 */
const GRACE = 20_000;
/**
 * How long an answer may take. The binary answers within 25 s however long the work is, so that this one has hung; while
 * it is asked something it does not fall asleep, and is paid for.
 */
const LONGEST_ANSWER = 60_000;
/** The most of `retry-after` that is obeyed within a try. */
const LONGEST_WAIT = 30;

export class Runner extends Container<Env> {
  override defaultPort = PORT;
  // For the case that nobody is left to say `rest`. It sends SIGTERM, as `rest` does.
  override sleepAfter = SLEEP_AFTER;
  override pingEndpoint = "localhost/healthz";

  /** When the calls under way were made. */
  readonly #calls = new Set<{ at: number }>();
  #starting: Promise<void> | undefined;
  #leaving: Promise<void> | undefined;

  /** Makes a call, with a container that is started for it if none is running. */
  async operate(operation: Operation, body: string): Promise<Answer> {
    // The trigger looks first: this is for one that was taken away meanwhile.
    const missing = lacking(this.env);
    if (missing.length > 0) return refused(`these secrets of the Worker have no value: ${missing.join(", ")}`, remedy(missing));
    const call = { at: Date.now() };
    this.#calls.add(call);
    try {
      // A container that was told to end takes no calls; the next one does.
      await this.#leaving;
      await this.#ready();
      return await this.#ask(operation, body);
    } catch (error) {
      return later(`the container of this pipeline could not be reached: ${error instanceof Error ? error.message : error}`);
    } finally {
      this.#calls.delete(call);
    }
  }

  /** Nothing is due: ends the container, unless a call of someone else is under way. True when it has ended. */
  async rest(): Promise<boolean> {
    const now = Date.now();
    if ([...this.#calls].some((call) => now - call.at < OLDEST)) return false;
    this.#leaving ??= this.#leave().finally(() => {
      this.#leaving = undefined;
    });
    await this.#leaving;
    return true;
  }

  /** Starts a container if none is running, once for all calls that come meanwhile, and waits until it answers. */
  #ready(): Promise<void> {
    this.#starting ??= this.#start().finally(() => {
      this.#starting = undefined;
    });
    return this.#starting;
  }

  async #start(): Promise<void> {
    if (this.#running() && (await this.getState()).status === "healthy") return;
    // A container that is running but was not seen healthy was started by this object before it was itself restarted:
    // it has the token that is in the storage. So a new one goes only into a new container.
    if (!this.#running()) this.ctx.storage.kv.put("token", crypto.randomUUID() + crypto.randomUUID());
    try {
      await this.startAndWaitForPorts({
        ports: PORT,
        startOptions: { envVars: this.#environment() },
        // A cold start is some seconds; right after a deployment the image may have to be fetched first.
        cancellationOptions: { instanceGetTimeoutMS: 30_000, portReadyTimeoutMS: 60_000, waitInterval: 200 },
      });
    } catch (error) {
      // It runs and does not answer: nothing that is asked of it would, and every try would keep it.
      if (this.#running()) await this.destroy();
      throw error;
    }
  }

  async #leave(): Promise<void> {
    if (!this.#running()) return;
    await this.stop("SIGTERM");
    for (const end = Date.now() + GRACE; this.#running() && Date.now() < end; ) await scheduler.wait(50);
    if (this.#running()) await this.destroy();
  }

  /** Asks the container, which is ended if it does not answer: the next try gets a new one. */
  async #ask(operation: Operation, body: string): Promise<Answer> {
    const token = this.#token();
    const limit = new AbortController();
    const over = new Promise<undefined>((done) => limit.signal.addEventListener("abort", () => done(undefined)));
    const timer = setTimeout(() => limit.abort(), LONGEST_ANSWER);
    const asked = async (): Promise<Answer> => {
      const request = new Request(`http://hakiri/v1/${operation}`, {
        method: "POST",
        headers: { authorization: `Bearer ${token}`, "content-type": "application/json", "hakiri-contract": CONTRACT },
        body,
        signal: limit.signal,
      });
      return this.#read(await this.containerFetch(request, PORT));
    };
    try {
      const answer = await Promise.race([asked(), over]);
      // The library makes an answer of an aborted request.
      if (answer !== undefined && !limit.signal.aborted) return answer;
    } catch (error) {
      if (!limit.signal.aborted) throw error;
    } finally {
      clearTimeout(timer);
    }
    // Another call that hung may have been here before: a new container has a new token.
    if (this.#running() && this.#token() === token) await this.destroy();
    return later(`the container of this pipeline did not answer within ${LONGEST_ANSWER / 1000} s and was ended`);
  }

  async #read(answer: Response): Promise<Answer> {
    const text = await answer.text();
    const build = answer.headers.get("hakiri-build") ?? undefined;
    const wait = Math.min(Number(answer.headers.get("retry-after")) || 0, LONGEST_WAIT);
    if (answer.status === 401) {
      // Its token is not the one we know: a start of which this object lost the memory. Only a new one helps.
      await this.destroy();
      return later("the container did not know its token and was ended");
    }
    // 429 and every 5xx are the platform's or the container's way to ask for patience. A 4xx that is not in the
    // contract's form is not the binary's: the platform is in between.
    const passes = answer.status >= 500 || answer.status === 429 || (answer.status !== 200 && !text.startsWith("{"));
    return { status: answer.status, text, passes, wait, build };
  }

  #running(): boolean {
    return this.ctx.container?.running === true;
  }

  #token(): string {
    return this.ctx.storage.kv.get<string>("token") ?? "";
  }

  /** The names of the secrets of this container's pipeline, and no others: it has no use for them. */
  #secrets(): readonly string[] {
    const pipeline = this.ctx.id.name;
    // Not to be taken for a pipeline without secrets, which would fail at its source with a word about a login.
    if (pipeline === undefined) throw new Error("the object of this container has no name: it was not asked for by that of a pipeline");
    return Object.hasOwn(SECRETS, pipeline) ? SECRETS[pipeline]! : [];
  }

  #environment(): Record<string, string> {
    const given: Record<string, string | undefined> = {
      AWS_ACCESS_KEY_ID: secret(this.env, "R2_ACCESS_KEY_ID"),
      AWS_SECRET_ACCESS_KEY: secret(this.env, "R2_SECRET_ACCESS_KEY"),
      AWS_ENDPOINT_URL: secret(this.env, "R2_ENDPOINT"),
      AWS_REGION: "auto",
      HAKIRI_TOKEN: this.#token(),
      ...Object.fromEntries(this.#secrets().map((name) => [name, secret(this.env, name)])),
    };
    return Object.fromEntries(Object.entries(given).filter((entry): entry is [string, string] => entry[1] !== undefined));
  }
}

// The container's door to the catalog. The name exists inside the container only, and needs no token.
Runner.outboundByHost = {
  "catalog.hakiri": (request: Request, env: Env) => ask(catalogOf(env), request),
};

function later(message: string): Answer {
  return { status: 503, text: JSON.stringify({ error: { kind: "unavailable", message } }), passes: true, wait: 0 };
}

function refused(message: string, hint: string): Answer {
  return { status: 400, text: JSON.stringify({ error: { code: "HK0112", kind: "usage", message, hint } }), passes: false, wait: 0 };
}
