// Ways to a node: a chat stream of frames both ways, and pulls. Here the one that every browser has: a WebSocket. The other is in `webtransport`, and which
// is taken in `way`.
//
//   message (binary)   stream u32 BE | bytes of that stream
//   stream             0: chat      else: a pull; its Pull frame is one message, the Page frame comes in pieces
//
// In: an address. Out: a `Link` that tells frames and its end. Bounds: PULLS_MAX pulls at once, further ones wait here; frames of `frame.ts`.

import { ChatError, CODES } from "./code.js";
import { Decoder, encodeFrame, FRAME_BYTES_MAX, Kind, PAGE_BYTES_MAX, type Frame } from "./frame.js";

/** A connection to a node. */
export interface Link {
  /** Sends a frame of the chat stream. */
  send(body: Uint8Array): void;
  /** Bytes that the network has not taken yet. */
  readonly waiting: number;
  /** Asks for a page; gives its body. Fails when the link is lost. */
  pull(body: Uint8Array): Promise<Uint8Array>;
  close(): void;
}

export interface LinkEvents {
  /** Body of a frame of the chat stream. */
  frame(body: Uint8Array): void;
  /** It is gone; told once. */
  lost(error: ChatError): void;
}

export interface Transport {
  /** Connects to a node at `https://host[:port]` or `http://…`. Fails after `withinMs`. */
  connect(url: string, events: LinkEvents, withinMs: number): Promise<Link>;
}

/** Where a node's WebSockets are. */
export const SOCKET_PATH = "/kith/1";
/** Pulls of one session that are open at once: the server's bound. */
export const PULLS_MAX = 8;
const CHAT = 0;
const STREAM_BYTES = 4;

/** What of a `WebSocket` is needed: the browser's own, or another in a test. */
export type SocketMaker = (url: string) => WebSocket;

export class WebSocketTransport implements Transport {
  readonly #make: SocketMaker;
  constructor(make: SocketMaker = (url) => new WebSocket(url)) {
    this.#make = make;
  }

  connect(url: string, events: LinkEvents, withinMs: number): Promise<Link> {
    return new Promise((resolve, reject) => {
      const address = new URL(SOCKET_PATH, url);
      address.protocol = address.protocol === "http:" ? "ws:" : "wss:";
      const socket = this.#make(address.href);
      socket.binaryType = "arraybuffer";
      const late = setTimeout(() => {
        socket.close();
        reject(ChatError.of("Timeout", "the node did not answer the handshake"));
      }, withinMs);
      socket.onopen = () => {
        clearTimeout(late);
        resolve(new SocketLink(socket, events));
      };
      socket.onerror = socket.onclose = () => {
        clearTimeout(late);
        reject(ChatError.of("Disconnected", "the node cannot be reached"));
      };
    });
  }
}

interface Waiting {
  body: Uint8Array;
  resolve: (body: Uint8Array) => void;
  reject: (error: ChatError) => void;
}

class SocketLink implements Link {
  readonly #socket: WebSocket;
  readonly #events: LinkEvents;
  readonly #chat = new Decoder(FRAME_BYTES_MAX);
  readonly #pulls = new Map<number, Waiting & { page: Decoder }>();
  readonly #queue: Waiting[] = [];
  #nextStream = 1;
  #isLost = false;

  constructor(socket: WebSocket, events: LinkEvents) {
    this.#socket = socket;
    this.#events = events;
    socket.onmessage = ({ data }) => this.#take(data);
    socket.onerror = () => this.#lose(ChatError.of("Disconnected", "the connection was lost"));
    socket.onclose = ({ reason }) => {
      const code = Number.parseInt(reason, 10);
      const known = Object.values(CODES).some(([number]) => number === code);
      this.#lose(known ? new ChatError(code, "the node closed the connection") : ChatError.of("Disconnected", "the connection was closed"));
    };
  }

  get waiting(): number {
    return this.#socket.bufferedAmount;
  }
  send(body: Uint8Array): void {
    this.#sendOn(CHAT, encodeFrame(Kind.toEdge, body));
  }
  pull(body: Uint8Array): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      if (this.#isLost) return reject(ChatError.of("Disconnected", "the connection was lost"));
      this.#queue.push({ body, resolve, reject });
      this.#pullNext();
    });
  }
  close(): void {
    this.#isLost = true;
    this.#socket.close();
    this.#fail(ChatError.of("Disconnected", "the connection was closed"));
  }

  #sendOn(stream: number, bytes: Uint8Array): void {
    const message = new Uint8Array(STREAM_BYTES + bytes.length);
    new DataView(message.buffer).setUint32(0, stream);
    message.set(bytes, STREAM_BYTES);
    // Not open any more: its end is told on its own.
    if (this.#socket.readyState === 1) this.#socket.send(message);
  }
  #pullNext(): void {
    while (this.#pulls.size < PULLS_MAX) {
      const next = this.#queue.shift();
      if (next === undefined) return;
      const stream = this.#nextStream++;
      this.#pulls.set(stream, { ...next, page: new Decoder(PAGE_BYTES_MAX) });
      this.#sendOn(stream, encodeFrame(Kind.pull, next.body));
    }
  }
  #take(data: unknown): void {
    if (this.#isLost) return;
    if (!(data instanceof ArrayBuffer) || data.byteLength < STREAM_BYTES) return this.#bad();
    const stream = new DataView(data).getUint32(0);
    const bytes = new Uint8Array(data, STREAM_BYTES);
    try {
      if (stream === CHAT) {
        this.#chat.push(bytes);
        for (let frame = this.#chat.poll(); frame !== undefined; frame = this.#chat.poll()) this.#frame(frame);
        return;
      }
      const pull = this.#pulls.get(stream);
      if (pull === undefined) return this.#bad();
      pull.page.push(bytes);
      const frame = pull.page.poll();
      if (frame === undefined) return;
      this.#pulls.delete(stream);
      if (frame.kind === Kind.page) pull.resolve(frame.body);
      else pull.reject(ChatError.of("BadFrame", "the node answered a pull with something else"));
      this.#pullNext();
    } catch (error) {
      this.#bad(error);
    }
  }
  #frame(frame: Frame): void {
    // A kind of a newer version.
    if (frame.kind === Kind.toClient && !this.#isLost) this.#events.frame(frame.body);
  }
  #bad(cause?: unknown): void {
    this.#socket.close();
    this.#lose(ChatError.of("BadFrame", "the node sent what is no frame", cause));
  }
  #lose(error: ChatError): void {
    if (this.#isLost) return;
    this.#isLost = true;
    this.#fail(error);
    this.#events.lost(error);
  }
  #fail(error: ChatError): void {
    for (const waiting of [...this.#pulls.values(), ...this.#queue]) waiting.reject(error);
    this.#pulls.clear();
    this.#queue.length = 0;
  }
}
