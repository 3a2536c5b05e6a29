// The catalog's object as it is shipped, any number of them under /t/NAME/v1/…, and doors that only tests need.

import { ask, Catalog } from "../../../hakiri/src/deploy/cloudflare/src/catalog";
import type { Env } from "../../../hakiri/src/deploy/cloudflare/src/env";

export class TestCatalog extends Catalog {
  private readonly sql = this.ctx.storage.sql;
  private breaks = "";

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env);
    // Stored, since an object that nobody asks for a while leaves the memory.
    this.sql.exec("CREATE TABLE IF NOT EXISTS test_clock (still INTEGER NOT NULL, millis INTEGER NOT NULL)");
  }

  protected override now(): number {
    const clock = this.sql.exec<{ still: number; millis: number }>("SELECT still, millis FROM test_clock").toArray()[0];
    return (clock?.millis ?? 0) + (clock?.still ? 0 : super.now());
  }

  override async fetch(request: Request): Promise<Response> {
    const door = /\/door\/([a-z]+)$/.exec(new URL(request.url).pathname)?.[1];
    switch (door) {
      case undefined: {
        if (this.breaks === "before") this.ctx.abort("a test asked for it");
        const response = await super.fetch(request);
        if (this.breaks === "after") {
          await this.ctx.storage.sync();
          this.ctx.abort("a test asked for it");
        }
        return response;
      }
      case "clock": {
        const { still, millis } = await request.json<{ still: boolean; millis: number }>();
        this.sql.exec("DELETE FROM test_clock");
        this.sql.exec("INSERT INTO test_clock VALUES (?, ?)", still ? 1 : 0, millis);
        return new Response();
      }
      case "pass":
        this.sql.exec("INSERT INTO test_clock SELECT 0, 0 WHERE NOT EXISTS (SELECT * FROM test_clock)");
        this.sql.exec("UPDATE test_clock SET millis = millis + ?", Number(await request.text()));
        return new Response();
      case "sql":
        return Response.json([...this.sql.exec(await request.text()).raw()]);
      case "break":
        this.breaks = await request.text();
        return new Response();
      default:
        return new Response("no such door", { status: 404 });
    }
  }
}

export default {
  async fetch(request: Request, env: Env): Promise<Response> {
    const name = /^\/t\/([^/]+)\//.exec(new URL(request.url).pathname)?.[1];
    return name === undefined ? new Response("no such path", { status: 404 }) : ask(env.CATALOG.getByName(name), request);
  },
};
