// What was done to the cluster, and by whom: the newest first.

import { fill, h } from "../../chat/src/dom.js";
import { api, type AuditEntry } from "./api.js";
import { said } from "./act.js";
import { fullTime } from "./format.js";

export class AuditLog {
  readonly element: HTMLElement;
  private readonly rows = h("tbody", {});
  private readonly note = h("p", { class: "nothing" });
  private readonly more = h("button", { type: "button", class: "small quiet", hidden: true, onclick: () => void this.page() }, "Older");
  private next: number | undefined;

  constructor() {
    const heads = ["When", "Who", "What", "Of", "Came of it"].map((name) => h("th", { scope: "col" }, name));
    const table = h("table", {}, h("thead", {}, h("tr", {}, ...heads)), this.rows);
    const box = h("div", { class: "card scroll", tabindex: "0", role: "region", "aria-label": "Audit log" }, table, this.note, h("div", { class: "acts" }, this.more));
    const anew = h("button", { type: "button", class: "small quiet", onclick: () => void this.page(true) }, "Read anew");
    this.element = h("div", { class: "view" }, h("div", { class: "heading" }, h("h2", {}, "Audit log"), anew), box);
    void this.page(true);
  }
  show(): void {}

  private async page(anew = false): Promise<void> {
    try {
      const { entries, next } = await api.audit(anew ? undefined : this.next);
      if (anew) this.rows.replaceChildren();
      this.rows.append(...entries.map(row));
      this.next = next;
      this.more.hidden = next === undefined;
      fill(this.note, this.rows.childElementCount === 0 ? "Nothing was done yet." : "");
    } catch (error) {
      fill(this.note, said(error));
    }
  }
}

function row({ at_ms, by, token, act, user, of, note, state, refused }: AuditEntry): HTMLElement {
  const who = token !== undefined ? h("span", {}, "token ", h("span", { class: "mono" }, token)) : by !== undefined ? h("span", { class: "mono" }, by) : "a node's own machine";
  const came = state === "refused" ? h("span", { class: "word bad" }, refused === undefined ? "refused" : `refused (${refused})`) : state === "begun" ? h("span", { class: "word warn" }, "begun") : "done";
  const about = [of, user].filter((part) => part !== undefined).join(" ");
  return h("tr", {}, h("td", { class: "soft nowrap" }, fullTime(at_ms)), h("td", {}, who), h("td", {}, act, note !== "" && h("span", { class: "soft" }, ` ${note}`)), h("td", { class: "mono" }, about), h("td", {}, came));
}
