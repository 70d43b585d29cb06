// Framing of the client protocol: bytes in, frames out, no IO.
//
//   length u32 BE (bytes of body) | kind u16 BE | body
//
// Invariant: bytes, cut anywhere, give the same frames or the same error. Bound: `bodyMax`; a longer length is refused from its header.

/** What a frame's body is. */
export const Kind = { toEdge: 1, toClient: 2, pull: 3, page: 4 } as const;

export interface Frame {
  kind: number;
  body: Uint8Array;
}

/** Body of a frame on the chat stream, in bytes. */
export const FRAME_BYTES_MAX = 400_000 + 64 * 1024;
/** Body of a page, in bytes. */
export const PAGE_BYTES_MAX = 1024 * 1024 + FRAME_BYTES_MAX;

const HEADER_BYTES = 6;

export function encodeFrame(kind: number, body: Uint8Array): Uint8Array {
  const out = new Uint8Array(HEADER_BYTES + body.length);
  const view = new DataView(out.buffer);
  view.setUint32(0, body.length);
  view.setUint16(4, kind);
  out.set(body, HEADER_BYTES);
  return out;
}

/** The stream is not one of ours, or was damaged. */
export class FrameError extends Error {}

/** Cuts a stream into frames. */
export class Decoder {
  #pieces: Uint8Array[] = [];
  #length = 0;
  readonly #bodyMax: number;

  constructor(bodyMax: number) {
    this.#bodyMax = bodyMax;
  }

  push(bytes: Uint8Array): void {
    if (bytes.length > 0) {
      this.#pieces.push(bytes);
      this.#length += bytes.length;
    }
  }

  /** The next whole frame; `undefined` when more bytes are needed. Throws a `FrameError`. */
  poll(): Frame | undefined {
    if (this.#length < HEADER_BYTES) return undefined;
    const head = this.#peek(HEADER_BYTES);
    const view = new DataView(head.buffer, head.byteOffset, HEADER_BYTES);
    const length = view.getUint32(0);
    if (length > this.#bodyMax) throw new FrameError(`a frame of ${length} bytes is over ${this.#bodyMax}`);
    if (this.#length < HEADER_BYTES + length) return undefined;
    const whole = this.#take(HEADER_BYTES + length);
    return { kind: view.getUint16(4), body: whole.subarray(HEADER_BYTES) };
  }

  /** Joins the pieces so that the first has at least so many bytes. */
  #peek(bytes: number): Uint8Array {
    const first = this.#pieces[0];
    if (first !== undefined && first.length >= bytes) return first;
    const joined = new Uint8Array(this.#length);
    let at = 0;
    for (const piece of this.#pieces) {
      joined.set(piece, at);
      at += piece.length;
    }
    this.#pieces = [joined];
    return joined;
  }

  #take(bytes: number): Uint8Array {
    const first = this.#peek(bytes);
    this.#length -= bytes;
    this.#pieces[0] = first.subarray(bytes);
    if (this.#pieces[0].length === 0) this.#pieces.shift();
    return first.subarray(0, bytes);
  }
}
