// One item of a timeline, as it is shown: a text with what belongs to it, or a line that says what happened.

import type { Client, Content, Reach, Reaction, TimelineItem, UserId } from "@kith/client";

import { h, icon } from "./dom.js";
import { avatar, errorText, fullText, nameOf, richText, timeText } from "./format.js";
import { t } from "./text/index.js";

/** Longer texts are folded. */
const FOLD_CHARS = 1_500;
const FOLD_LINES = 18;
const FOLDED_CHARS = 900;
/** Texts of one sender that follow each other within this are one group. */
const GROUP_MS = 5 * 60_000;

export type Progress = "queued" | "sending" | "sent" | "delivered" | "read" | "failed";

/** What an item is shown with. */
export interface Around {
  client: Client;
  /** Names stand at texts of others. */
  isGroup: boolean;
  /** The item before, of the same day. */
  before: TimelineItem | undefined;
  after: TimelineItem | undefined;
  /** The text that this answers, if it is held. */
  answered: TimelineItem | undefined;
  /** Of an own text. */
  progress: Progress | undefined;
  isUnfolded: boolean;
}

export interface MessageEvents {
  menu(item: TimelineItem, anchor: HTMLElement): void;
  react(item: TimelineItem, reaction: Reaction): void;
  reply(item: TimelineItem): void;
  go(seq: bigint): void;
  unfold(item: TimelineItem): void;
  discard(item: TimelineItem): void;
}

/** Everything that `render` looks at: the same key, the same element. */
export function keyOf(item: TimelineItem, around: Around): string {
  const { before, after, answered, progress, isUnfolded, client } = around;
  const answers = answered === undefined ? "" : `${answered.id}${textOf(answered)}${nameOf(client, answered.sender)}`;
  return [nameOf(client, item.sender), follows(before, item), follows(item, after), answers, progress, isUnfolded, namesIn(client, item.content)].join("\u0000");
}

export function render(item: TimelineItem, around: Around, events: MessageEvents): HTMLElement {
  const { content } = item;
  if (content.type !== "text" && content.type !== "gone") {
    return h("article", { class: "event", tabindex: -1 }, h("span", { dir: "auto" }, eventText(around.client, item)));
  }
  const { client, isGroup, before, after } = around;
  const isOwn = item.sender === client.me;
  const isFirst = !follows(before, item);
  const isLast = !follows(item, after);
  const name = nameOf(client, item.sender);
  const classes = ["message", isOwn ? "own" : "", isFirst ? "first" : "", isLast ? "last" : "", item.delivery?.state === "failed" ? "failed" : ""];
  const bubble = h("div", { class: `bubble ${isEmojiOnly(content) ? "emoji" : ""}` });
  if (isGroup && !isOwn && isFirst) bubble.append(h("span", { class: "sender", dir: "auto" }, name));
  if (content.type === "text" && content.replyTo !== undefined) bubble.append(quote(content.replyTo, around, events));
  bubble.append(body(item, content, around, events));
  const element = h(
    "article",
    { class: classes.join(" "), id: `m-${item.id}`, tabindex: -1, "aria-label": labelOf(item, content, name, around) },
    isGroup && !isOwn && (isLast ? avatar(name, item.sender) : h("span", { class: "avatar-space" })),
    h("div", { class: "stack" }, bubble, reactions(item, events), isLast || item.delivery !== undefined || item.isEdited || item.isPinned ? foot(item, around, events) : undefined),
  );
  if (content.type === "text") {
    const button = h("button", { type: "button", class: "icon-button tiny actions", "aria-label": t.actions, title: t.actions, onclick: () => events.menu(item, button) }, icon("more"));
    element.querySelector(".stack")?.prepend(button);
    element.addEventListener("contextmenu", (event) => {
      if (window.getSelection()?.toString() !== "" || (event.target as Element).closest("a") !== null) return;
      event.preventDefault();
      events.menu(item, button);
    });
    element.addEventListener("dblclick", () => item.seq !== undefined && events.reply(item));
  }
  return element;
}

/** Whether two items are of one group. */
function follows(before: TimelineItem | undefined, item: TimelineItem | undefined): boolean {
  if (before === undefined || item === undefined || before.sender !== item.sender) return false;
  const isText = (content: Content): boolean => content.type === "text" || content.type === "gone";
  return isText(before.content) && isText(item.content) && item.at - before.at < GROUP_MS;
}

function body(item: TimelineItem, content: Content, { client, isUnfolded }: Around, events: MessageEvents): HTMLElement {
  if (content.type === "gone") return h("p", { class: "text gone" }, t.gone[content.why]);
  if (content.type !== "text") return h("p");
  const { text } = content;
  const isLong = text.length > FOLD_CHARS || text.split("\n", FOLD_LINES + 1).length > FOLD_LINES;
  const isFolded = isLong && !isUnfolded;
  const shown = isFolded ? `${[...text.slice(0, 2 * FOLDED_CHARS)].slice(0, FOLDED_CHARS).join("").split("\n").slice(0, FOLD_LINES).join("\n")}…` : text;
  const names = new Set(content.mentions.flatMap((user) => [client.people.person(user)?.name.toLowerCase() ?? ""]));
  const paragraph = h("p", { class: "text", dir: "auto" }, ...richText(shown, (name) => names.has(name.toLowerCase())));
  if (!isLong) return paragraph;
  const label = isFolded ? t.showAll : t.showLess;
  return h("div", {}, paragraph, h("button", { type: "button", class: "link", onclick: () => events.unfold(item) }, label));
}

function quote(seq: bigint, { answered, client }: Around, events: MessageEvents): HTMLElement {
  const name = answered === undefined ? "" : nameOf(client, answered.sender);
  const said = answered === undefined ? `#${seq}` : textOf(answered);
  return h("button", { type: "button", class: "quote", onclick: () => events.go(seq) }, h("strong", { dir: "auto" }, name), h("span", { dir: "auto" }, said));
}

function reactions(item: TimelineItem, events: MessageEvents): HTMLElement | undefined {
  if (item.reactions.length === 0) return undefined;
  const chips = item.reactions.map((reaction) => {
    const { emoji, count, mine } = reaction;
    const onclick = (): void => events.react(item, reaction);
    return h("button", { type: "button", class: "chip", "aria-pressed": String(mine), "aria-label": t.reaction(emoji, count, mine), onclick }, h("span", { class: "emoji" }, emoji), h("span", { class: "count" }, String(count)));
  });
  return h("div", { class: "chips" }, ...chips);
}

function foot(item: TimelineItem, { progress }: Around, events: MessageEvents): HTMLElement {
  const failed = item.delivery?.state === "failed" ? item.delivery.error : undefined;
  return h(
    "footer",
    { class: "foot" },
    item.isPinned && icon("pin"),
    item.isEdited && h("span", {}, t.edited),
    failed !== undefined && h("span", { class: "problem" }, `${t.delivery.failed}: ${errorText(failed)}`),
    failed !== undefined && h("button", { type: "button", class: "link", onclick: () => events.discard(item) }, t.retry),
    h("time", { title: fullText(item.at), datetime: new Date(item.at).toISOString() }, timeText(item.at)),
    progress !== undefined && h("span", { class: `progress ${progress}`, role: "img", "aria-label": t.delivery[progress], title: t.delivery[progress] }, icon(PROGRESS_ICONS[progress])),
  );
}

const PROGRESS_ICONS = { queued: "clock", sending: "clock", sent: "check", delivered: "checks", read: "checks", failed: "alert" } as const;

/** How far an own text got: as far as every other member. */
export function progressOf(item: TimelineItem, me: UserId, reach: ReadonlyMap<UserId, Reach>): Progress | undefined {
  if (item.sender !== me || (item.content.type !== "text" && item.delivery === undefined)) return undefined;
  const { seq, delivery } = item;
  if (seq === undefined) return delivery === undefined || delivery.state === "kept" ? undefined : delivery.state;
  const others = [...reach].filter(([user]) => user !== me);
  if (others.length === 0) return "sent";
  if (others.every(([, { read }]) => read >= seq)) return "read";
  return others.every(([, { delivered }]) => delivered >= seq) ? "delivered" : "sent";
}

/** What an item says, in one line. */
export function textOf({ content }: TimelineItem): string {
  if (content.type === "text") return content.text.slice(0, 200).replaceAll("\n", " ");
  return content.type === "gone" ? t.gone[content.why] : "";
}

function labelOf(item: TimelineItem, content: Content, name: string, { progress }: Around): string {
  const said = content.type === "text" ? content.text.slice(0, 400) : textOf(item);
  const reacted = item.reactions.map(({ emoji, count }) => `${emoji} ${count}`);
  return [name, said, ...reacted, item.isEdited ? t.edited : "", timeText(item.at), progress === undefined ? "" : t.delivery[progress]].filter(Boolean).join(", ");
}

function isEmojiOnly(content: Content): boolean {
  return content.type === "text" && content.replyTo === undefined && content.text.length <= 24 && /^(\p{Extended_Pictographic}|\p{Emoji_Component}|\u200d|\ufe0f)+$/u.test(content.text) && !/^[\d#*]+$/.test(content.text);
}

function namesIn(client: Client, content: Content): string {
  if (content.type === "text") return content.mentions.map((user) => nameOf(client, user)).join();
  return "user" in content ? nameOf(client, content.user) : "";
}

function eventText(client: Client, { sender, content }: TimelineItem): string {
  const who = sender === client.me ? t.you : nameOf(client, sender);
  const say = t.system;
  switch (content.type) {
    case "created":
      return say.created(who, content.title);
    case "added":
      return say.added(who, nameOf(client, content.user));
    case "removed":
      return say.removed(who, nameOf(client, content.user));
    case "left":
      return say.left(who);
    case "joined":
      return say.joined(who);
    case "role":
      return say.role(who, nameOf(client, content.user), t.role[content.role]);
    case "described":
      return content.title === undefined ? say.described(who) : say.titled(who, content.title);
    case "pinned":
      return content.on ? say.pinned(who) : say.unpinned(who);
    case "handed":
      return say.handed(who, nameOf(client, content.user));
    case "ruled":
      return say.ruled(who);
    case "muted":
      return say.muted(who, nameOf(client, content.user));
    case "banned":
      return (content.on ? say.banned : say.unbanned)(who, nameOf(client, content.user));
    default:
      return say.unknown;
  }
}

