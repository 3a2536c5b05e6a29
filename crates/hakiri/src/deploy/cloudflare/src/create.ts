// Creating an instance under a name that was given out before, as often as it takes.

import type { Env } from "./env";
import type { Start } from "./wakes";

/** Creates the instance. That it is there already is what was wanted: an earlier try, or another trigger, was here. */
export async function create(env: Env, { pipeline, id, wake }: Start): Promise<void> {
  try {
    await env.RUN.create({ id, params: { pipeline, wake } });
    console.log(`cron ${pipeline}: woken as ${id}`);
  } catch (error) {
    if (!/already[_ ]exists/i.test(String(error))) throw error;
  }
}

/** The status of an instance; `undefined` when there is none of this name. */
export async function statusOf(env: Env, id: string): Promise<string | undefined> {
  try {
    const instance = await env.RUN.get(id);
    return (await instance.status()).status;
  } catch (error) {
    if (/not[_ ]found|does not exist/i.test(String(error))) return undefined;
    throw error;
  }
}
