// What is done to the cluster: each act shows the command line that does the same, and asks first.

import { dialog, fill, h, toast } from "../../chat/src/dom.js";
import { api, Problem, type Made } from "./api.js";
import { bytes, fullTime, some, span } from "./format.js";
import type { State } from "./state.js";

type Child = Node | string | undefined | false;

/** A line to be copied. */
export function command(line: string): HTMLElement {
  const copy = h("button", { type: "button", class: "copy", onclick: () => void copied(line) }, "Copy");
  return h("div", { class: "command" }, h("code", {}, line), copy);
}
async function copied(text: string): Promise<void> {
  await navigator.clipboard.writeText(text).then(
    () => toast("Copied"),
    () => toast("The browser does not let this page copy: mark it by hand"),
  );
}
export const said = (error: unknown): string => (error instanceof Problem ? error.message : String(error));

interface Act {
  title: string;
  body: Child[];
  line: string;
  yes: string;
  danger?: boolean;
  /** Does it; what it gives is said. */
  work: () => Promise<string>;
}

/** Asks, does it, and says what came of it. */
export function asked(state: State, { title, body, line, yes, danger, work }: Act): void {
  const problem = h("p", { class: "problem", role: "alert", hidden: true });
  const go = h("button", { type: "button", class: danger === true ? "danger" : "primary" }, yes);
  const no = h("button", { type: "button", class: "quiet", onclick: () => box.close() }, "Cancel");
  const what = h("div", { class: "ask-body" }, ...body, h("p", { class: "soft" }, "The same on the command line:"), command(line), problem);
  const box = dialog(title, "Close", what, h("div", { class: "buttons" }, no, go));
  go.addEventListener("click", () => {
    go.disabled = true;
    work().then(
      (text) => {
        box.close();
        toast(text);
        void state.look();
      },
      (error: unknown) => {
        go.disabled = false;
        problem.hidden = false;
        fill(problem, said(error));
      },
    );
  });
  go.focus();
}

export function drain(state: State, node: number, on: boolean): void {
  asked(state, {
    title: on ? `Drain node ${node}` : `End the drain of node ${node}`,
    body: [
      h("p", {}, on
        ? "Its sessions move to other nodes and its leaderships are handed over; its replicas stay. It takes no new sessions until this is ended or it is started anew."
        : "It takes sessions and leaderships again."),
    ],
    line: on ? `kith node drain ${node}` : `kith node drain ${node} --undo`,
    yes: on ? "Drain" : "End the drain",
    work: async () => {
      await api.drain(node, on);
      return on ? `Node ${node} gives up sessions and leaderships` : `Node ${node} takes sessions again`;
    },
  });
}

export async function decommission(state: State, node: number): Promise<void> {
  let emptied;
  try {
    emptied = await api.decommission(node, true);
  } catch (error) {
    toast(said(error));
    return;
  }
  if (emptied.blocked.length > 0) {
    const why = h("ul", { class: "reasons" }, ...emptied.blocked.map((line) => h("li", {}, line)));
    dialog(`Node ${node} cannot be emptied`, "Close", h("div", { class: "ask-body" }, h("p", {}, "This is in the way:"), why));
    return;
  }
  const { replicas, eta_s } = emptied;
  asked(state, {
    title: `Decommission node ${node}`,
    body: [
      h("p", {}, `Its ${some(replicas, "replica")} are copied to other nodes: ${bytes(emptied.bytes)}, about ${span(eta_s)}. Then it has left, for good: its id is never used again.`),
      h("p", {}, "Until it has left it can be kept."),
    ],
    line: `kith node decommission ${node}`,
    yes: "Decommission",
    danger: true,
    work: async () => {
      await api.decommission(node, false);
      return `Node ${node} is being emptied`;
    },
  });
}

export function recommission(state: State, node: number): void {
  asked(state, {
    title: `Keep node ${node}`,
    body: [h("p", {}, "It is not emptied any further, and may be given replicas again.")],
    line: `kith node recommission ${node}`,
    yes: "Keep it",
    work: async () => {
      await api.recommission(node);
      return `Node ${node} stays`;
    },
  });
}

/** A secret that is shown this once. */
export function shownOnce(title: string, { token, until_ms }: Made, ...more: Child[]): void {
  const copy = h("button", { type: "button", class: "primary", onclick: () => void copied(token) }, "Copy");
  const text = h("code", { class: "secret" }, token);
  dialog(title, "Close", h("div", { class: "ask-body" }, h("p", {}, `It is not shown again. Good until ${fullTime(until_ms)}.`), text, ...more), h("div", { class: "buttons" }, copy));
}
