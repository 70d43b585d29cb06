// A conversation on the screen: who it is with, what was said, and what is being written.

import { ChatError, directPeer, type Channel, type ChannelId, type Client, type Member, type Seq, type Timeline, type TimelineItem, type UserId } from "@kith/client";

import { openDetails } from "./dialogs.js";
import { confirmed, fill, h, icon, iconButton, toast } from "./dom.js";
import { avatar, dayText, errorText, nameOf, shortTime, titleOf } from "./format.js";
import { openMenu } from "./menu.js";
import { keyOf, progressOf, render, textOf, type Around, type MessageEvents } from "./message.js";
import { t } from "./text/index.js";
import { VirtualList } from "./virtual.js";

/** So near to the beginning that older ones are asked for. */
const EARLY_PX = 600;
const DRAFT_WAIT_MS = 800;
const TEXT_CHARS_MAX = 100_000;
/** More than anybody misses. */
const FAR = 1n << 40n;
const LINE_PX = 44;
/** Of a guess. */
const LINE_CHARS = 68;
const LINES_MAX = 18;
/** Of what came at once, so many move in. */
const FRESH_MAX = 50;

/** A line between texts, or an item with what stands around it. */
type Row = { key: string; line: string; kind: "day" | "new" } | { key: string; item: TimelineItem; before: TimelineItem | undefined; after: TimelineItem | undefined; place: number };

export class RoomView {
  readonly element: HTMLElement;
  readonly #client: Client;
  readonly #channel: Channel;
  readonly #ends: (() => void)[] = [];
  readonly #head = h("header", { class: "bar" });
  readonly #items: HTMLElement;
  readonly #log: HTMLElement;
  readonly #list: VirtualList;
  /** Says what others write to who listens. */
  readonly #voice = h("div", { class: "spoken", "aria-live": "polite" });
  readonly #older = h("div", { class: "older" });
  readonly #newest: HTMLButtonElement;
  readonly #typing = h("div", { class: "typing", "aria-live": "polite" });
  readonly #composer: HTMLElement;
  readonly #input: HTMLTextAreaElement;
  readonly #context = h("div", { class: "context" });
  readonly #looks = new WeakMap<HTMLElement, { item?: TimelineItem; look: string }>();
  #rows: readonly Row[] = [];
  /** What came just now. */
  #fresh = new Set<string>();
  readonly #unfolded = new Set<string>();
  #timeline: Timeline | undefined;
  #members: Member[] = [];
  #replyTo: TimelineItem | undefined;
  #editing: TimelineItem | undefined;
  /** What came while nobody looked: after the first, up to the second. */
  #news: { after: Seq; upTo: Seq };
  #isClosed = false;
  #draftTimer = 0;

  constructor(client: Client, id: ChannelId) {
    this.#client = client;
    this.#channel = client.channel(id);
    const summary = this.#channel.summary;
    this.#news = { after: summary?.readSeq ?? 0n, upTo: summary?.headSeq ?? 0n };
    this.#items = h("div", { class: "items", role: "feed", "aria-label": t.messages(this.#title()) });
    this.#log = h("div", { class: "log", role: "region", tabindex: 0, "aria-label": t.messages(this.#title()), onkeydown: (event: KeyboardEvent) => this.#walk(event) }, this.#older, this.#items);
    this.#list = new VirtualList(this.#log, this.#items, true);
    this.#ends.push(() => this.#list.close());
    this.#newest = iconButton("down", t.toNewest, () => this.#toEnd(true), "to-newest");
    this.#newest.hidden = true;
    this.#input = h("textarea", {
      rows: 1,
      placeholder: t.write,
      "aria-label": t.write,
      dir: "auto",
      maxlength: TEXT_CHARS_MAX,
      oninput: () => this.#typed(),
      onkeydown: (event: KeyboardEvent) => this.#key(event),
    });
    this.#input.value = summary?.draft ?? "";
    const send = h("button", { class: "icon-button send", "aria-label": t.send, title: t.send }, icon("send"));
    const onsubmit = (event: Event): void => {
      event.preventDefault();
      void this.#submit();
    };
    this.#composer = h("form", { class: "composer", onsubmit }, this.#context, h("div", { class: "field" }, this.#input, send));
    this.element = h("main", { class: "room", "aria-label": this.#title() }, this.#head, h("div", { class: "log-frame" }, this.#log, this.#newest), this.#typing, this.#composer, this.#voice);
    this.#log.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    const watch = <T>(live: { subscribe(fn: (value: T) => void): () => void }, fn: () => void): void => void this.#ends.push(live.subscribe(fn));
    watch(client.channels, () => this.#showHead());
    watch(client.people.presence, () => this.#showHead());
    watch(client.people.changes, () => {
      this.#showHead();
      this.#show();
    });
    watch(this.#channel.typing, () => this.#showTyping());
    watch(this.#channel.reach, () => this.#show());
    const back = (): void => {
      this.#news.upTo = this.#channel.summary?.headSeq ?? 0n;
      this.#read();
    };
    const away = (): void => {
      const head = this.#channel.summary?.headSeq ?? 0n;
      this.#news = { after: head, upTo: head + FAR };
    };
    window.addEventListener("focus", back);
    window.addEventListener("blur", away);
    this.#ends.push(
      () => window.removeEventListener("focus", back),
      () => window.removeEventListener("blur", away),
    );
    this.#showHead();
    this.#showContext();
    void this.#open();
  }

  get id(): ChannelId {
    return this.#channel.id;
  }
  focus(): void {
    // A keyboard on the screen of a phone would hide half of what was said.
    if (matchMedia("(pointer: fine)").matches) this.#input.focus();
  }
  close(): void {
    this.#isClosed = true;
    this.#keepDraft();
    for (const end of this.#ends) end();
    this.#timeline?.close();
  }
  /** Shows one message, older ones are fetched for it. */
  async go(seq: Seq): Promise<void> {
    await this.#opened;
    if (this.#timeline === undefined) return;
    this.#list.stay();
    this.#items.setAttribute("aria-busy", "true");
    const isThere = await this.#timeline.loadTo(seq).catch(() => false);
    this.#items.removeAttribute("aria-busy");
    if (this.#isClosed) return;
    const at = isThere ? this.#rows.findIndex((row) => "item" in row && row.item.seq === seq) : -1;
    const element = at < 0 ? undefined : this.#list.reveal(at, "center");
    if (element === undefined) return toast(t.noHits);
    element.classList.add("flash");
    element.addEventListener("animationend", () => element.classList.remove("flash"), { once: true });
    element.focus({ preventScroll: true });
  }

  #opened: Promise<void> = Promise.resolve();
  #open(): Promise<void> {
    this.#opened = this.#channel.open().then((timeline) => {
      if (this.#isClosed) return timeline.close();
      this.#timeline = timeline;
      this.#ends.push(timeline.items.subscribe(() => this.#show()));
      this.#ends.push(timeline.hasOlder.subscribe(() => this.#showOlder()));
      this.#show();
      this.#toEnd(false);
      this.#read();
      this.#grow();
    });
    this.#channel
      .members()
      .then((members) => {
        this.#members = members;
        for (const { user } of members) this.#client.people.person(user);
        this.#showHead();
        this.#show();
      })
      .catch(() => undefined);
    return this.#opened;
  }

  #title(): string {
    const summary = this.#channel.summary;
    if (summary !== undefined) return titleOf(this.#client, summary);
    const peer = directPeer(this.#channel.id, this.#client.me);
    return titleOf(this.#client, { peer, title: "" });
  }

  // ---- the head

  #showHead(): void {
    const client = this.#client;
    const peer = directPeer(this.#channel.id, client.me);
    const title = this.#title();
    const presence = peer === undefined || peer === client.me ? undefined : client.people.presenceOf(peer);
    const seen = presence?.state === "offline" && presence.lastSeen !== undefined ? t.lastSeen(shortTime(presence.lastSeen)) : "";
    // Whoever is no contact shows nothing: that is no word for it.
    const here = presence?.state === "online" || presence?.state === "away" ? t.presence[presence.state] : "";
    const below = presence !== undefined ? seen || here : peer === undefined && this.#members.length > 0 ? t.members(this.#members.length) : "";
    const details = (): void => openDetails(client, this.#channel, () => this.#members);
    const back = (): void => void (location.hash = "#/");
    fill(
      this.#head,
      iconButton("back", t.back, back, "only-narrow"),
      h(
        "button",
        { type: "button", class: "who", onclick: details },
        h("span", { class: `face ${presence?.state ?? ""}` }, avatar(title, peer ?? this.#channel.id, peer === undefined ? "group" : "")),
        h("span", { class: "who-text" }, h("strong", { dir: "auto" }, title), below !== "" && h("small", {}, below)),
      ),
      iconButton("info", t.details, details),
    );
    const isMember = this.#channel.summary?.isMember ?? true;
    this.#composer.classList.toggle("is-shut", !isMember);
    this.#input.disabled = !isMember;
    this.#input.placeholder = isMember ? t.write : t.left;
  }

  #showTyping(): void {
    const names = this.#channel.typing.value.map((user) => nameOf(this.#client, user));
    fill(this.#typing, names.length > 0 && h("span", { class: "dots", "aria-hidden": "true" }, h("i"), h("i"), h("i")), names.length > 0 ? t.typing(names) : "");
  }

  // ---- the timeline

  #show(): void {
    const items = this.#timeline?.items.value;
    if (items === undefined) return;
    this.#welcome(items);
    this.#rows = this.#rowsOf(items);
    const rows = this.#rows;
    this.#list.show({ count: rows.length, key: (at) => rows[at].key, guess: (at) => guessOf(rows[at]), element: (at, shown) => this.#element(rows[at], shown), isStop: (at) => "item" in rows[at] });
    this.#fresh.clear();
    this.#showOlder();
    this.#read();
    // What does not fill the screen cannot be scrolled.
    if (this.#log.scrollHeight <= this.#log.clientHeight + EARLY_PX) void this.#loadOlder();
  }
  /** What has come since the list was last shown moves in, and is said to who listens. */
  #welcome(items: readonly TimelineItem[]): void {
    const [before, last] = [this.#last, items.at(-1)];
    this.#last = last?.id;
    if (before === undefined || last === undefined) return;
    const first = Math.max(items.length - FRESH_MAX, 0);
    for (let at = items.length - 1; at >= first && items[at].id !== before; at--) this.#fresh.add(items[at].id);
    if (this.#fresh.has(last.id) && last.sender !== this.#client.me && last.content.type === "text") this.#voice.textContent = `${nameOf(this.#client, last.sender)}: ${textOf(last)}`;
  }
  #last: string | undefined;
  #isLoading = false;

  #rowsOf(items: readonly TimelineItem[]): Row[] {
    const rows: Row[] = [];
    const { after: seen, upTo } = this.#news;
    let [from, to] = [0, 0];
    let isNewShown = false;
    items.forEach((item, at) => {
      const isNewDay = item.at < from || item.at >= to;
      if (isNewDay) {
        from = new Date(item.at).setHours(0, 0, 0, 0);
        to = new Date(from).setHours(24, 0, 0, 0);
        rows.push({ key: `day-${item.id}`, line: dayText(item.at), kind: "day" });
      }
      const isNew = item.seq !== undefined && seen > 0n && item.seq > seen && item.seq <= upTo && item.sender !== this.#client.me;
      if (isNew && !isNewShown && item.content.type === "text") {
        isNewShown = true;
        rows.push({ key: "new", line: t.newMessages, kind: "new" });
      }
      const next = items.at(at + 1);
      const isDaysLast = next === undefined || next.at < from || next.at >= to;
      rows.push({ key: item.id, item, before: isNewDay ? undefined : items[at - 1], after: isDaysLast ? undefined : next, place: at + 1 });
    });
    return rows;
  }

  #element(row: Row, shown: HTMLElement | undefined): HTMLElement {
    const known = shown && this.#looks.get(shown);
    if ("line" in row) {
      if (shown !== undefined && known?.look === row.line) return shown;
      const line = h("div", { class: `line ${row.kind}` }, h("span", {}, row.line));
      this.#looks.set(line, { look: row.line });
      return line;
    }
    const { item, before, after } = row;
    const { me } = this.#client;
    const answered = item.content.type === "text" && item.content.replyTo !== undefined ? this.#itemAt(item.content.replyTo) : undefined;
    const progress = progressOf(item, me, this.#channel.reach.value);
    const isGroup = directPeer(this.#channel.id, me) === undefined;
    const around: Around = { client: this.#client, isGroup, before, after, answered, progress, isUnfolded: this.#unfolded.has(item.id) };
    const look = keyOf(item, around);
    const element = shown !== undefined && known?.item === item && known.look === look ? shown : render(item, around, this.#events);
    this.#looks.set(element, { item, look });
    if (shown === undefined && this.#fresh.has(item.id)) element.classList.add("fresh");
    element.setAttribute("aria-posinset", String(row.place));
    element.setAttribute("aria-setsize", String(this.#timeline?.hasOlder.value === true ? -1 : (this.#timeline?.items.value.length ?? 0)));
    return element;
  }
  /** Items stand by rising seq. */
  #itemAt(seq: Seq): TimelineItem | undefined {
    const items = this.#timeline?.items.value ?? [];
    let [low, high] = [0, items.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      const at = items[middle].seq;
      if (at !== undefined && at < seq) low = middle + 1;
      else high = middle;
    }
    return items[low]?.seq === seq ? items[low] : undefined;
  }

  #showOlder(): void {
    const hasOlder = this.#timeline?.hasOlder.value ?? false;
    const count = this.#timeline?.items.value.length ?? 0;
    const text = hasOlder ? t.older : count > 0 ? t.beginning : t.sayHello;
    this.#older.className = `older ${hasOlder ? "is-loading" : ""} ${count === 0 && !hasOlder ? "is-empty" : ""}`;
    if (this.#older.textContent !== text) this.#older.textContent = text;
  }

  #scrolled(): void {
    this.#newest.hidden = this.#list.isAtEnd;
    if (this.#list.isAtEnd) this.#read();
    if (this.#log.scrollTop < EARLY_PX) void this.#loadOlder();
  }
  async #loadOlder(): Promise<void> {
    if (this.#timeline === undefined || this.#isLoading || !this.#timeline.hasOlder.value) return;
    this.#isLoading = true;
    try {
      await this.#timeline.loadOlder();
    } catch {
      // Shown as loading until there is a connection; the next scroll asks again.
    } finally {
      this.#isLoading = false;
    }
  }
  #toEnd(isAsked: boolean): void {
    this.#list.toEnd();
    this.#newest.hidden = true;
    if (isAsked) this.#read();
  }
  /** What is seen is read. */
  #read(): void {
    if (this.#list.isAtEnd && document.hasFocus() && document.visibilityState === "visible" && !this.#isClosed) this.#channel.markRead();
  }

  /** Arrows go from message to message. */
  #walk(event: KeyboardEvent): void {
    const step = event.key === "ArrowUp" ? -1 : event.key === "ArrowDown" ? 1 : undefined;
    const target = event.target as HTMLElement;
    if (step !== undefined) {
      if (this.#list.walk(step)) event.preventDefault();
    } else if (event.key === "Enter" && target.parentElement === this.#items) {
      event.preventDefault();
      target.querySelector<HTMLElement>(".actions")?.click();
    } else if (event.key === "Escape") {
      this.#input.focus();
    }
  }

  readonly #events: MessageEvents = {
    menu: (item, anchor) => openMenu(anchor, this.#client, item, this.#mayDelete(item), {
      react: (emoji) => void this.#react(item, emoji, !item.reactions.some((reaction) => reaction.emoji === emoji && reaction.mine)),
      reply: () => this.#reply(item),
      edit: () => this.#edit(item),
      pin: () => item.seq !== undefined && void this.#told(this.#channel.pin(item.seq, !item.isPinned)),
      delete: () => void this.#delete(item),
    }),
    react: (item, { emoji, mine }) => void this.#react(item, emoji, !mine),
    reply: (item) => this.#reply(item),
    go: (seq) => void this.go(seq),
    unfold: (item) => {
      if (!this.#unfolded.delete(item.id)) this.#unfolded.add(item.id);
      this.#list.stay();
      this.#show();
    },
    discard: (item) => this.#channel.discard(item.id),
  };

  #mayDelete(item: TimelineItem): boolean {
    const role = this.#members.find(({ user }) => user === this.#client.me)?.role;
    return item.sender === this.#client.me || (directPeer(this.#channel.id, this.#client.me) === undefined && (role === "admin" || role === "owner"));
  }
  async #react(item: TimelineItem, emoji: string, on: boolean): Promise<void> {
    if (item.seq !== undefined) await this.#told(this.#channel.react(item.seq, emoji, on));
  }
  async #delete(item: TimelineItem): Promise<void> {
    if (item.seq !== undefined && (await confirmed(t.deleteAsk, t.delete, t.cancel))) await this.#told(this.#channel.delete(item.seq));
  }
  /** What becomes of a write that is shown nowhere else. */
  async #told(write: Promise<{ sent(): Promise<unknown> }>): Promise<void> {
    try {
      await (await write).sent();
    } catch (error) {
      toast(errorText(error));
    }
  }

  // ---- the composer

  #reply(item: TimelineItem): void {
    this.#editing = undefined;
    this.#replyTo = item;
    this.#showContext();
    this.#input.focus();
  }
  #edit(item: TimelineItem): void {
    if (item.content.type !== "text") return;
    this.#replyTo = undefined;
    this.#editing = item;
    this.#input.value = item.content.text;
    this.#showContext();
    this.#grow();
    this.#input.focus();
  }
  #plain(): void {
    if (this.#editing !== undefined) this.#input.value = "";
    this.#editing = this.#replyTo = undefined;
    this.#showContext();
    this.#grow();
  }
  #showContext(): void {
    const of = this.#editing ?? this.#replyTo;
    const title = this.#editing !== undefined ? t.editing : this.#replyTo !== undefined ? t.replyingTo(nameOf(this.#client, this.#replyTo.sender)) : "";
    this.#context.hidden = of === undefined;
    fill(this.#context, of !== undefined && h("span", { class: "context-text" }, h("strong", { dir: "auto" }, title), h("span", { dir: "auto" }, textOf(of))), of !== undefined && iconButton("close", t.cancel, () => this.#plain()));
  }

  #key(event: KeyboardEvent): void {
    if (event.isComposing) return;
    const isPlainEnter = event.key === "Enter" && !event.shiftKey && matchMedia("(pointer: fine)").matches;
    if (isPlainEnter) {
      event.preventDefault();
      void this.#submit();
    } else if (event.key === "Escape" && (this.#editing ?? this.#replyTo) !== undefined) {
      this.#plain();
    } else if (event.key === "ArrowUp" && this.#input.value === "") {
      const last = this.#timeline?.items.value.findLast(({ sender, content }) => sender === this.#client.me && content.type === "text");
      // One that is still on its way cannot be edited yet, and another is not meant.
      if (last?.seq === undefined) return;
      event.preventDefault();
      this.#edit(last);
    }
  }
  #typed(): void {
    this.#grow();
    if (this.#input.value !== "" && this.#editing === undefined) this.#channel.setTyping();
    clearTimeout(this.#draftTimer);
    this.#draftTimer = window.setTimeout(() => this.#keepDraft(), DRAFT_WAIT_MS);
  }
  #grow(): void {
    this.#input.style.height = "auto";
    this.#input.style.height = `${this.#input.scrollHeight}px`;
  }
  #keepDraft(): void {
    clearTimeout(this.#draftTimer);
    const text = this.#editing === undefined ? this.#input.value.slice(0, 2_000) : "";
    if (text === (this.#channel.summary?.draft ?? "")) return;
    this.#channel.prefer({ case: "draft", value: { text, at: BigInt(Date.now()) } }).catch(() => undefined);
  }

  async #submit(): Promise<void> {
    const text = this.#input.value.trim();
    if (text === "") return;
    const [editing, replyTo] = [this.#editing, this.#replyTo];
    this.#input.value = "";
    this.#plain();
    this.#news = { after: 0n, upTo: 0n };
    this.#keepDraft();
    try {
      if (editing?.seq !== undefined) return await this.#told(this.#channel.edit(editing.seq, text));
      const sending = this.#channel.send(text, { replyTo: replyTo?.seq, mentions: this.#mentioned(text) });
      this.#toEnd(true);
      const outgoing = await sending;
      // A refusal is shown at the text itself.
      outgoing.sent().catch(() => undefined);
    } catch (error) {
      this.#input.value = text;
      this.#grow();
      // That nothing can be stored is said above everything, for as long as it is so.
      if (error instanceof ChatError) toast(errorText(error));
    }
  }
  /** Members whose names are in a text. */
  #mentioned(text: string): UserId[] {
    const names = new Set([...text.matchAll(/@([\p{L}\p{N}._-]+)/gu)].map(([, name]) => name.toLowerCase().replace(/[.]+$/, "")));
    if (names.size === 0) return [];
    return this.#members.flatMap(({ user }) => (names.has(this.#client.people.person(user)?.name.toLowerCase() ?? "") ? [user] : []));
  }
}

/** How high a row probably is. */
function guessOf(row: Row): number {
  if ("line" in row || row.item.content.type !== "text") return LINE_PX;
  const { text } = row.item.content;
  const lines = Math.max(Math.ceil(text.length / LINE_CHARS), text.split("\n", LINES_MAX).length);
  return 18 + 22 * Math.min(lines, LINES_MAX);
}
