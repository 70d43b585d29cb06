// Which way is taken, and what WebTransport's streams carry: against a browser's parts made by hand. The real ones are tried in Chromium (`web/e2e`).

import assert from "node:assert/strict";
import { test } from "node:test";

import { ChatError, CODES, type Link, type LinkEvents, type Transport } from "../src/index.js";
import { Decoder, encodeFrame, FRAME_BYTES_MAX, Kind } from "../src/frame.js";
import { PULLS_MAX } from "../src/transport.js";
import { EitherTransport, type Blocked } from "../src/way.js";
import { ABOUT_PATH, WebTransportTransport } from "../src/webtransport.js";
import { until } from "./fake.js";

class Way implements Transport {
  tries = 0;
  works = true;
  async connect(): Promise<Link> {
    this.tries += 1;
    if (!this.works) throw ChatError.of("Disconnected", "no way");
    return { send: () => undefined, waiting: 0, pull: () => Promise.reject(new Error("none")), close: () => undefined };
  }
}

test("WebTransport is tried first, and ever more rarely where only a WebSocket gets through", async () => {
  const [web, socket] = [new Way(), new Way()];
  let now = 1_000_000;
  let kept: Blocked | undefined;
  const either = new EitherTransport(web, socket, { get: () => kept, set: (blocked) => (kept = blocked) }, () => now);
  const events: LinkEvents = { frame: () => undefined, lost: () => undefined };
  const connect = () => either.connect("http://node", events, 10_000);
  await connect();
  assert.deepEqual([web.tries, socket.tries, kept], [1, 0, undefined]);

  // Nothing works: that says nothing of the network.
  web.works = socket.works = false;
  await assert.rejects(connect(), ChatError);
  assert.deepEqual([web.tries, socket.tries, kept], [2, 1, undefined]);

  socket.works = true;
  for (const seconds of [30, 120, 480, 1_920, 7_200, 7_200]) {
    const { tries } = web;
    await connect();
    assert.equal(web.tries, tries + 1, "its time has come");
    await connect();
    assert.equal(web.tries, tries + 1, "it is remembered");
    now += seconds * 1_000 - 1;
    await connect();
    assert.equal(web.tries, tries + 1, `not before ${seconds} s`);
    now += 1;
  }
  now -= 365 * 24 * 3_600_000;
  const { tries } = web;
  web.works = true;
  await connect();
  assert.deepEqual([web.tries, kept], [tries + 1, undefined], "the clock was set back; it works again");
});

/** The node's side of a session. */
class FakeSession {
  readonly streams: { said: Uint8Array[]; say: (bytes: Uint8Array) => void; end: () => void; fail: (error: unknown) => void }[] = [];
  readonly ready = Promise.resolve(undefined);
  readonly closed: Promise<WebTransportCloseInfo>;
  isClosed = false;
  lose: (error: unknown) => void = () => undefined;
  constructor() {
    this.closed = new Promise((resolve, reject) => {
      this.lose = reject;
      this.close = () => {
        this.isClosed = true;
        resolve({});
      };
    });
  }
  close: () => void = () => undefined;
  async createBidirectionalStream(): Promise<WebTransportBidirectionalStream> {
    const said: Uint8Array[] = [];
    let ends!: ReadableStreamDefaultController<Uint8Array>;
    const readable = new ReadableStream<Uint8Array>({ start: (controller) => void (ends = controller) });
    const writable = new WritableStream<Uint8Array>({ write: (chunk) => void said.push(chunk) });
    this.streams.push({ said, say: (bytes) => ends.enqueue(bytes), end: () => ends.close(), fail: (error) => ends.error(error) });
    return { readable, writable } as WebTransportBidirectionalStream;
  }
}

const DIGEST = "00ff".padEnd(64, "7");

async function linked(): Promise<{ session: FakeSession; link: Link; frames: Uint8Array[]; lost: ChatError[] }> {
  const session = new FakeSession();
  const [frames, lost]: [Uint8Array[], ChatError[]] = [[], []];
  const transport = new WebTransportTransport({
    fetch: async (url) => {
      assert.equal(url, `http://localhost:7681${ABOUT_PATH}`);
      return new Response(JSON.stringify({ url: "https://127.0.0.1:7600/kith/1", sha256: DIGEST }));
    },
    open: (url, options) => {
      assert.equal(url, "https://127.0.0.1:7600/kith/1");
      const [hash] = options.serverCertificateHashes ?? [];
      assert.equal(hash?.algorithm, "sha-256");
      assert.equal(Buffer.from(hash?.value as Uint8Array).toString("hex"), DIGEST);
      return session as unknown as WebTransport;
    },
  });
  const link = await transport.connect("http://localhost:7681", { frame: (body) => void frames.push(body), lost: (error) => void lost.push(error) }, 3_000);
  return { session, link, frames, lost };
}

const body = (...bytes: number[]): Uint8Array => Uint8Array.from(bytes);

test("the first stream is chat, and each pull has its own", async () => {
  const { session, link, frames, lost } = await linked();
  const [chat] = session.streams;
  link.send(body(1, 2, 3));
  await until("it is sent", () => chat.said.length === 1 && link.waiting === 0);
  const sent = new Decoder(FRAME_BYTES_MAX);
  sent.push(chat.said[0]);
  assert.deepEqual(sent.poll(), { kind: Kind.toEdge, body: body(1, 2, 3) });
  // Cut anywhere; and one of a kind that is not known.
  const told = [...encodeFrame(Kind.toClient, body(4)), ...encodeFrame(99, body(0)), ...encodeFrame(Kind.toClient, body(5, 6))];
  for (const byte of told) chat.say(body(byte));
  await until("both are told", () => frames.length === 2);
  assert.deepEqual(frames, [body(4), body(5, 6)]);

  const pages = Array.from({ length: PULLS_MAX + 2 }, (_, at) => link.pull(body(at)));
  await until("as many as there may be", () => session.streams.length === 1 + PULLS_MAX);
  session.streams[2].say(encodeFrame(Kind.page, body(42)));
  assert.deepEqual(await pages[1], body(42));
  await until("another takes its place", () => session.streams.length === 2 + PULLS_MAX);
  session.streams[1].fail({ streamErrorCode: CODES.BadFrame[0] });
  await assert.rejects(pages[0], { codeName: "BadFrame" });

  const rest = Promise.allSettled(pages.slice(2));
  session.lose(new Error("gone"));
  for (const settled of await rest) assert.equal(settled.status === "rejected" && settled.reason.codeName, "Disconnected");
  await until("it is told once", () => lost.length > 0);
  assert.deepEqual(lost.map(({ codeName }) => codeName), ["Disconnected"]);
  await assert.rejects(link.pull(body(0)), { codeName: "Disconnected" });
});

test("what is no frame ends the link, and one that its owner ends tells nothing", async () => {
  const broken = await linked();
  broken.session.streams[0].say(body(255, 255, 255, 255, 0, 2));
  await until("it is lost", () => broken.lost.length === 1);
  assert.equal(broken.lost[0].codeName, "BadFrame");
  assert.ok(broken.session.isClosed);
  const closed = await linked();
  const pull = closed.link.pull(body(1));
  closed.link.close();
  await assert.rejects(pull, { codeName: "Disconnected" });
  assert.ok(closed.session.isClosed);
  await new Promise(setImmediate);
  assert.deepEqual(closed.lost, []);
});

test("a node that says nothing is given up in time, and its session is closed", async () => {
  const session = new FakeSession();
  const silent = new WebTransportTransport({
    fetch: async () => new Response(JSON.stringify({ url: "https://127.0.0.1:7600/kith/1", sha256: DIGEST })),
    open: () => Object.assign(session, { ready: new Promise<undefined>(() => undefined) }) as unknown as WebTransport,
  });
  await assert.rejects(silent.connect("http://localhost", { frame: () => undefined, lost: () => undefined }, 20), { codeName: "Timeout" });
  assert.ok(session.isClosed);
  const without = new WebTransportTransport({ fetch: async () => new Response("", { status: 404 }), open: () => assert.fail("it is not tried") });
  await assert.rejects(without.connect("http://localhost", { frame: () => undefined, lost: () => undefined }, 1_000), { codeName: "Unsupported" });
});
