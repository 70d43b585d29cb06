// Numbered writes: one lane per conversation, first in, first out, resent until each has its final answer. The same rules as the Rust SDK's outbox.
//
// In: writes, answers, lost connections, time. Out: the next write to send; what became of each. Invariants: numbers of a lane are dense; n+32 is not
// sent before n is settled; after a retryable refusal or a gap one write at a time is sent until one is accepted; a write fails only by a final
// refusal. Bound: WRITES_MAX. Not here: where writes are kept (`store`), connections (`engine`).

import { create } from "@bufbuild/protobuf";

import { ChatError } from "./code.js";
import { channelBytes, type ChannelId, type Seq } from "./id.js";
import { RequestSchema, type Answer, type Request } from "./wire/kith/client/v1/client_pb.js";

/** Writes that wait in all conversations together. The next one is refused. */
export const WRITES_MAX = 10_000;
/** Numbers of a device that await their final answer in one conversation. */
const DEDUP_RING = 32;
const RETRY_MIN_MS = 50;
const RETRY_MAX_MS = 1_000;
/** Unused numbers that one gap may ask to give up. Beyond it the store is held for an old copy. */
const VOIDS_MAX = 4_096n;

/** What became of a write. */
export type Fate =
  /** A record. */
  | { type: "sent"; seq: Seq; count: bigint; ts: bigint }
  /** Done without a record. */
  | { type: "kept" }
  /** A final refusal. */
  | { type: "failed"; error: ChatError };

export interface Numbers {
  /** The last number given. */
  last: bigint;
  /** The highest number that became a record. */
  acked: bigint;
}

export interface Settled {
  channel: ChannelId;
  number: bigint;
  fate: Fate;
  /** The server knows this device's numbers otherwise than this store: a copy, or a lost tail. */
  storeReplaced: boolean;
}

/** `storing`: not on the disk yet, so not to be sent. */
type State = "storing" | "waiting" | "flight" | "settled";

interface Item {
  number: bigint;
  /** None: the number is given up. */
  request: Request | undefined;
  state: State;
  /** The lane's first unsettled and highest acked number when this was last sent: tells a stale gap from a real one. */
  firstThen: bigint;
  ackedThen: bigint;
}

class Lane {
  readonly numbers: Numbers;
  items: Item[] = [];
  inFlight = 0;
  /** One at a time, until one is accepted. */
  slow = false;
  notBefore = 0;
  attempts = 0;
  /** A number whose Void was refused: what is behind it gets the same answer. */
  stuck: { number: bigint; error: ChatError } | undefined;

  constructor(numbers: Numbers = { last: 0n, acked: 0n }) {
    this.numbers = { ...numbers };
  }
  find(number: bigint): Item | undefined {
    const first = this.items[0]?.number;
    return first === undefined || number < first ? undefined : this.items[Number(number - first)];
  }
  /** Makes the items dense up to below `end`: what is not there any more was settled out of turn. */
  fill(end: bigint): void {
    const last = this.items.at(-1);
    if (last === undefined) return;
    for (let next = last.number + 1n; next < end; next++) this.items.push({ ...giveUp(next), state: "settled" });
  }
  accept(): void {
    this.slow = false;
    this.attempts = 0;
    this.notBefore = 0;
  }
  delay(now: number, random: number, hintMs: number | undefined): void {
    const bound = Math.min(RETRY_MIN_MS * 2 ** Math.min(this.attempts, 16), RETRY_MAX_MS);
    this.notBefore = now + (hintMs === undefined ? bound * random : hintMs * (1 + random / 4));
    this.attempts += 1;
  }
  trim(): void {
    while (this.items[0]?.state === "settled") this.items.shift();
  }
}

export class Outbox {
  #lanes = new Map<ChannelId, Lane>();
  #turn = 0;
  #size = 0;

  load(numbers: ReadonlyMap<ChannelId, Numbers>, writes: readonly { channel: ChannelId; number: bigint; request: Request }[]): void {
    for (const [channel, known] of numbers) this.#lanes.set(channel, new Lane(known));
    for (const { channel, number, request } of writes) {
      const lane = this.#lane(channel);
      if (number > lane.numbers.last) lane.numbers.last = number;
      lane.fill(number);
      lane.items.push({ ...giveUp(number), request });
      this.#size += 1;
    }
    for (const lane of this.#lanes.values()) lane.fill(lane.numbers.last + 1n);
  }

  get isFull(): boolean {
    return this.#size >= WRITES_MAX;
  }
  get isEmpty(): boolean {
    return this.#size === 0;
  }
  numbers(channel: ChannelId): Numbers {
    return { ...this.#lane(channel).numbers };
  }

  /** Takes a write in; `make` puts its number in. It is sent once `ready` was called: when it is stored. */
  push(channel: ChannelId, make: (number: bigint) => Request): { number: bigint; request: Request; ready: () => void } {
    const lane = this.#lane(channel);
    const number = lane.numbers.last + 1n;
    lane.numbers.last = number;
    const request = make(number);
    const item: Item = { ...giveUp(number), request, state: "storing" };
    lane.items.push(item);
    this.#size += 1;
    return { number, request, ready: () => void (item.state = "waiting") };
  }

  /** A write that could not be stored goes: it was never sent. Its number is free again if it is the last one, else it is given up. */
  takeBack(channel: ChannelId, number: bigint): void {
    const lane = this.#lane(channel);
    const item = lane.find(number);
    if (item?.state !== "storing") return;
    this.#size -= 1;
    if (number === lane.numbers.last) {
      lane.items.pop();
      lane.numbers.last -= 1n;
    } else {
      item.request = undefined;
      item.state = "waiting";
    }
  }

  /** The next write to send, if any may be sent now. Lanes take turns. */
  poll(now: number, device: bigint): { channel: ChannelId; number: bigint; request: Request } | undefined {
    const lanes = [...this.#lanes];
    for (let step = 0; step < lanes.length; step++) {
      const [channel, lane] = lanes[(this.#turn + step) % lanes.length];
      if (lane.items.length === 0 || lane.notBefore > now || (lane.slow && lane.inFlight > 0)) continue;
      const item = lane.items.slice(0, DEDUP_RING).find((item) => item.state === "waiting");
      if (item === undefined) continue;
      this.#turn = (this.#turn + step + 1) % lanes.length;
      const first = lane.items[0].number;
      item.state = "flight";
      item.firstThen = first;
      item.ackedThen = lane.numbers.acked;
      lane.inFlight += 1;
      const request = item.request === undefined ? voidOf(channel, device, item.number) : withSettled(item.request, first);
      return { channel, number: item.number, request };
    }
    return undefined;
  }

  /** When a lane that waits may go on. */
  nextAt(now: number): number | undefined {
    let next: number | undefined;
    for (const lane of this.#lanes.values()) {
      if (lane.items.length > 0 && lane.notBefore > now && (next === undefined || lane.notBefore < next)) next = lane.notBefore;
    }
    return next;
  }

  /** All that was sent on the lost connection is sent again, in order. */
  handleDisconnected(): void {
    for (const lane of this.#lanes.values()) {
      lane.inFlight = 0;
      lane.notBefore = 0;
      for (const item of lane.items) if (item.state === "flight") item.state = "waiting";
    }
  }

  /** Takes the answer to a write; `random` is below 1. */
  handleAnswer(now: number, random: number, channel: ChannelId, number: bigint, answer: Answer | ChatError): Settled[] {
    const lane = this.#lane(channel);
    const item = lane.find(number);
    if (item === undefined || item.state !== "flight") return [];
    lane.inFlight -= 1;
    item.state = "waiting";
    const isVoid = item.request === undefined;
    const settled: Settled[] = [];
    if (!(answer instanceof ChatError)) {
      const { case: kind, value } = answer.answer;
      if (kind === "sent") {
        this.#took(lane, number);
        this.#settle(item, { type: "sent", seq: value.seq, count: value.cnt, ts: value.ts }, channel, settled);
      } else if (isVoid && (kind === "voided" || kind === "done" || kind === "kept")) {
        lane.accept();
        item.state = "settled";
      } else if (kind === "kept") {
        this.#took(lane, number);
        this.#settle(item, { type: "kept" }, channel, settled);
      } else {
        this.#settle(item, { type: "failed", error: ChatError.of("Internal", "an answer of another kind") }, channel, settled);
      }
    } else if (answer.is("OutOfSequence")) {
      if (lane.slow) lane.delay(now, random, undefined);
      this.#outOfSequence(lane, item, answer, channel, settled);
    } else if (answer.isFinal) {
      if (isVoid) lane.stuck = { number, error: answer };
      this.#settle(item, { type: "failed", error: answer }, channel, settled);
      if (!isVoid && answer.is("Conflict", "TooOld", "Voided")) for (const one of settled) one.storeReplaced = true;
    } else {
      lane.slow = true;
      lane.delay(now, random, answer.retryAfterMs);
    }
    lane.trim();
    return settled;
  }

  #took(lane: Lane, number: bigint): void {
    lane.accept();
    if (number > lane.numbers.acked) lane.numbers.acked = number;
  }

  #settle(item: Item, fate: Fate, channel: ChannelId, out: Settled[]): void {
    item.state = "settled";
    if (item.request === undefined) return;
    this.#size -= 1;
    out.push({ channel, number: item.number, fate, storeReplaced: false });
  }

  #outOfSequence(lane: Lane, item: Item, error: ChatError, channel: ChannelId, out: Settled[]): void {
    lane.slow = true;
    const expected = error.expected;
    if (expected === undefined) return;
    const first = lane.items[0].number;
    if (expected >= item.firstThen) {
      // Ahead of a write that is still unsettled, or was when this was sent: the first of the lane goes next.
      return;
    }
    if (expected <= item.ackedThen || first - expected > VOIDS_MAX) {
      // What is expected was acked before this was sent: the server lost it, or this store is an old copy.
      for (const one of lane.items) if (one.state !== "settled") this.#settle(one, { type: "failed", error }, channel, out);
      for (const one of out) one.storeReplaced = true;
      lane.inFlight = 0;
    } else if (lane.stuck?.number === expected) {
      this.#settle(item, { type: "failed", error: lane.stuck.error }, channel, out);
    } else {
      // Refused before it reached the log (say, at the edge): its number is unused, so it is given up.
      for (let number = first - 1n; number >= expected; number--) lane.items.unshift(giveUp(number));
    }
  }

  #lane(channel: ChannelId): Lane {
    let lane = this.#lanes.get(channel);
    if (lane === undefined) this.#lanes.set(channel, (lane = new Lane()));
    return lane;
  }
}

function giveUp(number: bigint): Item {
  return { number, request: undefined, state: "waiting", firstThen: number, ackedThen: 0n };
}

function voidOf(channel: ChannelId, device: bigint, number: bigint): Request {
  return create(RequestSchema, { request: { case: "void", value: { channel: channelBytes(channel), device, clientSeq: number } } });
}

function withSettled(request: Request, first: bigint): Request {
  const { case: kind, value } = request.request;
  if (kind === "send" || kind === "act" || kind === "changeMembers") value.settled = first;
  return request;
}
