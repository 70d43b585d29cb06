// A client against a node that breaks: exactly once, in order, over restarts on the same store.

import assert from "node:assert/strict";
import { test } from "node:test";

import "fake-indexeddb/auto";

import { Client, directChannel, IndexedDbStore, MemoryStore, StoreFailed, type Store, type TimelineItem } from "../src/index.js";
import { ANN, BOB, FakeNode, seeded, until } from "./fake.js";

const DEVICE = 7n;
const ROOM = directChannel(ANN, BOB);

async function open(node: FakeNode, store: Store, random: () => number = () => 0): Promise<Client> {
  const tokens = async (): Promise<string> => "token";
  return Client.create("http://node", { user: ANN, device: DEVICE, tokens, store, transport: node.transport(), random });
}
function texts(items: readonly TimelineItem[]): string[] {
  return items.flatMap(({ content }) => (content.type === "text" ? [content.text] : []));
}

test("what is written offline shows at once, and is sent once there is a connection", async () => {
  const node = new FakeNode();
  const client = await open(node, new MemoryStore());
  const timeline = await client.channel(ROOM).open();
  const outgoing = await client.channel(ROOM).send("hello");
  assert.deepEqual(texts(timeline.items.value), ["hello"]);
  assert.equal(outgoing.state.value.state, "queued");
  await client.connect();
  assert.equal(await outgoing.sent(), 1n);
  await until("the record is there", () => timeline.items.value[0]?.seq === 1n);
  assert.deepEqual(timeline.items.value.map(({ id }) => id), [outgoing.id]);
  client.close();
});

test("what others said meanwhile is pulled, newest page first, older on demand", async () => {
  const node = new FakeNode();
  for (let n = 1; n <= 250; n++) node.say(ROOM, BOB, `${n}`);
  const client = await open(node, new MemoryStore());
  await client.connect();
  const timeline = await client.channel(ROOM).open();
  await until("the newest are there", () => texts(timeline.items.value).at(-1) === "250");
  assert.equal(client.channels.value[0].unread, 250);
  assert.ok(timeline.items.value.length < 100);
  while (timeline.hasOlder.value) await timeline.loadOlder();
  assert.deepEqual(texts(timeline.items.value), Array.from({ length: 250 }, (_, at) => `${at + 1}`));
  node.say(ROOM, BOB, "251");
  await until("a new one is there", () => texts(timeline.items.value).at(-1) === "251");
  client.channel(ROOM).markRead();
  assert.equal(client.channels.value.length, 1);
  await until("nothing is unread", () => client.channels.value[0].unread === 0);
  client.close();
});

test("a full disk: what cannot be stored is not sent and can be sent later, what others say is shown, and the next start misses nothing", async () => {
  const node = new FakeNode();
  const store = new MemoryStore();
  const write = store.write.bind(store);
  const client = await open(node, store);
  await client.connect();
  const timeline = await client.channel(ROOM).open();
  await (await client.channel(ROOM).send("before")).sent();
  store.write = async () => {
    throw new StoreFailed("writing", new DOMException("no room", "QuotaExceededError"));
  };
  // Two at once: the number of the first cannot be used again.
  const sends = await Promise.allSettled(["one", "two"].map((text) => client.channel(ROOM).send(text)));
  assert.deepEqual(sends.map(({ status }) => status), ["rejected", "rejected"]);
  assert.ok(client.trouble.value instanceof StoreFailed && client.trouble.value.isFull);
  node.say(ROOM, BOB, "heard");
  await until("what others say is shown", () => texts(timeline.items.value).join() === "before,heard");
  store.write = write;
  await (await client.channel(ROOM).send("after")).sent();
  assert.deepEqual(node.texts(ROOM), ["before", "heard", "after"]);
  client.close();

  const again = await open(node, store);
  await again.connect();
  const held = await again.channel(ROOM).open();
  await until("all is there", () => texts(held.items.value).join() === "before,heard,after");
  await (await again.channel(ROOM).send("last")).sent();
  assert.deepEqual(node.texts(ROOM), ["before", "heard", "after", "last"]);
  again.close();
});

test("a refused text is told with its reason, and may be discarded", async () => {
  const node = new FakeNode();
  const client = await open(node, new MemoryStore());
  await client.connect();
  const timeline = await client.channel(ROOM).open();
  const outgoing = await client.channel(ROOM).send("");
  await assert.rejects(outgoing.sent(), { codeName: "Invalid" });
  assert.equal(timeline.items.value[0].delivery?.state, "failed");
  client.channel(ROOM).discard(outgoing.id);
  assert.equal(timeline.items.value.length, 0);
  // Its number was used up by nothing: the next text goes all the same.
  node.log(ROOM).last.set(DEVICE, 1n);
  assert.equal(await (await client.channel(ROOM).send("fine")).sent(), 1n);
  client.close();
});

// For each seed: links that break before or after what they carried was done, and a client that dies and begins anew on the same store.
for (let seed = 1; seed <= 40; seed++) {
  test(`each text is sent once and in order, seed ${seed}`, async () => {
    const random = seeded(seed);
    const node = new FakeNode();
    const name = `seed-${seed}`;
    node.fate = () => {
      const drawn = random();
      return drawn < 0.1 ? "lost before" : drawn < 0.2 ? "lost after" : "fine";
    };
    const sent: string[] = [];
    for (let life = 0; life < 4; life++) {
      const client = await open(node, await IndexedDbStore.open(name));
      client.session.connect();
      const lives = 3 + Math.floor(random() * 5);
      for (let n = 0; n < lives; n++) {
        const text = `${life}-${n}`;
        await client.channel(ROOM).send(text);
        sent.push(text);
        for (let wait = random() * 6; wait > 1; wait--) await new Promise(setImmediate);
      }
      // It dies in the middle.
      client.close();
    }
    const client = await open(node, await IndexedDbStore.open(name));
    const timeline = await client.channel(ROOM).open();
    client.session.connect();
    await until(`all are sent (run again: npm test -w sdk -- --test-name-pattern "seed ${seed}")`, () => client.session.outbox.isEmpty);
    assert.deepEqual(node.texts(ROOM), sent);
    node.fate = () => "fine";
    const newest = (): bigint | undefined => timeline.items.value.at(-1)?.seq;
    await until("the newest is shown", () => newest() === BigInt(sent.length));
    while (timeline.hasOlder.value) await timeline.loadOlder();
    assert.deepEqual(texts(timeline.items.value), sent);
    client.close();
  });
}

test("what was held is shown offline after a restart", async () => {
  const node = new FakeNode();
  node.say(ROOM, BOB, "one");
  const first = await open(node, await IndexedDbStore.open("offline"));
  await first.connect();
  const before = await first.channel(ROOM).open();
  await until("it is held", () => texts(before.items.value).length === 1);
  node.react(ROOM, BOB, 1n, "👍", true);
  await until("the reaction is there", () => before.items.value[0].reactions.length === 1);
  await new Promise((resolve) => setTimeout(resolve, 20));
  first.close();
  const second = await open(node, await IndexedDbStore.open("offline"));
  const after = await second.channel(ROOM).open();
  assert.deepEqual(texts(after.items.value), ["one"]);
  assert.equal(after.items.value[0].reactions[0]?.count, 1);
  assert.equal(second.channels.value[0]?.id, ROOM);
  second.close();
});
