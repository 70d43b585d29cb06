// A list of which only what can be seen is in the page, and a little above and below it: ten thousand rows scroll as ten do.
//
// In: rows by their place, each with a key and a guess of its height. Out: their elements, placed in a box that is as high as all of them. Invariants: what
// somebody looks at stays where it is, whatever comes above it or is higher than was guessed; who is at the end of a list that is followed stays at the
// end; what has the focus stays in the page. Bound: rows of three screens, and the one with the focus. Needs: the scroller is positioned, the rows are
// `position: absolute` and have no outer margins.

export interface Rows {
  readonly count: number;
  /** Names a row, whatever its place. */
  key(at: number): string;
  /** How high it probably is, in pixels; it is measured when it comes near. */
  guess(at: number): number;
  /** How it looks: the element that is shown so far, if there is one and it still fits, else a new one. */
  element(at: number, shown: HTMLElement | undefined): HTMLElement;
  /** Whether arrow keys stop there. */
  isStop(at: number): boolean;
}

/** A row, and how far below the upper edge of the screen it begins. */
interface Spot {
  key: string;
  top: number;
}

const NONE: Rows = { count: 0, key: () => "", guess: () => 0, element: () => document.createElement("div"), isStop: () => false };
/** Rows of so many screens are there above and below the one that is seen. */
const MARGIN_SCREENS = 1;
/** So near to the end, in pixels, counts as at the end. */
const NEAR_PX = 80;
/** Measuring moves rows, which brings others near, which are measured. */
const TURNS_MAX = 6;

export class VirtualList {
  readonly #scroller: HTMLElement;
  readonly #box: HTMLElement;
  readonly #isFollowed: boolean;
  readonly #sizes: ResizeObserver;
  #rows: Rows = NONE;
  /** Where each row begins in the box; behind the last one: how high all are. */
  #tops = new Float64Array(1);
  /** What was measured, by key. */
  readonly #heights = new Map<string, number>();
  #shown = new Map<string, { at: number; element: HTMLElement }>();
  #width = 0;
  #screen = 0;
  #isAtEnd: boolean;

  /** `isFollowed`: whoever is at the end stays there when rows are added. */
  constructor(scroller: HTMLElement, box: HTMLElement, isFollowed: boolean) {
    this.#scroller = scroller;
    this.#box = box;
    this.#isFollowed = this.#isAtEnd = isFollowed;
    this.#sizes = new ResizeObserver(() => this.#resized());
    this.#sizes.observe(scroller);
    scroller.addEventListener("scroll", this.#scrolled, { passive: true });
  }
  close(): void {
    this.#sizes.disconnect();
    this.#scroller.removeEventListener("scroll", this.#scrolled);
  }

  get isAtEnd(): boolean {
    return this.#isAtEnd;
  }
  /** The rows that are seen: from the first to before the second. */
  get seen(): [number, number] {
    const above = this.#above();
    return [this.#at(above), Math.min(this.#at(above + this.#scroller.clientHeight) + 1, this.#rows.count)];
  }

  /** Shows these rows from now on. */
  show(rows: Rows): void {
    const before = this.#spots();
    const isAtTop = !this.#isFollowed && this.#scroller.scrollTop === 0;
    this.#rows = rows;
    this.#place();
    this.#settle(isAtTop ? undefined : this.#keep(before));
  }
  /** Scrolls until a row can be seen, and gives its element. */
  reveal(at: number, where: "center" | "nearest"): HTMLElement | undefined {
    const key = this.#rows.key(at);
    this.#isAtEnd = false;
    // The second time it is known how high the row is.
    for (let turn = 0; turn < 2; turn++) {
      const free = this.#scroller.clientHeight - this.#height(at);
      const top = where === "center" ? free / 2 : Math.min(Math.max(this.#tops[at] - this.#above(), 0), free);
      this.#settle({ key, top: Math.max(top, 0) });
    }
    this.#look();
    return this.#shown.get(key)?.element;
  }
  toEnd(): void {
    this.#isAtEnd = true;
    this.#settle();
  }
  /** Goes with the end no more, until it is scrolled to. */
  stay(): void {
    this.#isAtEnd = false;
  }
  /** Moves the focus to the next stop, or the one before; at first to one that is seen. Whether there was one. */
  walk(step: -1 | 1): boolean {
    const key = this.#focused();
    const [first, end] = this.seen;
    const isFromEnd = key === undefined && this.#isFollowed;
    let at = key !== undefined ? this.#find(key, first) + step : isFromEnd ? end - 1 : first;
    while (at >= 0 && at < this.#rows.count && !this.#rows.isStop(at)) at += isFromEnd ? -1 : step;
    if (at < 0 || at >= this.#rows.count) return false;
    focusable(this.reveal(at, "nearest"))?.focus({ preventScroll: true });
    return true;
  }

  // ---- where rows are

  #above(): number {
    return this.#scroller.scrollTop - this.#box.offsetTop;
  }
  #height(at: number): number {
    return this.#tops[at + 1] - this.#tops[at];
  }
  /** The row at so many pixels below the beginning of the box. */
  #at(px: number): number {
    let [low, high] = [0, this.#rows.count];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#tops[middle + 1] <= px) low = middle + 1;
      else high = middle;
    }
    return Math.min(low, Math.max(this.#rows.count - 1, 0));
  }
  /** The place of a row; it is looked for from here on in both directions. */
  #find(key: string, from: number): number {
    const { count } = this.#rows;
    for (let off = 0; off < count; off++) {
      if (from + off < count && this.#rows.key(from + off) === key) return from + off;
      if (from - off >= 0 && from - off < count && this.#rows.key(from - off) === key) return from - off;
    }
    return -1;
  }
  #place(): void {
    const { count } = this.#rows;
    if (this.#tops.length !== count + 1) this.#tops = new Float64Array(count + 1);
    for (let at = 0; at < count; at++) this.#tops[at + 1] = this.#tops[at] + (this.#heights.get(this.#rows.key(at)) ?? this.#rows.guess(at));
  }
  #spots(): Spot[] {
    const above = this.#above();
    const [first, end] = this.seen;
    return Array.from({ length: Math.max(end - first, 0) }, (_, off) => ({ key: this.#rows.key(first + off), top: this.#tops[first + off] - above }));
  }
  /** What most of the rows that are seen agree on: one of them may have gone elsewhere. */
  #keep(spots: readonly Spot[]): Spot | undefined {
    const moves: (Spot & { by: number })[] = [];
    let near = 0;
    for (const { key, top } of spots) {
      const at = this.#find(key, near);
      if (at >= 0) moves.push({ key, top, by: this.#tops[(near = at)] - top });
    }
    moves.sort((a, b) => a.by - b.by);
    return moves[moves.length >> 1];
  }

  // ---- what is in the page

  /** Places, shows and measures until nothing moves; the spot stays where it is. */
  #settle(spot?: Spot): void {
    // Nobody sees it: it is measured when somebody does.
    if (this.#box.clientWidth === 0) return;
    for (let turn = 0; turn < TURNS_MAX; turn++) {
      this.#box.style.height = `${this.#tops[this.#rows.count]}px`;
      if (this.#isFollowed && this.#isAtEnd) this.#scrollTo(this.#scroller.scrollHeight - this.#scroller.clientHeight);
      else if (spot !== undefined) this.#scrollTo(this.#box.offsetTop + this.#tops[this.#find(spot.key, this.#at(this.#above()))] - spot.top);
      this.#fill();
      if (!this.#measure()) return;
    }
  }
  #scrollTo(top: number): void {
    if (Math.abs(this.#scroller.scrollTop - top) >= 1) this.#scroller.scrollTop = top;
  }
  #fill(): void {
    const { clientHeight } = this.#scroller;
    const above = this.#above();
    const first = this.#at(above - MARGIN_SCREENS * clientHeight);
    const end = Math.min(this.#at(above + (1 + MARGIN_SCREENS) * clientHeight) + 1, this.#rows.count);
    const focused = this.#focused();
    const places = Array.from({ length: end - first }, (_, off) => first + off);
    if (focused !== undefined) {
      const at = this.#find(focused, first);
      if (at >= 0 && at < first) places.unshift(at);
      else if (at >= end) places.push(at);
    }
    const shown = new Map<string, { at: number; element: HTMLElement }>();
    for (const at of places) {
      const key = this.#rows.key(at);
      const before = this.#shown.get(key)?.element;
      const element = this.#rows.element(at, before);
      if (element !== before) {
        if (before !== undefined) this.#sizes.unobserve(before);
        this.#sizes.observe(element);
      }
      element.style.top = `${this.#tops[at]}px`;
      shown.set(key, { at, element });
    }
    for (const [key, { element }] of this.#shown) if (!shown.has(key)) this.#sizes.unobserve(element);
    this.#shown = shown;
    reconcile(this.#box, [...shown.values()].map(({ element }) => element));
    // A row that looks different now is another element, which gets what the one before it had.
    if (focused !== undefined && !this.#box.contains(document.activeElement)) focusable(shown.get(focused)?.element)?.focus({ preventScroll: true });
  }
  /** Measures what is in the page, and moves what is below; whether a row is not as high as was thought. */
  #measure(): boolean {
    const changes: { at: number; by: number }[] = [];
    for (const [key, { at, element }] of this.#shown) {
      const { height } = element.getBoundingClientRect();
      const by = height - this.#height(at);
      if (Math.abs(by) < 0.5) continue;
      this.#heights.set(key, height);
      changes.push({ at, by });
    }
    let moved = 0;
    let next = 0;
    for (let at = changes[0]?.at ?? this.#rows.count; at < this.#rows.count; at++) {
      if (at === changes[next]?.at) moved += changes[next++].by;
      this.#tops[at + 1] += moved;
    }
    return changes.length > 0;
  }

  readonly #scrolled = (): void => {
    this.#look();
    this.#settle(this.#spots()[0]);
  };
  #look(): void {
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    this.#isAtEnd = scrollHeight - scrollTop - clientHeight < NEAR_PX;
  }
  #resized(): void {
    const { clientWidth } = this.#box;
    const { clientHeight } = this.#scroller;
    if (clientWidth === 0) return;
    const [spot] = this.#spots();
    const isWider = clientWidth !== this.#width;
    const isOther = isWider || clientHeight !== this.#screen;
    [this.#width, this.#screen] = [clientWidth, clientHeight];
    if (isWider) {
      // Lines break elsewhere: nothing that was measured holds.
      this.#heights.clear();
      this.#place();
    }
    if (this.#measure() || isOther) this.#settle(spot);
  }
  /** The row that has the focus. */
  #focused(): string | undefined {
    const { activeElement } = document;
    if (activeElement === null || !this.#box.contains(activeElement)) return undefined;
    for (const [key, { element }] of this.#shown) if (element.contains(activeElement)) return key;
    return undefined;
  }
}

function focusable(row: HTMLElement | undefined): HTMLElement | undefined {
  return row?.matches("[tabindex]") ? row : (row?.querySelector<HTMLElement>("a, button") ?? undefined);
}

/** Puts these children into an element, in this order, and touches only what differs: focus and scrolling stay. */
export function reconcile(parent: Element, children: readonly Element[]): void {
  const wanted = new Set<Element>(children);
  for (const child of [...parent.children]) if (!wanted.has(child)) child.remove();
  let at: Element | null = parent.firstElementChild;
  for (const child of children) {
    if (child === at) at = at.nextElementSibling;
    else parent.insertBefore(child, at);
  }
}
