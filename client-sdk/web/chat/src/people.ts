// People in dialogs: finding them by name, and who is a contact, wants to be one, or is blocked.

import type { Client, Contact, UserId } from "@kith/client";

import { confirmed, dialog, fill, h, iconButton, toast } from "./dom.js";
import { avatar, errorText, nameOf } from "./format.js";
import { t } from "./text/index.js";

const SEARCH_WAIT_MS = 180;
const SECTIONS = ["asking", "mutual", "asked", "blocked"] as const;

/** A field that finds people by the beginning of their name, and a list of those that it found. */
export function peopleField(client: Client, pick: (user: UserId) => void, skip: (user: UserId) => boolean): HTMLElement {
  const found = h("ul", { class: "found", "aria-label": t.people });
  const picked = (user: UserId): void => {
    input.value = "";
    show([], "");
    input.focus();
    pick(user);
  };
  let turn = 0;
  let timer = 0;
  const show = (users: readonly UserId[], wanted: string): void => {
    const rows = users.filter((user) => !skip(user)).map((user) => personRow(client, user, () => picked(user)));
    fill(found, ...(rows.length > 0 || wanted === "" ? rows : [h("li", { class: "empty" }, t.nobodyFound)]));
  };
  const look = async (): Promise<void> => {
    const wanted = input.value.trim().replace(/^@/, "");
    const mine = ++turn;
    if (wanted === "") return show([], "");
    try {
      const users = await client.findUsers(wanted);
      const exact = await client.findUser(wanted).catch(() => undefined);
      if (exact !== undefined && !users.includes(exact)) users.unshift(exact);
      if (mine === turn) show(users, wanted);
    } catch (error) {
      if (mine === turn) fill(found, h("li", { class: "empty" }, errorText(error)));
    }
  };
  const oninput = (): void => {
    clearTimeout(timer);
    timer = window.setTimeout(() => void look(), SEARCH_WAIT_MS);
  };
  const onkeydown = (event: KeyboardEvent): void => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    found.querySelector<HTMLElement>("button")?.click();
  };
  const input = h("input", { type: "search", placeholder: t.peopleHint, "aria-label": t.peopleHint, autocomplete: "off", autocapitalize: "none", spellcheck: "false", oninput, onkeydown });
  return h("div", { class: "people" }, input, found);
}

export function personRow(client: Client, user: UserId, onclick: () => void, more?: HTMLElement): HTMLElement {
  const name = nameOf(client, user);
  const handle = client.people.person(user)?.name ?? "";
  return h("li", {}, h("button", { type: "button", class: "person", onclick }, avatar(name, user), h("span", { dir: "auto" }, name), handle !== name && h("small", {}, `@${handle}`)), more);
}

export function openContacts(client: Client): void {
  const sections = h("div", { class: "contacts" });
  let known: readonly Contact[] = [];
  const told = async (what: () => Promise<void>): Promise<void> => {
    try {
      await what();
      await refresh();
    } catch (error) {
      toast(errorText(error));
    }
  };
  const word = (label: string, act: () => Promise<void>, kind = ""): HTMLElement => h("button", { type: "button", class: `link ${kind}`, onclick: () => void told(act) }, label);
  const remove = (user: UserId) => async (): Promise<void> => {
    if (await confirmed(`${t.removeContact(nameOf(client, user))}?`, t.remove, t.cancel)) await client.askContact(user, false);
  };
  const more = ({ user, state }: Contact): HTMLElement => {
    if (state === "asking") return word(t.accept, () => client.askContact(user, true));
    if (state === "asked") return word(t.takeBack, () => client.askContact(user, false));
    if (state === "blocked") return word(t.unblock, () => client.block(user, false));
    return iconButton("close", t.removeContact(nameOf(client, user)), () => void told(remove(user)), "tiny");
  };
  const open = (user: UserId): void => {
    box.close();
    location.hash = `#/c/${client.direct(user).id}`;
  };
  const section = (state: Contact["state"]): HTMLElement[] => {
    const of = known.filter((contact) => contact.state === state);
    if (of.length === 0) return [];
    const rows = of.map((contact) => personRow(client, contact.user, () => open(contact.user), h("span", { class: "member-more" }, more(contact))));
    return [h("h3", {}, t.contactSections[state]), h("ul", { class: "found all", "aria-label": t.contactSections[state] }, ...rows)];
  };
  const refresh = async (): Promise<void> => {
    known = await client.contacts();
    const nobody = h("div", { class: "empty" }, h("strong", {}, t.noContacts), h("p", {}, t.noContactsHint));
    fill(sections, ...(known.length > 0 ? SECTIONS.flatMap(section) : [nobody]));
  };
  const ask = (user: UserId): void => void told(async () => (await client.askContact(user, true), toast(t.contactAsked)));
  const field = peopleField(client, ask, (user) => user === client.me || known.some((contact) => contact.user === user && contact.state !== "asking"));
  const box = dialog(t.contacts, t.close, field, sections);
  box.querySelector<HTMLElement>(".people input")?.focus();
  refresh().catch((error) => fill(sections, h("p", { class: "empty" }, errorText(error))));
}
