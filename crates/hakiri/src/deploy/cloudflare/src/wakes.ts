// Whom to wake, and which Workflow instance stands for a pipeline at the moment.
//
// One row per pipeline. The row is the only place where an instance's name is given out, and it is written *before* the
// instance is created: whatever dies in between, the next trigger finds the name, sees that no such instance exists, and
// creates it under the same name. So two triggers, or one delivered twice, cannot start a pipeline twice.
//
// Only two parties give an instance up: the instance itself (`rest`, `follow`), and the trigger that finds it ended
// (`ended`). Both name the instance they mean, so that a late word about an old one changes nothing.
//
// None of this is needed for correctness: a pipeline woken too often, too late or twice at once finds its lease and its
// ticks in the catalog. It keeps the number of containers at one per pipeline, and the bill small.

/** A pipeline's row. Times are ms since the epoch. */
export interface Row {
  pipeline: string;
  /** When it is due; null: nobody knows (an instance is to say) or never (it has no schedule, or is paused). */
  at: number | null;
  /** The instance that stands for it, if any. */
  instance: string | null;
  /** The wake time that instance was named for; afterwards the last one. */
  since: number;
  /** The last trigger that saw the instance. */
  seen: number;
  /** The build that its last instance was started for. */
  build: string;
  /** Instances named so far, which makes every name new. */
  named: number;
  /** Instances in a row that ended without saying when the pipeline is due next, or with a container of another build. */
  failures: number;
}

/** An instance to create. That it exists already is fine. */
export interface Start {
  pipeline: string;
  id: string;
  wake: number;
}

/** An instance to look at, and whether to poke it. */
export interface Look extends Start {
  poke: boolean;
}

/** What a trigger has to do. */
export interface Plan {
  start: Start[];
  look: Look[];
}

const MINUTE = 60_000;
/** A pipeline that never said when it is due is asked once a day. */
const FORGOTTEN = 24 * 60 * MINUTE;
/** The longest pause after failures: 32 minutes. */
const MOST_DOUBLINGS = 5;

/** Whether a pipeline has to be started. No row: it is new. Another build: the manifest may have changed. */
export function due(row: Row | undefined, time: number, build: string): boolean {
  if (row === undefined) return true;
  if (row.instance !== null) return false;
  if (row.build !== build) return true;
  return row.at === null ? time - row.since >= FORGOTTEN : row.at <= time;
}

/**
 * Whether to poke a live instance. The platform's own engine goes on by itself after a crash; the one for development
 * waits for an event. So: when a trigger is repeated, which is how someone asks for it, and otherwise at 1, 2, 4, 8 …
 * minutes of age, because events that nobody takes are kept.
 */
export function poke(row: Row, time: number): boolean {
  if (time <= row.seen) return true;
  const minutes = Math.floor((time - row.since) / MINUTE);
  return minutes > 0 && (minutes & (minutes - 1)) === 0;
}

/**
 * When to try again after the `failures`th instance in a row that failed: at once after the first, which most often
 * means that the platform ended it; then after 1, 2, 4 … 32 minutes, because every try starts a container.
 */
export function again(failures: number, time: number): number {
  return failures <= 1 ? time : time + MINUTE * 2 ** Math.min(failures - 2, MOST_DOUBLINGS);
}

/** The row after an instance was named for it. Until that instance says so, nobody knows when it is due next. */
export function name(row: Row | undefined, pipeline: string, time: number, build: string): Row & { instance: string } {
  const named = (row?.named ?? 0) + 1;
  const failures = row?.build === build ? row.failures : 0;
  // At most 63 + 1 + 13 + 1 + digits of a count: within the 100 characters of an instance's name.
  return { pipeline, at: null, instance: `${pipeline}-${time}-${named}`, since: time, seen: time, build, named, failures };
}

/**
 * The row after its instance said that nothing more is due before `at`. `build` is what the container was built from,
 * where it says so, and `own` what the Worker was: during a deployment the new Worker talks to the old image for a while,
 * and what that one knows of schedules is out of date. So the pipeline is asked again after a minute. But the two may
 * differ for good, when the Worker alone was rolled back or the image never arrives, and every question starts a
 * container: the pause doubles with each in a row, up to 32 minutes. What is due earlier is done when it is due.
 */
export function rested(row: Row, at: number | null, build: string | null, own: string): Row {
  // Someone wrote to the catalog from outside meanwhile (`stir`): too late for this instance, perhaps.
  const kept = row.at === null ? at : Math.min(row.at, at ?? Infinity);
  if (build === null || build === own) return { ...row, at: kept, instance: null, failures: 0, build: build ?? row.build };
  const failures = row.failures + 1;
  // Counted from the last trigger, so that the pauses are those of the triggers, whatever time the instance took.
  return { ...row, at: Math.min(kept ?? Infinity, again(failures + 1, row.seen)), instance: null, failures, build: own };
}

/** The row after its instance was found ended without having said anything. */
export function failed(row: Row, time: number): Row {
  const failures = row.failures + 1;
  return { ...row, at: again(failures, time), instance: null, failures };
}

/** What a Workflow instance's status means here. Anything unknown is taken for alive: it is looked at again. */
export function ended(status: string): boolean {
  return status === "errored" || status === "terminated" || status === "complete";
}

/** The table, in the catalog's object. Every method is one synchronous piece of work, and so atomic. */
export class Wakes {
  readonly #sql: Pick<SqlStorage, "exec">;

  constructor(sql: Pick<SqlStorage, "exec">) {
    this.#sql = sql;
    sql.exec(
      `CREATE TABLE IF NOT EXISTS wakes(
         pipeline TEXT PRIMARY KEY, at INTEGER, instance TEXT, since INTEGER NOT NULL, seen INTEGER NOT NULL,
         build TEXT NOT NULL, named INTEGER NOT NULL, failures INTEGER NOT NULL) WITHOUT ROWID`,
    );
  }

  /** All rows. */
  all(): Row[] {
    return this.#sql.exec("SELECT * FROM wakes ORDER BY pipeline").toArray() as unknown as Row[];
  }

  /** A trigger of the Worker that was built as `build` with these pipelines. Pipelines it does not have are dropped. */
  plan(time: number, pipelines: readonly string[], build: string): Plan {
    const rows = new Map(this.all().map((row) => [row.pipeline, row]));
    const plan: Plan = { start: [], look: [] };
    for (const pipeline of pipelines) {
      const row = rows.get(pipeline);
      rows.delete(pipeline);
      if (due(row, time, build)) {
        plan.start.push(this.#name(row, pipeline, time, build));
      } else if (row !== undefined && row.instance !== null) {
        plan.look.push({ pipeline, id: row.instance, wake: row.since, poke: poke(row, time) });
        if (row.seen < time) this.#put({ ...row, seen: time });
      }
    }
    for (const pipeline of rows.keys()) this.#sql.exec("DELETE FROM wakes WHERE pipeline = ?", pipeline);
    return plan;
  }

  /** The trigger found the instance ended. Gives the one to start in its place, if it is time for one. */
  ended(pipeline: string, instance: string, time: number, build: string): Start | null {
    const row = this.#standing(pipeline, instance);
    if (row === undefined) return null;
    const after = failed(row, time);
    this.#put(after);
    return due(after, time, build) ? this.#name(after, pipeline, time, build) : null;
  }

  /** The instance says that nothing more is due before `at` (null: never). `build`: its container's, `own`: its Worker's. */
  rest(pipeline: string, instance: string, at: number | null, build: string | null, own: string): void {
    const row = this.#standing(pipeline, instance);
    if (row !== undefined) this.#put(rested(row, at, build, own));
  }

  /** The instance has to end although its work has not. Gives the one to go on with; repeated, the same one. */
  follow(pipeline: string, instance: string): Start | null {
    const row = this.#row(pipeline);
    if (row === undefined || row.instance === null) return null;
    if (row.instance === instance) return this.#name(row, pipeline, row.since, row.build);
    return { pipeline, id: row.instance, wake: row.since };
  }

  /** Someone changed the catalog from outside: resumed a pipeline, set back a cursor. Everybody is due. */
  stir(): void {
    this.#sql.exec("UPDATE wakes SET at = 0, failures = 0 WHERE at IS NULL OR at > 0 OR failures > 0");
  }

  #name(row: Row | undefined, pipeline: string, time: number, build: string): Start {
    const after = name(row, pipeline, time, build);
    this.#put(after);
    return { pipeline, id: after.instance, wake: after.since };
  }

  #row(pipeline: string): Row | undefined {
    return this.#sql.exec("SELECT * FROM wakes WHERE pipeline = ?", pipeline).toArray()[0] as unknown as Row | undefined;
  }

  /** The pipeline's row, if it is this instance that stands for it. */
  #standing(pipeline: string, instance: string): Row | undefined {
    const row = this.#row(pipeline);
    return row?.instance === instance ? row : undefined;
  }

  #put(row: Row): void {
    this.#sql.exec(
      "INSERT OR REPLACE INTO wakes(pipeline, at, instance, since, seen, build, named, failures) VALUES(?, ?, ?, ?, ?, ?, ?, ?)",
      row.pipeline, row.at, row.instance, row.since, row.seen, row.build, row.named, row.failures,
    );
  }
}
