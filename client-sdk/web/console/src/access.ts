// Who may run the cluster, and which nodes may join.

import { dialog, fill, h } from "../../chat/src/dom.js";
import { api, type AdminToken, type JoinToken, type Role } from "./api.js";
import { asked, command, said, shownOnce } from "./act.js";
import { shortTime } from "./format.js";
import type { State } from "./state.js";

const DAY_S = 86_400;
const good = (state: string): string => (state === "good" || state === "first" ? "good" : "idle");

export class Access {
  readonly element: HTMLElement;
  private readonly admins = h("div", { class: "card scroll", tabindex: "0", role: "region", "aria-label": "Admin tokens" });
  private readonly joins = h("div", { class: "card scroll", tabindex: "0", role: "region", "aria-label": "Join tokens" });

  constructor(private readonly state: State) {
    const make = state.mayAll && h("button", { type: "button", class: "small quiet", onclick: () => this.make() }, "New admin token");
    const join = state.mayAll && h("button", { type: "button", class: "small quiet", onclick: () => this.makeJoin() }, "New join token");
    this.element = h(
      "div",
      { class: "view" },
      h("div", { class: "heading" }, h("h2", {}, "Who may run the cluster"), make),
      this.admins,
      h("div", { class: "heading" }, h("h2", {}, "Tokens by which nodes join"), join),
      this.joins,
    );
    void this.look();
  }
  show(): void {}

  private async look(): Promise<void> {
    try {
      const [admins, joins] = await Promise.all([api.admins(), api.joins()]);
      this.showAdmins(admins.tokens);
      this.showJoins(joins.tokens);
    } catch (error) {
      fill(this.admins, h("p", { class: "nothing problem" }, said(error)));
    }
  }

  private showAdmins(tokens: AdminToken[]): void {
    const rows = tokens.map((token) => {
      const end = this.state.mayAll && (token.state === "good" || token.state === "first") &&
        h("button", { type: "button", class: "small quiet danger", "aria-label": `End the token ${token.name}`, onclick: () => this.end(token) }, "End");
      return h(
        "tr",
        {},
        h("th", { scope: "row" }, token.name),
        h("td", {}, token.role),
        h("td", {}, h("span", { class: `word ${good(token.state)}` }, token.state)),
        h("td", { class: "soft nowrap" }, shortTime(token.until_ms)),
        h("td", { class: "soft mono" }, token.id),
        h("td", { class: "number" }, end),
      );
    });
    const heads = ["For", "Role", "State", "Until", "Id"].map((name) => h("th", { scope: "col" }, name));
    fill(
      this.admins,
      tokens.length === 0
        ? h("p", { class: "nothing" }, "There are none.")
        : h("table", {}, h("thead", {}, h("tr", {}, ...heads, h("td", {}))), h("tbody", {}, ...rows)),
    );
  }

  private showJoins(tokens: JoinToken[]): void {
    const rows = tokens.map((token) => {
      const end = this.state.mayRun && token.state === "good" &&
        h("button", { type: "button", class: "small quiet danger", "aria-label": `End the join token ${token.id}`, onclick: () => this.endJoin(token) }, "End");
      return h(
        "tr",
        {},
        h("th", { scope: "row", class: "mono" }, token.id),
        h("td", {}, h("span", { class: `word ${good(token.state)}` }, token.node === null ? token.state : `node ${token.node} joined`)),
        h("td", { class: "soft nowrap" }, shortTime(token.until_ms)),
        h("td", { class: "number" }, end),
      );
    });
    const heads = ["Id", "State", "Until"].map((name) => h("th", { scope: "col" }, name));
    fill(
      this.joins,
      tokens.length === 0
        ? h("p", { class: "nothing" }, "There are none.")
        : h("table", {}, h("thead", {}, h("tr", {}, ...heads, h("td", {}))), h("tbody", {}, ...rows)),
    );
  }

  private make(): void {
    const name = h("input", { id: "token-name", maxlength: 64, autocomplete: "off", placeholder: "for example: grafana" });
    const role = h("select", { id: "token-role" }, ...["viewer", "operator", "admin"].map((one) => h("option", { value: one }, one)));
    const days = h("select", { id: "token-days" }, ...[1, 30, 90, 366].map((one) => h("option", { value: one, selected: one === 90 }, one === 1 ? "1 day" : `${one} days`)));
    const problem = h("p", { class: "problem", role: "alert" });
    const line = h("div", {});
    const written = (): string => `kith admin token create --name ${JSON.stringify(name.value)} --role ${role.value} --expires ${days.value}d`;
    const tell = (): void => fill(line, command(written()));
    for (const field of [name, role, days]) field.addEventListener("input", tell);
    tell();
    const go = async (event: SubmitEvent): Promise<void> => {
      event.preventDefault();
      try {
        const made = await api.makeAdmin(name.value.trim(), role.value as Role, Number(days.value) * DAY_S);
        box.close();
        shownOnce(`The token for ${name.value.trim()}`, made);
        await this.look();
      } catch (error) {
        fill(problem, said(error));
      }
    };
    const form = h(
      "form",
      { class: "ask-body fields", onsubmit: (event: SubmitEvent) => void go(event) },
      h("label", { for: "token-name" }, "What it is for"), name,
      h("label", { for: "token-role" }, "What it may do"), role,
      h("label", { for: "token-days" }, "How long"), days,
      h("p", { class: "soft" }, "The same on the command line:"), line, problem,
      h("div", { class: "buttons" }, h("button", { type: "submit", class: "primary" }, "Make it")),
    );
    const box = dialog("New admin token", "Close", form);
    name.focus();
  }

  private end(token: AdminToken): void {
    asked(this.state, {
      title: `End the token ${token.name}`,
      body: [h("p", {}, "Every node refuses it within seconds. This cannot be undone: who needs one again gets another.")],
      line: `kith admin token revoke ${token.id}`,
      yes: "End it",
      danger: true,
      work: async () => {
        await api.endAdmin(token.id);
        await this.look();
        return `The token ${token.name} is ended`;
      },
    });
  }

  private makeJoin(): void {
    asked(this.state, {
      title: "New join token",
      body: [h("p", {}, "It lets one node in, once, within the hour. Whoever has it gets all that the cluster holds: hand it to nobody but the new machine.")],
      line: "kith node token create --expires 1h",
      yes: "Make it",
      work: async () => {
        const made = await api.makeJoin(3_600);
        shownOnce("The join token", made, h("p", { class: "soft" }, "On the new machine, with the token in a file:"), command("kith start --join-file FILE --listen HOST:PORT --http HOST:PORT --zone ZONE"));
        await this.look();
        return "Made";
      },
    });
  }

  private endJoin(token: JoinToken): void {
    asked(this.state, {
      title: "End the join token",
      body: [h("p", {}, "No node joins by it any more.")],
      line: `kith node token revoke ${token.id}`,
      yes: "End it",
      danger: true,
      work: async () => {
        await api.endJoin(token.id);
        await this.look();
        return "Ended";
      },
    });
  }
}
