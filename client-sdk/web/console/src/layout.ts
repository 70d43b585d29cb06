// What should be moved, and why; what was.

import { fill, h } from "../../chat/src/dom.js";
import { api, type Move, type Plan } from "./api.js";
import { asked, said } from "./act.js";
import { bytes, count, some } from "./format.js";
import type { State } from "./state.js";

function moves(lines: Move[]): HTMLElement {
  const heads = ["Group", "What", "Why", "Copied"].map((name) => h("th", { scope: "col", class: name === "Copied" ? "number" : "" }, name));
  const rows = lines.map(({ group, what, why, bytes: size }) =>
    h("tr", {}, h("th", { scope: "row" }, String(group)), h("td", {}, what), h("td", { class: "soft" }, why), h("td", { class: "number" }, size === 0 ? "–" : bytes(size))));
  return h("table", {}, h("thead", {}, h("tr", {}, ...heads)), h("tbody", {}, ...rows));
}

export class LayoutView {
  readonly element: HTMLElement;
  private readonly planned = h("div", { class: "card scroll", tabindex: "0", role: "region", "aria-label": "The plan" });
  private readonly moved = h("div", { class: "card scroll", tabindex: "0", role: "region", "aria-label": "What was moved" });

  constructor(private readonly state: State) {
    const look = h("button", { type: "button", class: "small quiet", onclick: () => void this.plan() }, "Plan anew");
    this.element = h(
      "div",
      { class: "view" },
      h("div", { class: "heading" }, h("h2", {}, "What should be moved"), look),
      this.planned,
      h("h2", {}, "What the cluster moved by itself"),
      this.moved,
    );
    void this.plan();
  }

  show(): void {
    const lines = this.state.layout?.moved ?? [];
    fill(this.moved, lines.length === 0 ? h("p", { class: "nothing" }, "Nothing yet.") : moves(lines));
  }

  private async plan(): Promise<void> {
    fill(this.planned, h("p", { class: "nothing" }, "Planning…"));
    try {
      this.showPlan(await api.plan());
    } catch (error) {
      fill(this.planned, h("p", { class: "nothing problem" }, said(error)));
    }
  }

  private showPlan(plan: Plan): void {
    const notes = plan.notes.length > 0 && h("ul", { class: "reasons" }, ...plan.notes.map((note) => h("li", {}, note)));
    if (plan.moves.length === 0) {
      fill(this.planned, h("p", { class: "nothing" }, "Nothing: everything stands where it should."), notes);
      return;
    }
    const line = `kith layout apply --version ${plan.version}`;
    const total = plan.moves.length + plan.moves_more;
    const apply = (): void =>
      asked(this.state, {
        title: `Carry out plan ${plan.version}`,
        body: [h("p", {}, `${some(total, "move")}, ${bytes(plan.bytes)} are copied. Replicas are copied before the old ones go. Refused if the map has changed meanwhile.`)],
        line,
        yes: "Carry out",
        work: async () => {
          const begun = await api.apply(plan.version);
          await this.plan();
          return `${some(begun.moves.length + begun.moves_more, "move")} begun`;
        },
      });
    fill(
      this.planned,
      moves(plan.moves),
      plan.moves_more > 0 && h("p", { class: "soft" }, `and ${count(plan.moves_more)} more`),
      notes,
      this.state.mayRun && h("div", { class: "acts" }, h("button", { type: "button", class: "small primary", onclick: apply }, `Carry out plan ${plan.version}`)),
    );
  }
}
