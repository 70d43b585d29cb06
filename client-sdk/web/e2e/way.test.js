// Browsers chat over WebTransport; over WebSockets where no UDP gets through; over WebTransport again once it does.
//
// The wall is a rule of nftables, in a network namespace of this process (`test` sees to it). Where there is none, that part says that it tested nothing.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { after, before, test } from "node:test";

import { begin, browser, counted, message, Node, person, say, signUp } from "./place.js";

let node;
let chromium;
let ann;
let bob;

before(async () => {
  [node, chromium] = await Promise.all([Node.start(), browser()]);
});
after(async () => {
  await chromium?.close();
  await node?.stop();
});

/** So many of the node's sessions are over each way. */
async function over(ways) {
  // One that nobody was able to end stays until it was silent for long.
  for (const end = Date.now() + 120_000; ; ) {
    const now = { webtransport: await counted(node, "kith_edge_web_transports"), websocket: await counted(node, "kith_edge_web_sockets") };
    if (now.webtransport === ways.webtransport && now.websocket === ways.websocket) return;
    if (Date.now() > end) assert.deepEqual(now, ways);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function reopen({ page }) {
  await page.reload();
  await page.getByLabel("Write a message").waitFor();
}

test("two browsers chat over WebTransport", async () => {
  [ann, bob] = await Promise.all(["ann", "bob"].map((name) => person(chromium, node.url, name)));
  await Promise.all([signUp(ann), signUp(bob)]);
  await begin(ann.page, "bob");
  await say(ann.page, "over QUIC");
  await bob.page.locator(".row", { hasText: "over QUIC" }).click();
  await message(bob.page, "over QUIC").waitFor();
  await say(bob.page, "and back");
  await message(ann.page, "and back").waitFor();
  // The longest text there may be, and a page of it.
  await say(ann.page, "word ".repeat(19_999));
  await message(bob.page, "word word").waitFor();
  await over({ webtransport: 2, websocket: 0 });
});

test("a node that dies and comes back: the pages recover and miss nothing", async () => {
  await node.kill();
  await say(ann.page, "written while the node was gone");
  await message(ann.page, "written while").locator(".progress.queued, .progress.sending").waitFor();
  await node.begin();
  await message(bob.page, "written while").waitFor({ timeout: 60_000 });
  assert.equal(await bob.page.locator(".message").filter({ hasText: "written while" }).count(), 1);
  await over({ webtransport: 2, websocket: 0 });
});

test("where no UDP gets through they chat over WebSockets, and over WebTransport again once it does", async (t) => {
  const nft = (...args) => execFileSync("nft", args, { stdio: ["ignore", "ignore", "pipe"] });
  if (process.env.OWN_NETWORK !== "1") return t.skip("NOT TESTED, since root and nftables are needed");
  nft("add", "table", "inet", "wall");
  nft("add", "chain", "inet", "wall", "in", "{ type filter hook input priority 0 ; }");
  for (const side of ["dport", "sport"]) nft("add", "rule", "inet", "wall", "in", "udp", side, String(node.client), "drop");
  await Promise.all([reopen(ann), reopen(bob)]);
  await say(ann.page, "from behind a wall");
  await message(bob.page, "from behind a wall").waitFor({ timeout: 60_000 });
  await say(bob.page, "heard");
  await message(ann.page, "heard").waitFor();
  assert.equal(await counted(node, "kith_edge_web_sockets"), 2);
  // It is remembered: the next time it costs no time.
  const known = await ann.page.evaluate(() => localStorage.getItem("kith.way"));
  assert.equal(JSON.parse(known).tries >= 1, true, known);

  nft("flush", "chain", "inet", "wall", "in");
  // What a browser says when it is in another network.
  for (const { page } of [ann, bob]) await page.evaluate(() => window.dispatchEvent(new Event("online")));
  await Promise.all([reopen(ann), reopen(bob)]);
  await say(ann.page, "the wall is gone");
  await message(bob.page, "the wall is gone").waitFor();
  await over({ webtransport: 2, websocket: 0 });
  assert.deepEqual([ann.faults, bob.faults], [[], []]);
});
