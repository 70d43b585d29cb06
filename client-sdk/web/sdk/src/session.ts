// The session of one device: stays connected, asks, and gets writes done once.
//
// In: questions, writes, tokens, what a link brings. Out: answers, events, what became of writes, a status. Invariants: a write is stored before it is
// sent, and resent until it is answered; after a lost link all that was unanswered goes out again. Bounds: REQUESTS_MAX unanswered requests, of which
// WRITES_IN_FLIGHT_MAX are writes; delays of full jitter up to DIAL_MAX_MS. Not here: what events mean (`sync`), bytes (`transport`).

import { create, fromBinary, toBinary, type MessageInitShape } from "@bufbuild/protobuf";

import { ChatError } from "./code.js";
import type { ChannelId } from "./id.js";
import { Cell } from "./live.js";
import { Outbox, type Settled } from "./outbox.js";
import type { Link, Transport } from "./transport.js";
import {
  PageSchema,
  PullSchema,
  RequestSchema,
  ToClientSchema,
  ToEdgeSchema,
  type Answer,
  type Event,
  type Page,
  type Refusal,
  type Request,
  type Welcome,
} from "./wire/kith/client/v1/client_pb.js";

/** How the client stands. */
export type Status =
  /** Not connected, and not trying: nobody asked for it yet, or the browser says that there is no network. */
  | { type: "offline" }
  | { type: "connecting" }
  /** Connected; what happened meanwhile is being fetched. */
  | { type: "syncing" }
  | { type: "online" }
  /** Another page of this device took over; `connect` takes it back. */
  | { type: "suspended"; error: ChatError }
  /** For good: closed by the app, or for a reason that no retry mends. */
  | { type: "closed"; error: ChatError | undefined };

/** Why a token is asked for. */
export type TokenReason = "connect" | "expired" | "refused";

export interface SessionParts {
  device: bigint;
  urls: readonly string[];
  transport: Transport;
  token: (why: TokenReason) => Promise<string>;
  /** Raises the count of connections, on the disk. */
  raiseConn: () => Promise<bigint>;
  /** The index of the user stands here, as far as this device holds it. */
  rev: () => bigint;
  now: () => number;
  random: () => number;
}

export interface SessionEvents {
  welcomed(welcome: Welcome): void;
  event(event: Event): void;
  /** The link is gone. */
  down(): void;
  sending(channel: ChannelId, number: bigint): void;
  settled(settled: Settled): void;
}

export type RequestInit = NonNullable<MessageInitShape<typeof RequestSchema>["request"]>;
export type PullInit = NonNullable<MessageInitShape<typeof PullSchema>["pull"]>;

const PROTOCOL_VERSION = 1;
const REQUESTS_MAX = 60;
const WRITES_IN_FLIGHT_MAX = 48;
const CONNECT_WITHIN_MS = 10_000;
const HELLO_WITHIN_MS = 5_000;
const ANSWER_WITHIN_MS = 15_000;
/** What an app waits for an answer, retries included, unless it says otherwise. */
export const ASK_WITHIN_MS = 20_000;
const BEAT_MS = 30_000;
/** A silent node is probed after this, and given up after as long again. */
const PATIENCE_MS = 8_000;
const DIAL_MIN_MS = 1_000;
const DIAL_MAX_MS = 30_000;
/** A delay before a place that a full or ending node has named. */
const ELSEWHERE_MS = 250;

interface Waiting {
  write?: { channel: ChannelId; number: bigint };
  done?: (answer: Answer | ChatError) => void;
  until: number;
}

export class Session {
  readonly status = new Cell<Status>({ type: "offline" });
  readonly outbox = new Outbox();
  readonly #parts: SessionParts;
  readonly #events: SessionEvents;
  readonly #requests = new Map<bigint, Waiting>();
  readonly #onUp = new Set<() => void>();
  /** Where a full or ending node sent us: tried first. */
  #alternates: string[] = [];
  /** Other nodes, best first: where to go when the first addresses fail. */
  #edges: string[] = [];
  #link: Link | undefined;
  #isUp = false;
  #isWanted = false;
  #nextRequest = 1n;
  #heard = 0;
  #said = 0;
  #beatAfter = BEAT_MS;
  #probedAt: number | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #wake: (() => void) | undefined;
  #end: ((error: ChatError) => void) | undefined;
  #welcome: ((welcome: Welcome) => void) | undefined;
  #tokenReason: TokenReason = "connect";
  #run: Promise<void> | undefined;

  constructor(parts: SessionParts, events: SessionEvents) {
    this.#parts = parts;
    this.#events = events;
  }

  get isUp(): boolean {
    return this.#isUp;
  }

  /** Goes online, and stays so. */
  connect(): void {
    if (this.status.value.type === "closed") return;
    this.#isWanted = true;
    if (this.#run === undefined) this.#run = this.#keep().finally(() => (this.#run = undefined));
    else this.#wake?.();
  }
  /** The network is another, or is back: tries at once. */
  networkChanged(): void {
    this.#wake?.();
    if (this.#isUp && this.#probedAt === undefined) this.#probe();
  }
  /** Ends for good. */
  close(error?: ChatError): void {
    this.#isWanted = false;
    this.status.set({ type: "closed", error });
    this.#end?.(error ?? ChatError.of("Disconnected", "closed"));
    this.#wake?.();
    this.#drop(ChatError.of("Disconnected", "closed"));
  }
  /** All that was known at the start is held. */
  reconciled(): void {
    if (this.#isUp) this.status.set({ type: "online" });
  }

  /** Asks until it is answered, refused for good, or `withinMs` is over. */
  async ask(request: RequestInit, withinMs = ASK_WITHIN_MS): Promise<Answer> {
    const whole = create(RequestSchema, { request });
    return this.#insist(withinMs, () => this.#once(whole));
  }
  /** As `ask`, for a page. */
  async pull(pull: PullInit, withinMs = ASK_WITHIN_MS): Promise<Page["page"]> {
    const body = toBinary(PullSchema, create(PullSchema, { pull }));
    return this.#insist(withinMs, async () => {
      if (this.#link === undefined) throw ChatError.of("Disconnected", "not connected");
      const { page } = fromBinary(PageSchema, await this.#link.pull(body));
      this.#heard = this.#parts.now();
      if (page.case === "refused") throw errorOf(page.value);
      return page;
    });
  }
  /** Says something that may be lost: only while connected, and nobody waits. */
  mention(request: RequestInit): void {
    if (this.#isUp && this.#requests.size < REQUESTS_MAX) this.#send(create(RequestSchema, { request }), { until: this.#parts.now() + ANSWER_WITHIN_MS });
  }

  /** Sends what may be sent now. */
  pump(): void {
    if (!this.#isUp) return;
    const now = this.#parts.now();
    for (;;) {
      const writes = [...this.#requests.values()].filter(({ write }) => write !== undefined).length;
      if (this.#requests.size >= REQUESTS_MAX || writes >= WRITES_IN_FLIGHT_MAX) break;
      const next = this.outbox.poll(now, this.#parts.device);
      if (next === undefined) break;
      const { channel, number, request } = next;
      this.#events.sending(channel, number);
      this.#send(request, { write: { channel, number }, until: now + ANSWER_WITHIN_MS });
    }
    this.#arm();
  }

  // ---- staying connected

  async #keep(): Promise<void> {
    let attempts = 0;
    let turn = 0;
    while (this.#isWanted) {
      const urls = [...new Set([...this.#alternates, ...this.#parts.urls, ...this.#edges])];
      const url = urls[turn % urls.length];
      turn += 1;
      let error: ChatError;
      try {
        this.status.set({ type: "connecting" });
        error = await this.#live(url, () => {
          attempts = 0;
          turn -= 1;
        });
      } catch (failed) {
        error = failed instanceof ChatError ? failed : ChatError.of("Disconnected", "connecting to the node", failed);
      }
      if (!this.#isWanted) break;
      if (error.is("Replaced")) {
        this.#isWanted = false;
        this.status.set({ type: "suspended", error });
        break;
      }
      if (error.retry === "after_auth") this.#tokenReason = error.is("TokenExpired") ? "expired" : "refused";
      else if (error.is("Revoked", "Banned", "LoginNeeded", "VersionMismatch", "WrongCluster")) {
        this.close(error);
        break;
      }
      if (error.alternates.length > 0) {
        this.#alternates = error.alternates.map((place) => `https://${place}`);
        turn = 0;
      }
      const bound = Math.min(DIAL_MIN_MS * 2 ** Math.min(attempts, 16), DIAL_MAX_MS);
      const hint = error.alternates.length > 0 && attempts === 0 ? ELSEWHERE_MS : error.retryAfterMs;
      const delay = hint === undefined ? bound * this.#parts.random() : hint * (1 + this.#parts.random() / 2);
      attempts += 1;
      const isThere = typeof navigator === "undefined" || navigator.onLine !== false;
      this.status.set({ type: isThere ? "connecting" : "offline" });
      await this.#sleep(delay);
    }
  }

  /** One link, from its handshake to its end; gives why it ended. */
  async #live(url: string, onUp: () => void): Promise<ChatError> {
    const token = await this.#parts.token(this.#tokenReason);
    this.#tokenReason = "connect";
    const conn = await this.#parts.raiseConn();
    const closed = ChatError.of("Disconnected", "closed");
    // Closed meanwhile: no link is left behind.
    if (!this.#isWanted) return closed;
    let isOver = false;
    const ended = new Promise<ChatError>((resolve) => (this.#end = resolve));
    const greeted = new Promise<Welcome>((resolve) => (this.#welcome = resolve));
    const link = await this.#parts.transport.connect(
      url,
      { frame: (body) => !isOver && this.#frame(body), lost: (error) => this.#end?.(error) },
      CONNECT_WITHIN_MS,
    );
    this.#link = link;
    try {
      if (!this.#isWanted) return closed;
      this.#heard = this.#said = this.#parts.now();
      const hello = { version: PROTOCOL_VERSION, features: 0n, token, device: this.#parts.device, conn, userRev: this.#parts.rev() };
      link.send(toBinary(ToEdgeSchema, create(ToEdgeSchema, { frame: { case: "hello", value: hello } })));
      const late = setTimeout(() => this.#end?.(ChatError.of("Timeout", "the node did not answer the hello")), HELLO_WITHIN_MS);
      const first = await Promise.race([greeted, ended]);
      clearTimeout(late);
      if (first instanceof ChatError) return first;
      onUp();
      this.#isUp = true;
      this.status.set({ type: "syncing" });
      this.#events.welcomed(first);
      if (url.startsWith("https:")) void this.#discover();
      for (const wake of [...this.#onUp]) wake();
      this.pump();
      return await ended;
    } finally {
      isOver = true;
      link.close();
      this.#drop(ChatError.of("Disconnected", "the connection was lost"));
    }
  }

  /** Which other nodes there are. A page in the clear is one of development: it knows its own node only. */
  async #discover(): Promise<void> {
    try {
      const { answer } = await this.ask({ case: "discover", value: {} });
      if (answer.case === "edges") this.#edges = answer.value.edges.map(({ address }) => `https://${address}`);
    } catch {
      // The next connection asks again.
    }
  }

  #drop(error: ChatError): void {
    const wasUp = this.#isUp;
    this.#isUp = false;
    this.#link = undefined;
    this.#probedAt = undefined;
    clearTimeout(this.#timer);
    const waiting = [...this.#requests.values()];
    this.#requests.clear();
    this.outbox.handleDisconnected();
    for (const { done } of waiting) done?.(error);
    if (wasUp) this.#events.down();
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.#wake?.(), ms);
      this.#wake = () => {
        clearTimeout(timer);
        this.#wake = undefined;
        resolve();
      };
    });
  }

  // ---- frames

  #frame(body: Uint8Array): void {
    let frame;
    try {
      frame = fromBinary(ToClientSchema, body).frame;
    } catch (cause) {
      this.#end?.(ChatError.of("BadFrame", "the node sent what cannot be read", cause));
      return;
    }
    this.#heard = this.#parts.now();
    this.#probedAt = undefined;
    switch (frame.case) {
      case "welcome":
        this.#welcome?.(frame.value);
        break;
      case "answer": {
        const { id, answer } = frame.value;
        this.#answered(id, answer.case === "given" ? answer.value : errorOf(answer.value));
        break;
      }
      case "event":
        if (frame.value.event.case === "goAway") this.#goAway(frame.value.event.value.afterMs);
        else this.#events.event(frame.value);
        break;
      case "bye":
        this.#end?.(errorOf(frame.value));
        break;
    }
    this.#arm();
  }

  #answered(id: bigint, answer: Answer | ChatError): void {
    const waiting = this.#requests.get(id);
    if (waiting === undefined) return;
    this.#requests.delete(id);
    if (waiting.write !== undefined) {
      const { channel, number } = waiting.write;
      const settled = this.outbox.handleAnswer(this.#parts.now(), this.#parts.random(), channel, number, answer);
      for (const one of settled) this.#events.settled(one);
      this.pump();
    }
    waiting.done?.(answer);
    if (this.#isUp) for (const wake of [...this.#onUp]) wake();
  }

  /** The node wants its sessions gone within the time. */
  #goAway(afterMs: number): void {
    setTimeout(() => this.#end?.(ChatError.of("Draining", "the node ends")), afterMs * (1 - this.#parts.random() / 10));
  }

  #send(request: Request, waiting: Waiting): void {
    const id = this.#nextRequest++;
    this.#requests.set(id, waiting);
    this.#link?.send(toBinary(ToEdgeSchema, create(ToEdgeSchema, { frame: { case: "request", value: { id, request } } })));
    this.#spoke();
    this.#arm();
  }

  async #insist<T>(withinMs: number, attempt: () => Promise<T>): Promise<T> {
    const until = this.#parts.now() + withinMs;
    for (let attempts = 0; ; attempts++) {
      await this.#untilUp(until);
      try {
        return await attempt();
      } catch (failed) {
        if (!(failed instanceof ChatError) || failed.isFinal || failed.retry === "after_auth") throw failed;
        const delay = failed.retryAfterMs ?? Math.min(100 * 2 ** attempts, 2_000) * this.#parts.random();
        if (this.#parts.now() + delay >= until) throw failed;
        await new Promise((resolve) => setTimeout(resolve, delay));
      }
    }
  }
  #untilUp(until: number): Promise<void> {
    if (this.#isUp && this.#requests.size < REQUESTS_MAX) return Promise.resolve();
    return new Promise((resolve, reject) => {
      const end = (): void => {
        clearTimeout(late);
        this.#onUp.delete(end);
        resolve();
      };
      const late = setTimeout(() => {
        this.#onUp.delete(end);
        reject(ChatError.of("Timeout", "not connected"));
      }, Math.max(until - this.#parts.now(), 0));
      this.#onUp.add(end);
    });
  }
  #once(request: Request): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const done = (answer: Answer | ChatError): void => (answer instanceof ChatError ? reject(answer) : resolve(answer));
      this.#send(request, { done, until: this.#parts.now() + ANSWER_WITHIN_MS });
    });
  }

  // ---- time

  #spoke(): void {
    this.#said = this.#parts.now();
    this.#beatAfter = BEAT_MS * (0.8 + 0.2 * this.#parts.random());
  }
  #probe(): void {
    this.#probedAt = this.#parts.now();
    this.#link?.send(toBinary(ToEdgeSchema, create(ToEdgeSchema, { frame: { case: "beat", value: {} } })));
    this.#spoke();
    this.#arm();
  }
  /** Sets the one timer to what is due next. */
  #arm(): void {
    clearTimeout(this.#timer);
    if (!this.#isUp) return;
    const dues = [this.#said + this.#beatAfter];
    if (this.#probedAt !== undefined) dues.push(this.#probedAt + PATIENCE_MS);
    else if (this.#requests.size > 0) dues.push(Math.max(this.#heard, this.#said) + PATIENCE_MS);
    for (const { until } of this.#requests.values()) dues.push(until);
    const now = this.#parts.now();
    const lane = this.outbox.nextAt(now);
    if (lane !== undefined) dues.push(lane);
    this.#timer = setTimeout(() => this.#due(), Math.max(Math.min(...dues) - now, 1));
  }
  #due(): void {
    const now = this.#parts.now();
    if (this.#probedAt !== undefined && now >= this.#probedAt + PATIENCE_MS) {
      this.#end?.(ChatError.of("Timeout", "the node fell silent"));
      return;
    }
    const isQuiet = this.#requests.size > 0 && now >= Math.max(this.#heard, this.#said) + PATIENCE_MS;
    if (this.#probedAt === undefined && (isQuiet || now >= this.#said + this.#beatAfter)) this.#probe();
    for (const [id, { until }] of [...this.#requests]) if (until <= now) this.#answered(id, ChatError.of("Timeout", "no answer in time"));
    this.pump();
  }
}

export function errorOf(refusal: Refusal | undefined): ChatError {
  if (refusal === undefined) return ChatError.of("BadFrame", "an answer without one");
  const { code, text, retryAfterMs, expected, alternates } = refusal;
  return new ChatError(code, text, { retryAfterMs, expected, alternates });
}
