// What can be done with a message: reactions first, then the rest. One menu at a time, beside what it is of.

import type { Client, TimelineItem } from "@kith/client";

import { h, toast } from "./dom.js";
import { t } from "./text/index.js";

const QUICK = ["👍", "❤️", "😂", "🎉", "😮", "😢"];
const MARGIN_PX = 8;

export interface MenuActions {
  react(emoji: string): void;
  reply(): void;
  edit(): void;
  pin(): void;
  delete(): void;
}

export function openMenu(anchor: HTMLElement, client: Client, item: TimelineItem, mayDelete: boolean, actions: MenuActions): void {
  document.querySelector(".menu")?.remove();
  const close = (): void => {
    menu.remove();
    document.removeEventListener("pointerdown", beside, true);
    anchor.focus({ preventScroll: true });
  };
  const entry = (label: string, act: () => void, kind = ""): HTMLButtonElement => {
    const onclick = (): void => {
      close();
      act();
    };
    return h("button", { type: "button", role: "menuitem", class: kind, onclick }, label);
  };
  const copy = (): void => {
    if (item.content.type === "text") void navigator.clipboard.writeText(item.content.text).then(() => toast(t.copied));
  };
  const isThere = item.seq !== undefined;
  const emojis = QUICK.map((emoji) => {
    const button = entry(emoji, () => actions.react(emoji), "emoji");
    button.setAttribute("aria-label", t.reactWith(emoji));
    return button;
  });
  const menu = h("div", { class: "menu", role: "menu", "aria-label": t.actions });
  if (isThere) menu.append(h("div", { class: "emojis" }, ...emojis), entry(t.reply, actions.reply));
  menu.append(entry(t.copy, copy));
  if (isThere && item.sender === client.me) menu.append(entry(t.edit, actions.edit));
  if (isThere) menu.append(entry(item.isPinned ? t.unpin : t.pin, actions.pin));
  if (isThere && mayDelete) menu.append(entry(t.delete, actions.delete, "danger"));

  const beside = (event: Event): void => {
    if (!menu.contains(event.target as Node)) close();
  };
  menu.addEventListener("keydown", (event) => {
    const all = [...menu.querySelectorAll<HTMLElement>("button")];
    const at = all.indexOf(document.activeElement as HTMLElement);
    const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
    if (event.key === "Escape" || event.key === "Tab") close();
    else if (step !== undefined) all[(at + step + all.length) % all.length].focus();
    else return;
    event.preventDefault();
    event.stopPropagation();
  });
  document.body.append(menu);
  const at = anchor.getBoundingClientRect();
  const { width, height } = menu.getBoundingClientRect();
  const left = Math.min(Math.max(at.left + at.width / 2 - width / 2, MARGIN_PX), innerWidth - width - MARGIN_PX);
  const above = at.top - height - MARGIN_PX;
  menu.style.left = `${left}px`;
  menu.style.top = `${above > MARGIN_PX ? above : Math.min(at.bottom + MARGIN_PX, innerHeight - height - MARGIN_PX)}px`;
  document.addEventListener("pointerdown", beside, true);
  menu.querySelector<HTMLElement>("button")?.focus({ preventScroll: true });
}
