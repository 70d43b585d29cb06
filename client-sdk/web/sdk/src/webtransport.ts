// The better way to a node, where a browser has it: WebTransport, over QUIC. The chat stream and each pull are streams of their own, so that nothing waits
// for what it does not need.
//
// In: an address. Out: a `Link` as any other. Where the node is over QUIC, and the digest of the certificate that it shows there, is asked for over HTTP
// first: that is trusted as the page is. Bounds: PULLS_MAX pulls at once, further ones wait here; frames of `frame.ts`. Not here: when it is tried (`way`).

import { ChatError, CODES } from "./code.js";
import { Decoder, encodeFrame, FRAME_BYTES_MAX, Kind, PAGE_BYTES_MAX } from "./frame.js";
import { PULLS_MAX, type Link, type LinkEvents, type Transport } from "./transport.js";

/** Where a node says how it is reached. */
export const ABOUT_PATH = "/kith/1/webtransport";

/** What a node says of itself there. */
interface About {
  url: string;
  /** In hex. */
  sha256: string;
}

/** What of the browser is needed, or another in a test. */
export interface Browser {
  fetch: (url: string, options: RequestInit) => Promise<Response>;
  open: (url: string, options: WebTransportOptions) => WebTransport;
}

export class WebTransportTransport implements Transport {
  readonly #browser: Browser;
  constructor(browser: Browser = { fetch: (url, options) => fetch(url, options), open: (url, options) => new WebTransport(url, options) }) {
    this.#browser = browser;
  }

  async connect(url: string, events: LinkEvents, withinMs: number): Promise<Link> {
    const late = new AbortController();
    let session: WebTransport | undefined;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const over = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        reject(ChatError.of("Timeout", "the node did not answer over WebTransport"));
        late.abort();
      }, withinMs);
    });
    try {
      const opened = this.#open(url, events, late.signal, (opening) => (session = opening));
      return await Promise.race([opened, over]);
    } catch (cause) {
      quietly(() => session?.close());
      throw cause instanceof ChatError ? cause : ChatError.of("Disconnected", "the node cannot be reached over WebTransport", cause);
    } finally {
      clearTimeout(timer);
    }
  }

  async #open(url: string, events: LinkEvents, late: AbortSignal, opening: (session: WebTransport) => void): Promise<Link> {
    const asked = await this.#browser.fetch(new URL(ABOUT_PATH, url).href, { signal: late, credentials: "omit", cache: "no-store" });
    if (!asked.ok) throw ChatError.of("Unsupported", "the node does not say how it is reached over WebTransport");
    const about = (await asked.json()) as About;
    late.throwIfAborted();
    const session = this.#browser.open(about.url, { serverCertificateHashes: [{ algorithm: "sha-256", value: bytesOfHex(about.sha256) }] });
    opening(session);
    // Told by what waits for it.
    session.closed.catch(() => undefined);
    await session.ready;
    // The first stream is chat.
    const chat = await session.createBidirectionalStream();
    late.throwIfAborted();
    return new WebTransportLink(session, chat, events);
  }
}

interface Waiting {
  body: Uint8Array;
  resolve: (body: Uint8Array) => void;
  reject: (error: ChatError) => void;
}

class WebTransportLink implements Link {
  readonly #session: WebTransport;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #events: LinkEvents;
  readonly #queue: Waiting[] = [];
  readonly #pulls = new Set<Waiting>();
  #waiting = 0;
  #isLost = false;

  constructor(session: WebTransport, { readable, writable }: WebTransportBidirectionalStream, events: LinkEvents) {
    this.#session = session;
    this.#events = events;
    this.#writer = writable.getWriter() as WritableStreamDefaultWriter<Uint8Array>;
    const lost = (cause?: unknown): void => this.#lose(ChatError.of("Disconnected", "the connection was lost", cause));
    this.#writer.closed.catch(lost);
    session.closed.then(() => lost(), lost);
    this.#listen(readable.getReader() as ReadableStreamDefaultReader<Uint8Array>).catch(lost);
  }

  get waiting(): number {
    return this.#waiting;
  }
  send(body: Uint8Array): void {
    // Its end is told on its own.
    if (this.#isLost) return;
    const frame = encodeFrame(Kind.toEdge, body);
    this.#waiting += frame.length;
    const written = (): void => void (this.#waiting -= frame.length);
    this.#writer.write(frame).then(written, written);
  }
  pull(body: Uint8Array): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      if (this.#isLost) return reject(ChatError.of("Disconnected", "the connection was lost"));
      this.#queue.push({ body, resolve, reject });
      this.#pullNext();
    });
  }
  close(): void {
    this.#end(ChatError.of("Disconnected", "the connection was closed"));
  }

  /** Frames of the chat stream, until it ends. */
  async #listen(reader: ReadableStreamDefaultReader<Uint8Array>): Promise<void> {
    const chat = new Decoder(FRAME_BYTES_MAX);
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return this.#lose(ChatError.of("Disconnected", "the node closed the connection"));
      chat.push(value);
      try {
        for (let frame = chat.poll(); frame !== undefined; frame = chat.poll()) {
          // Another kind is one of a newer version.
          if (frame.kind === Kind.toClient && !this.#isLost) this.#events.frame(frame.body);
        }
      } catch (cause) {
        return this.#lose(ChatError.of("BadFrame", "the node sent what is no frame", cause));
      }
    }
  }
  #pullNext(): void {
    while (this.#pulls.size < PULLS_MAX) {
      const next = this.#queue.shift();
      if (next === undefined) return;
      this.#pulls.add(next);
      const done = (): void => {
        this.#pulls.delete(next);
        this.#pullNext();
      };
      this.#page(next.body).then(next.resolve, (cause) => next.reject(pullError(cause))).finally(done);
    }
  }
  async #page(body: Uint8Array): Promise<Uint8Array> {
    const { readable, writable } = await this.#session.createBidirectionalStream();
    const writer = writable.getWriter() as WritableStreamDefaultWriter<Uint8Array>;
    // What becomes of them is told by the reader.
    writer.write(encodeFrame(Kind.pull, body)).catch(() => undefined);
    writer.close().catch(() => undefined);
    const reader = readable.getReader() as ReadableStreamDefaultReader<Uint8Array>;
    const page = new Decoder(PAGE_BYTES_MAX);
    for (;;) {
      const frame = page.poll();
      if (frame !== undefined) {
        reader.cancel().catch(() => undefined);
        if (frame.kind === Kind.page) return frame.body;
        throw ChatError.of("BadFrame", "the node answered a pull with something else");
      }
      const { done, value } = await reader.read();
      if (done) throw ChatError.of("Disconnected", "the page ended before its end");
      page.push(value);
    }
  }
  #lose(error: ChatError): void {
    if (this.#isLost) return;
    this.#end(error);
    this.#events.lost(error);
  }
  #end(error: ChatError): void {
    this.#isLost = true;
    quietly(() => this.#session.close());
    for (const waiting of [...this.#pulls, ...this.#queue]) waiting.reject(error);
    this.#queue.length = 0;
  }
}

/** A stream that the node gave up has its number; all else is the connection's end. */
function pullError(cause: unknown): ChatError {
  if (cause instanceof ChatError) return cause;
  const code = (cause as { streamErrorCode?: unknown } | undefined)?.streamErrorCode;
  const isOurs = Object.values(CODES).some(([number]) => number === code);
  return isOurs ? new ChatError(code as number, "the node gave the pull up", { cause }) : ChatError.of("Disconnected", "the connection was lost", cause);
}

/** A session that is over cannot be closed, which is as good. */
function quietly(close: () => void): void {
  try {
    close();
  } catch {
    // It is over.
  }
}

function bytesOfHex(hex: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(hex.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}
