// Groups: who leads them, where their replicas are and how far behind.

import { fill, h } from "../../chat/src/dom.js";
import { bytes, count } from "./format.js";
import { lags } from "./overview.js";
import type { State } from "./state.js";

export class Groups {
  readonly element: HTMLElement;
  private readonly table = h("div", { class: "card scroll", tabindex: "0", role: "region", "aria-label": "Groups" });

  constructor(private readonly state: State) {
    this.element = h("div", { class: "view" }, h("h2", {}, "Groups"), this.table);
  }

  show(): void {
    const { status, layout } = this.state;
    const placed = new Map((layout?.groups ?? []).map((group) => [group.group, group]));
    const rows = (status?.groups ?? []).map((group) => {
      const place = placed.get(group.group);
      const behind = lags(group.replicas);
      const replicas = group.replicas.map(({ node, condition }, at) => {
        const late = behind[at] ?? 0;
        const kind = condition !== "sound" ? "bad" : late > 1_000 ? "warn" : "good";
        const text = condition !== "sound" ? condition : late === 0 ? "level" : `${count(late)} behind`;
        return h("span", { class: "replica" }, h("span", { class: `dot ${kind}` }), `${node}`, h("span", { class: "soft" }, ` ${text}`));
      });
      const missing = (place?.replicas ?? []).filter((node) => !group.replicas.some((replica) => replica.node === node));
      const silent = missing.map((node) => h("span", { class: "replica" }, h("span", { class: "dot idle" }), `${node}`, h("span", { class: "soft" }, " silent")));
      const isMoving = place !== undefined && (place.learners.length > 0 || place.voters.some((node) => !place.replicas.includes(node)));
      return h(
        "tr",
        {},
        h("th", { scope: "row" }, group.group === 0 ? "0 (meta)" : String(group.group)),
        h("td", { class: "nowrap" }, group.leader === null ? h("span", { class: "word bad" }, "nobody") : `node ${group.leader}`),
        h("td", { class: "number" }, count(group.term)),
        h("td", {}, ...replicas, ...silent, isMoving && h("span", { class: "word warn" }, "moving")),
        h("td", { class: "number" }, place === undefined ? "–" : bytes(place.bytes)),
      );
    });
    const heads = ["Group", "Leader", "Term", "Replicas", "Size"].map((name) => h("th", { scope: "col", class: name === "Term" || name === "Size" ? "number" : "" }, name));
    const more = layout?.groups_more ?? 0;
    fill(
      this.table,
      h("table", {}, h("thead", {}, h("tr", {}, ...heads)), h("tbody", {}, ...rows)),
      more > 0 && h("p", { class: "soft" }, `${count(more)} more groups: kith layout show`),
      status === undefined && h("p", { class: "nothing" }, "Not asked yet."),
    );
  }
}
