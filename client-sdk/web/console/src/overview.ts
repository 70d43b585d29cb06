// The first view: how the cluster is in a few numbers, the last minutes, and its nodes where they stand.

import { fill, h } from "../../chat/src/dom.js";
import type { PlacedNode, Sample } from "./api.js";
import { decommission, drain, recommission } from "./act.js";
import { bytes, count, millis, rate, some } from "./format.js";
import { Plot } from "./plot.js";
import { KEPT, value } from "./pulse.js";
import type { State } from "./state.js";

/** How a node is, in one word, and how that looks. */
export function condition(node: PlacedNode): { word: string; kind: "good" | "warn" | "bad" | "idle" } {
  if (node.state === "left") return { word: "has left", kind: "idle" };
  if (node.health === "down") return { word: "down", kind: "bad" };
  if (node.health === "suspect") return { word: "not heard", kind: "bad" };
  if (node.state === "joining") return { word: "joining", kind: "warn" };
  if (node.state === "draining") return { word: "being emptied", kind: "warn" };
  return node.drains ? { word: "drains", kind: "warn" } : { word: "up", kind: "good" };
}

function tile(name: string, value: string, more = "", kind = ""): HTMLElement {
  return h("div", { class: `card tile ${kind}` }, h("p", { class: "label" }, name), h("p", { class: "figure" }, value), h("p", { class: "soft" }, more));
}

/** A share of something, as a bar. */
function meter(label: string, share: number, text: string): HTMLElement {
  const bar = h("span", { class: share > 0.9 ? "fill bad" : share > 0.75 ? "fill warn" : "fill" });
  bar.style.width = `${Math.round(100 * Math.min(1, Math.max(0, share)))}%`;
  return h("div", { class: "meter" }, h("span", {}, label), h("span", { class: "track", "aria-hidden": "true" }, bar), h("span", {}, text));
}

export class Overview {
  readonly element: HTMLElement;
  private readonly tiles = h("div", { class: "tiles" });
  private readonly map = h("div", { class: "map" });
  private readonly notes = h("div", {});
  private readonly ack = new Plot("Acknowledged after", millis, KEPT);
  private readonly delivery = new Plot("Waits for delivery in outboxes", millis, KEPT);
  private readonly load = new Plot("Messages", (value) => rate(value ?? 0), KEPT);
  private readonly sessions = new Plot("Sessions", (value) => count(Math.round(value ?? 0)), KEPT);
  private open: number | undefined;

  constructor(private readonly state: State) {
    const plots = [this.ack, this.delivery, this.load, this.sessions].map(({ element }) => element);
    this.element = h("div", { class: "view" }, this.tiles, this.notes, h("h2", {}, "Regions and zones"), this.map, h("h2", {}, "The last minutes"), h("div", { class: "plots" }, ...plots));
  }

  show(): void {
    const { layout, status, pulse } = this.state;
    const last = pulse.points.at(-1);
    const nodes = (layout?.nodes ?? []).filter(({ state }) => state !== "left");
    const well = nodes.filter((node) => node.health === "alive").length;
    const groups = status?.groups ?? [];
    const led = groups.filter(({ leader }) => leader !== null).length;
    const lag = Math.max(0, ...groups.flatMap(({ replicas }) => lags(replicas)));
    const sessions = nodes.reduce((sum, node) => sum + (node.sessions ?? 0), 0);
    fill(
      this.tiles,
      tile("Nodes heard", `${count(well)} of ${count(nodes.length)}`, layout === undefined ? "" : `map ${layout.version}`, well < nodes.length ? "bad" : ""),
      tile("Groups with a leader", `${count(led)} of ${count(groups.length)}`, `furthest behind: ${some(lag, "entry").replace("entrys", "entries")}`, led < groups.length ? "bad" : ""),
      tile("Sessions", count(sessions), last === undefined ? "" : `${rate(last.deliveriesPerSecond)} delivered`),
      tile("Acknowledged", last === undefined ? "–" : rate(last.acksPerSecond), `half within ${millis(last?.ackP50)}`),
    );
    const notes = layout?.notes ?? [];
    fill(this.notes, notes.length > 0 && h("ul", { class: "card reasons" }, ...notes.map((note) => h("li", {}, note))));
    this.showMap(layout?.nodes ?? []);
    const points = pulse.points;
    this.ack.show([
      { name: "half", kind: "one", values: points.map(({ ackP50 }) => ackP50) },
      { name: "99 %", kind: "two", values: points.map(({ ackP99 }) => ackP99) },
    ]);
    this.delivery.show([{ name: "99 %", kind: "one", values: points.map(({ deliveryP99 }) => deliveryP99) }]);
    this.load.show([
      { name: "proposals", kind: "one", values: points.map(({ acksPerSecond }) => acksPerSecond) },
      { name: "delivered", kind: "two", values: points.map(({ deliveriesPerSecond }) => deliveriesPerSecond) },
    ]);
    this.sessions.show([{ name: "held", kind: "one", values: points.map(({ sessions }) => sessions) }]);
  }

  private showMap(nodes: PlacedNode[]): void {
    // A menu that is open is not pulled away under the hand.
    const focused = document.activeElement instanceof HTMLElement ? document.activeElement.dataset["key"] : undefined;
    const regions = grouped(nodes, ({ region }) => region);
    fill(
      this.map,
      ...[...regions].sort(([a], [b]) => a - b).map(([region, within]) => {
        const zones = grouped(within, ({ zone }) => zone);
        const shown = [...zones].sort(([a], [b]) => a.localeCompare(b)).map(([zone, there]) =>
          h("section", { class: "zone" }, h("h4", {}, `Zone ${zone === "" ? "–" : zone}`), ...there.map((node) => this.card(node))));
        return h("section", { class: "card region" }, h("h3", {}, `Region ${region}`), h("div", { class: "zones" }, ...shown));
      }),
    );
    if (focused !== undefined) this.map.querySelector<HTMLElement>(`[data-key="${focused}"]`)?.focus();
  }

  private card(node: PlacedNode): HTMLElement {
    const { word, kind } = condition(node);
    const samples = this.state.vitals?.nodes.find((one) => one.node === node.node)?.samples;
    const isOpen = this.open === node.node;
    const toggle = (): void => {
      this.open = isOpen ? undefined : node.node;
      this.show();
    };
    const head = h(
      "button",
      { type: "button", class: "node-head", "aria-expanded": isOpen ? "true" : "false", "data-key": `node-${node.node}`, onclick: toggle },
      h("span", { class: `dot ${kind}` }),
      h("b", {}, `Node ${node.node}`),
      h("span", { class: `word ${kind}` }, word),
    );
    const facts = `${some(node.sessions ?? 0, "session")} · leads ${node.leads} of ${node.replicas}`;
    return h("article", { class: `node ${kind}` }, head, h("p", { class: "soft" }, node.state === "left" ? node.address : facts), this.disk(node, samples), isOpen && this.more(node, samples));
  }

  private disk(node: PlacedNode, samples: Sample[] | undefined): HTMLElement | false {
    const [free, size] = [value(samples, "kith_disk_free_bytes") ?? node.free_bytes ?? undefined, value(samples, "kith_disk_size_bytes")];
    if (free === undefined || size === undefined || size <= 0 || node.state === "left") return false;
    return meter("Disk", 1 - free / size, `${bytes(free)} free`);
  }

  private more(node: PlacedNode, samples: Sample[] | undefined): HTMLElement {
    const fact = (name: string, text: string): HTMLElement[] => [h("dt", {}, name), h("dd", {}, text)];
    const memory = value(samples, "kith_node_rss_bytes");
    const facts = h(
      "dl",
      {},
      ...fact("Address", node.address),
      ...fact("Host", node.host === "" ? "–" : node.host),
      ...fact("Weight", String(node.capacity)),
      ...fact("Memory", memory === undefined ? "did not answer" : bytes(memory)),
    );
    const { state } = this;
    const button = (text: string, kind: string, onclick: () => void): HTMLElement => h("button", { type: "button", class: `small ${kind}`, "data-key": `${text}-${node.node}`, onclick }, text);
    const acts = [
      !node.drains && node.state === "up" && button("Drain", "quiet", () => drain(state, node.node, true)),
      node.drains && button("End drain", "quiet", () => drain(state, node.node, false)),
      node.state === "up" && button("Decommission", "quiet danger", () => void decommission(state, node.node)),
      node.state === "draining" && button("Keep", "quiet", () => recommission(state, node.node)),
    ];
    return h("div", { class: "node-more" }, facts, state.mayRun && node.state !== "left" && h("div", { class: "acts" }, ...acts));
  }
}

/** By what each of them gives, in the order of its first. */
function grouped<K, T>(all: T[], by: (one: T) => K): Map<K, T[]> {
  const found = new Map<K, T[]>();
  for (const one of all) found.set(by(one), [...(found.get(by(one)) ?? []), one]);
  return found;
}

/** How many entries each replica is behind the furthest. */
export function lags(replicas: { applied: number; last: number }[]): number[] {
  const most = Math.max(0, ...replicas.map(({ applied, last }) => Math.max(applied, last)));
  return replicas.map(({ applied }) => most - applied);
}
