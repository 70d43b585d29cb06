// Getting in: by an admin token; the cluster's first is turned into one on the way.

import { fill, h } from "../../chat/src/dom.js";
import { api, keepToken, type Me } from "./api.js";
import { command, said, shownOnce } from "./act.js";

const FIRST = "kith-first-";

/** Shows the door; what is given is who came in. */
export function door(app: Element, why: string, enter: (me: Me) => void): void {
  const token = h("input", { id: "token", type: "password", autocomplete: "off", spellcheck: "false", placeholder: "kith-admin-…" });
  const problem = h("p", { class: "problem", role: "alert" }, why);
  const go = h("button", { type: "submit", class: "primary" }, "Enter");
  const submit = async (event: SubmitEvent): Promise<void> => {
    event.preventDefault();
    go.disabled = true;
    fill(problem);
    try {
      let text = token.value.trim();
      if (text.startsWith(FIRST)) {
        const made = await api.claim(text, "the first admin");
        text = made.token;
        shownOnce("Your admin token", made, h("p", { class: "soft" }, "It has taken the place of the cluster's first token, which is used up. Keep it somewhere safe."));
      }
      const me = await api.me(text);
      if (me.role === undefined) throw new Error("This token runs no cluster: it is somebody's own.");
      keepToken(text);
      enter(me);
    } catch (error) {
      fill(problem, error instanceof Error ? error.message : said(error));
      token.select();
    } finally {
      go.disabled = false;
    }
  };
  const form = h(
    "form",
    { class: "door", onsubmit: (event: SubmitEvent) => void submit(event) },
    h("h1", {}, "Kith console"),
    h("p", { class: "soft" }, "How the cluster is, and what is done about it."),
    h("label", { for: "token" }, "Admin token"),
    token,
    go,
    problem,
    h(
      "details",
      {},
      h("summary", {}, "I have none"),
      h("p", { class: "soft" }, "A node shows the cluster's first token once, when it is started for the first time: it is taken here too. An admin makes others:"),
      command("kith admin token create --role viewer"),
      h("p", { class: "soft" }, "If none is left, on a node's own machine, as the node's user:"),
      command("kith admin recover --config node.toml"),
    ),
  );
  fill(app, h("main", { class: "door-page" }, form));
  token.focus();
}
