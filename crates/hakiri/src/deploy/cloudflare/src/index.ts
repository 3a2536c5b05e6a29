// The Worker: a trigger every minute, and a door to the catalog that is closed unless a token opens it.

import { ContainerProxy } from "@cloudflare/containers";

import { ask, Catalog, problem } from "./catalog";
import { create, statusOf } from "./create";
import { catalogOf, lacking, remedy, secret, type Env } from "./env";
import { BUILD, PIPELINES } from "./project";
import { Problem } from "./records";
import { Runner } from "./runner";
import { ended, type Look } from "./wakes";
import { Run } from "./workflow";

export { Catalog, ContainerProxy, Run, Runner };

const DOOR = "/catalog/";
/** A shorter token could be guessed. */
const SHORTEST_TOKEN = 16;

export default {
  async scheduled(trigger, env): Promise<void> {
    // Before anything is written down, so that nothing fails meanwhile and the trigger after they are set starts at once.
    const missing = lacking(env);
    if (missing.length > 0) {
      console.error(`cron: nothing is started, because secrets of the Worker have no value: ${remedy(missing)}`);
      return;
    }
    const time = trigger.scheduledTime;
    const plan = await catalogOf(env).wakes(time, PIPELINES, BUILD);
    const done = await Promise.allSettled([
      ...plan.start.map((start) => create(env, start)),
      ...plan.look.map((look) => lookAt(env, look, time)),
    ]);
    // One pipeline's trouble is not another's. The next trigger sees the same rows and tries again.
    const errors = done.flatMap((one) => (one.status === "rejected" ? [one.reason as unknown] : []));
    for (const error of errors) console.error(`cron: could not wake a pipeline: ${error}`);
    if (errors.length > 0) throw new Error(`${errors.length} pipelines could not be woken, the next trigger tries again`);
  },

  async fetch(request, env): Promise<Response> {
    const url = new URL(request.url);
    const token = secret(env, "HAKIRI_CATALOG_TOKEN");
    if (!url.pathname.startsWith(DOOR) || token === undefined || token.length < SHORTEST_TOKEN) {
      return problem(new Problem(404, "not_found", "there is nothing here"));
    }
    if (!(await same(request.headers.get("authorization") ?? "", `Bearer ${token}`))) {
      return problem(new Problem(401, "refused", "the token is not the deployment's: set it as its HAKIRI_CATALOG_TOKEN"));
    }
    url.pathname = url.pathname.slice(DOOR.length - 1);
    const inner = new Request(url, request);
    inner.headers.delete("authorization"); // it has done its work
    const answer = await ask(catalogOf(env), inner);
    // Whoever writes from outside may have resumed a pipeline or set back a cursor: let the pipelines look.
    if (answer.ok && url.pathname === "/v1/write") await catalogOf(env).stir();
    return answer;
  },
} satisfies ExportedHandler<Env>;

/** Sees whether an instance that should be alive is. */
async function lookAt(env: Env, look: Look, time: number): Promise<void> {
  const status = await statusOf(env, look.id);
  if (status === undefined) {
    // Named but never created, or forgotten by the platform: the name is free.
    await create(env, look);
  } else if (ended(status)) {
    console.error(`cron ${look.pipeline}: ${look.id} is ${status} and did not say when the pipeline is due next`);
    const next = await catalogOf(env).ended(look.pipeline, look.id, time, BUILD);
    if (next !== null) await create(env, next);
  } else if (look.poke) {
    await (await env.RUN.get(look.id)).sendEvent({ type: "wake", payload: {} });
  }
}

/** Whether two texts are equal, in a time that says nothing about where they differ. */
async function same(a: string, b: string): Promise<boolean> {
  const digest = (text: string): Promise<ArrayBuffer> => crypto.subtle.digest("SHA-256", new TextEncoder().encode(text));
  const [x, y] = await Promise.all([digest(a), digest(b)]);
  return crypto.subtle.timingSafeEqual(x, y);
}
