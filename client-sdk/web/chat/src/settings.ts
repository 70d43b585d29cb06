// Settings: who one is, notifications, looks, and the devices that are logged in.

import { subscription, type Client, type Device } from "@kith/client";

import { leave } from "./main.js";
import { confirmed, dialog, fill, h, toast } from "./dom.js";
import { avatar, errorText, shortTime } from "./format.js";
import { LANGUAGES, locale, setLanguage, t } from "./text/index.js";
import { setTheme, theme, type Theme } from "./theme.js";
import { worker } from "./worker.js";

const ABOUT_CHARS_MAX = 500;

/** Does something, and says what went wrong. */
async function told(what: () => Promise<unknown>): Promise<void> {
  try {
    await what();
  } catch (error) {
    toast(errorText(error));
  }
}

export function openSettings(client: Client): void {
  const option = (value: string, label: string, chosen: string): HTMLElement => h("option", { value, selected: value === chosen }, label);
  const look = h("select", { id: "theme", onchange: () => setTheme(look.value as Theme) }, option("auto", t.themeAuto, theme()), option("light", t.themeLight, theme()), option("dark", t.themeDark, theme()));
  const language = h("select", { id: "language", onchange: () => setLanguage(language.value) }, ...Object.entries(LANGUAGES).map(([tag, { language }]) => option(tag, language, locale)));
  const out = async (): Promise<void> => {
    if (!(await confirmed(t.logOutAsk, t.logOut, t.cancel))) return;
    box.close();
    await leave(client);
  };
  const box = dialog(
    t.settings,
    t.close,
    profile(client),
    notifications(client),
    h("div", { class: "pair" }, h("div", { class: "fields" }, h("label", { for: "theme" }, t.theme), look), h("div", { class: "fields" }, h("label", { for: "language" }, t.languageLabel), language)),
    devices(client),
    h("div", { class: "buttons" }, h("button", { type: "button", class: "danger", onclick: () => void out() }, t.logOut)),
  );
}

function profile(client: Client): HTMLElement {
  const handle = h("p", { class: "handle" });
  const display = h("input", { type: "text", id: "display", maxlength: 64, dir: "auto" });
  const about = h("input", { type: "text", id: "about", maxlength: ABOUT_CHARS_MAX, dir: "auto" });
  const show = (name: string, shown: string): void => {
    fill(handle, avatar(shown || name, client.me), h("span", {}, name === "" ? "" : `@${name}`));
    display.placeholder = name;
    display.value = shown;
  };
  const held = client.people.person(client.me);
  show(held?.name ?? "", held?.display ?? "");
  void told(async () => {
    const now = await client.profile(client.me);
    show(now.name, now.display);
    about.value = now.about;
  });
  const onsubmit = (event: Event): void => {
    event.preventDefault();
    void told(async () => (await client.setProfile({ display: display.value.trim(), about: about.value.trim() }), toast(t.saved)));
  };
  const fields = h("form", { class: "fields", onsubmit }, h("label", { for: "display" }, t.displayName), display, h("label", { for: "about" }, t.about), h("div", { class: "inline" }, about, h("button", { class: "primary" }, t.save)));
  return h("section", {}, handle, fields);
}

/** Whether this browser is told of news while the page is closed. Permission is asked for when somebody switches it on. */
function notifications(client: Client): HTMLElement {
  const why = h("small", { id: "notify-why" });
  const onchange = (): void => void change().catch(() => (box.checked = !box.checked, show(t.notifyNow.failed)));
  const box = h("input", { type: "checkbox", id: "notify", role: "switch", disabled: true, "aria-describedby": "notify-why", onchange });
  let key = "";
  const show = (text: string): void => {
    why.textContent = text;
    why.hidden = text === "";
  };
  const begin = async (): Promise<void> => {
    const held = await worker;
    if (held?.pushManager === undefined || !("Notification" in window)) return show(t.notifyNow.unable);
    key = await client.pushKey();
    if (key === "") return show(t.notifyNow.none);
    if (Notification.permission === "denied") return show(t.notifyNow.denied);
    box.checked = (await subscription(held)) !== undefined;
    box.disabled = false;
  };
  const change = async (): Promise<void> => {
    const held = await worker;
    if (held === undefined) return;
    show("");
    if (!box.checked) return client.unregisterPush(held);
    if (await client.registerPush(held, key)) return;
    box.checked = false;
    box.disabled = Notification.permission === "denied";
    show(t.notifyNow.denied);
  };
  show("");
  begin().catch((error) => show(errorText(error)));
  return h("div", { class: "fields" }, h("h3", { class: "label" }, t.notifications), h("label", { class: "switch", for: "notify" }, h("span", {}, t.notify), box), why);
}

function devices(client: Client): HTMLElement {
  const list = h("ul", { class: "found all", "aria-label": t.devices });
  const others = h("button", { type: "button", class: "link", hidden: true, onclick: () => void told(endOthers) }, t.endOthers);
  const endOthers = async (): Promise<void> => {
    if (!(await confirmed(t.endOthersAsk, t.logOut, t.cancel))) return;
    await client.endOtherDevices();
    await refresh();
  };
  const end = async ({ device, title }: Device): Promise<void> => {
    if (!(await confirmed(`${t.endDevice(title)}?`, t.logOut, t.cancel))) return;
    await client.endDevice(device);
    await refresh();
  };
  const row = (device: Device): HTMLElement => {
    const when = device.isThis ? t.thisDevice : t.lastHere(shortTime(device.seen));
    const button = h("button", { type: "button", class: "link", "aria-label": t.endDevice(device.title), onclick: () => void told(() => end(device)) }, t.logOut);
    return h("li", { class: "device" }, h("span", { dir: "auto" }, device.title), h("small", {}, when), !device.isThis && button);
  };
  const refresh = async (): Promise<void> => {
    const all = await client.devices();
    all.sort((a, b) => Number(b.isThis) - Number(a.isThis) || b.seen - a.seen);
    fill(list, ...all.map(row));
    others.hidden = all.length < 3;
  };
  refresh().catch((error) => fill(list, h("li", { class: "empty" }, errorText(error))));
  return h("section", {}, h("h3", { class: "label" }, t.devices), list, others);
}
