// What every SDK does alike: the scenarios of `client-sdk/conformance`, against the fake node.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import "fake-indexeddb/auto";

import { Client, directChannel, IndexedDbStore, type Outgoing, type Timeline } from "../src/index.js";
import { ANN, BOB, FakeNode, until } from "./fake.js";

type Step = [string, ...unknown[]];
interface Scenario {
  name: string;
  steps: Step[];
}

const ROOM = directChannel(ANN, BOB);
// Of the compiled file: dist/test in web/sdk.
const scenarios = JSON.parse(readFileSync(new URL("../../../../conformance/scenarios.json", import.meta.url), "utf8")) as Scenario[];

class Stage {
  readonly node = new FakeNode();
  readonly #store: string;
  #client!: Client;
  #timeline!: Timeline;
  #outgoing = new Map<string, Outgoing>();

  constructor(store: string) {
    this.#store = store;
  }
  async open(): Promise<void> {
    const store = await IndexedDbStore.open(this.#store);
    const tokens = async (): Promise<string> => "token";
    this.#client = await Client.create("http://node", { user: ANN, device: 7n, tokens, store, transport: this.node.transport(), random: () => 0 });
    this.#timeline = await this.#client.channel(ROOM).open();
  }
  close(): void {
    this.#client.close();
  }
  #shown(): string[] {
    return this.#timeline.items.value.flatMap(({ content }) => (content.type === "text" ? [content.text] : []));
  }
  #of(text: unknown): Outgoing {
    const outgoing = this.#outgoing.get(text as string);
    assert.ok(outgoing, `no text ${String(text)} was sent`);
    return outgoing;
  }

  async step([verb, first, second]: Step): Promise<void> {
    const room = this.#client.channel(ROOM);
    switch (verb) {
      case "connect":
        this.#client.session.connect();
        return;
      case "online":
        return this.#client.connect();
      case "send":
        this.#outgoing.set(first as string, await room.send(first as string));
        return;
      case "sent":
        await this.#of(first).sent();
        return;
      case "refused":
        return assert.rejects(this.#of(first).sent(), { codeName: second as string });
      case "discard":
        return room.discard(this.#of(first).id);
      case "say":
        this.node.say(ROOM, BOB, first as string);
        return;
      case "tunnel":
        this.node.setReachable(!(first as boolean));
        return;
      case "lose":
        this.node.faults.push({ lose: first as "request" | "answer" });
        return;
      case "refuse":
        this.node.faults.push({ refuse: first as string });
        return;
      case "restart":
        // What was given to the store is in it.
        await new Promise((resolve) => setTimeout(resolve, 20));
        this.#client.close();
        this.#outgoing.clear();
        return this.open();
      case "shows":
        return until(`${JSON.stringify(first)} are shown`, () => JSON.stringify(this.#shown()) === JSON.stringify(first));
      case "stands":
        assert.deepEqual(this.node.texts(ROOM), first);
        return;
      case "unread":
        return until(`${String(first)} are unread`, () => this.#client.channels.value[0]?.unread === first);
      case "read":
        room.markRead();
        return;
      default:
        assert.fail(`a step that this runner does not know: ${verb}`);
    }
  }
}

for (const [number, { name, steps }] of scenarios.entries()) {
  test(`conformance: ${name}`, async () => {
    const stage = new Stage(`conformance-${number}`);
    await stage.open();
    for (const step of steps) await stage.step(step);
    stage.close();
  });
}
