// What the Worker is given by its configuration (bindings) and by `wrangler secret put` (texts).

import type { Catalog } from "./catalog";
import type { Runner } from "./runner";

export interface Env {
  /** The project's catalog: one object, named `main`. */
  CATALOG: DurableObjectNamespace<Catalog>;
  /** One container per pipeline, named like the pipeline. */
  RUNNER: DurableObjectNamespace<Runner>;
  /** The Workflow that drives a pipeline. */
  RUN: Workflow<Params>;

  R2_ACCESS_KEY_ID?: string;
  R2_SECRET_ACCESS_KEY?: string;
  /** `https://ACCOUNT.r2.cloudflarestorage.com`. */
  R2_ENDPOINT?: string;
  /** Opens the public door to the catalog; without it there is none. */
  HAKIRI_CATALOG_TOKEN?: string;
}

/** What an instance of the Workflow is started with. */
export interface Params {
  pipeline: string;
  /** The time of the trigger, in ms since the epoch. It only wakes: what is due is the container's to say. */
  wake: number;
}

/** A secret by its name; undefined when it was never set or is empty. */
export function secret(env: Env, name: string): string | undefined {
  const value = (env as unknown as Record<string, unknown>)[name];
  return typeof value === "string" && value !== "" ? value : undefined;
}

/** The secrets without which no container can do anything, as far as they have no value. */
export function lacking(env: Env): string[] {
  return ["R2_ACCESS_KEY_ID", "R2_SECRET_ACCESS_KEY", "R2_ENDPOINT"].filter((name) => secret(env, name) === undefined);
}

/** How to give them one. */
export function remedy(names: readonly string[]): string {
  return `run ${names.map((name) => `\`npx wrangler secret put ${name}\``).join(", ")}`;
}

/** The catalog of this project. */
export function catalogOf(env: Env): DurableObjectStub<Catalog> {
  return env.CATALOG.getByName("main");
}
