// The console: one page, served by every node; what it shows is what that node says of the cluster.

import { fill, h } from "../../chat/src/dom.js";
import { applyTheme, setTheme, theme, type Theme } from "../../chat/src/theme.js";
import { Access } from "./access.js";
import { api, keepToken, keptToken, Problem, type Me } from "./api.js";
import { AuditLog } from "./audit.js";
import { door } from "./door.js";
import { clockTime } from "./format.js";
import { Groups } from "./groups.js";
import { LayoutView } from "./layout.js";
import { Overview } from "./overview.js";
import { State } from "./state.js";

interface View {
  element: HTMLElement;
  show(): void;
}
const VIEWS: [key: string, title: string, make: (state: State) => View][] = [
  ["overview", "Overview", (state) => new Overview(state)],
  ["groups", "Groups", (state) => new Groups(state)],
  ["layout", "Layout", (state) => new LayoutView(state)],
  ["access", "Access", (state) => new Access(state)],
  ["audit", "Audit", () => new AuditLog()],
];
const THEMES: Record<Theme, [next: Theme, label: string]> = { auto: ["light", "Auto"], light: ["dark", "Light"], dark: ["auto", "Dark"] };

const app = document.querySelector("#app") ?? document.body;

function leave(why: string): void {
  keepToken(null);
  door(app, why, enter);
}

function enter(me: Me): void {
  const notice = h("div", { class: "notice", role: "status", hidden: true });
  const place = h("main", { id: "place" });
  const asked = h("span", { class: "soft" });
  let view: View | undefined;

  const show = (): void => {
    if (state.out !== undefined) {
      state.stop();
      removeEventListener("hashchange", route);
      leave(state.out);
      return;
    }
    const { silent, cut, vitals, seen } = state;
    notice.hidden = !silent && cut === undefined;
    notice.classList.toggle("bad", !notice.hidden);
    if (silent) fill(notice, h("b", {}, "This node does not answer. "), `What is shown is of ${clockTime(seen)}; another node's console may know more.`);
    else if (cut !== undefined) fill(notice, h("b", {}, "This node is cut off, or the cluster has no majority. "), `${cut}. What is shown may be old.`);
    fill(asked, vitals === undefined ? "" : `as node ${vitals.asked} sees it`);
    view?.show();
  };
  const state = new State(me, show);

  const links = VIEWS.map(([key, title]) => h("a", { href: `#${key}` }, title));
  const route = (): void => {
    const key = location.hash.slice(1);
    const at = Math.max(0, VIEWS.findIndex(([name]) => name === key));
    links.forEach((link, index) => (index === at ? link.setAttribute("aria-current", "page") : link.removeAttribute("aria-current")));
    view = VIEWS[at]?.[2](state);
    if (view === undefined) return;
    fill(place, view.element);
    view.show();
    scrollTo(0, 0);
  };
  const look = h("button", { type: "button", class: "small quiet", title: "Light, dark, or as the system has it" }, THEMES[theme()][1]);
  look.addEventListener("click", () => {
    setTheme(THEMES[theme()][0]);
    fill(look, THEMES[theme()][1]);
  });
  const out = h("button", { type: "button", class: "small quiet" }, "Leave");
  out.addEventListener("click", () => {
    state.stop();
    removeEventListener("hashchange", route);
    leave("");
  });
  const who = h("span", { class: `word role ${me.role ?? ""}`, title: me.name }, me.role ?? "");
  fill(
    app,
    h(
      "div",
      { class: "shell" },
      h("header", { class: "top" }, h("div", { class: "brand" }, h("h1", {}, "Kith"), asked), h("nav", { "aria-label": "Views" }, ...links), h("div", { class: "mine" }, who, look, out)),
      notice,
      place,
    ),
  );
  addEventListener("hashchange", route);
  route();
  state.start();
}

async function begin(): Promise<void> {
  applyTheme();
  const token = keptToken();
  if (token === null) return leave("");
  try {
    enter(await api.me(token));
  } catch (error) {
    // A node that does not answer may do so again: the token is good all the same.
    if (error instanceof Problem && !error.isOut) {
      fill(app, h("main", { class: "door-page" }, h("div", { class: "door" }, h("h1", {}, "Kith console"), h("p", { class: "problem", role: "alert" }, error.message), h("button", { type: "button", class: "primary", onclick: () => location.reload() }, "Try again"))));
    } else leave(error instanceof Error ? error.message : "");
  }
}

void begin();
