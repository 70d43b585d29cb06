// Accounts of the cluster itself: sign-up and log-in by password, and tokens that refresh themselves.
//
// In: a name and a password, once. Out: a `SavedLogin` to keep, and access tokens. Invariants: the password is not kept; the next refresh token is kept
// before it is used; a refresh whose answer was lost is asked again with the same secret, so that it is one next token. Bounds: ASK_WITHIN_MS.

import { create, fromBinary, toBinary, type MessageInitShape } from "@bufbuild/protobuf";

import { ChatError } from "./code.js";
import { randomBytes, type UserId } from "./id.js";
import { errorOf, type TokenReason } from "./session.js";
import type { Transport } from "./transport.js";
import { ToClientSchema, ToEdgeSchema } from "./wire/kith/client/v1/client_pb.js";
import type { LoggedIn, PeopleAnswer, PeopleRequestSchema } from "./wire/kith/client/v1/people_pb.js";

/** What a device keeps to go on without a password. Keep it as you keep a password. */
export interface SavedLogin {
  user: UserId;
  name: string;
  device: bigint;
  /** Of the device. */
  nonce: Uint8Array;
  /** For the next refresh, once. */
  refresh: string;
}

/** A new account, or a new log-in. */
export interface Entered {
  login: SavedLogin;
  /** Of a new account: the code that resets a forgotten password. Shown once: the user is to write it down. */
  recovery: string | undefined;
}

export type PeopleAsk = NonNullable<MessageInitShape<typeof PeopleRequestSchema>["ask"]>;

const ASK_WITHIN_MS = 15_000;
/** An access token is used for so long of its 15 minutes. */
const ACCESS_FRESH_MS = 10 * 60_000;
const NONCE_BYTES = 16;
const KEY_BYTES = 32;

/** Where a stranger asks to be let in: any node of the cluster. */
export class Door {
  readonly #urls: readonly string[];
  readonly #transport: Transport;

  constructor(urls: readonly string[], transport: Transport) {
    this.#urls = urls;
    this.#transport = transport;
  }

  /** Makes an account and lets this device in, which is to be called `title` in the list of devices. */
  async signUp(name: string, password: string, title: string): Promise<Entered> {
    const nonce = randomBytes(NONCE_BYTES);
    return this.#enter({ case: "signUp", value: { name, password, key: randomBytes(KEY_BYTES), nonce, title } }, nonce);
  }
  /** Lets this device in by name and password. */
  async logIn(name: string, password: string, title: string): Promise<Entered> {
    const nonce = randomBytes(NONCE_BYTES);
    return this.#enter({ case: "logIn", value: { name, password, nonce, title } }, nonce);
  }
  /** Lets this device in by a token of the app's own backend. The account is made on first use. */
  async logInWith(token: string, title: string): Promise<Entered> {
    const nonce = randomBytes(NONCE_BYTES);
    return this.#enter({ case: "logInWith", value: { token, nonce, title } }, nonce);
  }
  /** Another password by a recovery code. All devices must log in again. Gives the new recovery code. */
  async resetPassword(name: string, code: string, password: string): Promise<string> {
    const answer = await this.ask({ case: "resetPassword", value: { name, code, password } });
    if (answer.answer.case !== "code") throw unexpected();
    return answer.answer.value.code;
  }
  async refresh(login: SavedLogin): Promise<LoggedIn> {
    const answer = await this.ask({ case: "refresh", value: { token: login.refresh, nonce: login.nonce } });
    if (answer.answer.case !== "loggedIn") throw unexpected();
    return answer.answer.value;
  }

  async #enter(ask: PeopleAsk, nonce: Uint8Array): Promise<Entered> {
    const { answer } = await this.ask(ask);
    if (answer.case !== "loggedIn") throw unexpected();
    const { user, name, device, refresh, recovery } = answer.value;
    return { login: { user, name, device, nonce, refresh }, recovery };
  }

  /** Asks at one node after the other, until one answers or refuses for good. */
  async ask(ask: PeopleAsk): Promise<PeopleAnswer> {
    let last: ChatError = ChatError.of("Disconnected", "no node can be reached");
    for (const url of this.#urls) {
      try {
        return await this.#askAt(url, ask);
      } catch (failed) {
        last = failed instanceof ChatError ? failed : ChatError.of("Disconnected", "asking the node", failed);
        // Who is told to wait is told so: a person is waiting.
        if (last.isFinal || last.retry === "after_auth" || last.is("RateLimited")) throw last;
      }
    }
    throw last;
  }

  async #askAt(url: string, ask: PeopleAsk): Promise<PeopleAnswer> {
    let resolve!: (answer: PeopleAnswer) => void;
    let reject!: (error: ChatError) => void;
    const answered = new Promise<PeopleAnswer>((...both) => ([resolve, reject] = both));
    // Whoever connects may fail before anybody waits for it.
    answered.catch(() => undefined);
    const frame = (body: Uint8Array): void => {
      const { frame } = fromBinary(ToClientSchema, body);
      if (frame.case === "bye") return reject(errorOf(frame.value));
      if (frame.case !== "answer") return;
      const { answer } = frame.value;
      if (answer.case === "given" && answer.value.answer.case === "people") resolve(answer.value.answer.value);
      else reject(answer.case === "refusal" ? errorOf(answer.value) : unexpected());
    };
    const link = await this.#transport.connect(url, { frame, lost: reject }, ASK_WITHIN_MS);
    const late = setTimeout(() => reject(ChatError.of("Timeout", "the node did not answer in time")), ASK_WITHIN_MS);
    try {
      const request = { id: 1n, request: { request: { case: "people" as const, value: { ask } } } };
      link.send(toBinary(ToEdgeSchema, create(ToEdgeSchema, { frame: { case: "request", value: request } })));
      return await answered;
    } finally {
      clearTimeout(late);
      link.close();
    }
  }
}

/** Gives access tokens for a saved login, and keeps what follows from each refresh. */
export class Tokens {
  readonly #door: Door;
  readonly #keep: (login: SavedLogin) => Promise<void>;
  #login: SavedLogin;
  #access: { token: string; at: number } | undefined;
  #refreshing: Promise<string> | undefined;

  /** `keep` is called with each new login, and awaited, before it is used. */
  constructor(door: Door, login: SavedLogin, keep: (login: SavedLogin) => Promise<void>) {
    this.#door = door;
    this.#login = login;
    this.#keep = keep;
  }

  get login(): SavedLogin {
    return this.#login;
  }

  token(why: TokenReason): Promise<string> {
    const { token, at } = this.#access ?? { token: "", at: 0 };
    if (why === "connect" && token !== "" && Date.now() - at < ACCESS_FRESH_MS) return Promise.resolve(token);
    this.#refreshing ??= this.#refresh().finally(() => (this.#refreshing = undefined));
    return this.#refreshing;
  }
  async #refresh(): Promise<string> {
    const told = await this.#door.refresh(this.#login);
    const next = { ...this.#login, name: told.name, refresh: told.refresh };
    await this.#keep(next);
    this.#login = next;
    this.#access = { token: told.access, at: Date.now() };
    return told.access;
  }
}

function unexpected(): ChatError {
  return ChatError.of("Internal", "an answer of another kind");
}
