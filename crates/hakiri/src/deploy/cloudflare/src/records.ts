// Versioned texts in the SQLite storage of a Durable Object. A write is checked against the versions that it was decided
// on, in one transaction; everything that a catalog means by its texts is decided by hakiri, not here.

/** The version of the tables below, and the highest that this code understands. */
export const VERSION = 1;

/** A row holds 2 MB. A part of so many UTF-16 code units takes at most three bytes for each. */
const PART = 256 * 1024;

/** What one request or answer may hold, in code units of its texts: the memory of an object is 128 MB. */
export const LIMIT = 32 * 1024 * 1024;

const KEY_LIMIT = 16 * 1024;
const COUNT_LIMIT = 10_000;

export type Entry = { version: string; text: string };
export type Batch = { expect: [string, string | null][]; put: [string, string][]; delete: string[] };
export type Scan = { from: string; to: string; reverse: boolean; limit: number; bytes: number };

export type Kind = "unavailable" | "corrupt" | "newer" | "not_found" | "refused" | "unknown";

/** What a caller is told instead of an answer. Its words never hold a stored text or key. */
export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly kind: Kind,
    message: string,
    readonly more: Record<string, number> = {},
  ) {
    super(message);
  }
}

type Row = { key: string; part: number; version: string; text: string };

export class Records {
  private readonly sql: SqlStorage;

  /** Versions and the revision are texts: integers above 2^53 come out of SQLite's numbers rounded. */
  constructor(private readonly storage: DurableObjectStorage) {
    this.sql = storage.sql;
    this.sql.exec(`
      CREATE TABLE IF NOT EXISTS catalog (
        one INTEGER PRIMARY KEY CHECK (one = 1), version INTEGER NOT NULL, id TEXT NOT NULL, revision TEXT NOT NULL
      );
      CREATE TABLE IF NOT EXISTS records (
        key TEXT NOT NULL, part INTEGER NOT NULL, version TEXT NOT NULL, text TEXT NOT NULL, PRIMARY KEY (key, part)
      ) WITHOUT ROWID;
    `);
  }

  /** What is stored here; created under this identity if there is nothing yet and one is given. */
  info(newId: string | null): { version: number; id: string } {
    return this.storage.transactionSync(() => {
      if (newId !== null) {
        this.sql.exec("INSERT INTO catalog VALUES (1, ?, ?, '0') ON CONFLICT (one) DO NOTHING", VERSION, newId);
      }
      const { version, id } = this.opened();
      return { version, id };
    });
  }

  /** All of one moment: nothing else happens in the object until this returns. */
  read(keys: string[]): (Entry | null)[] {
    this.opened();
    let size = 0;
    return keys.map((key) => {
      const rows = this.sql.exec<Row>("SELECT * FROM records WHERE key = ? ORDER BY part", key).toArray();
      if (rows.length === 0) return null;
      const entry = whole(rows);
      size += entry.text.length;
      if (size > LIMIT) throw new Problem(413, "refused", "the records that were asked for are too large for one answer");
      return entry;
    });
  }

  write(batch: Batch): "done" | "conflict" {
    return this.storage.transactionSync(() => {
      const { revision } = this.opened();
      for (const [key, expected] of batch.expect) {
        const found = this.sql.exec<Row>("SELECT version FROM records WHERE key = ? AND part = 0", key).toArray()[0];
        if ((found?.version ?? null) !== expected) return "conflict";
      }
      // One counter for all records: a version never comes again, also not after a deletion.
      const next = (BigInt(revision) + 1n).toString();
      this.sql.exec("UPDATE catalog SET revision = ?", next);
      for (const [key, text] of batch.put) {
        const parts = split(text);
        parts.forEach((part, place) =>
          this.sql.exec(
            `INSERT INTO records (key, part, version, text) VALUES (?, ?, ?, ?)
             ON CONFLICT (key, part) DO UPDATE SET version = excluded.version, text = excluded.text`,
            key,
            place,
            next,
            part,
          ),
        );
        this.sql.exec("DELETE FROM records WHERE key = ? AND part >= ?", key, parts.length);
      }
      for (const key of batch.delete) this.sql.exec("DELETE FROM records WHERE key = ?", key);
      return "done";
    });
  }

  /** A page of a range of keys, which SQLite orders by their UTF-8 bytes. */
  scan(scan: Scan): { entries: [string, string][]; more: boolean } {
    this.opened();
    const direction = scan.reverse ? "DESC" : "ASC";
    // Read row by row: nothing behind the page but one row, which tells that there is more.
    const rows = this.sql.exec<Row & { bytes: number }>(
      `SELECT *, octet_length(text) AS bytes FROM records WHERE key >= ? AND key < ?
       ORDER BY key ${direction}, part ${direction}`,
      scan.from,
      scan.to,
    );
    const entries: [string, string][] = [];
    let parts: Row[] = [];
    let bytes = 0;
    const end = () => {
      if (parts.length > 0) entries.push([parts[0].key, whole(scan.reverse ? parts.reverse() : parts).text]);
      parts = [];
    };
    for (const row of rows) {
      if (row.key !== parts[0]?.key) {
        end();
        if (entries.length >= scan.limit || bytes >= scan.bytes) return { entries, more: true };
      }
      parts.push(row);
      bytes += row.bytes;
    }
    end();
    return { entries, more: false };
  }

  private opened(): { version: number; id: string; revision: string } {
    type Opened = { version: number; id: string; revision: string };
    const found = this.sql.exec<Opened>("SELECT version, id, revision FROM catalog").toArray()[0];
    if (found === undefined) throw new Problem(404, "not_found", "a catalog in this Durable Object");
    if (found.version > VERSION) {
      throw new Problem(409, "newer", "a newer version of the Worker has written the catalog", {
        found: found.version,
        known: VERSION,
      });
    }
    return found;
  }
}

/** The parts of a text, at least one. No part ends within a character: half of one cannot be stored. */
export function split(text: string, size: number = PART): string[] {
  const parts: string[] = [];
  let from = 0;
  while (text.length - from > size) {
    const last = text.charCodeAt(from + size - 1);
    const to = from + size - (last >= 0xd800 && last <= 0xdbff ? 1 : 0);
    parts.push(text.slice(from, to));
    from = to;
  }
  parts.push(text.slice(from));
  return parts;
}

function whole(rows: Row[]): Entry {
  const { version } = rows[0];
  if (rows.some((row, place) => row.part !== place || row.version !== version)) {
    throw new Problem(500, "corrupt", "a record is not whole");
  }
  return { version, text: rows.map((row) => row.text).join("") };
}

// ---- requests -------------------------------------------------------------------------------------------------------

export function asRead(body: unknown): { keys: string[] } {
  const { keys } = fields(body, ["keys"]);
  return { keys: list(keys, "keys", key) };
}

export function asWrite(body: unknown): Batch {
  const { expect, put, delete: gone } = fields(body, ["expect", "put", "delete"]);
  return {
    expect: list(expect, "expect", (item) => {
      const [name, version] = pair(item, "expect");
      if (version !== null && !(typeof version === "string" && /^(0|[1-9][0-9]{0,18})$/.test(version))) {
        throw refused("a version in expect is neither null nor a decimal number as text");
      }
      return [key(name), version] as [string, string | null];
    }),
    put: list(put, "put", (item) => {
      const [name, text] = pair(item, "put");
      return [key(name), whollyText(text, "a text in put")] as [string, string];
    }),
    delete: list(gone, "delete", key),
  };
}

export function asScan(body: unknown): Scan {
  const { from, to, reverse, limit, bytes } = fields(body, ["from", "to", "reverse", "limit", "bytes"]);
  if (typeof reverse !== "boolean") throw refused("reverse is neither true nor false");
  // A page may always be smaller than it was asked for.
  return {
    from: whollyText(from, "from"),
    to: whollyText(to, "to"),
    reverse,
    limit: Math.min(count(limit, "limit"), COUNT_LIMIT),
    bytes: Math.min(count(bytes, "bytes"), LIMIT),
  };
}

export function asInfo(body: unknown): { newId: string | null } {
  const { new_id: id } = fields(body, ["new_id"]);
  if (id === null) return { newId: null };
  const newId = whollyText(id, "new_id");
  if (newId.length === 0 || newId.length > 200) throw refused("new_id has no character, or more than 200");
  return { newId };
}

function refused(message: string): Problem {
  return new Problem(400, "refused", message);
}

/** The fields of an object that has these and no others: one that is not known could change what the others mean. */
function fields<Name extends string>(body: unknown, names: Name[]): Record<Name, unknown> {
  if (typeof body !== "object" || body === null || Array.isArray(body)) throw refused("the body is no JSON object");
  const found = Object.keys(body);
  if (found.length !== names.length || !names.every((name) => found.includes(name))) {
    throw refused(`the body does not have exactly these fields: ${names.join(", ")}`);
  }
  return body as Record<Name, unknown>;
}

function list<T>(value: unknown, name: string, item: (value: unknown) => T): T[] {
  if (!Array.isArray(value)) throw refused(`${name} is no list`);
  if (value.length > COUNT_LIMIT) throw refused(`${name} has more than ${COUNT_LIMIT} entries`);
  return value.map(item);
}

function pair(value: unknown, name: string): [unknown, unknown] {
  if (!Array.isArray(value) || value.length !== 2) throw refused(`an entry of ${name} is no pair`);
  return [value[0], value[1]];
}

function key(value: unknown): string {
  const text = whollyText(value, "a key");
  if (text.length > KEY_LIMIT) throw refused(`a key has more than ${KEY_LIMIT} characters`);
  if (text.includes("\0")) throw refused("a key holds a NUL");
  return text;
}

function whollyText(value: unknown, what: string): string {
  if (typeof value !== "string") throw refused(`${what} is no text`);
  if (!value.isWellFormed()) throw refused(`${what} holds half of a character`);
  return value;
}

function count(value: unknown, name: string): number {
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0) {
    throw refused(`${name} is no number from 0`);
  }
  return value;
}
