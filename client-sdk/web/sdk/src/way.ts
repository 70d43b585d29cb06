// Which way to a node: WebTransport where the browser does it well, a WebSocket else; and when the first is tried again on a network that lets no UDP through.
//
// In: both ways, what came of tries. Out: links. Invariants: a network is held to be such only where WebTransport failed and a WebSocket did not; whoever waits
// for a link waits at most WEB_WITHIN_MS longer for that. Bound: one record in the browser's storage.

import { ChatError } from "./code.js";
import { WebSocketTransport, type Link, type LinkEvents, type Transport } from "./transport.js";
import { WebTransportTransport } from "./webtransport.js";

/** What WebTransport gets before a WebSocket is tried. */
export const WEB_WITHIN_MS = 3_000;
/** Until it is tried again: each failure makes it four times as long. */
const AGAIN_MIN_MS = 30_000;
const AGAIN_MAX_MS = 2 * 60 * 60_000;

/** WebTransport failed so often here, where a WebSocket did not, and is tried again then. */
export interface Blocked {
  tries: number;
  againAt: number;
}

/** Keeps it: longer than the page lives, if it can. */
export interface WayMemory {
  get(): Blocked | undefined;
  set(blocked: Blocked | undefined): void;
}

/** Tries one way, then the other. */
export class EitherTransport implements Transport {
  readonly #web: Transport;
  readonly #socket: Transport;
  readonly #memory: WayMemory;
  readonly #now: () => number;

  constructor(web: Transport, socket: Transport, memory: WayMemory, now: () => number = Date.now) {
    this.#web = web;
    this.#socket = socket;
    this.#memory = memory;
    this.#now = now;
  }

  async connect(url: string, events: LinkEvents, withinMs: number): Promise<Link> {
    const begun = this.#now();
    const blocked = this.#memory.get();
    // A clock that was set back must not keep it from being tried for years.
    const isBlocked = blocked !== undefined && begun < blocked.againAt && blocked.againAt <= begun + AGAIN_MAX_MS;
    if (isBlocked) return this.#socket.connect(url, events, withinMs);
    try {
      const link = await this.#web.connect(url, events, Math.min(WEB_WITHIN_MS, withinMs));
      if (blocked !== undefined) this.#memory.set(undefined);
      return link;
    } catch (failed) {
      const left = withinMs - (this.#now() - begun);
      if (left <= 0) throw failed instanceof ChatError ? failed : ChatError.of("Disconnected", "the node cannot be reached", failed);
      const link = await this.#socket.connect(url, events, left);
      const tries = blocked?.tries ?? 0;
      this.#memory.set({ tries: tries + 1, againAt: this.#now() + Math.min(AGAIN_MIN_MS * 4 ** Math.min(tries, 8), AGAIN_MAX_MS) });
      return link;
    }
  }
}

/** The best that this browser has. */
export function browserTransport(): Transport {
  const socket = new WebSocketTransport();
  return hasWebTransport() ? new EitherTransport(new WebTransportTransport(), socket, storedMemory()) : socket;
}

/** Chromium's: that of Safari stalls for want of credit, and Firefox is sparing with streams. */
function hasWebTransport(): boolean {
  const agent = (globalThis.navigator as { userAgentData?: { brands: readonly { brand: string }[] } } | undefined)?.userAgentData;
  return typeof WebTransport === "function" && agent?.brands.some(({ brand }) => brand === "Chromium") === true;
}

const KEY = "kith.way";

/** In the browser's storage, or in memory where there is none; forgotten when the browser says that the network is another. */
function storedMemory(): WayMemory {
  let kept: Blocked | undefined;
  const memory = {
    // Read each time: other clients of the page learn it too.
    get: () => load() ?? kept,
    set: (blocked: Blocked | undefined): void => {
      kept = blocked;
      try {
        if (blocked === undefined) localStorage.removeItem(KEY);
        else localStorage.setItem(KEY, JSON.stringify(blocked));
      } catch {
        // A private window, or a full disk: it is known until the page is closed.
      }
    },
  };
  if (typeof window !== "undefined") window.addEventListener("online", () => memory.set(undefined));
  return memory;
}

function load(): Blocked | undefined {
  try {
    const { tries, againAt } = JSON.parse(localStorage.getItem(KEY) ?? "{}") as Partial<Blocked>;
    return typeof tries === "number" && typeof againAt === "number" ? { tries, againAt } : undefined;
  } catch {
    return undefined;
  }
}
