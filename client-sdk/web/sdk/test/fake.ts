// A node for tests: one process, one log for each conversation, links that break.
//
// In: frames of the client protocol. Out: answers, records, index moves. Invariant: a number of a device is a record once, as the cluster has it.

import { create, fromBinary, toBinary } from "@bufbuild/protobuf";

import { ChatError, CODES, channelOf, type ChannelId, type Link, type LinkEvents, type Transport } from "../src/index.js";
import {
  AnswerSchema,
  EventSchema,
  PageSchema,
  PullSchema,
  ToClientSchema,
  ToEdgeSchema,
  type Answer,
  type Event,
  type Page,
  type Request,
} from "../src/wire/kith/client/v1/client_pb.js";
import { ActSchema, ContentSchema, IndexRowSchema, RecordSchema, TextSchema, type IndexRow, type Record } from "../src/wire/kith/log/v1/log_pb.js";

export const ANN = 0x0100000000000001n;
export const BOB = 0x0100000000000002n;

/** The link ends before or after the request is done; or a write is refused for good, which uses up its number. */
export type Fault = { lose: "request" | "answer" } | { refuse: string };

interface Log {
  records: Record[];
  numbers: Map<string, bigint>;
  last: Map<bigint, bigint>;
}

/** The cluster. */
export class FakeNode {
  readonly logs = new Map<ChannelId, Log>();
  readonly rows = new Map<ChannelId, IndexRow>();
  rev = 0n;
  /** Decides for each frame of a client whether it is lost with its link; before or after it is done. */
  fate: () => "fine" | "lost before" | "lost after" = () => "fine";
  /** What happens to the next requests, one each. */
  readonly faults: Fault[] = [];
  connects = 0;
  #isReachable = true;
  #sessions = new Set<FakeLink>();

  log(channel: ChannelId): Log {
    let log = this.logs.get(channel);
    if (log === undefined) this.logs.set(channel, (log = { records: [], numbers: new Map(), last: new Map() }));
    return log;
  }
  texts(channel: ChannelId): string[] {
    const texts: string[] = [];
    for (const { content } of this.log(channel).records) if (content?.kind === 1) texts.push(fromBinary(TextSchema, content.body).text);
    return texts;
  }
  /** Somebody writes. */
  append(channel: ChannelId, sender: bigint, content: { kind: number; body: Uint8Array }, device = 0n, clientSeq = 0n): Record {
    const { records } = this.log(channel);
    const seq = BigInt(records.length + 1);
    const cnt = BigInt(records.filter((record) => record.content?.kind === 1).length + (content.kind === 1 ? 1 : 0));
    const record = create(RecordSchema, { at: { seq, cnt }, sender, device, clientSeq, ts: 1_700_000_000_000n + seq, content: create(ContentSchema, content) });
    records.push(record);
    const from = this.rev;
    this.rev += 1n;
    const row = create(IndexRowSchema, { rev: this.rev, news: { channel: bytes(channel), head: { seq, cnt }, headTs: record.ts, headSender: sender } });
    row.read = this.rows.get(channel)?.read;
    this.rows.set(channel, row);
    this.tell({ case: "delivery", value: { channel: bytes(channel), prev: seq - 1n, body: { case: "whole", value: record } } });
    this.tell({ case: "indexMoved", value: { from, to: this.rev, rows: [row] } });
    return record;
  }
  say(channel: ChannelId, sender: bigint, text: string): Record {
    return this.append(channel, sender, { kind: 1, body: toBinary(TextSchema, create(TextSchema, { text })) });
  }
  react(channel: ChannelId, sender: bigint, target: bigint, emoji: string, on: boolean): Record {
    return this.append(channel, sender, { kind: 4, body: toBinary(ActSchema, create(ActSchema, { act: { case: "react", value: { target, emoji, on } } })) });
  }
  tell(event: NonNullable<Parameters<typeof create<typeof EventSchema>>[1]>["event"]): void {
    const body = toBinary(ToClientSchema, create(ToClientSchema, { frame: { case: "event", value: create(EventSchema, { event }) as Event } }));
    for (const session of this.#sessions) session.deliver(body);
  }
  cut(): void {
    for (const session of [...this.#sessions]) session.lose();
  }

  /** As a tunnel does it: links end, and none is made. */
  setReachable(isReachable: boolean): void {
    this.#isReachable = isReachable;
    if (!isReachable) this.cut();
  }

  /** How clients get there. */
  transport(): Transport {
    return {
      connect: async (_url, events) => {
        this.connects += 1;
        // As a browser finds it out: not at once.
        await new Promise(setImmediate);
        if (!this.#isReachable) throw ChatError.of("Disconnected", "a tunnel");
        const link = new FakeLink(this, events);
        this.#sessions.add(link);
        return link;
      },
    };
  }
  gone(link: FakeLink): void {
    this.#sessions.delete(link);
  }

  answer(device: bigint, request: Request, refuse?: string): Answer | ChatError {
    const { case: kind, value } = request.request;
    if (kind === "send" || kind === "act") {
      const channel = channelOf(value.channel);
      const log = this.log(channel);
      const key = `${device}:${value.clientSeq}`;
      if (refuse !== undefined) {
        log.last.set(device, value.clientSeq);
        return ChatError.of(refuse as keyof typeof CODES, "");
      }
      let seq = log.numbers.get(key);
      const duplicate = seq !== undefined;
      if (seq === undefined) {
        const next = (log.last.get(device) ?? 0n) + 1n;
        if (value.clientSeq !== next) return new ChatError(CODES.OutOfSequence[0], "", { expected: next });
        log.last.set(device, next);
        const body =
          kind === "send"
            ? toBinary(TextSchema, create(TextSchema, { text: value.text }))
            : toBinary(ActSchema, create(ActSchema, { act: value.act?.act }));
        if (kind === "send" && value.text === "") return ChatError.of("Invalid", "");
        const record = this.append(channel, ANN, { kind: kind === "send" ? 1 : 4, body }, device, value.clientSeq);
        seq = record.at?.seq ?? 0n;
        log.numbers.set(key, seq);
      }
      return create(AnswerSchema, { answer: { case: "sent", value: { seq, cnt: 0n, ts: 0n, duplicate } } });
    }
    if (kind === "void") {
      const { last } = this.log(channelOf(value.channel));
      if (value.clientSeq === (last.get(device) ?? 0n) + 1n) last.set(device, value.clientSeq);
      return create(AnswerSchema, { answer: { case: "voided", value: {} } });
    }
    if (kind === "markRead") {
      const row = this.rows.get(channelOf(value.channel));
      if (row !== undefined) {
        const from = this.rev;
        this.rev += 1n;
        row.rev = this.rev;
        row.read = value.read;
        this.tell({ case: "indexMoved", value: { from, to: this.rev, rows: [row] } });
      }
    }
    return create(AnswerSchema, { answer: { case: "done", value: {} } });
  }

  page(body: Uint8Array): Page {
    const { pull } = fromBinary(PullSchema, body);
    if (pull.case === "index") {
      const rows = [...this.rows.values()].filter(({ rev }) => rev > pull.value.from && rev <= pull.value.to);
      rows.sort((a, b) => (a.rev > b.rev ? -1 : 1));
      return create(PageSchema, { page: { case: "index", value: { rows, more: false, rev: this.rev } } });
    }
    if (pull.case !== "history") throw new Error("no such pull");
    const { records } = this.log(channelOf(pull.value.channel));
    const { first, last, limit, newestFirst } = pull.value;
    const within = records.filter(({ at }) => at !== undefined && first <= at.seq && at.seq <= last);
    const some = newestFirst ? within.slice(-limit).reverse() : within.slice(0, limit);
    const head = records.at(-1)?.at;
    const seqs = some.map(({ at }) => at?.seq ?? 0n).sort((a, b) => (a < b ? -1 : 1));
    const covered = seqs.length === 0 ? undefined : { first: seqs[0], last: seqs[seqs.length - 1] };
    return create(PageSchema, { page: { case: "history", value: { head, records: some, covered } } });
  }
}

class FakeLink implements Link {
  readonly waiting = 0;
  readonly #node: FakeNode;
  readonly #events: LinkEvents;
  #device = 0n;
  #isOver = false;

  constructor(node: FakeNode, events: LinkEvents) {
    this.#node = node;
    this.#events = events;
  }
  send(body: Uint8Array): void {
    setImmediate(() => this.#take(body));
  }
  async pull(body: Uint8Array): Promise<Uint8Array> {
    await new Promise(setImmediate);
    if (this.#isOver) throw ChatError.of("Disconnected", "cut");
    return toBinary(PageSchema, this.#node.page(body));
  }
  close(): void {
    this.#isOver = true;
    this.#node.gone(this);
  }
  lose(): void {
    if (this.#isOver) return;
    this.close();
    this.#events.lost(ChatError.of("Disconnected", "cut"));
  }
  deliver(body: Uint8Array): void {
    // Before the next frame of the client is looked at.
    queueMicrotask(() => !this.#isOver && this.#events.frame(body));
  }

  #take(body: Uint8Array): void {
    if (this.#isOver) return;
    const { frame } = fromBinary(ToEdgeSchema, body);
    if (frame.case === "hello") {
      this.#device = frame.value.device;
      const value = { version: 1, user: ANN, userRev: this.#node.rev, cluster: new Uint8Array(16) };
      return this.deliver(toBinary(ToClientSchema, create(ToClientSchema, { frame: { case: "welcome", value } })));
    }
    const fate = this.#node.fate();
    if (fate === "lost before") return this.lose();
    if (frame.case === "beat") return this.deliver(toBinary(ToClientSchema, create(ToClientSchema, { frame: { case: "beat", value: {} } })));
    if (frame.case !== "request" || frame.value.request === undefined) return;
    const { id, request } = frame.value;
    // What the SDK asks by itself is no prey for a script.
    const isWrite = request.request.case === "send" || request.request.case === "act";
    const fault = isWrite ? this.#node.faults.shift() : undefined;
    const lost = fault !== undefined && "lose" in fault ? fault.lose : undefined;
    if (lost === "request") return this.lose();
    const answer = this.#node.answer(this.#device, request, fault !== undefined && "refuse" in fault ? fault.refuse : undefined);
    if (fate === "lost after" || lost === "answer") return this.lose();
    const told =
      answer instanceof ChatError
        ? ({ case: "refusal", value: { code: answer.code, expected: answer.expected } } as const)
        : ({ case: "given", value: answer } as const);
    this.deliver(toBinary(ToClientSchema, create(ToClientSchema, { frame: { case: "answer", value: { id, answer: told } } })));
  }
}

function bytes(channel: ChannelId): Uint8Array {
  return Uint8Array.from(channel.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}

/** Waits until it is so, within a deadline. */
export async function until(what: string, is: () => boolean): Promise<void> {
  for (const end = Date.now() + 30_000; !is(); ) {
    if (Date.now() > end) throw new Error(`never: ${what}`);
    await new Promise(setImmediate);
  }
}

/** Random numbers that a seed repeats. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}
