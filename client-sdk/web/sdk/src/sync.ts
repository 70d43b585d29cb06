// What the user may see and what of it this device holds: the index by `rev`, each conversation's interval, and the lists that the app has open.
//
// In: rows, records, receipts, what became of writes. Out: summaries and timelines. Invariants: `rev` moves only when each row up to it is stored;
// what is shown is stored, or about to be; a conversation has one pull in flight. Bounds: of a conversation that is opened after a long time the newest
// RECENT records; older ones when they are asked for.

import { create, fromBinary, toBinary } from "@bufbuild/protobuf";

import { ChatError } from "./code.js";
import { contentOf, contentOfWrite, emptied, type Content } from "./content.js";
import { channelBytes, channelOf, directPeer, type ChannelId, type Seq, type UserId } from "./id.js";
import { Interval, seqOf, type Range } from "./interval.js";
import { Cell, coalesce, type LiveList } from "./live.js";
import type { Settled } from "./outbox.js";
import type { Session } from "./session.js";
import { Shown, type Delivery, type Entry, type TimelineItem } from "./shown.js";
import type { Change, Snapshot, Store, StoredRecord } from "./store.js";
import { MarksSchema, type Delivery as Delivered, type HistoryPage, type Event, RequestSchema, type Request } from "./wire/kith/client/v1/client_pb.js";
import { IndexRowSchema, RecordSchema, type IndexRow, type Position, type Record } from "./wire/kith/log/v1/log_pb.js";

/** A conversation in the list. */
export interface ChannelSummary {
  readonly id: ChannelId;
  /** Of a group; empty for a direct conversation. */
  readonly title: string;
  /** The other user of a direct conversation. */
  readonly peer: UserId | undefined;
  readonly unread: number;
  /** Of those, how many mention the user. */
  readonly mentions: number;
  readonly preview: string;
  /** Who said it; `undefined`: nobody has said anything. */
  readonly previewSender: UserId | undefined;
  readonly at: number;
  readonly isPinned: boolean;
  readonly isMuted: boolean;
  readonly isArchived: boolean;
  readonly isMember: boolean;
  readonly headSeq: Seq;
  /** The user has read up to here. */
  readonly readSeq: Seq;
  readonly draft: string;
}

/** Up to where a member has got. */
export interface Reach {
  read: Seq;
  delivered: Seq;
}

/** Of a conversation that is opened after a long time. */
const RECENT = 60;
/** A longer hole is not filled: the interval begins anew. */
const HOLE_MAX = 300n;
const PAGE = 100;
const GAP_WAIT_MS = 200;
const PUSH_WAIT_MS = 1_000;
const CONFIRM_MS = 1_000;
const READ_MS = 400;
const PREVIEW_CHARS = 80;
const TYPING_LASTS_MS = 6_000;
const INDEX_PAGE = 500;
/** What this device alone knows. */
const OWN: ReadonlySet<Change["type"]> = new Set(["write", "numbers", "settled"]);

interface Place {
  seq: Seq;
  cnt: bigint;
}

export class Room {
  readonly id: ChannelId;
  readonly interval: Interval;
  readonly items = new Cell<readonly TimelineItem[]>([]);
  readonly typing = new Cell<readonly UserId[]>([]);
  readonly reach = new Cell<ReadonlyMap<UserId, Reach>>(new Map());
  readonly hasOlder = new Cell(true);
  row: IndexRow | undefined;
  shown: Shown | undefined;
  /** Lowest seq in `shown`. */
  from: Seq = 0n;
  isPulling = false;
  attempts = 0;
  timer: ReturnType<typeof setTimeout> | undefined;
  /** The newest text that was told live, until a row tells it too. */
  latest: { at: Place; ts: number; sender: UserId; text: string } | undefined;
  /** The newest place that this device knows of. */
  head: Place = { seq: 0n, cnt: 0n };
  /** Own read position as the app has it, be it told or not. */
  read: Place = { seq: 0n, cnt: 0n };
  readTimer: ReturnType<typeof setTimeout> | undefined;
  delivered: Place = { seq: 0n, cnt: 0n };
  confirmTimer: ReturnType<typeof setTimeout> | undefined;
  typers = new Map<UserId, ReturnType<typeof setTimeout>>();
  opening: Promise<void> | undefined;

  constructor(id: ChannelId, interval: Interval) {
    this.id = id;
    this.interval = interval;
  }
}

interface OwnWrite {
  channel: ChannelId;
  number: bigint;
  content: Content | undefined;
  at: number;
  delivery: Delivery;
  /** Told of each step. */
  watch: Cell<Delivery>;
}

export class Sync {
  readonly channels: LiveList<ChannelSummary>;
  readonly trouble = new Cell<Error | undefined>(undefined);
  readonly #channels = new Cell<readonly ChannelSummary[]>([]);
  readonly #rooms = new Map<ChannelId, Room>();
  readonly #writes = new Map<string, OwnWrite>();
  readonly #store: Store;
  readonly #me: UserId;
  readonly #device: bigint;
  readonly #now: () => number;
  #session!: Session;
  #rev = 0n;
  #target = 0n;
  #walk: { to: bigint; below: bigint | undefined } | undefined;
  #walkAttempts = 0;
  readonly #list = coalesce(() => this.#makeList());

  constructor(store: Store, snapshot: Snapshot, me: UserId, device: bigint, now: () => number) {
    this.channels = this.#channels;
    this.#store = store;
    this.#me = me;
    this.#device = device;
    this.#now = now;
    this.#rev = this.#target = snapshot.rev;
    for (const [id, cursor] of snapshot.cursors) this.#rooms.set(id, new Room(id, new Interval(cursor)));
    for (const [id, row] of snapshot.rows) this.#setRow(this.room(id), fromBinary(IndexRowSchema, row));
    this.#makeList();
  }

  get rev(): bigint {
    return this.#rev;
  }
  room(id: ChannelId): Room {
    let room = this.#rooms.get(id);
    if (room === undefined) this.#rooms.set(id, (room = new Room(id, new Interval())));
    return room;
  }

  /** Begins: writes that were stored go on. */
  begin(session: Session, snapshot: Snapshot): void {
    this.#session = session;
    const writes = snapshot.writes.map(({ channel, number, request, at }) => ({ channel, number, at, request: fromBinary(RequestSchema, request) }));
    session.outbox.load(snapshot.numbers, writes);
    for (const { channel, number, request, at } of writes) this.#keep(channel, number, request, at);
  }

  // ---- the session

  welcomed(rev: bigint): void {
    if (rev > this.#target) this.#target = rev;
    for (const room of this.#rooms.values()) {
      if (room.shown !== undefined) this.#fill(room, 0);
      if (room.row !== undefined && room.read.seq > (room.row.read?.seq ?? 0n)) this.#tellRead(room, 0);
    }
    this.#step();
  }
  down(): void {
    this.#walk = undefined;
    for (const room of this.#rooms.values()) {
      clearTimeout(room.timer);
      room.isPulling = false;
      room.interval.dropHeld();
      for (const timer of room.typers.values()) clearTimeout(timer);
      room.typers.clear();
      room.typing.set([]);
    }
    for (const write of this.#writes.values()) {
      if (write.delivery.state === "sending") this.#setDelivery(write, { state: "queued" });
    }
  }

  event({ event }: Event): void {
    switch (event.case) {
      case "delivery":
        this.#delivery(event.value);
        break;
      case "indexMoved":
        this.#moved(event.value.from, event.value.to, event.value.rows);
        break;
      case "syncNeeded":
        if (event.value.to > this.#target) this.#target = event.value.to;
        this.#step();
        break;
      case "receipt": {
        const { channel, user, read, delivered } = event.value;
        this.setReach(this.room(channelOf(channel)), user, read, delivered);
        break;
      }
      case "typing": {
        const { channel, user } = event.value;
        this.#types(this.room(channelOf(channel)), user);
        break;
      }
    }
  }

  setReach(room: Room, user: UserId, read: Position | undefined, delivered: Position | undefined): void {
    const before = room.reach.value.get(user) ?? { read: 0n, delivered: 0n };
    const larger = (a: Seq, b: Seq | undefined): Seq => (b !== undefined && b > a ? b : a);
    const after = { read: larger(before.read, read?.seq), delivered: larger(larger(before.delivered, delivered?.seq), read?.seq) };
    if (after.read === before.read && after.delivered === before.delivered) return;
    room.reach.set(new Map(room.reach.value).set(user, after));
  }

  // ---- writes

  /** Stores a write and has it sent; resolves once it is stored. */
  async write(channel: ChannelId, make: (number: bigint) => Request): Promise<{ number: bigint; delivery: Cell<Delivery> }> {
    const { outbox } = this.#session;
    if (outbox.isFull) throw ChatError.of("LimitReached", "too many writes wait on this device");
    const { number, request, ready } = outbox.push(channel, make);
    const at = this.#now();
    const kept = this.#keep(channel, number, request, at);
    const bytes = toBinary(RequestSchema, request);
    try {
      await this.#commit([
        { type: "write", write: { channel, number, request: bytes, at } },
        { type: "numbers", channel, numbers: outbox.numbers(channel) },
      ]);
    } catch (failed) {
      // What is not stored is not sent, and is the app's again.
      outbox.takeBack(channel, number);
      this.#forget(channel, number);
      throw failed;
    }
    ready();
    this.#session.pump();
    return { number, delivery: kept.watch };
  }
  /** A refused write is not shown any more. */
  discard(channel: ChannelId, number: bigint): void {
    const write = this.#writes.get(key(channel, number));
    if (write?.delivery.state === "failed") this.#forget(channel, number);
  }
  #forget(channel: ChannelId, number: bigint): void {
    this.#writes.delete(key(channel, number));
    const room = this.room(channel);
    room.shown?.removeEcho(number);
    this.#show(room);
  }
  sending(channel: ChannelId, number: bigint): void {
    const write = this.#writes.get(key(channel, number));
    if (write !== undefined) this.#setDelivery(write, { state: "sending" });
  }
  settled({ channel, number, fate }: Settled): void {
    const changes: Change[] = [
      { type: "settled", channel, number },
      { type: "numbers", channel, numbers: this.#session.outbox.numbers(channel) },
    ];
    void this.#commit(changes).catch(() => undefined);
    const write = this.#writes.get(key(channel, number));
    if (write === undefined) return;
    if (fate.type === "failed") return this.#setDelivery(write, { state: "failed", error: fate.error });
    this.#writes.delete(key(channel, number));
    if (fate.type === "kept") return this.#setDelivery(write, { state: "kept" });
    this.#setDelivery(write, { state: "sent", seq: fate.seq });
    const room = this.room(channel);
    room.interval.note(fate.seq);
    if (room.shown !== undefined) this.#fill(room, PUSH_WAIT_MS);
  }
  /** Texts that could not be sent so far. */
  get unsent(): number {
    return [...this.#writes.values()].filter(({ delivery }) => delivery.state !== "failed").length;
  }

  #keep(channel: ChannelId, number: bigint, request: Request, at: number): OwnWrite {
    const delivery: Delivery = { state: "queued" };
    const write: OwnWrite = { channel, number, content: contentOfWrite(request), at, delivery, watch: new Cell<Delivery>(delivery) };
    this.#writes.set(key(channel, number), write);
    this.#echo(write);
    return write;
  }
  #setDelivery(write: OwnWrite, delivery: Delivery): void {
    write.delivery = delivery;
    write.watch.set(delivery);
    this.#echo(write);
  }
  #echo({ channel, number, content, at, delivery }: OwnWrite): void {
    const room = this.room(channel);
    if (room.shown === undefined || content?.type !== "text") return;
    room.shown.setEcho({ number, content, at, delivery });
    this.#show(room);
  }

  // ---- the index

  /** Goes on with what is missing of the index. */
  #step(): void {
    if (this.#walk !== undefined || !this.#session.isUp) return;
    if (this.#rev >= this.#target) return this.#session.reconciled();
    this.#walk = { to: this.#target, below: undefined };
    void this.#pullIndex(this.#walk);
  }
  async #pullIndex(walk: { to: bigint; below: bigint | undefined }): Promise<void> {
    const query = { from: this.#rev, to: walk.to, below: walk.below, limit: INDEX_PAGE, linearizable: false };
    try {
      const page = await this.#session.pull({ case: "index", value: query });
      if (this.#walk !== walk || page.case !== "index") return;
      this.#walkAttempts = 0;
      const { rows, more } = page.value;
      const changes = this.#rows(rows, 0);
      const last = rows.at(-1);
      if (more && last !== undefined) {
        await this.#commit(changes);
        this.#walk = { to: walk.to, below: last.rev };
        return await this.#pullIndex(this.#walk);
      }
      this.#rev = walk.to;
      await this.#commit([...changes, { type: "rev", rev: this.#rev }]);
      this.#walk = undefined;
      this.#step();
    } catch (failed) {
      if (this.#walk !== walk) return;
      this.#walk = undefined;
      if (failed instanceof ChatError && failed.is("Resync")) {
        // The held version means nothing to the server: from the start. Rows stay, so nothing is shown twice.
        this.#rev = 0n;
        for (const room of this.#rooms.values()) if (room.row !== undefined) room.row.rev = 0n;
        return this.#step();
      }
      this.#walkAttempts += 1;
      setTimeout(() => this.#step(), Math.min(100 * 2 ** this.#walkAttempts, 5_000));
    }
  }
  #moved(from: bigint, to: bigint, rows: IndexRow[]): void {
    if (to <= this.#rev) return;
    if (to > this.#target) this.#target = to;
    if (from > this.#rev || rows.length === 0 || this.#walk !== undefined) return this.#step();
    const changes = this.#rows(rows, PUSH_WAIT_MS);
    this.#rev = to;
    void this.#commit([...changes, { type: "rev", rev: to }]).catch(() => undefined);
    this.#step();
  }
  #rows(rows: readonly IndexRow[], waitMs: number): Change[] {
    const changes: Change[] = [];
    for (const row of rows) {
      if (row.news === undefined) continue;
      const room = this.room(channelOf(row.news.channel));
      if (row.rev <= (room.row?.rev ?? 0n)) continue;
      this.#setRow(room, row);
      changes.push({ type: "row", channel: room.id, row: toBinary(IndexRowSchema, row) });
      if (room.shown !== undefined) this.#fill(room, waitMs);
    }
    this.#list();
    return changes;
  }
  #setRow(room: Room, row: IndexRow): void {
    room.row = row;
    const head = placeOf(row.news?.head);
    room.interval.note(head.seq);
    if (head.seq > room.head.seq) room.head = head;
    if (room.latest !== undefined && head.seq >= room.latest.at.seq) room.latest = undefined;
    const read = placeOf(row.read);
    if (read.seq > room.read.seq) room.read = read;
  }

  #makeList(): void {
    const before = new Map(this.#channels.value.map((summary) => [summary.id, summary]));
    const list: ChannelSummary[] = [];
    for (const room of this.#rooms.values()) {
      const summary = this.summary(room);
      if (summary === undefined) continue;
      const known = before.get(summary.id);
      list.push(known !== undefined && same(known, summary) ? known : summary);
    }
    list.sort((a, b) => Number(b.isPinned) - Number(a.isPinned) || b.at - a.at || (a.id < b.id ? 1 : -1));
    this.#channels.set(list);
  }
  /** A conversation as the list shows it; `undefined`: the user has none of that id. */
  summary(room: Room): ChannelSummary | undefined {
    const { row, latest } = room;
    const news = row?.news;
    if (news === undefined && latest === undefined) return undefined;
    const preferences = row?.preferences;
    const most = (...counts: (bigint | undefined)[]): bigint => counts.reduce<bigint>((a, b) => (b !== undefined && b > a ? b : a), 0n);
    const unread = room.head.cnt - most(room.read.cnt, news?.join?.cnt, preferences?.clearedCnt);
    const now = BigInt(Math.trunc(this.#now()));
    const isMuted = preferences?.muted !== undefined && now < preferences.muted;
    const archived = preferences?.archived;
    return {
      id: room.id,
      title: news?.title ?? "",
      peer: directPeer(room.id, this.#me),
      unread: unread > 0n ? Number(unread) : 0,
      mentions: news?.mentions.filter((seq) => seq > room.read.seq).length ?? 0,
      preview: latest?.text ?? news?.preview ?? "",
      previewSender: latest?.sender ?? (news !== undefined && news.headSender !== 0n ? news.headSender : undefined),
      at: latest?.ts ?? Number(news?.headTs ?? 0n),
      isPinned: preferences?.pinned !== undefined,
      isMuted,
      isArchived: archived !== undefined && (room.head.seq <= archived || isMuted),
      isMember: news?.left === undefined,
      headSeq: room.head.seq,
      readSeq: room.read.seq,
      draft: preferences?.draft?.text ?? "",
    };
  }

  // ---- records

  #delivery({ channel, prev, body }: Delivered): void {
    const room = this.room(channelOf(channel));
    if (body.case === "stub") {
      const at = placeOf(body.value.at);
      room.interval.note(at.seq);
      if (at.seq > room.head.seq) room.head = at;
      if (room.shown !== undefined) this.#fill(room, 0);
      return this.#list();
    }
    if (body.case !== "whole") return;
    const record = body.value;
    this.#hear(room, record);
    if (room.interval.isEmpty) {
      room.interval.note(seqOf(record));
      if (room.shown !== undefined) return this.#fill(room, 0);
      room.interval.restart(seqOf(record), 1n);
    }
    const show = room.interval.handleLive(prev, record);
    if (show === "old") return;
    if (show === "hole") {
      if (room.shown !== undefined) this.#fill(room, GAP_WAIT_MS);
      return;
    }
    this.#take(room, show.map((record) => ({ record, marks: undefined, asOf: seqOf(record) })));
  }

  /** What a live record says of its conversation. */
  #hear(room: Room, record: Record): void {
    const at = placeOf(record.at);
    if (at.seq <= room.head.seq) return;
    room.head = at;
    const content = contentOf(record);
    if (content.type === "text") {
      room.latest = { at, ts: Number(record.ts), sender: record.sender, text: [...content.text].slice(0, PREVIEW_CHARS).join("") };
      if (record.sender === this.#me) room.read = at;
    }
    this.#typed(room, record.sender);
    this.#list();
  }

  /** Records that follow what is held. */
  #take(room: Room, entries: readonly Entry[]): void {
    const changes: Change[] = [{ type: "cursor", channel: room.id, cursor: room.interval.cursor }];
    if (entries.length > 0) changes.push({ type: "records", channel: room.id, records: entries.map(stored) });
    void this.#commit(changes).catch(() => undefined);
    for (const { record } of entries) {
      const content = contentOf(record);
      if (content.type === "delete" || content.type === "edit") void this.#amend(room, content.target, record);
    }
    const last = entries.at(-1);
    if (last !== undefined) this.#confirm(room, placeOf(last.record.at));
    if (room.shown === undefined) return;
    room.shown.put(entries);
    this.#show(room);
  }

  /** A text that was deleted or replaced is not kept on the disk. */
  async #amend(room: Room, target: Seq, by: Record): Promise<void> {
    const [known] = await this.#store.records(room.id, target, target, 1).catch(() => []);
    if (known === undefined || known.asOf >= seqOf(by)) return;
    const content = contentOf(by);
    if (content.type !== "delete") return;
    const record = toBinary(RecordSchema, emptied(fromBinary(RecordSchema, known.record)));
    await this.#commit([{ type: "records", channel: room.id, records: [{ ...known, record, asOf: seqOf(by) }] }]).catch(() => undefined);
  }

  /** Opens a conversation: what is held is shown at once, what is missing is pulled. */
  open(room: Room): Promise<void> {
    room.opening ??= this.#open(room);
    return room.opening;
  }
  close(room: Room): void {
    room.opening = undefined;
    room.shown = undefined;
    room.items.set([]);
  }
  async #open(room: Room): Promise<void> {
    const shown = new Shown(this.#me, this.#device);
    room.shown = shown;
    for (const write of this.#writes.values()) if (write.channel === room.id) this.#echo(write);
    const { from, max } = room.interval.cursor;
    const held = room.interval.isEmpty ? [] : await this.#store.records(room.id, from, max, RECENT);
    if (room.shown !== shown) return;
    const first = held[0]?.seq;
    room.from = held.length < RECENT || first === undefined ? from : first;
    shown.put(held.map(restored));
    room.hasOlder.set(room.from > 1n);
    this.#show(room);
    this.#fill(room, 0);
  }

  /** Pulls what is known to exist and not held, after a while in which it may come by itself. */
  #fill(room: Room, waitMs: number): void {
    if (room.shown === undefined || room.isPulling || !room.interval.hasHole || !this.#session.isUp) return;
    clearTimeout(room.timer);
    room.timer = setTimeout(() => void this.#pull(room), waitMs);
  }
  async #pull(room: Room): Promise<void> {
    if (room.shown === undefined || room.isPulling || !room.interval.hasHole) return;
    const { cursor } = room.interval;
    if (room.interval.isEmpty || cursor.head - cursor.max > HOLE_MAX) {
      room.interval.restart(cursor.head, BigInt(RECENT));
      room.from = room.interval.cursor.from;
      room.shown.clear();
      await this.#commit([{ type: "forget", channel: room.id }]).catch(() => undefined);
    }
    const { max, head } = room.interval.cursor;
    room.isPulling = true;
    try {
      const page = await this.#history(room, max + 1n, head, false, head);
      room.isPulling = false;
      room.attempts = 0;
      const { covered, withheld } = page;
      if (covered === undefined) {
        if ((page.head?.seq ?? 0n) <= room.interval.cursor.max) room.interval.closeHole();
        else this.#again(room);
        return;
      }
      const show = room.interval.handlePage(page.records, withheld as Range[], covered);
      if (show === undefined) return this.#again(room);
      this.#take(room, entriesOf(page, show));
      room.hasOlder.set(room.from > 1n);
      this.#fill(room, 0);
    } catch (failed) {
      room.isPulling = false;
      if (failed instanceof ChatError && failed.isFinal) room.interval.closeHole();
      else this.#again(room);
    }
  }
  #again(room: Room): void {
    room.attempts += 1;
    this.#fill(room, Math.min(100 * 2 ** room.attempts, 5_000));
  }

  /** Shows older records; whether there may be more. */
  async older(room: Room, count = PAGE): Promise<boolean> {
    await this.open(room);
    const { shown } = room;
    if (shown === undefined || room.from <= 1n) return false;
    const { from } = room.interval.cursor;
    if (room.from > from) {
      const held = await this.#store.records(room.id, from, room.from - 1n, count);
      if (held.length > 0 && room.shown === shown) {
        room.from = held.length < count ? from : held[0].seq;
        shown.put(held.map(restored));
        room.hasOlder.set(room.from > 1n);
        this.#show(room);
        return room.hasOlder.value;
      }
      room.from = from;
    }
    const last = room.from - 1n;
    const page = await this.#history(room, 1n, last, true, room.interval.cursor.head, count);
    if (room.shown !== shown) return true;
    const { covered } = page;
    if (covered === undefined || covered.last < last) {
      room.hasOlder.set(false);
      return false;
    }
    const entries = entriesOf(page, [...page.records].sort((a, b) => (seqOf(a) < seqOf(b) ? -1 : 1)));
    room.interval.extend(covered.first);
    room.from = covered.first;
    shown.put(entries);
    void this.#commit([
      { type: "records", channel: room.id, records: entries.map(stored) },
      { type: "cursor", channel: room.id, cursor: room.interval.cursor },
    ]).catch(() => undefined);
    room.hasOlder.set(covered.first > 1n);
    this.#show(room);
    return room.hasOlder.value;
  }

  async #history(room: Room, first: Seq, last: Seq, newestFirst: boolean, minSeq: Seq, limit = PAGE): Promise<HistoryPage> {
    const value = { channel: channelBytes(room.id), first, last, newestFirst, limit, minSeq, linearizable: false };
    const page = await this.#session.pull({ case: "history", value });
    if (page.case !== "history") throw ChatError.of("Internal", "an answer of another kind");
    return page.value;
  }

  // ---- what is told to others

  /** The user has read up to here. */
  markRead(room: Room, seq: Seq): void {
    const at = seq >= room.head.seq ? room.head : undefined;
    if (at === undefined || at.seq <= room.read.seq) return;
    room.read = at;
    this.#list();
    this.#tellRead(room, READ_MS);
  }
  #tellRead(room: Room, waitMs: number): void {
    clearTimeout(room.readTimer);
    room.readTimer = setTimeout(() => {
      const read = { seq: room.read.seq, cnt: room.read.cnt };
      this.#session.ask({ case: "markRead", value: { channel: channelBytes(room.id), read } }).catch(() => undefined);
    }, waitMs);
  }
  #confirm(room: Room, at: Place): void {
    if (at.seq <= room.delivered.seq) return;
    room.delivered = at;
    room.confirmTimer ??= setTimeout(() => {
      room.confirmTimer = undefined;
      this.#session.mention({ case: "delivered", value: { channel: channelBytes(room.id), delivered: { ...room.delivered } } });
    }, CONFIRM_MS);
  }

  #types(room: Room, user: UserId): void {
    if (user === this.#me) return;
    clearTimeout(room.typers.get(user));
    room.typers.set(user, setTimeout(() => this.#typed(room, user), TYPING_LASTS_MS));
    room.typing.set([...room.typers.keys()]);
  }
  #typed(room: Room, user: UserId): void {
    const timer = room.typers.get(user);
    if (timer === undefined) return;
    clearTimeout(timer);
    room.typers.delete(user);
    room.typing.set([...room.typers.keys()]);
  }

  #show(room: Room): void {
    if (room.shown !== undefined) room.items.set(room.shown.items());
  }
  async #commit(changes: readonly Change[]): Promise<void> {
    // Once something of it was not stored, what others said is held in memory alone: the next start fetches all of it, from where the store stands.
    const kept = this.trouble.value === undefined ? changes : changes.filter(({ type }) => OWN.has(type));
    if (kept.length === 0) return;
    try {
      await this.#store.write(kept);
    } catch (failed) {
      this.trouble.set(failed as Error);
      throw failed;
    }
  }
}

function key(channel: ChannelId, number: bigint): string {
  return `${channel}:${number}`;
}
function placeOf(position: Position | undefined): Place {
  return { seq: position?.seq ?? 0n, cnt: position?.cnt ?? 0n };
}
function entriesOf(page: HistoryPage, records: readonly Record[]): Entry[] {
  const marks = new Map(page.marks.map((marks) => [marks.seq, marks]));
  const asOf = page.head?.seq ?? 0n;
  return records.map((record) => ({ record, marks: marks.get(seqOf(record)), asOf: asOf > seqOf(record) ? asOf : seqOf(record) }));
}
function stored({ record, marks, asOf }: Entry): StoredRecord {
  return { seq: seqOf(record), record: toBinary(RecordSchema, record), marks: marks && toBinary(MarksSchema, marks), asOf };
}
function restored({ record, marks, asOf }: StoredRecord): Entry {
  return { record: fromBinary(RecordSchema, record), marks: marks && fromBinary(MarksSchema, marks), asOf };
}
function same(a: ChannelSummary, b: ChannelSummary): boolean {
  return (Object.keys(a) as (keyof ChannelSummary)[]).every((name) => a[name] === b[name]);
}

/** So that an app can make a write by hand. */
export function request(of: NonNullable<Parameters<typeof create<typeof RequestSchema>>[1]>): Request {
  return create(RequestSchema, of);
}
