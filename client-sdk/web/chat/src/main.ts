// The page: somebody gets in, one tab of the browser holds their client, and the address says what is shown.
//
//   #/                 the list      #/c/CHANNEL[/SEQ]      a conversation, at a message      #/join/CHANNEL/SECRET      a link to a group

import { browserTransport, Client, Door, isChannel, Tokens, type SavedLogin, type Status } from "@kith/client";

import { forgetLogin, loadLogin, saveLogin } from "./account.js";
import { openJoin, openSearch } from "./dialogs.js";
import { dialog, fill, h } from "./dom.js";
import { enter } from "./door.js";
import { errorText } from "./format.js";
import { List } from "./list.js";
import { RoomView } from "./room.js";
import { t } from "./text/index.js";
import { applyTheme } from "./theme.js";
import { clearNotifications, worker } from "./worker.js";

/** A connection that is back within this is not worth a word. */
const QUIET_MS = 1_500;
const app = document.querySelector("#app") as HTMLElement;
const tabs = new BroadcastChannel("kith");

async function main(): Promise<void> {
  applyTheme();
  const door = new Door([location.origin], browserTransport());
  let why = "";
  for (;;) {
    let login = await loadLogin();
    if (login === undefined) {
      login = await enter(app, door, why);
      await saveLogin(login);
    }
    why = await alone(login, (yielded) => run(door, login, yielded));
  }
}

/** Runs while this tab alone holds the client of the account; gives why it ended. */
async function alone(login: SavedLogin, run: (yielded: Promise<void>) => Promise<string>): Promise<string> {
  if (!("locks" in navigator)) return run(new Promise(() => undefined));
  const name = `kith-${login.user}`;
  for (;;) {
    const ended = await navigator.locks.request(name, { ifAvailable: true }, async (lock) => {
      if (lock === null) return undefined;
      let isYielded = false;
      const yielded = new Promise<void>((resolve) => {
        tabs.onmessage = ({ data }) => {
          if (data !== name) return;
          isYielded = true;
          resolve();
        };
      });
      const why = await run(yielded);
      return isYielded ? undefined : why;
    });
    if (ended !== undefined) return ended;
    await new Promise<void>((resolve) => {
      const take = (): void => {
        tabs.postMessage(name);
        // Waits until the other tab has let go.
        void navigator.locks.request(name, () => undefined).then(() => resolve());
      };
      fill(app, h("main", { class: "door-page" }, h("div", { class: "door" }, h("h1", {}, t.elsewhereTitle), h("p", {}, t.elsewhereText), h("button", { type: "button", class: "primary", onclick: take }, t.useHere))));
    });
  }
}

/** One client, from its start until it is logged out or another tab takes over. */
async function run(door: Door, login: SavedLogin, yielded: Promise<void>): Promise<string> {
  const tokens = new Tokens(door, login, saveLogin);
  const { user, device } = login;
  const client = await Client.create(location.origin, { user, device, tokens: (why) => tokens.token(why) });
  void client.connect().then(() => renewPush(client)).catch(() => undefined);
  const list = new List(client);
  const notice = h("div", { class: "notice", role: "status", hidden: true });
  const place = h("div", { class: "place" });
  fill(app, h("div", { class: "shell" }, notice, h("div", { class: "side" }, list.element), place));
  // Its own name, before it is asked for.
  client.people.person(user);
  let room: RoomView | undefined;

  const route = (): void => {
    const [, kind, id = "", at = ""] = location.hash.split("/");
    if (kind === "join" && isChannel(id)) {
      history.replaceState(null, "", "#/");
      openJoin(client, id, at);
    }
    const isRoom = kind === "c" && isChannel(id);
    document.documentElement.classList.toggle("in-room", isRoom);
    if (room !== undefined && room.id !== id) {
      room.close();
      room = undefined;
    }
    list.setCurrent(isRoom ? id : undefined);
    if (isRoom) void clearNotifications(id).catch(() => undefined);
    if (!isRoom) return fill(place, h("main", { class: "nothing" }, h("img", { src: "/icon.svg", alt: "", width: 48, height: 48 }), h("p", {}, t.choose)));
    if (room === undefined) {
      room = new RoomView(client, id);
      fill(place, room.element);
      room.focus();
    }
    if (/^\d+$/.test(at)) void room.go(BigInt(at));
  };
  const keys = (event: KeyboardEvent): void => {
    if ((event.ctrlKey || event.metaKey) && event.key === "k") {
      event.preventDefault();
      openSearch(client);
    } else if (event.altKey && (event.key === "ArrowUp" || event.key === "ArrowDown")) {
      const next = list.neighbour(event.key === "ArrowUp" ? -1 : 1);
      if (next === undefined) return;
      event.preventDefault();
      location.hash = `#/c/${next}`;
    } else if (event.key === "Escape" && document.querySelector("dialog, .menu") === null && !(event.target instanceof HTMLTextAreaElement)) {
      location.hash = "#/";
    }
  };
  window.addEventListener("hashchange", route);
  window.addEventListener("keydown", keys);
  route();

  let quiet = 0;
  let told: string | undefined;
  const tell = (): void => {
    const text = client.trouble.value !== undefined ? t.storeTrouble : statusText(client.status.value);
    if (text === told) return;
    told = text;
    clearTimeout(quiet);
    const show = (): void => {
      notice.textContent = text || (client.isDurable ? "" : t.notDurable);
      notice.hidden = notice.textContent === "";
    };
    if (text === "") show();
    else quiet = window.setTimeout(show, QUIET_MS);
  };
  client.trouble.subscribe(tell);
  tell();
  const why = await new Promise<string>((resolve) => {
    void yielded.then(() => resolve(""));
    client.status.subscribe((status) => {
      tell();
      if (status.type === "suspended") {
        // The same device is somewhere else: a copy of the browser's profile, say. Whoever is asked for it last has it.
        const box = dialog(t.elsewhereTitle, t.close, h("p", {}, t.elsewhereText), h("div", { class: "buttons" }, h("button", { type: "button", class: "primary", onclick: () => box.close() }, t.useHere)));
        box.addEventListener("close", () => client.session.connect());
      }
      if (status.type !== "closed") return;
      // Closed by this page itself, or for a reason that no retry mends: then this device has to be let in anew.
      if (status.error === undefined) resolve("");
      else void forgetLogin().then(() => resolve(errorText(status.error)));
    });
  });
  room?.close();
  client.close();
  window.removeEventListener("hashchange", route);
  window.removeEventListener("keydown", keys);
  return why;
}

function statusText(status: Status): string {
  switch (status.type) {
    case "offline":
      return t.offline;
    case "connecting":
      return navigator.onLine ? t.connecting : t.offline;
    default:
      return "";
  }
}

/** What this browser subscribed to may have changed since. */
async function renewPush(client: Client): Promise<void> {
  const held = await worker;
  if (held !== undefined) await client.renewPush(held);
}

/** Logs this device out: nobody who opens this browser is told of its news. */
export async function leave(client: Client): Promise<void> {
  await forgetLogin();
  const held = await worker;
  if (held !== undefined) await client.unregisterPush(held).catch(() => undefined);
  void clearNotifications().catch(() => undefined);
  location.hash = "#/";
  await client.logOut();
}

void main();
