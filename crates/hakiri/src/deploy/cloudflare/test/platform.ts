// What stands for the platform's modules where the Worker's own are run by node: enough to see what is asked of it.

import fs from "node:fs";
import { registerHooks, stripTypeScriptTypes } from "node:module";
import { fileURLToPath } from "node:url";

const MODULES: Record<string, string> = {
  "cloudflare:workers": `
    export class DurableObject { constructor(ctx, env) { this.ctx = ctx; this.env = env; } }
    export class WorkflowEntrypoint extends DurableObject {}`,
  "cloudflare:workflows": "export class NonRetryableError extends Error {}",
  "@cloudflare/containers": `
    export const getContainer = (namespace, name) => namespace.getByName(name);
    export class ContainerProxy {}
    export class Container {
      constructor(ctx, env) { this.ctx = ctx; this.env = env; }
      async getState() { return { status: "healthy" }; }
      async startAndWaitForPorts({ startOptions }) { await this.ctx.container.start(startOptions.envVars); }
      async containerFetch(request) { return this.ctx.container.answer(request); }
      async stop(signal) { this.ctx.container.signal(signal); }
      async destroy() { this.ctx.container.destroy(); }
    }`,
  "./project": `
    export const PROJECT = "shop", BUILD = "b1", PIPELINES = ["api", "db", "constructor"], SLEEP_AFTER = "2m";
    export const SECRETS = { api: ["API_TOKEN", "HOOK"], db: ["DB_URL", "HOOK"] };`,
};

registerHooks({
  resolve(specifier, context, next) {
    const text = MODULES[specifier];
    if (text !== undefined) return { url: `data:text/javascript,${encodeURIComponent(text)}`, shortCircuit: true };
    return next(/^\.\/\w+$/.test(specifier) ? `${specifier}.ts` : specifier, context);
  },
  load(url, context, next) {
    if (!url.endsWith(".ts")) return next(url, context);
    const source = stripTypeScriptTypes(fs.readFileSync(fileURLToPath(url), "utf8"), { mode: "transform" });
    return { format: "module", source, shortCircuit: true };
  },
});
