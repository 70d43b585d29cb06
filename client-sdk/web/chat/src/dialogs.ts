// Dialogs: a new conversation, a group and its members, search, a link to a group.

import { channelBytes, channelOf, Role, type Channel, type Client, type Member, type UserId } from "@kith/client";

import { confirmed, dialog, fill, h, iconButton, toast } from "./dom.js";
import { errorText, nameOf, shortTime, titleOf } from "./format.js";
import { peopleField, personRow } from "./people.js";
import { t } from "./text/index.js";

const SEARCH_WAIT_MS = 180;

export function startConversation(client: Client): void {
  const chosen = new Set<UserId>();
  const chips = h("div", { class: "chosen" });
  const title = h("input", { type: "text", placeholder: t.groupTitle, "aria-label": t.groupTitle, maxlength: 200 });
  const create = h("button", { type: "button", class: "primary", hidden: true, onclick: () => void make() }, t.create);
  const group = h("div", { class: "group-fields", hidden: true }, title, chips);
  const toggle = h("button", { type: "button", class: "quiet", onclick: () => asGroup() }, t.newGroup);
  const open = (id: string): void => {
    box.close();
    location.hash = `#/c/${id}`;
  };
  const asGroup = (): void => {
    group.hidden = create.hidden = false;
    toggle.hidden = notes.hidden = true;
    fill(box.querySelector("h2") as HTMLElement, t.newGroup);
    title.focus();
  };
  const show = (): void => {
    const chip = (user: UserId): HTMLElement => {
      const onclick = (): void => {
        chosen.delete(user);
        show();
      };
      return h("button", { type: "button", class: "chip", onclick, title: t.remove }, `${nameOf(client, user)} ×`);
    };
    fill(chips, ...[...chosen].map(chip));
  };
  const pick = (user: UserId): void => {
    if (group.hidden) return open(client.direct(user).id);
    chosen.add(user);
    show();
  };
  const make = async (): Promise<void> => {
    if (title.value.trim() === "") return title.focus();
    create.disabled = true;
    try {
      open((await client.createGroup(title.value.trim(), [...chosen])).id);
    } catch (error) {
      toast(errorText(error));
      create.disabled = false;
    }
  };
  const notes = h("button", { type: "button", class: "quiet", onclick: () => open(client.direct(client.me).id) }, t.notes);
  const box = dialog(t.newConversation, t.close, group, peopleField(client, pick, (user) => user === client.me || chosen.has(user)), h("div", { class: "buttons" }, notes, toggle, create));
  box.querySelector<HTMLElement>(".people input")?.focus();
}

export function openDetails(client: Client, channel: Channel, known: () => readonly Member[]): void {
  const summary = channel.summary;
  const isGroup = summary !== undefined && summary.peer === undefined;
  const list = h("ul", { class: "found members" });
  const body = h("div", { class: "details" });
  const told = async (what: () => Promise<unknown>): Promise<void> => {
    try {
      await what();
    } catch (error) {
      toast(errorText(error));
    }
  };
  const show = (members: readonly Member[]): void => {
    const mine = members.find(({ user }) => user === client.me)?.role;
    fill(
      list,
      ...members.map(({ user, role }) => {
        const mayRemove = user !== client.me && (mine === "owner" || (mine === "admin" && role === "member"));
        const remove = (): void => void told(async () => (await channel.remove(user)).sent().then(refresh));
        const promote = (): void => void told(async () => (await channel.setRole(user, role === "admin" ? Role.MEMBER : Role.ADMIN)).sent().then(refresh));
        const more = h(
          "span",
          { class: "member-more" },
          mine === "owner" && user !== client.me ? h("button", { type: "button", class: "link", onclick: promote }, role === "admin" ? t.makeMember : t.makeAdmin) : h("small", {}, t.role[role]),
          mayRemove && iconButton("close", t.remove, remove, "tiny"),
        );
        return personRow(client, user, () => (box.close(), (location.hash = `#/c/${client.direct(user).id}`)), more);
      }),
    );
  };
  const refresh = (): Promise<void> => channel.members().then(show);
  const prefer = (label: string, preference: Parameters<Channel["prefer"]>[0]): HTMLElement =>
    h("button", { type: "button", class: "quiet", onclick: () => void told(async () => (await channel.prefer(preference), box.close())) }, label);
  const FOR_EVER = 2n ** 63n - 1n;
  const buttons = h(
    "div",
    { class: "buttons wrap" },
    summary !== undefined && prefer(summary.isPinned ? t.unpin : t.pin, { case: "pin", value: !summary.isPinned }),
    summary !== undefined && prefer(summary.isMuted ? t.unmute : t.mute, { case: "mute", value: { until: summary.isMuted ? undefined : FOR_EVER } }),
    summary !== undefined && prefer(summary.isArchived ? t.unarchive : t.archive, { case: "archive", value: { seen: summary.isArchived ? undefined : summary.headSeq } }),
  );
  if (isGroup) {
    const add = peopleField(client, (user) => void told(async () => (await channel.add(user)).sent().then(refresh)), () => false);
    const invite = async (): Promise<void> => {
      const secret = [...(await channel.invite())].map((byte) => byte.toString(16).padStart(2, "0")).join("");
      await navigator.clipboard.writeText(`${location.origin}/#/join/${channel.id}/${secret}`);
      toast(t.copied);
    };
    const quit = async (): Promise<void> => {
      if (!(await confirmed(t.leaveAsk, t.leave, t.cancel))) return;
      await (await channel.leave()).sent();
      box.close();
    };
    buttons.append(
      h("button", { type: "button", class: "quiet", onclick: () => void told(invite) }, t.invite),
      h("button", { type: "button", class: "quiet danger", onclick: () => void told(quit) }, t.leave),
    );
    fill(body, buttons, h("h3", {}, t.addMember), add, h("h3", {}, t.members(known().length)), list);
    show(known());
    void told(refresh);
  } else {
    const peer = summary?.peer;
    const block = async (): Promise<void> => {
      if (peer === undefined || !(await confirmed(t.blockAsk(nameOf(client, peer)), t.block, t.cancel))) return;
      await client.block(peer, true);
      box.close();
    };
    const ask = async (): Promise<void> => {
      if (peer !== undefined) await client.askContact(peer, true);
      toast(t.contactAsked);
    };
    if (peer !== undefined && peer !== client.me) {
      buttons.append(
        h("button", { type: "button", class: "quiet", onclick: () => void told(ask) }, t.addContact),
        h("button", { type: "button", class: "quiet danger", onclick: () => void told(block) }, t.block),
      );
    }
    fill(body, buttons);
  }
  const box = dialog(summary === undefined ? t.details : titleOf(client, summary), t.close, body);
}

export function openSearch(client: Client): void {
  const hits = h("ul", { class: "found hits" });
  let turn = 0;
  let timer = 0;
  const look = async (): Promise<void> => {
    const words = input.value.trim();
    const mine = ++turn;
    if (words === "") return fill(hits);
    try {
      const found = await client.search(words);
      if (mine !== turn) return;
      const rows = found.map(({ channel, seq, sender, at, excerpt, marks }) => {
        const summary = client.channel(channel).summary;
        const title = summary === undefined ? t.group : titleOf(client, summary);
        const go = (): void => {
          box.close();
          location.hash = `#/c/${channel}/${seq}`;
        };
        return h(
          "li",
          {},
          h("button", { type: "button", class: "hit", onclick: go }, h("strong", { dir: "auto" }, title), h("small", {}, `${nameOf(client, sender)} · ${shortTime(at)}`), h("span", { dir: "auto" }, ...marked(excerpt, marks))),
        );
      });
      fill(hits, ...(rows.length > 0 ? rows : [h("li", { class: "empty" }, t.noHits)]));
    } catch (error) {
      if (mine === turn) fill(hits, h("li", { class: "empty" }, errorText(error)));
    }
  };
  const oninput = (): void => {
    clearTimeout(timer);
    timer = window.setTimeout(() => void look(), SEARCH_WAIT_MS);
  };
  const input = h("input", { type: "search", placeholder: t.searchHint, "aria-label": t.searchHint, autocomplete: "off", oninput });
  const box = dialog(t.search, t.close, input, hits);
  input.focus();
}

/** An excerpt with what was found in it; places count Unicode scalar values. */
function marked(excerpt: string, marks: readonly { first: number; count: number }[]): (Node | string)[] {
  const chars = [...excerpt];
  const parts: (Node | string)[] = [];
  let at = 0;
  for (const { first, count } of marks) {
    parts.push(chars.slice(at, first).join(""), h("mark", {}, chars.slice(first, first + count).join("")));
    at = first + count;
  }
  parts.push(chars.slice(at).join(""));
  return parts;
}

/** Somebody came by a link. */
export function openJoin(client: Client, channel: string, secret: string): void {
  const join = async (): Promise<void> => {
    try {
      const id = channelOf(channelBytes(channel as never));
      const joined = await client.join(id, Uint8Array.from(secret.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16)));
      box.close();
      if (joined === undefined) toast(t.joinPending);
      else location.hash = `#/c/${id}`;
    } catch (error) {
      toast(errorText(error));
    }
  };
  const box = dialog(t.joinTitle, t.close, h("p", {}, t.joinAsk), h("div", { class: "buttons" }, h("button", { type: "button", class: "primary", onclick: () => void join() }, t.join)));
}
