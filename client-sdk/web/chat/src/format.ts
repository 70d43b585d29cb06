// Times, names and texts as the page shows them.

import { ChatError, type ChannelSummary, type Client, type UserId } from "@kith/client";

import { h } from "./dom.js";
import { locale, t } from "./text/index.js";

const clock = new Intl.DateTimeFormat(locale, { hour: "2-digit", minute: "2-digit" });
const weekday = new Intl.DateTimeFormat(locale, { weekday: "long" });
const shortDay = new Intl.DateTimeFormat(locale, { day: "numeric", month: "short" });
const longDay = new Intl.DateTimeFormat(locale, { weekday: "long", day: "numeric", month: "long" });
const yearDay = new Intl.DateTimeFormat(locale, { day: "numeric", month: "long", year: "numeric" });
const whole = new Intl.DateTimeFormat(locale, { dateStyle: "full", timeStyle: "short" });

const DAY_MS = 86_400_000;

/** Days before today; today is 0. */
function daysAgo(at: number): number {
  const midnight = (time: number): number => new Date(time).setHours(0, 0, 0, 0);
  return Math.round((midnight(Date.now()) - midnight(at)) / DAY_MS);
}

export const timeText = (at: number): string => clock.format(at);
export const fullText = (at: number): string => whole.format(at);

/** For a line between two days. */
export function dayText(at: number): string {
  const days = daysAgo(at);
  if (days === 0) return t.today;
  if (days === 1) return t.yesterday;
  return days < 300 ? longDay.format(at) : yearDay.format(at);
}
/** For the list of conversations: as short as it can be told. */
export function shortTime(at: number): string {
  if (at === 0) return "";
  const days = daysAgo(at);
  if (days <= 0) return clock.format(at);
  if (days === 1) return t.yesterday;
  return days < 7 ? weekday.format(at) : shortDay.format(at);
}

export function nameOf(client: Client, user: UserId): string {
  return client.people.name(user) || t.someone;
}
/** What a conversation is called. */
export function titleOf(client: Client, { peer, title }: Pick<ChannelSummary, "peer" | "title">): string {
  if (peer === undefined) return title || t.group;
  return peer === client.me ? t.notes : nameOf(client, peer);
}

/** A mark for somebody, or for a group: its first letters on a colour of its own. */
export function avatar(name: string, of: bigint | string, kind = ""): HTMLElement {
  const words = name.split(/\s+/).filter((word) => /[\p{L}\p{N}]/u.test(word));
  const letters = words.slice(0, 2).map((word) => [...word].find((char) => /[\p{L}\p{N}]/u.test(char)) ?? "");
  let hash = 7;
  for (const char of String(of)) hash = (hash * 31 + char.charCodeAt(0)) % 8_191;
  return h("span", { class: `avatar hue-${hash % 8} ${kind}`, "aria-hidden": "true" }, letters.join("").toUpperCase() || "·");
}

const LINK = /(https?:\/\/[^\s<>"']+[^\s<>"'.,;:!?)\]}])|(@[\p{L}\p{N}._-]+)/gu;

/** A text of somebody: links can be followed, mentions stand out; nothing in it is markup. */
export function richText(text: string, isMention: (name: string) => boolean): (Node | string)[] {
  const parts: (Node | string)[] = [];
  let from = 0;
  for (const match of text.matchAll(LINK)) {
    const [found, url, mention] = match;
    if (mention !== undefined && !isMention(mention.slice(1))) continue;
    parts.push(text.slice(from, match.index));
    from = match.index + found.length;
    if (url !== undefined) parts.push(h("a", { href: url, target: "_blank", rel: "noopener noreferrer nofollow" }, url));
    else parts.push(h("span", { class: "mention" }, found));
  }
  parts.push(text.slice(from));
  return parts;
}

/** What went wrong, for a person. */
export function errorText(error: unknown): string {
  if (!(error instanceof ChatError)) return String(error instanceof Error ? error.message : error);
  return t.errors[error.codeName] ?? t.error(error.code);
}
