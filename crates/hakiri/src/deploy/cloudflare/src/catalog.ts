import { DurableObject } from "cloudflare:workers";

import type { Env } from "./env";
import { asInfo, asRead, asScan, asWrite, LIMIT, Problem, Records } from "./records";
import { Wakes, type Plan, type Row, type Start } from "./wakes";

/** The version of the requests below. */
const PROTOCOL = "1";

/**
 * The catalog of a project: one object, so one writer at a time. Its requests are `POST …/v1/{read,write,scan,info}`; who
 * may send them is decided at the doors of the Worker. An answer leaves the object only when what was written before it is
 * durable, which the platform sees to.
 */
export class Catalog extends DurableObject<Env> {
  protected readonly records: Records;
  readonly #wakes: Wakes;

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    this.records = new Records(ctx.storage);
    this.#wakes = new Wakes(ctx.storage.sql);
  }

  /** The time that leases go by, in milliseconds. */
  protected now(): number {
    return Date.now();
  }

  override async fetch(request: Request): Promise<Response> {
    try {
      return Response.json(await this.answer(request));
    } catch (e) {
      return problem(e instanceof Problem ? e : failed(e));
    }
  }

  private async answer(request: Request): Promise<unknown> {
    const method = /\/v1\/([a-z]+)$/.exec(new URL(request.url).pathname)?.[1];
    if (!["read", "write", "scan", "info"].includes(method ?? "")) throw new Problem(404, "refused", "there is no such method");
    if (request.method !== "POST") throw new Problem(405, "refused", "the catalog is asked by POST");
    if (request.headers.get("hakiri-catalog") !== PROTOCOL) {
      throw new Problem(400, "refused", `this Worker speaks version ${PROTOCOL} of the catalog's protocol only: deploy it again with the hakiri that asks`);
    }
    const body = await json(request);
    // From here on nothing waits, so nothing comes in between.
    switch (method) {
      case "read":
        return { now: this.now(), entries: this.records.read(asRead(body).keys) };
      case "write":
        return { written: this.records.write(asWrite(body)) };
      case "scan":
        return this.records.scan(asScan(body));
      default:
        return { ...this.records.info(asInfo(body).newId), now: this.now() };
    }
  }

  // What the Worker and the Workflow ask and tell about instances; see wakes.ts. Not among the requests above, so that
  // no container and nobody with a token can.

  wakes(time: number, pipelines: readonly string[], build: string): Plan {
    return this.#wakes.plan(time, pipelines, build);
  }

  ended(pipeline: string, instance: string, time: number, build: string): Start | null {
    return this.#wakes.ended(pipeline, instance, time, build);
  }

  rest(pipeline: string, instance: string, at: number | null, build: string | null, own: string): void {
    this.#wakes.rest(pipeline, instance, at, build, own);
  }

  follow(pipeline: string, instance: string): Start | null {
    return this.#wakes.follow(pipeline, instance);
  }

  stir(): void {
    this.#wakes.stir();
  }

  /** Every pipeline's row, for whoever watches. */
  roster(): Row[] {
    return this.#wakes.all();
  }
}

/**
 * Passes a request on to the catalog. When the platform throws instead of answering, the object may have been ended before,
 * during or after the work: only the caller can find out, by reading.
 */
export async function ask(catalog: { fetch(request: Request): Promise<Response> }, request: Request): Promise<Response> {
  try {
    return await catalog.fetch(request);
  } catch {
    return problem(new Problem(502, "unknown", "the catalog's object has ended or is out of reach"));
  }
}

/** A problem as an answer. */
export function problem(e: Problem): Response {
  return Response.json({ error: { kind: e.kind, message: e.message, ...e.more } }, { status: e.status });
}

/** An error within the object undoes the transaction that it leaves. SQLite's words hold names of tables, never values. */
function failed(e: unknown): Problem {
  const message = e instanceof Error ? e.message : "";
  console.error(`catalog: ${message}`);
  if (/no such (table|column)|malformed|SQLITE_(CORRUPT|NOTADB)/.test(message)) {
    return new Problem(500, "corrupt", "the catalog's tables are damaged or gone");
  }
  return new Problem(503, "unavailable", "the catalog's object has failed; its log says why", { retry_after: 5 });
}

/** The body, of bounded size, as JSON. */
async function json(request: Request): Promise<unknown> {
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  let text = "";
  let size = 0;
  try {
    for await (const chunk of request.body ?? []) {
      size += chunk.length;
      if (size > LIMIT) throw new Problem(413, "refused", `the body has more than ${LIMIT} bytes`);
      text += decoder.decode(chunk, { stream: true });
    }
    return JSON.parse(text + decoder.decode());
  } catch (e) {
    throw e instanceof Problem ? e : new Problem(400, "refused", "the body is no JSON in UTF-8, or is not all there");
  }
}
