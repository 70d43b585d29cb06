// What lasts on this device: rows of conversations, records, cursors, and writes that await their answer.
//
// In: lists of changes, each applied whole or not at all. Out: what was stored. Invariants: a resolved `write` is on the disk, as far as the browser
// lets one know; changes are applied in the order of the calls. Bound: the browser's quota; one that is full is told as `StoreFailed`.

import type { Cursor } from "./interval.js";
import type { ChannelId } from "./id.js";
import type { Numbers } from "./outbox.js";

/** A record as it was last told, with its marks, and the head of the conversation when they were read. */
export interface StoredRecord {
  seq: bigint;
  record: Uint8Array;
  marks: Uint8Array | undefined;
  asOf: bigint;
}

export interface StoredWrite {
  channel: ChannelId;
  number: bigint;
  /** What is sent: the same each time but for `settled`. */
  request: Uint8Array;
  /** When it was written, by this device's clock. */
  at: number;
}

export interface Person {
  name: string;
  display: string;
}

export type Change =
  | { type: "conn"; conn: bigint }
  | { type: "rev"; rev: bigint }
  | { type: "row"; channel: ChannelId; row: Uint8Array }
  | { type: "cursor"; channel: ChannelId; cursor: Cursor }
  | { type: "numbers"; channel: ChannelId; numbers: Numbers }
  | { type: "write"; write: StoredWrite }
  | { type: "settled"; channel: ChannelId; number: bigint }
  | { type: "records"; channel: ChannelId; records: readonly StoredRecord[] }
  /** All records of a conversation go: its interval begins anew. */
  | { type: "forget"; channel: ChannelId }
  | { type: "person"; user: bigint; person: Person };

export interface Snapshot {
  conn: bigint;
  rev: bigint;
  rows: Map<ChannelId, Uint8Array>;
  cursors: Map<ChannelId, Cursor>;
  numbers: Map<ChannelId, Numbers>;
  /** By conversation and number. */
  writes: StoredWrite[];
  people: Map<bigint, Person>;
}

export interface Store {
  /** Whether what is in it outlives the page. */
  readonly isDurable: boolean;
  load(): Promise<Snapshot>;
  write(changes: readonly Change[]): Promise<void>;
  /** Records of a conversation, rising, both ends included; the newest `limit` of them. */
  records(channel: ChannelId, first: bigint, last: bigint, limit: number): Promise<StoredRecord[]>;
  close(): void;
  /** Forgets everything. */
  wipe(): Promise<void>;
}

/** The store could not read or write: nothing that is not stored is sent. */
export class StoreFailed extends Error {
  override readonly name = "StoreFailed";
  readonly isFull: boolean;
  constructor(text: string, cause: unknown) {
    super(text, { cause });
    this.isFull = cause instanceof DOMException && cause.name === "QuotaExceededError";
  }
}

export function emptySnapshot(): Snapshot {
  return { conn: 0n, rev: 0n, rows: new Map(), cursors: new Map(), numbers: new Map(), writes: [], people: new Map() };
}

/** A store that ends with the page: for private windows, tests, and apps that keep nothing. */
export class MemoryStore implements Store {
  readonly isDurable = false;
  #held = emptySnapshot();
  #records = new Map<ChannelId, Map<bigint, StoredRecord>>();

  async load(): Promise<Snapshot> {
    const { rows, cursors, numbers, writes, people } = this.#held;
    return { ...this.#held, rows: new Map(rows), cursors: new Map(cursors), numbers: new Map(numbers), writes: [...writes], people: new Map(people) };
  }
  async write(changes: readonly Change[]): Promise<void> {
    for (const change of changes) this.#apply(change);
  }
  async records(channel: ChannelId, first: bigint, last: bigint, limit: number): Promise<StoredRecord[]> {
    const all = [...(this.#records.get(channel)?.values() ?? [])].filter(({ seq }) => first <= seq && seq <= last);
    return all.sort((a, b) => (a.seq < b.seq ? -1 : 1)).slice(-limit);
  }
  close(): void {}
  async wipe(): Promise<void> {
    this.#held = emptySnapshot();
    this.#records.clear();
  }

  #apply(change: Change): void {
    const held = this.#held;
    switch (change.type) {
      case "conn":
        held.conn = change.conn;
        break;
      case "rev":
        held.rev = change.rev;
        break;
      case "row":
        held.rows.set(change.channel, change.row);
        break;
      case "cursor":
        held.cursors.set(change.channel, { ...change.cursor });
        break;
      case "numbers":
        held.numbers.set(change.channel, { ...change.numbers });
        break;
      case "write":
        held.writes.push(change.write);
        break;
      case "settled":
        held.writes = held.writes.filter(({ channel, number }) => channel !== change.channel || number !== change.number);
        break;
      case "records": {
        let of = this.#records.get(change.channel);
        if (of === undefined) this.#records.set(change.channel, (of = new Map()));
        for (const record of change.records) of.set(record.seq, record);
        break;
      }
      case "forget":
        this.#records.delete(change.channel);
        break;
      case "person":
        held.people.set(change.user, change.person);
        break;
    }
  }
}
