// Other people: what they are called, and whether they are here.
//
// In: users that the app shows. Out: names as soon as they are known, presence while it is watched. Invariants: of two views of a user the newer one
// counts; the watch is told anew after each connection, by value. Bounds: WATCHES_MAX users are watched; NAMES_PER_ASK in one question.

import type { UserId } from "./id.js";
import { Cell, coalesce, type Live } from "./live.js";
import type { Session } from "./session.js";
import type { Person, Store } from "./store.js";
import type { ProfileView } from "./wire/kith/client/v1/people_pb.js";
import { PresenceState, type PresenceView } from "./wire/kith/client/v1/presence_pb.js";

export interface Presence {
  state: "unknown" | "offline" | "away" | "online";
  /** Milliseconds since 1970; of who is offline and shows it. */
  lastSeen: number | undefined;
}

const WATCHES_MAX = 200;
const NAMES_PER_ASK = 200;
const RETRY_MS = 2_000;
const UNKNOWN: Presence = { state: "unknown", lastSeen: undefined };

export class People {
  /** Rises with each name that is learnt. */
  readonly changes: Live<number>;
  readonly #changes = new Cell(0);
  readonly #session: Session;
  readonly #store: Store;
  readonly #known = new Map<UserId, Person>();
  readonly #asked = new Set<UserId>();
  readonly #wanted = new Set<UserId>();
  readonly #ask = coalesce(() => void this.#fetch());
  readonly #presence = new Cell<ReadonlyMap<UserId, Presence>>(new Map());
  #watched: readonly UserId[] = [];
  #active = true;

  constructor(session: Session, store: Store) {
    this.changes = this.#changes;
    this.#session = session;
    this.#store = store;
  }

  /** @internal */
  load(people: ReadonlyMap<UserId, Person>): void {
    for (const [user, person] of people) this.#known.set(user, person);
  }

  /** What a user is called; `undefined` until it is known. Asked for by being looked at. */
  person(user: UserId): Person | undefined {
    if (!this.#asked.has(user)) {
      this.#asked.add(user);
      this.#wanted.add(user);
      this.#ask();
    }
    return this.#known.get(user);
  }
  /** The display name, else the name; empty until it is known. */
  name(user: UserId): string {
    const person = this.person(user);
    return person === undefined ? "" : person.display || person.name;
  }
  learn(profiles: readonly ProfileView[]): void {
    for (const { user, name, display } of profiles) {
      const before = this.#known.get(user);
      this.#asked.add(user);
      if (before?.name === name && before.display === display) continue;
      this.#known.set(user, { name, display });
      this.#store.write([{ type: "person", user, person: { name, display } }]).catch(() => undefined);
    }
    this.#changes.set(this.#changes.value + 1);
  }
  /** It has changed: asked for anew. */
  forget(user: UserId): void {
    this.#asked.delete(user);
    this.person(user);
  }

  /** Who is here, of those that are watched. */
  get presence(): Live<ReadonlyMap<UserId, Presence>> {
    return this.#presence;
  }
  presenceOf(user: UserId): Presence {
    return this.#presence.value.get(user) ?? UNKNOWN;
  }
  /** Whom the app shows from now on, in the place of those before. */
  watch(users: readonly UserId[]): void {
    const wanted = [...new Set(users)].slice(0, WATCHES_MAX).sort((a, b) => (a < b ? -1 : 1));
    if (wanted.length === this.#watched.length && wanted.every((user, at) => user === this.#watched[at])) return;
    this.#watched = wanted;
    this.#tell();
  }
  setActive(active: boolean): void {
    if (active === this.#active) return;
    this.#active = active;
    this.#session.mention({ case: "presence", value: { ask: { case: "setActivity", value: { active } } } });
  }

  /** @internal */
  handlePresence(views: readonly PresenceView[]): void {
    const next = new Map(this.#presence.value);
    for (const { user, state, lastSeen } of views) {
      next.set(user, { state: stateOf(state), lastSeen: lastSeen === undefined ? undefined : Number(lastSeen) });
    }
    this.#presence.set(next);
  }
  /** @internal */
  welcomed(): void {
    this.#tell();
    if (!this.#active) this.#session.mention({ case: "presence", value: { ask: { case: "setActivity", value: { active: false } } } });
    if (this.#wanted.size > 0) this.#ask();
  }
  /** @internal */
  down(): void {
    this.#presence.set(new Map());
  }

  #tell(): void {
    if (this.#watched.length === 0 && this.#presence.value.size === 0) return;
    this.#session.mention({ case: "presence", value: { ask: { case: "watch", value: { users: [...this.#watched] } } } });
  }
  async #fetch(): Promise<void> {
    if (!this.#session.isUp || this.#wanted.size === 0) return;
    const users = [...this.#wanted].slice(0, NAMES_PER_ASK);
    for (const user of users) this.#wanted.delete(user);
    try {
      const { answer } = await this.#session.ask({ case: "people", value: { ask: { case: "getProfiles", value: { users } } } });
      if (answer.case === "people" && answer.value.answer.case === "profiles") this.learn(answer.value.answer.value.profiles);
      if (this.#wanted.size > 0) this.#ask();
    } catch {
      for (const user of users) this.#wanted.add(user);
      setTimeout(() => this.#ask(), RETRY_MS);
    }
  }
}

function stateOf(state: PresenceState): Presence["state"] {
  switch (state) {
    case PresenceState.ONLINE:
      return "online";
    case PresenceState.AWAY:
      return "away";
    case PresenceState.OFFLINE:
      return "offline";
    default:
      return "unknown";
  }
}
