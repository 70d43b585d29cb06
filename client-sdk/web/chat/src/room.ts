// A conversation on the screen: who it is with, what was said, and what is being written.

import { ChatError, directPeer, type Channel, type ChannelId, type Client, type Member, type Seq, type Timeline, type TimelineItem, type UserId } from "@kith/client";

import { openDetails } from "./dialogs.js";
import { confirmed, fill, h, icon, iconButton, toast } from "./dom.js";
import { avatar, dayText, errorText, nameOf, shortTime, titleOf } from "./format.js";
import { reconcile } from "./list.js";
import { openMenu } from "./menu.js";
import { keyOf, progressOf, render, textOf, type Around, type MessageEvents } from "./message.js";
import { t } from "./text/index.js";

/** So near to the end, in pixels, that new messages are followed. */
const NEAR_PX = 80;
/** So near to the beginning that older ones are asked for. */
const EARLY_PX = 600;
const DRAFT_WAIT_MS = 800;
const TEXT_CHARS_MAX = 100_000;
/** More than anybody misses. */
const FAR = 1n << 40n;

export class RoomView {
  readonly element: HTMLElement;
  readonly #client: Client;
  readonly #channel: Channel;
  readonly #ends: (() => void)[] = [];
  readonly #head = h("header", { class: "bar" });
  readonly #items: HTMLElement;
  readonly #log: HTMLElement;
  readonly #older = h("div", { class: "older" });
  readonly #newest: HTMLButtonElement;
  readonly #typing = h("div", { class: "typing", "aria-live": "polite" });
  readonly #composer: HTMLElement;
  readonly #input: HTMLTextAreaElement;
  readonly #context = h("div", { class: "context" });
  readonly #made = new Map<string, { item: TimelineItem; key: string; element: HTMLElement }>();
  readonly #unfolded = new Set<string>();
  #timeline: Timeline | undefined;
  #members: Member[] = [];
  #replyTo: TimelineItem | undefined;
  #editing: TimelineItem | undefined;
  /** What came while nobody looked: after the first, up to the second. */
  #news: { after: Seq; upTo: Seq };
  #isFollowing = true;
  #isClosed = false;
  #draftTimer = 0;

  constructor(client: Client, id: ChannelId) {
    this.#client = client;
    this.#channel = client.channel(id);
    const summary = this.#channel.summary;
    this.#news = { after: summary?.readSeq ?? 0n, upTo: summary?.headSeq ?? 0n };
    this.#items = h("div", { class: "items" });
    this.#log = h("div", { class: "log", role: "log", tabindex: 0, "aria-label": t.messages(this.#title()), onkeydown: (event: KeyboardEvent) => this.#walk(event) }, this.#older, this.#items);
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
    this.element = h("main", { class: "room", "aria-label": this.#title() }, this.#head, h("div", { class: "log-frame" }, this.#log, this.#newest), this.#typing, this.#composer);
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
    const resized = new ResizeObserver(() => this.#isFollowing && this.#toEnd(false));
    resized.observe(this.#log);
    this.#ends.push(
      () => window.removeEventListener("focus", back),
      () => window.removeEventListener("blur", away),
      () => resized.disconnect(),
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
    this.#isFollowing = false;
    if (!(await this.#timeline.loadTo(seq))) return toast(t.noHits);
    this.#show();
    const item = this.#timeline.items.value.find((item) => item.seq === seq);
    const element = item && this.#made.get(item.id)?.element;
    if (element === undefined) return;
    element.scrollIntoView({ block: "center" });
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
    const client = this.#client;
    const bySeq = new Map(items.flatMap((item) => (item.seq === undefined ? [] : [[item.seq, item] as const])));
    const isGroup = directPeer(this.#channel.id, client.me) === undefined;
    const reach = this.#channel.reach.value;
    const elements: HTMLElement[] = [];
    const gone = new Set(this.#made.keys());
    let day = "";
    let isNewShown = false;
    items.forEach((item, at) => {
      const itsDay = dayText(item.at);
      const isNewDay = itsDay !== day;
      if (isNewDay) {
        day = itsDay;
        elements.push(this.#line(`day-${itsDay}`, "day", itsDay));
      }
      const { after: seen, upTo } = this.#news;
      const isNew = item.seq !== undefined && seen > 0n && item.seq > seen && item.seq <= upTo && item.sender !== client.me;
      if (isNew && !isNewShown && item.content.type === "text") {
        isNewShown = true;
        elements.push(this.#line("new", "new", t.newMessages));
      }
      const before = isNewDay ? undefined : items[at - 1];
      const next = items[at + 1];
      const answered = item.content.type === "text" && item.content.replyTo !== undefined ? bySeq.get(item.content.replyTo) : undefined;
      const after = next !== undefined && dayText(next.at) === itsDay ? next : undefined;
      const around: Around = { client, isGroup, before, after, answered, progress: progressOf(item, client.me, reach), isUnfolded: this.#unfolded.has(item.id) };
      const key = keyOf(item, around);
      gone.delete(item.id);
      let made = this.#made.get(item.id);
      if (made === undefined || made.item !== item || made.key !== key) {
        const element = render(item, around, this.#events);
        if (made === undefined && this.#isShown) element.classList.add("fresh");
        made = { item, key, element };
        this.#made.set(item.id, made);
      }
      elements.push(made.element);
    });
    for (const id of gone) this.#made.delete(id);
    const bottom = this.#log.scrollHeight - this.#log.scrollTop;
    reconcile(this.#items, elements);
    // What was read stays where it is, whatever came above it.
    if (this.#isFollowing) this.#toEnd(false);
    else if (this.#log.scrollTop < EARLY_PX * 2 || this.#isLoading) this.#log.scrollTop = this.#log.scrollHeight - bottom;
    this.#showOlder();
    this.#read();
    this.#isShown = true;
    // What does not fill the screen cannot be scrolled.
    if (this.#log.scrollHeight <= this.#log.clientHeight + EARLY_PX) void this.#loadOlder();
  }
  #isShown = false;
  #isLoading = false;
  #lines = new Map<string, HTMLElement>();

  #line(key: string, kind: string, text: string): HTMLElement {
    let line = this.#lines.get(key);
    if (line === undefined) this.#lines.set(key, (line = h("div", { class: `line ${kind}`, role: "separator", "aria-label": text }, h("span", {}, text))));
    return line;
  }

  #showOlder(): void {
    const hasOlder = this.#timeline?.hasOlder.value ?? false;
    const count = this.#timeline?.items.value.length ?? 0;
    const text = hasOlder ? t.older : count > 0 ? t.beginning : t.sayHello;
    this.#older.className = `older ${hasOlder ? "is-loading" : ""} ${count === 0 && !hasOlder ? "is-empty" : ""}`;
    if (this.#older.textContent !== text) this.#older.textContent = text;
  }

  #scrolled(): void {
    const { scrollTop, scrollHeight, clientHeight } = this.#log;
    this.#isFollowing = scrollHeight - scrollTop - clientHeight < NEAR_PX;
    this.#newest.hidden = this.#isFollowing;
    if (this.#isFollowing) this.#read();
    if (scrollTop < EARLY_PX) void this.#loadOlder();
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
    this.#isFollowing = true;
    this.#newest.hidden = true;
    this.#log.scrollTop = this.#log.scrollHeight;
    if (isAsked) this.#read();
  }
  /** What is seen is read. */
  #read(): void {
    if (this.#isFollowing && document.hasFocus() && document.visibilityState === "visible" && !this.#isClosed) this.#channel.markRead();
  }

  /** Arrows go from message to message. */
  #walk(event: KeyboardEvent): void {
    const step = event.key === "ArrowUp" ? -1 : event.key === "ArrowDown" ? 1 : 0;
    const all = [...this.#items.querySelectorAll<HTMLElement>(".message")];
    const at = all.indexOf(document.activeElement as HTMLElement);
    if (step !== 0) {
      const next = at < 0 ? all.at(-1) : all[at + step];
      if (next === undefined) return;
      event.preventDefault();
      next.focus();
      next.scrollIntoView({ block: "nearest" });
    } else if (event.key === "Enter" && at >= 0 && event.target === all[at]) {
      event.preventDefault();
      all[at].querySelector<HTMLElement>(".actions")?.click();
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
      this.#isFollowing = false;
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
      toast(error instanceof ChatError ? errorText(error) : t.storeTrouble);
    }
  }
  /** Members whose names are in a text. */
  #mentioned(text: string): UserId[] {
    const names = new Set([...text.matchAll(/@([\p{L}\p{N}._-]+)/gu)].map(([, name]) => name.toLowerCase().replace(/[.]+$/, "")));
    if (names.size === 0) return [];
    return this.#members.flatMap(({ user }) => (names.has(this.#client.people.person(user)?.name.toLowerCase() ?? "") ? [user] : []));
  }
}
