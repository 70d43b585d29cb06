// A conversation as a screen shows it: records and own texts on their way, in one list. No IO.
//
// In: records with what was known of them when they were read (`asOf`), acts among them, writes and what became of them. Out: items. Invariants:
// records stand by rising seq, each once, then what is on its way in the order of its sending; an own text keeps its id when it becomes a record;
// an act counts once: those up to `asOf` are in the marks already.

import { contentOf, type Content } from "./content.js";
import type { ChatError } from "./code.js";
import type { Seq, UserId } from "./id.js";
import { seqOf } from "./interval.js";
import type { Marks } from "./wire/kith/client/v1/client_pb.js";
import type { Record } from "./wire/kith/log/v1/log_pb.js";

/** How far an own write got. */
export type Delivery = { state: "queued" } | { state: "sending" } | { state: "sent"; seq: Seq } | { state: "kept" } | { state: "failed"; error: ChatError };

export interface Reaction {
  emoji: string;
  count: number;
  mine: boolean;
}

export interface TimelineItem {
  /** The same before and after an own text became a record. */
  readonly id: string;
  /** Where it stands; `undefined` while it is on its way. */
  readonly seq: Seq | undefined;
  readonly sender: UserId;
  /** Milliseconds since 1970, by the server's clock; of what is on its way by this device's. */
  readonly at: number;
  readonly content: Content;
  readonly isEdited: boolean;
  readonly isPinned: boolean;
  readonly reactions: readonly Reaction[];
  /** Of an own text that is on its way, or was refused. */
  readonly delivery: Delivery | undefined;
}

/** A record with what was known of it. */
export interface Entry {
  record: Record;
  marks: Marks | undefined;
  /** Acts up to here are in record and marks. */
  asOf: Seq;
}

/** A write on its way. */
export interface Echo {
  number: bigint;
  content: Content;
  at: number;
  delivery: Delivery;
}

interface ActAt {
  seq: Seq;
  sender: UserId;
  content: Extract<Content, { type: "edit" | "delete" | "react" | "pinned" }>;
}

export class Shown {
  readonly #me: UserId;
  readonly #device: bigint;
  readonly #entries = new Map<Seq, Entry>();
  readonly #acts = new Map<Seq, ActAt[]>();
  readonly #echoes = new Map<bigint, Echo>();
  readonly #made = new Map<Seq, TimelineItem>();
  /** Numbers of own writes that are records here. */
  readonly #own = new Set<bigint>();
  #order: Seq[] = [];

  constructor(me: UserId, device: bigint) {
    this.#me = me;
    this.#device = device;
  }

  /** Forgets all records: the interval begins anew. */
  clear(): void {
    this.#entries.clear();
    this.#acts.clear();
    this.#made.clear();
    this.#own.clear();
    this.#order = [];
  }

  /** Takes records in, old or new. */
  put(entries: readonly Entry[]): void {
    const fresh: Seq[] = [];
    for (const entry of entries) {
      const seq = seqOf(entry.record);
      const known = this.#entries.get(seq);
      if (known !== undefined && known.asOf >= entry.asOf) continue;
      this.#entries.set(seq, entry);
      this.#made.delete(seq);
      this.#note(seq, entry.record);
      if (this.#isOwn(entry.record)) {
        this.#own.add(entry.record.clientSeq);
        this.#echoes.delete(entry.record.clientSeq);
      }
      if (known !== undefined) continue;
      fresh.push(seq);
    }
    if (fresh.length === 0) return;
    const rising = (a: Seq, b: Seq): number => (a < b ? -1 : 1);
    if (fresh.length > 1) fresh.sort(rising);
    // Mostly a page before all, or a record behind all.
    if (this.#order.length === 0 || fresh[0] > this.#order[this.#order.length - 1]) this.#order.push(...fresh);
    else if (fresh[fresh.length - 1] < this.#order[0]) this.#order = [...fresh, ...this.#order];
    else this.#order = [...this.#order, ...fresh].sort(rising);
  }

  /** A write was stored, or got further. */
  setEcho(echo: Echo): void {
    const isRecord = echo.delivery.state === "kept";
    if (isRecord) this.#echoes.delete(echo.number);
    else if (!this.#own.has(echo.number)) this.#echoes.set(echo.number, echo);
  }
  removeEcho(number: bigint): void {
    this.#echoes.delete(number);
  }
  echo(number: bigint): Echo | undefined {
    return this.#echoes.get(number);
  }

  get count(): number {
    return this.#order.length;
  }

  /** What a screen shows, oldest first. Items that did not change are the same objects as before. */
  items(): TimelineItem[] {
    const items: TimelineItem[] = [];
    for (const seq of this.#order) {
      const item = this.#item(seq);
      if (item !== undefined) items.push(item);
    }
    for (const echo of [...this.#echoes.values()].sort((a, b) => (a.number < b.number ? -1 : 1))) {
      if (echo.content.type !== "text") continue;
      const { number, content, at, delivery } = echo;
      items.push({ id: ownId(number), seq: undefined, sender: this.#me, at, content, isEdited: false, isPinned: false, reactions: [], delivery });
    }
    return items;
  }

  #item(seq: Seq): TimelineItem | undefined {
    const made = this.#made.get(seq);
    if (made !== undefined) return made;
    const entry = this.#entries.get(seq);
    if (entry === undefined) return undefined;
    const content = contentOf(entry.record);
    if (content.type === "edit" || content.type === "delete" || content.type === "react") return undefined;
    const item = this.#fold(seq, entry, content);
    this.#made.set(seq, item);
    return item;
  }

  #fold(seq: Seq, { record, marks, asOf }: Entry, content: Content): TimelineItem {
    let now = content;
    let isEdited = marks !== undefined && marks.edited > 0n;
    let isPinned = marks?.pinned ?? false;
    const reactions = new Map<string, Reaction>();
    for (const { emoji, count, mine } of marks?.reactions ?? []) reactions.set(emoji, { emoji, count, mine });
    for (const { seq: at, sender, content: act } of this.#acts.get(seq) ?? []) {
      if (at <= asOf) continue;
      if (act.type === "edit" && now.type === "text" && act.text !== "") {
        now = { ...now, text: act.text, mentions: act.mentions };
        isEdited = true;
      } else if (act.type === "delete") {
        now = { type: "gone", why: "deleted" };
        reactions.clear();
        isPinned = false;
      } else if (act.type === "pinned") {
        isPinned = act.on;
      } else if (act.type === "react") {
        const before = reactions.get(act.emoji) ?? { emoji: act.emoji, count: 0, mine: false };
        const count = before.count + (act.on ? 1 : -1);
        if (count <= 0) reactions.delete(act.emoji);
        else reactions.set(act.emoji, { emoji: act.emoji, count, mine: sender === this.#me ? act.on : before.mine });
      }
    }
    const id = this.#isOwn(record) ? ownId(record.clientSeq) : `s${seq}`;
    return { id, seq, sender: record.sender, at: Number(record.ts), content: now, isEdited, isPinned, reactions: [...reactions.values()], delivery: undefined };
  }

  /** Remembers an act for what it acts on. */
  #note(seq: Seq, record: Record): void {
    const content = contentOf(record);
    if (content.type !== "edit" && content.type !== "delete" && content.type !== "react" && content.type !== "pinned") return;
    let acts = this.#acts.get(content.target);
    if (acts === undefined) this.#acts.set(content.target, (acts = []));
    if (acts.some((known) => known.seq === seq)) return;
    acts.push({ seq, sender: record.sender, content });
    acts.sort((a, b) => (a.seq < b.seq ? -1 : 1));
    this.#made.delete(content.target);
  }

  #isOwn(record: Record): boolean {
    return record.device === this.#device && record.clientSeq > 0n;
  }
}

function ownId(number: bigint): string {
  return `w${number}`;
}
