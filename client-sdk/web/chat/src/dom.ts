// Elements, made by hand: texts become text nodes, never markup.

type Child = Node | string | undefined | false;
type Props = { [name: string]: string | number | boolean | undefined | ((event: never) => void) };

/** An element. `on…` are listeners, booleans are attributes that are there or not, the rest are attributes. */
export function h<K extends keyof HTMLElementTagNameMap>(tag: K, props: Props = {}, ...children: Child[]): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (typeof value === "function") element.addEventListener(name.slice(2), value as EventListener);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== undefined && value !== false) element.setAttribute(name, String(value));
  }
  element.append(...children.filter((child) => child !== undefined && child !== false));
  return element;
}

const PATHS = {
  send: "M4 12 20 4l-6 16-3.5-6.5z",
  back: "M14.5 5 8 12l6.5 7",
  plus: "M12 5v14M5 12h14",
  search: "M10.5 17a6.5 6.5 0 1 1 0-13 6.5 6.5 0 0 1 0 13zM15.5 15.5 20 20",
  gear: "M12 15.2a3.2 3.2 0 1 0 0-6.4 3.2 3.2 0 0 0 0 6.4zM12 3.5v2.2M12 18.3v2.2M3.5 12h2.2M18.3 12h2.2M6 6l1.6 1.6M16.4 16.4 18 18M18 6l-1.6 1.6M7.6 16.4 6 18",
  reply: "M9.5 7 4.5 12l5 5M5 12h8.5a6 6 0 0 1 6 6v.5",
  smile: "M12 20.5a8.5 8.5 0 1 1 0-17 8.5 8.5 0 0 1 0 17zM8.5 14.2a4.3 4.3 0 0 0 7 0M9 9.6v.6M15 9.6v.6",
  people: "M9 11.5a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7zM2.8 19.5a6.2 6.2 0 0 1 12.4 0M16 11.3a3.3 3.3 0 0 0 0-6.4M17.8 14.2a6 6 0 0 1 3.4 5.3",
  more: "M5.5 12h.01M12 12h.01M18.5 12h.01",
  pin: "M9 4h6l-1 6 3 3H7l3-3zM12 13v7",
  close: "M6 6l12 12M18 6 6 18",
  down: "M12 5v13M6 12.5l6 6 6-6",
  clock: "M12 20.5a8.5 8.5 0 1 1 0-17 8.5 8.5 0 0 1 0 17zM12 7.5V12l3 2",
  check: "M5 12.5 10 17.5 19 7.5",
  checks: "M2.5 12.5 7 17 14.5 8M11 15.5l1.6 1.5L21 8",
  alert: "M12 20.5a8.5 8.5 0 1 1 0-17 8.5 8.5 0 0 1 0 17zM12 8v5M12 16v.2",
  bell: "M6.5 16.5v-6a5.5 5.5 0 0 1 11 0v6l1.5 1.5H5zM10 20.5h4M4 4l16 16",
  info: "M12 20.5a8.5 8.5 0 1 1 0-17 8.5 8.5 0 0 1 0 17zM12 11v5.5M12 7.7v.2",
} as const;
export type IconName = keyof typeof PATHS;

const SVG = "http://www.w3.org/2000/svg";

export function icon(name: IconName): SVGSVGElement {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("class", `icon icon-${name}`);
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS(SVG, "path");
  path.setAttribute("d", PATHS[name]);
  svg.append(path);
  return svg;
}

/** A button that shows only an icon. */
export function iconButton(name: IconName, label: string, onclick: (event: MouseEvent) => void, kind = ""): HTMLButtonElement {
  return h("button", { type: "button", class: `icon-button ${kind}`, "aria-label": label, title: label, onclick }, icon(name));
}

/** Replaces what is in an element. */
export function fill(element: Element, ...children: Child[]): void {
  element.replaceChildren(...children.filter((child) => child !== undefined && child !== false));
}

/** A dialog of its own, shown at once; gone when it is closed. */
export function dialog(title: string, closeLabel: string, ...children: Child[]): HTMLDialogElement {
  const close = (): void => box.close();
  const id = `d${Math.random().toString(36).slice(2)}`;
  const head = h("header", {}, h("h2", { id }, title), iconButton("close", closeLabel, close));
  const box = h("dialog", { "aria-labelledby": id }, head, ...children);
  box.addEventListener("close", () => box.remove());
  // A click beside it.
  box.addEventListener("click", (event) => event.target === box && close());
  document.body.append(box);
  box.showModal();
  return box;
}

/** Asks before what cannot be undone. */
export function confirmed(question: string, yes: string, no: string): Promise<boolean> {
  return new Promise((resolve) => {
    let answer = false;
    const end = (value: boolean) => (): void => {
      answer = value;
      box.close();
    };
    const buttons = h(
      "div",
      { class: "buttons" },
      h("button", { type: "button", class: "quiet", onclick: end(false) }, no),
      h("button", { type: "button", class: "danger", onclick: end(true) }, yes),
    );
    const box = h("dialog", { class: "ask", "aria-label": question }, h("p", {}, question), buttons);
    box.addEventListener("close", () => {
      box.remove();
      resolve(answer);
    });
    document.body.append(box);
    box.showModal();
  });
}

let toastTimer = 0;
/** A word that goes by itself. */
export function toast(text: string): void {
  document.querySelector(".toast")?.remove();
  clearTimeout(toastTimer);
  const box = h("div", { class: "toast", role: "status" }, text);
  (document.querySelector("dialog[open]") ?? document.body).append(box);
  toastTimer = window.setTimeout(() => box.remove(), 4_000);
}
