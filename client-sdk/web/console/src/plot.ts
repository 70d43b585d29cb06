// Lines over time, drawn as SVG: one for each series, the newest value said in words beside it.

import { h, fill } from "../../chat/src/dom.js";

const SVG = "http://www.w3.org/2000/svg";
const [WIDTH, HEIGHT] = [320, 88];
const SLOTS_MIN = 20;

export interface Series {
  name: string;
  kind: "one" | "two";
  values: (number | undefined)[];
}

function shape(kind: "path" | "line" | "text", attributes: Record<string, string | number>, text = ""): SVGElement {
  const element = document.createElementNS(SVG, kind);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.textContent = text;
  return element;
}

/** A bound that is easy to read: 1, 2 or 5 times a power of ten. */
export function ceiling(most: number): number {
  if (!(most > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(most));
  return [1, 2, 5, 10].map((step) => step * power).find((bound) => bound >= most) ?? most;
}

/** A line that is broken where nothing was measured. */
function line(values: (number | undefined)[], top: number, slots: number): string {
  let path = "";
  let pen = false;
  values.forEach((value, at) => {
    if (value === undefined) pen = false;
    else {
      const x = WIDTH * (1 - (values.length - 1 - at) / Math.max(1, slots - 1));
      path += `${pen ? "L" : "M"}${x.toFixed(1)} ${(HEIGHT * (1 - value / top)).toFixed(1)}`;
      // A point by itself shows as a dot, by its round end.
      if (!pen && values[at + 1] === undefined) path += "h0.01";
      pen = true;
    }
  });
  return path;
}

/** A plot that can be given new values. */
export class Plot {
  readonly element: HTMLElement;
  private readonly svg = document.createElementNS(SVG, "svg");
  private readonly now = h("p", { class: "plot-now" });
  private readonly top = h("span", { class: "plot-top", "aria-hidden": "true" });

  constructor(
    title: string,
    private readonly say: (value: number | undefined) => string,
    private readonly slotsMax: number,
  ) {
    this.svg.setAttribute("viewBox", `0 -4 ${WIDTH} ${HEIGHT + 8}`);
    this.svg.setAttribute("preserveAspectRatio", "none");
    this.svg.setAttribute("aria-hidden", "true");
    this.element = h("section", { class: "card plot" }, h("h3", {}, title), this.now, h("div", { class: "plot-area" }, this.top, this.svg));
  }

  show(series: Series[]): void {
    const known = series.flatMap(({ values }) => values.filter((value) => value !== undefined));
    // A look that has just begun is not a dot at the far end.
    const slots = Math.min(this.slotsMax, Math.max(SLOTS_MIN, ...series.map(({ values }) => values.length)));
    const top = ceiling(Math.max(0, ...known));
    this.svg.replaceChildren(
      ...[0, 0.5, 1].map((part) => shape("line", { x1: 0, x2: WIDTH, y1: HEIGHT * part, y2: HEIGHT * part, class: "grid" })),
      ...series.map(({ kind, values }) => shape("path", { d: line(values, top, slots), class: `line ${kind}` })),
    );
    fill(this.top, known.length === 0 ? "" : this.say(top));
    const last = (values: (number | undefined)[]): number | undefined => values.findLast((value) => value !== undefined);
    fill(this.now, ...series.map(({ name, kind, values }) => h("span", { class: `key ${kind}` }, `${name} `, h("b", {}, this.say(last(values))))));
  }
}
