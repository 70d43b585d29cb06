// One conversation's interval: what this device holds without a hole, what may be shown next, what waits, what must be pulled.
//
// In: live records with the seq before them, pages, heads. Out: records to show, rising, each once. Invariants: all that the user may see in
// [from, max] is held; `max` never goes back but by `restart`. Bound: HELD_MAX records wait; beyond it they are dropped and the hole is pulled.

import type { Seq } from "./id.js";
import type { Record } from "./wire/kith/log/v1/log_pb.js";

/** Records of one conversation that wait for the ones before them. */
export const HELD_MAX = 64;

/** What is held, and up to where there is more. Zero: nothing yet. */
export interface Cursor {
  from: Seq;
  max: Seq;
  head: Seq;
}

export interface Range {
  first: Seq;
  last: Seq;
}

export function seqOf(record: Record): Seq {
  return record.at?.seq ?? 0n;
}

export class Interval {
  cursor: Cursor;
  #held: { prev: Seq; record: Record }[] = [];

  constructor(cursor: Cursor = { from: 0n, max: 0n, head: 0n }) {
    this.cursor = { ...cursor };
  }

  /** Whether records are known to exist that are not held. */
  get hasHole(): boolean {
    return this.cursor.max < this.cursor.head;
  }
  get isEmpty(): boolean {
    return this.cursor.from === 0n;
  }
  /** Begins anew, to hold the newest `newest` of what is up to `head`. */
  restart(head: Seq, newest: bigint): void {
    const from = head > newest ? head - newest + 1n : 1n;
    this.cursor = { from, max: from - 1n, head: head > this.cursor.head ? head : this.cursor.head };
    this.#held = [];
  }
  /** A record exists at `head`. */
  note(head: Seq): void {
    if (head > this.cursor.head) this.cursor.head = head;
  }
  /** There is nothing above `max` for this user. */
  closeHole(): void {
    this.cursor.head = this.cursor.max;
    this.#held = [];
  }
  /** Older records down to `from` are held too. */
  extend(from: Seq): void {
    if (from < this.cursor.from) this.cursor.from = from;
  }

  /** A live record, with the seq before it that this user may see: what to show, or "old", or "hole". */
  handleLive(prev: Seq, record: Record): Record[] | "old" | "hole" {
    const seq = seqOf(record);
    if (seq <= this.cursor.max) return "old";
    this.note(seq);
    if (prev > this.cursor.max) {
      const at = this.#held.findIndex((held) => seqOf(held.record) >= seq);
      const isThere = at >= 0 && seqOf(this.#held[at].record) === seq;
      if (!isThere && this.#held.length < HELD_MAX) this.#held.splice(at < 0 ? this.#held.length : at, 0, { prev, record });
      return "hole";
    }
    this.cursor.max = seq;
    return this.#release([record]);
  }

  /** A page for (max, …]: records, ranges that are not this user's to see, and what it covers. `undefined`: it does not answer what was asked. */
  handlePage(records: Record[], withheld: readonly Range[], covered: Range): Record[] | undefined {
    if (covered.first > this.cursor.max + 1n || covered.last < covered.first || !isComplete(records, withheld, covered)) return undefined;
    const show = records.filter((record) => seqOf(record) > this.cursor.max);
    this.note(covered.last);
    if (covered.last > this.cursor.max) this.cursor.max = covered.last;
    return this.#release(show);
  }

  /** Nobody waits any longer: the hole is pulled, and with it what waited. */
  dropHeld(): void {
    this.#held = [];
  }

  #release(show: Record[]): Record[] {
    let next = 0;
    for (; next < this.#held.length; next++) {
      const { prev, record } = this.#held[next];
      if (seqOf(record) > this.cursor.max) {
        if (prev > this.cursor.max) break;
        this.cursor.max = seqOf(record);
        show.push(record);
      }
    }
    this.#held.splice(0, next);
    return show;
  }
}

/** Whether every seq of the range is a record or withheld, and records are rising: a page is never trusted with a silent hole. */
export function isComplete(records: readonly Record[], withheld: readonly Range[], covered: Range): boolean {
  const ranges = [...withheld, ...records.map((record) => ({ first: seqOf(record), last: seqOf(record) }))];
  ranges.sort((a, b) => (a.first < b.first ? -1 : a.first > b.first ? 1 : 0));
  let next = covered.first;
  for (const { first, last } of ranges) {
    if (first > next) break;
    if (last >= next) next = last + 1n;
  }
  return next > covered.last && records.every((record, at) => at === 0 || seqOf(records[at - 1]) < seqOf(record));
}
