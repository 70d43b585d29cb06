// The list of conversations: newest first, with what is unread, who is here, and what was said last.

import type { ChannelId, ChannelSummary, Client } from "@kith/client";

import { fill, h, icon, iconButton } from "./dom.js";
import { avatar, nameOf, shortTime, titleOf } from "./format.js";
import { openSearch, startConversation } from "./dialogs.js";
import { openContacts } from "./people.js";
import { openSettings } from "./settings.js";
import { t } from "./text/index.js";
import { VirtualList } from "./virtual.js";

const ROW_PX = 62;

export class List {
  readonly element: HTMLElement;
  readonly #client: Client;
  readonly #rows = h("ul", { class: "rows-box" });
  readonly #empty = h("div", { class: "empty" });
  readonly #scroller = h("div", { class: "rows", onkeydown: (event: KeyboardEvent) => this.#walk(event) }, this.#empty, this.#rows);
  readonly #virtual = new VirtualList(this.#scroller, this.#rows, false);
  readonly #filter: HTMLInputElement;
  readonly #looks = new WeakMap<HTMLElement, string>();
  #visible: readonly ChannelSummary[] = [];
  #current: ChannelId | undefined;

  constructor(client: Client) {
    this.#client = client;
    this.#filter = h("input", { type: "search", placeholder: t.filter, "aria-label": t.filter, oninput: () => this.#show() });
    const head = h(
      "header",
      { class: "bar" },
      h("h1", {}, t.conversations),
      iconButton("search", t.search, () => openSearch(client)),
      iconButton("people", t.contacts, () => openContacts(client)),
      iconButton("gear", t.settings, () => openSettings(client)),
      iconButton("plus", t.newConversation, () => startConversation(client), "accent"),
    );
    this.element = h("nav", { class: "list", "aria-label": t.conversations }, head, h("div", { class: "filter" }, this.#filter), this.#scroller);
    this.#scroller.addEventListener("scroll", () => this.#watch(), { passive: true });
    for (const live of [client.channels, client.people.changes, client.people.presence]) live.subscribe(() => this.#show());
    this.#show();
  }

  setCurrent(id: ChannelId | undefined): void {
    this.#current = id;
    this.#show();
  }
  /** The conversation above or below the current one. */
  neighbour(step: number): ChannelId | undefined {
    const at = this.#visible.findIndex(({ id }) => id === this.#current);
    const next = Math.min(Math.max(at + step, 0), this.#visible.length - 1);
    this.#virtual.reveal(next, "nearest");
    return this.#visible[next]?.id;
  }

  #wanted(): readonly ChannelSummary[] {
    const wanted = this.#filter.value.trim().toLowerCase();
    const all = this.#client.channels.value;
    if (wanted === "") return all.filter(({ isArchived, id }) => !isArchived || id === this.#current);
    return all.filter((summary) => titleOf(this.#client, summary).toLowerCase().includes(wanted));
  }

  #show(): void {
    const visible = (this.#visible = this.#wanted());
    this.#empty.hidden = visible.length > 0;
    if (visible.length === 0) {
      const isEmpty = this.#client.channels.value.length === 0;
      const start = h("button", { class: "primary", onclick: () => startConversation(this.#client) }, t.newConversation);
      fill(this.#empty, h("strong", {}, isEmpty ? t.noConversations : t.noMatches), isEmpty && h("p", {}, t.noConversationsHint), isEmpty && start);
    }
    this.#virtual.show({ count: visible.length, key: (at) => visible[at].id, guess: () => ROW_PX, element: (at, shown) => this.#row(visible[at], at, shown), isStop: () => true });
    this.#watch();
    const unread = this.#client.channels.value.reduce((sum, { unread, isMuted }) => sum + (isMuted ? 0 : unread), 0);
    document.title = unread > 0 ? `(${unread > 99 ? "99+" : unread}) ${t.app}` : t.app;
  }
  /** Whether those are here who are seen, and those near them. */
  #watch(): void {
    const [first, end] = this.#virtual.seen;
    const near = this.#visible.slice(Math.max(2 * first - end, 0), 2 * end - first);
    this.#client.people.watch(near.flatMap(({ peer }) => (peer === undefined || peer === this.#client.me ? [] : [peer])));
  }
  #walk(event: KeyboardEvent): void {
    const step = event.key === "ArrowUp" ? -1 : event.key === "ArrowDown" ? 1 : undefined;
    if (step !== undefined && !event.altKey && this.#virtual.walk(step)) event.preventDefault();
  }

  #row(summary: ChannelSummary, at: number, shown: HTMLElement | undefined): HTMLElement {
    const element = this.#look(summary, shown);
    element.setAttribute("aria-posinset", String(at + 1));
    element.setAttribute("aria-setsize", String(this.#visible.length));
    return element;
  }
  #look(summary: ChannelSummary, shown: HTMLElement | undefined): HTMLElement {
    const client = this.#client;
    const { id, peer, unread, mentions, preview, previewSender, at, isMuted, isPinned, draft } = summary;
    const title = titleOf(client, summary);
    const presence = peer === undefined || peer === client.me ? "unknown" : client.people.presenceOf(peer).state;
    const who = previewSender === undefined || (peer !== undefined && previewSender === peer) || peer === client.me ? "" : previewSender === client.me ? t.you : nameOf(client, previewSender);
    const said = draft !== "" ? `✎ ${draft}` : preview === "" ? "" : who === "" ? preview : `${who}: ${preview}`;
    const isCurrent = id === this.#current;
    const key = [title, presence, said, unread, mentions, shortTime(at), isMuted, isPinned, isCurrent].join("\u0000");
    if (shown !== undefined && this.#looks.get(shown) === key) return shown;
    const count = unread > 999 ? "999+" : String(unread);
    const spoken = [t.unread(unread), mentions > 0 ? t.mentions(mentions) : ""].filter(Boolean).join(", ");
    const badge =
      unread > 0 &&
      h("span", { class: `badge ${isMuted ? "muted" : ""}` }, h("span", { "aria-hidden": "true" }, mentions > 0 ? `@ ${count}` : count), h("span", { class: "spoken" }, spoken));
    const element = h(
      "li",
      {},
      h(
        "a",
        { href: `#/c/${id}`, class: `row ${unread > 0 ? "is-unread" : ""}`, "aria-current": isCurrent ? "page" : undefined },
        h("span", { class: `face ${presence}` }, avatar(title, peer ?? id, peer === undefined ? "group" : ""), presence === "online" && h("span", { class: "spoken" }, t.presence.online)),
        h("span", { class: "row-title", dir: "auto" }, title),
        h("time", { class: "row-time" }, shortTime(at)),
        h("span", { class: "row-said", dir: "auto" }, said),
        h("span", { class: "row-marks" }, isMuted && icon("bell"), isPinned && icon("pin"), badge),
      ),
    );
    this.#looks.set(element, key);
    return element;
  }
}
