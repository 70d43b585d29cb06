// The list of conversations: newest first, with what is unread, who is here, and what was said last.

import type { ChannelId, ChannelSummary, Client } from "@kith/client";

import { fill, h, icon, iconButton } from "./dom.js";
import { avatar, nameOf, shortTime, titleOf } from "./format.js";
import { openSearch, openSettings, startConversation } from "./dialogs.js";
import { t } from "./text/index.js";

/** Shown at once; the rest follows when it is scrolled to. */
const ROWS_AT_ONCE = 120;
const WATCHED_MAX = 60;

export class List {
  readonly element: HTMLElement;
  readonly #client: Client;
  readonly #rows = h("ul", { class: "rows" });
  readonly #filter: HTMLInputElement;
  readonly #made = new Map<ChannelId, { element: HTMLElement; key: string }>();
  #current: ChannelId | undefined;
  #shown = ROWS_AT_ONCE;

  constructor(client: Client) {
    this.#client = client;
    this.#filter = h("input", { type: "search", placeholder: t.filter, "aria-label": t.filter, oninput: () => this.#show() });
    const head = h(
      "header",
      { class: "bar" },
      h("h1", {}, t.conversations),
      iconButton("search", t.search, () => openSearch(client)),
      iconButton("gear", t.settings, () => openSettings(client)),
      iconButton("plus", t.newConversation, () => startConversation(client), "accent"),
    );
    this.element = h("nav", { class: "list", "aria-label": t.conversations }, head, h("div", { class: "filter" }, this.#filter), this.#rows);
    this.#rows.addEventListener("scroll", () => {
      const { scrollTop, clientHeight, scrollHeight } = this.#rows;
      if (scrollTop + 2 * clientHeight > scrollHeight && this.#shown < client.channels.value.length) {
        this.#shown += ROWS_AT_ONCE;
        this.#show();
      }
    });
    client.channels.subscribe(() => this.#show());
    client.people.changes.subscribe(() => this.#show());
    client.people.presence.subscribe(() => this.#show());
    this.#show();
  }

  setCurrent(id: ChannelId | undefined): void {
    this.#current = id;
    this.#show();
  }
  /** The conversation above or below the current one. */
  neighbour(step: number): ChannelId | undefined {
    const ids = this.#visible().map(({ id }) => id);
    const at = this.#current === undefined ? -1 : ids.indexOf(this.#current);
    return ids[Math.min(Math.max(at + step, 0), ids.length - 1)];
  }

  #visible(): ChannelSummary[] {
    const wanted = this.#filter.value.trim().toLowerCase();
    const all = this.#client.channels.value;
    if (wanted === "") return all.filter(({ isArchived, id }) => !isArchived || id === this.#current);
    return all.filter((summary) => titleOf(this.#client, summary).toLowerCase().includes(wanted));
  }

  #show(): void {
    const visible = this.#visible();
    const rows = visible.slice(0, this.#shown);
    if (rows.length === 0) {
      const isEmpty = this.#client.channels.value.length === 0;
      const start = h("button", { class: "primary", onclick: () => startConversation(this.#client) }, t.newConversation);
      fill(
        this.#rows,
        h("li", { class: "empty" }, h("strong", {}, isEmpty ? t.noConversations : t.noMatches), isEmpty && h("p", {}, t.noConversationsHint), isEmpty && start),
      );
    } else {
      reconcile(this.#rows, rows.map((summary) => this.#row(summary)));
    }
    const peers = rows.flatMap(({ peer }) => (peer === undefined || peer === this.#client.me ? [] : [peer]));
    this.#client.people.watch(peers.slice(0, WATCHED_MAX));
    const unread = this.#client.channels.value.reduce((sum, { unread, isMuted }) => sum + (isMuted ? 0 : unread), 0);
    document.title = unread > 0 ? `(${unread > 99 ? "99+" : unread}) ${t.app}` : t.app;
  }

  #row(summary: ChannelSummary): HTMLElement {
    const client = this.#client;
    const { id, peer, unread, mentions, preview, previewSender, at, isMuted, isPinned, draft } = summary;
    const title = titleOf(client, summary);
    const presence = peer === undefined || peer === client.me ? "unknown" : client.people.presenceOf(peer).state;
    const who = previewSender === undefined || (peer !== undefined && previewSender === peer) || peer === client.me ? "" : previewSender === client.me ? t.you : nameOf(client, previewSender);
    const said = draft !== "" ? `✎ ${draft}` : who === "" ? preview : `${who}: ${preview}`;
    const isCurrent = id === this.#current;
    const key = [title, presence, said, unread, mentions, shortTime(at), isMuted, isPinned, isCurrent].join("\u0000");
    const known = this.#made.get(id);
    if (known?.key === key) return known.element;
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
    this.#made.set(id, { element, key });
    return element;
  }
}

/** Puts these children into an element, in this order, and touches only what differs: focus and scrolling stay. */
export function reconcile(parent: Element, children: readonly Element[]): void {
  const wanted = new Set<Element>(children);
  for (const child of [...parent.children]) if (!wanted.has(child)) child.remove();
  let at: Element | null = parent.firstElementChild;
  for (const child of children) {
    if (child === at) at = at.nextElementSibling;
    else parent.insertBefore(child, at);
  }
}
