import type { Catalog } from "./catalog";

/** What the Worker is bound to. */
export interface Env {
  CATALOG: DurableObjectNamespace<Catalog>;
}
