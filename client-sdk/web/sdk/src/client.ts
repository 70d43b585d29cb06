// One account on one device: what an app holds.
//
// In: calls of the app. Out: live values and promises. Invariants: reading and writing work offline; `send` resolves once the text is stored here, `sent`
// once the server has it. Not here: the connection (`session`), what is held (`sync`), getting in (`login`).

import type { MessageInitShape } from "@bufbuild/protobuf";

import { ChatError } from "./code.js";
import { roleName, type RoleName } from "./content.js";
import { channelBytes, channelOf, directChannel, randomBytes, type ChannelId, type Seq, type UserId } from "./id.js";
import { IndexedDbStore, databaseName } from "./indexeddb.js";
import { Cell, type Live, type LiveList } from "./live.js";
import type { PeopleAsk } from "./login.js";
import { People } from "./people.js";
import { subscribe, subscription, unsubscribe, type WebPushTarget } from "./push.js";
import { Session, type RequestInit, type Status, type TokenReason } from "./session.js";
import type { Delivery, TimelineItem } from "./shown.js";
import { MemoryStore, type Store } from "./store.js";
import { request, Sync, type ChannelSummary, type Reach, type Room } from "./sync.js";
import type { Transport } from "./transport.js";
import { browserTransport } from "./way.js";
import type { Answer } from "./wire/kith/client/v1/client_pb.js";
import { ContactState, type PeopleAnswer } from "./wire/kith/client/v1/people_pb.js";
import type { ActSchema, MemberChangeSchema, Role } from "./wire/kith/log/v1/log_pb.js";
import type { PreferenceSchema } from "./wire/kith/log/v1/user_pb.js";

export interface ClientOptions {
  /** Who this is: of the login. */
  user: UserId;
  device: bigint;
  /** Gives an access token; asked for each connection. */
  tokens: (why: TokenReason) => Promise<string>;
  /** Further first addresses. */
  seeds?: readonly string[];
  /** Unless given: IndexedDB, or memory where the browser keeps nothing. */
  store?: Store;
  /** Unless given: WebTransport where the browser does it well, and a WebSocket else. */
  transport?: Transport;
  now?: () => number;
  random?: () => number;
}

/** Something that was found. */
export interface Found {
  channel: ChannelId;
  seq: Seq;
  sender: UserId;
  at: number;
  excerpt: string;
  /** Places in the excerpt, in Unicode scalar values. */
  marks: readonly { first: number; count: number }[];
}

/** Who is one, has asked to be one, was asked, or is blocked. */
export interface Contact {
  user: UserId;
  name: string;
  display: string;
  state: "mutual" | "asked" | "asking" | "blocked";
}

/** A device that is logged in. */
export interface Device {
  device: bigint;
  title: string;
  created: number;
  seen: number;
  isThis: boolean;
}

export interface Profile {
  name: string;
  display: string;
  about: string;
}

export interface Member {
  user: UserId;
  role: RoleName;
}

/** A text on its way. */
export interface Outgoing {
  readonly channel: ChannelId;
  readonly state: Live<Delivery>;
  /** The same id as in the timeline. */
  readonly id: string;
  /** Resolves with its place once the server has it; fails for a final refusal. */
  sent(): Promise<Seq>;
}

type ActInit = NonNullable<MessageInitShape<typeof ActSchema>["act"]>;
type ChangeInit = NonNullable<MessageInitShape<typeof MemberChangeSchema>["change"]>;
type PreferenceInit = NonNullable<MessageInitShape<typeof PreferenceSchema>["preference"]>;

const CONTACT_STATES: Partial<Record<ContactState, Contact["state"]>> = {
  [ContactState.MUTUAL]: "mutual",
  [ContactState.ASKED]: "asked",
  [ContactState.ASKING]: "asking",
  [ContactState.BLOCKED]: "blocked",
};
const TYPING_EVERY_MS = 3_000;
/** Whoever leaves does not wait longer for a node. */
const LOG_OUT_MS = 3_000;
/** Who goes far back asks for more at once. */
const JUMP_PAGE = 500;

export class Client {
  /** Who this is. */
  readonly me: UserId;
  /** How the client stands. */
  readonly status: Live<Status>;
  /** The user's conversations: pinned ones first, then the newest. */
  readonly channels: LiveList<ChannelSummary>;
  /** Names and presence of others. */
  readonly people: People;
  /** Whether what is written lasts longer than this page. */
  readonly isDurable: boolean;
  /** The local store failed: what is written from now on may not last. */
  readonly trouble: Live<Error | undefined>;
  /** @internal */
  readonly session: Session;
  /** @internal */
  readonly sync: Sync;
  readonly #store: Store;
  readonly #device: bigint;
  readonly #opened = new Map<ChannelId, Channel>();
  #unhook: () => void = () => undefined;

  private constructor(options: ClientOptions, url: string, store: Store, sync: Sync, conn: bigint) {
    this.me = options.user;
    this.#device = options.device;
    this.#store = store;
    this.isDurable = store.isDurable;
    this.sync = sync;
    this.channels = sync.channels;
    this.trouble = sync.trouble;
    const now = options.now ?? Date.now;
    this.session = new Session(
      {
        device: options.device,
        urls: [url, ...(options.seeds ?? [])],
        transport: options.transport ?? browserTransport(),
        token: options.tokens,
        raiseConn: async () => {
          conn += 1n;
          await store.write([{ type: "conn", conn }]);
          return conn;
        },
        rev: () => sync.rev,
        now,
        random: options.random ?? Math.random,
      },
      {
        welcomed: (welcome) => {
          sync.welcomed(welcome.userRev);
          this.people.welcomed();
        },
        event: (event) => {
          if (event.event.case === "presence") this.people.handlePresence(event.event.value.views);
          else sync.event(event);
        },
        down: () => {
          sync.down();
          this.people.down();
        },
        sending: (channel, number) => sync.sending(channel, number),
        settled: (settled) => sync.settled(settled),
      },
    );
    this.status = this.session.status;
    this.people = new People(this.session, store);
  }

  /** Opens the account's store and begins; works offline. `url`: any node, `https://host[:port]`. */
  static async create(url: string, options: ClientOptions): Promise<Client> {
    const store = options.store ?? (await openStore(options.user));
    const snapshot = await store.load();
    const sync = new Sync(store, snapshot, options.user, options.device, options.now ?? Date.now);
    const client = new Client(options, url, store, sync, snapshot.conn);
    sync.begin(client.session, snapshot);
    client.people.load(snapshot.people);
    client.#listen();
    return client;
  }

  /** Goes online, and stays so; resolves at the first `online`. Never needed to read or to queue. */
  connect(): Promise<void> {
    this.session.connect();
    return new Promise((resolve, reject) => {
      const end = this.status.subscribe((status) => {
        if (status.type === "online") resolve();
        else if (status.type === "closed" || status.type === "suspended") reject(status.error ?? ChatError.of("Disconnected", "closed"));
        else return;
        end();
      });
    });
  }
  /** Ends; what is queued is kept. */
  close(): void {
    this.#unhook();
    this.session.close();
    this.#store.close();
  }
  /** Ends this device's log-in, and forgets everything here. */
  async logOut(): Promise<void> {
    await this.ask({ case: "logOut", value: {} }, LOG_OUT_MS).catch(() => undefined);
    this.#unhook();
    this.session.close();
    await this.#store.wipe().catch(() => undefined);
  }

  /** A conversation, known or not. Does no IO. */
  channel(id: ChannelId): Channel {
    let channel = this.#opened.get(id);
    if (channel === undefined) this.#opened.set(id, (channel = new Channel(this, this.sync.room(id))));
    return channel;
  }
  /** The conversation with a user; with oneself: notes. */
  direct(user: UserId): Channel {
    return this.channel(directChannel(this.me, user));
  }
  /** Makes a group. */
  async createGroup(title: string, members: readonly UserId[]): Promise<Channel> {
    const op = new DataView(randomBytes(8).buffer).getBigUint64(0);
    const { answer } = await this.session.ask({ case: "createGroup", value: { op, title, members: [...members] } });
    if (answer.case !== "created") throw unexpected();
    return this.channel(channelOf(answer.value.channel));
  }
  /** Joins by a link; `undefined`: an admin has to let the user in. */
  async join(channel: ChannelId, secret: Uint8Array): Promise<Channel | undefined> {
    const { answer } = await this.session.ask({ case: "join", value: { channel: channelBytes(channel), secret } });
    return answer.case === "joined" ? this.channel(channel) : undefined;
  }

  /** Users whose name or display name begins so. */
  async findUsers(prefix: string): Promise<UserId[]> {
    const { answer } = await this.ask({ case: "search", value: { prefix } });
    if (answer.case !== "profiles") throw unexpected();
    this.people.learn(answer.value.profiles);
    return answer.value.profiles.map(({ user }) => user);
  }
  /** The user of exactly this name. */
  async findUser(name: string): Promise<UserId> {
    const { answer } = await this.session.ask({ case: "findUser", value: { name } });
    const found = answer.case === "users" ? answer.value.users[0] : undefined;
    if (found === undefined) throw ChatError.of("NoSuchUser", "no such user");
    return found.user;
  }
  /** Own messages with these words, newest first; of all conversations or of one. */
  async search(words: string, channel?: ChannelId): Promise<Found[]> {
    const value = { words, limit: 50, channel: channel && channelBytes(channel) };
    const { answer } = await this.session.ask({ case: "search", value });
    if (answer.case !== "found") throw unexpected();
    return answer.value.hits.map(({ spot, sender, excerpt, marks }) => ({
      channel: channelOf(spot?.channel ?? new Uint8Array()),
      seq: spot?.seq ?? 0n,
      sender,
      at: Number(spot?.ts ?? 0n),
      excerpt,
      marks,
    }));
  }
  /** Changes what others see of this user. */
  async setProfile(change: { display?: string; about?: string; searchable?: boolean }): Promise<void> {
    await this.ask({ case: "setProfile", value: change });
    this.people.forget(this.me);
  }
  /** Asks a user to be a contact, accepts, or takes it back: contacts are those who both have asked, and see each other's presence. */
  async askContact(user: UserId, on: boolean): Promise<void> {
    await this.ask({ case: "askContact", value: { peer: user, asked: on } });
  }
  /** Blocks a user, or takes it back. */
  async block(user: UserId, on: boolean): Promise<void> {
    await this.ask({ case: "block", value: { peer: user, blocked: on } });
  }
  /** Contacts, those who want to be some, and who is blocked. */
  async contacts(): Promise<Contact[]> {
    const all: Contact[] = [];
    for (let after = 0n; ; ) {
      const { answer } = await this.ask({ case: "contacts", value: { after } });
      if (answer.case !== "contacts") throw unexpected();
      for (const { user, name, display, state } of answer.value.contacts) {
        const known = CONTACT_STATES[state];
        if (known !== undefined) all.push({ user, name, display, state: known });
        if (user > after) after = user;
      }
      if (!answer.value.more || answer.value.contacts.length === 0) return all;
    }
  }
  /** What others see of a user. */
  async profile(user: UserId): Promise<Profile> {
    const { answer } = await this.ask({ case: "getProfiles", value: { users: [user] } });
    if (answer.case !== "profiles") throw unexpected();
    const [found] = answer.value.profiles;
    if (found === undefined) throw ChatError.of("NoSuchUser", "no such user");
    return { name: found.name, display: found.display, about: found.about };
  }
  /** Where this user is logged in. */
  async devices(): Promise<Device[]> {
    const { answer } = await this.ask({ case: "devices", value: {} });
    if (answer.case !== "devices") throw unexpected();
    return answer.value.devices.map(({ device, title, created, seen, current }) => ({ device, title, created: Number(created), seen: Number(seen), isThis: current }));
  }
  /** Logs another device out. */
  async endDevice(device: bigint): Promise<void> {
    await this.ask({ case: "endDevice", value: { device } });
  }
  /** Logs all other devices out. */
  async endOtherDevices(): Promise<void> {
    await this.ask({ case: "endOthers", value: {} });
  }

  /** What browsers subscribe to pushes with; empty: this cluster pushes to none. */
  async pushKey(): Promise<string> {
    const { answer } = await this.session.ask({ case: "push", value: { ask: { case: "get", value: {} } } });
    if (answer.case !== "push" || answer.value.answer.case !== "state") throw unexpected();
    return answer.value.answer.value.serverKey;
  }
  /**
   * Has this device pushed to while no page is open. Asks the user for permission: to be called in an act of theirs, with the key had before it. Whether they gave it;
   * fails where the browser's push service cannot be reached.
   */
  async registerPush(worker: ServiceWorkerRegistration, key: string): Promise<boolean> {
    if ((await Notification.requestPermission()) !== "granted") return false;
    await this.#tellPush(await subscribe(worker, key));
    return true;
  }
  /** The same for a subscription that is there already, at each start: it may have changed. Whether there is one. */
  async renewPush(worker: ServiceWorkerRegistration): Promise<boolean> {
    const held = await subscription(worker);
    if (held !== undefined) await this.#tellPush(held);
    return held !== undefined;
  }
  /** Has this device pushed to no more. Works as far as it can without a connection: a push service tells the cluster later. */
  async unregisterPush(worker: ServiceWorkerRegistration): Promise<void> {
    await unsubscribe(worker).catch(() => undefined);
    await this.session.ask({ case: "push", value: { ask: { case: "unregister", value: {} } } }, LOG_OUT_MS);
  }
  async #tellPush(webPush: WebPushTarget): Promise<void> {
    await this.session.ask({ case: "push", value: { ask: { case: "register", value: { target: { target: { case: "webPush", value: webPush } } } } } });
  }
  /** Whether somebody sits before this device. */
  setActive(active: boolean): void {
    this.people.setActive(active);
  }
  /** A question of accounts and people. */
  async ask(ask: PeopleAsk, withinMs?: number): Promise<PeopleAnswer> {
    const { answer }: Answer = await this.session.ask({ case: "people", value: { ask } }, withinMs);
    if (answer.case !== "people") throw unexpected();
    return answer.value;
  }

  get device(): bigint {
    return this.#device;
  }

  /** The browser tells of networks and of pages that sleep. */
  #listen(): void {
    if (typeof window === "undefined") return;
    const back = (): void => this.session.networkChanged();
    const seen = (): void => {
      const isSeen = document.visibilityState === "visible";
      this.setActive(isSeen);
      if (isSeen) back();
    };
    window.addEventListener("online", back);
    document.addEventListener("visibilitychange", seen);
    this.#unhook = () => {
      window.removeEventListener("online", back);
      document.removeEventListener("visibilitychange", seen);
    };
  }
}

/** A conversation. Cheap; does no IO by itself. */
export class Channel {
  readonly id: ChannelId;
  /** Who types now. */
  readonly typing: Live<readonly UserId[]>;
  /** Up to where members have got. */
  readonly reach: Live<ReadonlyMap<UserId, Reach>>;
  readonly #client: Client;
  readonly #room: Room;
  #typedAt = 0;

  /** @internal */
  constructor(client: Client, room: Room) {
    this.id = room.id;
    this.typing = room.typing;
    this.reach = room.reach;
    this.#client = client;
    this.#room = room;
  }

  get summary(): ChannelSummary | undefined {
    return this.#client.sync.summary(this.#room);
  }
  /** Opens the conversation around its newest records. What this device holds is shown at once, offline too. */
  async open(): Promise<Timeline> {
    await this.#client.sync.open(this.#room);
    return new Timeline(this.#client.sync, this.#room);
  }

  /** Sends a text. Resolves once it is stored on this device. */
  async send(text: string, more: { replyTo?: Seq; mentions?: readonly UserId[] } = {}): Promise<Outgoing> {
    const { replyTo, mentions } = more;
    return this.#write((clientSeq) => ({
      case: "send",
      value: { channel: channelBytes(this.id), clientSeq, settled: clientSeq, text, replyTo, mentions: [...(mentions ?? [])] },
    }));
  }
  edit(target: Seq, text: string): Promise<Outgoing> {
    return this.#act({ case: "edit", value: { target, text } });
  }
  delete(target: Seq): Promise<Outgoing> {
    return this.#act({ case: "delete", value: { target } });
  }
  react(target: Seq, emoji: string, on: boolean): Promise<Outgoing> {
    return this.#act({ case: "react", value: { target, emoji, on } });
  }
  pin(target: Seq, on: boolean): Promise<Outgoing> {
    return this.#act({ case: "pin", value: { target, on } });
  }
  describe(change: { title?: string; about?: string }): Promise<Outgoing> {
    return this.#act({ case: "describe", value: change });
  }
  add(user: UserId): Promise<Outgoing> {
    return this.#change({ case: "add", value: user });
  }
  remove(user: UserId): Promise<Outgoing> {
    return this.#change({ case: "remove", value: user });
  }
  leave(): Promise<Outgoing> {
    return this.#change({ case: "leave", value: {} });
  }
  setRole(user: UserId, role: Role): Promise<Outgoing> {
    return this.#change({ case: "setRole", value: { user, role } });
  }
  /** A refused text is not shown any more. */
  discard(id: string): void {
    if (id.startsWith("w")) this.#client.sync.discard(this.id, BigInt(id.slice(1)));
  }

  /** The user has read all that this device shows of it. */
  markRead(): void {
    this.#client.sync.markRead(this.#room, this.#room.head.seq);
  }
  /** The user types. May be called for each key. */
  setTyping(): void {
    const now = Date.now();
    if (now - this.#typedAt < TYPING_EVERY_MS) return;
    this.#typedAt = now;
    this.#client.session.mention({ case: "typing", value: { channel: channelBytes(this.id) } });
  }
  /** What is the user's alone: pin, mute, archive, draft. */
  async prefer(preference: PreferenceInit): Promise<void> {
    await this.#client.ask({ case: "prefer", value: { channel: channelBytes(this.id), preference: { preference } } });
  }
  /** Its members; learns on the way up to where they have read. */
  async members(): Promise<Member[]> {
    const { answer } = await this.#client.session.ask({ case: "getChannel", value: { channel: channelBytes(this.id) } });
    if (answer.case !== "channel") throw unexpected();
    for (const { user, read, delivered } of answer.value.members) this.#client.sync.setReach(this.#room, user, read, delivered);
    return answer.value.members.map(({ user, role }) => ({ user, role: roleName(role) }));
  }
  /** Makes a link to join by; gives its secret. */
  async invite(): Promise<Uint8Array> {
    const secret = randomBytes(16);
    const outgoing = await this.#act({ case: "invite", value: { secret, until: 0n, uses: 0 } });
    await outgoing.sent();
    return secret;
  }

  #act(act: ActInit): Promise<Outgoing> {
    return this.#write((clientSeq) => ({ case: "act", value: { channel: channelBytes(this.id), clientSeq, settled: clientSeq, act: { act } } }));
  }
  #change(change: ChangeInit): Promise<Outgoing> {
    return this.#write((clientSeq) => ({ case: "changeMembers", value: { channel: channelBytes(this.id), clientSeq, settled: clientSeq, change: { change } } }));
  }
  async #write(make: (number: bigint) => RequestInit): Promise<Outgoing> {
    const { number, delivery } = await this.#client.sync.write(this.id, (number) => request({ request: make(number) }));
    return { channel: this.id, id: `w${number}`, state: delivery, sent: () => settled(delivery) };
  }
}

/** A conversation on the screen. */
export class Timeline {
  /** Oldest first. */
  readonly items: LiveList<TimelineItem>;
  /** Whether there may be older ones. */
  readonly hasOlder: Live<boolean>;
  readonly #sync: Sync;
  readonly #room: Room;
  #loading: Promise<boolean> | undefined;

  /** @internal */
  constructor(sync: Sync, room: Room) {
    this.items = room.items;
    this.hasOlder = room.hasOlder;
    this.#sync = sync;
    this.#room = room;
  }
  /** Shows older ones; whether there may be more. */
  loadOlder(count?: number): Promise<boolean> {
    this.#loading ??= this.#sync.older(this.#room, count).finally(() => (this.#loading = undefined));
    return this.#loading;
  }
  /** Shows older ones until this one is among them, at most so many pages of `JUMP_PAGE`. */
  async loadTo(seq: Seq, pages = 100): Promise<boolean> {
    for (let page = 0; page < pages && this.#room.from > seq; page++) if (!(await this.loadOlder(JUMP_PAGE))) break;
    return this.#room.from <= seq;
  }
  /** The app shows it no more. */
  close(): void {
    this.#sync.close(this.#room);
  }
}

function settled(delivery: Cell<Delivery>): Promise<Seq> {
  return new Promise((resolve, reject) => {
    let end = (): void => undefined;
    const look = (now: Delivery): void => {
      if (now.state === "sent") resolve(now.seq);
      else if (now.state === "kept") resolve(0n);
      else if (now.state === "failed") reject(now.error);
      else return;
      end();
    };
    end = delivery.subscribe(look);
    look(delivery.value);
  });
}

async function openStore(user: UserId): Promise<Store> {
  try {
    return await IndexedDbStore.open(databaseName(user));
  } catch {
    // A private window, or a full disk: `isDurable` says so.
    return new MemoryStore();
  }
}

function unexpected(): ChatError {
  return ChatError.of("Internal", "an answer of another kind");
}
