// What every SDK does alike (`client-sdk/conformance`), in a browser, against a real node and over a real way: bundled, and loaded into a page of the node.
//
// In: the node's address, which way, a scenario. Out: nothing, or why it fails. What a scenario wants of the network is done around the way: a write is kept back, or its
// answer, and the link ends. What a node refuses for good cannot be had by that.

import { fromBinary } from "@bufbuild/protobuf";

import { browserTransport, ChatError, Client, directChannel, Door, IndexedDbStore, MemoryStore, Tokens, WebSocketTransport, WebTransportTransport } from "../sdk/src/index.ts";
import { ToClientSchema, ToEdgeSchema } from "../sdk/src/wire/kith/client/v1/client_pb.ts";

const PASSWORD = "correct horse battery";
const PATIENCE_MS = 30_000;
const WAYS = { webtransport: () => new WebTransportTransport(), websocket: () => new WebSocketTransport(), browser: browserTransport };

async function until(what, is) {
  for (const end = Date.now() + PATIENCE_MS; !is(); ) {
    if (Date.now() > end) throw new Error(`never: ${what()}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** A way on which things are lost. */
class Rough {
  faults = [];
  #way;
  #isOpen = true;
  #links = new Set();

  constructor(way) {
    this.#way = way;
  }
  setReachable(isReachable) {
    this.#isOpen = isReachable;
    if (!isReachable) for (const cut of [...this.#links]) cut();
  }
  async connect(url, events, withinMs) {
    if (!this.#isOpen) throw ChatError.of("Disconnected", "a tunnel");
    const awaited = new Set();
    let isOver = false;
    const over = (error) => {
      if (isOver) return;
      isOver = true;
      this.#links.delete(cut);
      link?.close();
      events.lost(error);
    };
    const cut = () => over(ChatError.of("Disconnected", "cut"));
    const frame = (body) => {
      if (isOver) return;
      const { frame } = fromBinary(ToClientSchema, body);
      if (frame.case === "answer" && awaited.has(frame.value.id)) return cut();
      events.frame(body);
    };
    const link = await this.#way.connect(url, { frame, lost: over }, withinMs);
    this.#links.add(cut);
    return {
      get waiting() {
        return link.waiting;
      },
      send: (body) => {
        if (isOver) return;
        const said = fromBinary(ToEdgeSchema, body);
        const request = said.frame.case === "request" ? said.frame.value.request?.request : undefined;
        const isWrite = request?.case === "send" || request?.case === "act";
        const fault = isWrite ? this.faults.shift() : undefined;
        if (fault?.lose === "request") return queueMicrotask(cut);
        if (fault?.lose === "answer") awaited.add(said.frame.value.id);
        link.send(body);
      },
      pull: (body) => (isOver ? Promise.reject(ChatError.of("Disconnected", "cut")) : link.pull(body)),
      close: () => {
        isOver = true;
        this.#links.delete(cut);
        link.close();
      },
    };
  }
}

class Stage {
  #url;
  #way;
  #name;
  #room;
  #ann;
  #timeline;
  #bob;
  #theirs;
  #login;
  #door;
  #outgoing = new Map();

  static async begin(url, way, name) {
    const stage = new Stage();
    stage.#url = url;
    stage.#name = name;
    stage.#way = new Rough(WAYS[way]());
    stage.#door = new Door([url], WAYS[way]());
    const [ann, bob] = await Promise.all(["ann", "bob"].map((who) => stage.#door.signUp(`${who}${name}`, PASSWORD, "a browser")));
    stage.#login = ann.login;
    stage.#room = directChannel(ann.login.user, bob.login.user);
    const tokens = new Tokens(stage.#door, bob.login, async () => undefined);
    const { user, device } = bob.login;
    stage.#bob = await Client.create(url, { user, device, tokens: (why) => tokens.token(why), store: new MemoryStore(), transport: new WebSocketTransport() });
    await stage.#bob.connect();
    stage.#theirs = await stage.#bob.channel(stage.#room).open();
    await stage.open();
    return stage;
  }
  async open() {
    const { user, device } = this.#login;
    const tokens = new Tokens(this.#door, this.#login, async (login) => void (this.#login = login));
    const store = await IndexedDbStore.open(this.#name);
    this.#ann = await Client.create(this.#url, { user, device, tokens: (why) => tokens.token(why), store, transport: this.#way });
    this.#timeline = await this.#ann.channel(this.#room).open();
  }
  close() {
    this.#ann.close();
    this.#bob.close();
  }
  #of(text) {
    const outgoing = this.#outgoing.get(text);
    if (outgoing === undefined) throw new Error(`no text ${text} was sent`);
    return outgoing;
  }
  async step([verb, first, second]) {
    const room = this.#ann.channel(this.#room);
    const texts = (timeline) => timeline.items.value.flatMap(({ content }) => (content.type === "text" ? [content.text] : []));
    const has = (timeline, wanted) => until(() => `${JSON.stringify(wanted)}, but ${JSON.stringify(texts(timeline))}`, () => JSON.stringify(texts(timeline)) === JSON.stringify(wanted));
    switch (verb) {
      case "connect":
        return this.#ann.session.connect();
      case "online":
        return this.#ann.connect();
      case "send":
        return void this.#outgoing.set(first, await room.send(first));
      case "sent":
        return void (await this.#of(first).sent());
      case "refused": {
        const error = await this.#of(first).sent().then(() => undefined, (error) => error);
        if (error?.codeName !== second) throw new Error(`${first}: ${error?.codeName ?? "it was sent"}, not ${second}`);
        return;
      }
      case "discard":
        return room.discard(this.#of(first).id);
      case "say":
        return void (await (await this.#bob.channel(this.#room).send(first)).sent());
      case "tunnel":
        return this.#way.setReachable(!first);
      case "lose":
        return void this.#way.faults.push({ lose: first });
      case "restart":
        // What was given to the store is in it.
        await new Promise((resolve) => setTimeout(resolve, 50));
        this.#ann.close();
        this.#outgoing.clear();
        return this.open();
      case "shows":
        return has(this.#timeline, first);
      case "stands":
        // As the other user sees it: that is the server's order.
        return has(this.#theirs, first);
      case "unread":
        return until(() => `${first} are unread`, () => this.#ann.channels.value[0]?.unread === first);
      case "read":
        return room.markRead();
      default:
        throw new Error(`a step that this runner does not know: ${verb}`);
    }
  }
}

/** Plays a scenario to its end. */
globalThis.play = async (url, way, name, steps) => {
  const stage = await Stage.begin(url, way, name);
  try {
    for (const step of steps) {
      await stage.step(step).catch((error) => {
        throw new Error(`${JSON.stringify(step)}: ${error?.message ?? error}`);
      });
    }
  } finally {
    stage.close();
  }
};
