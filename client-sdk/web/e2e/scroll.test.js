// Long conversations and many of them: what is in the page stays little, what is read stays where it is, and everything is reached, by keyboard too.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { many, prose, Teller } from "./crowd.js";
import { browser, message, Node, person, picture, signUp, sound } from "./place.js";

const TEXTS = 1_200;
const GROUPS = 300;

let node;
let chromium;
let ann;
let bob;
let log;

before(async () => {
  [node, chromium] = await Promise.all([Node.start(), browser()]);
  [ann, bob] = await Promise.all([person(chromium, node.url, "ann"), Teller.signUp(node, "bob")]);
  await signUp(ann);
  await many(TEXTS, (at) => bob.say("@ann", prose(at)));
  log = ann.page.locator(".log");
});
after(async () => {
  await chromium?.close();
  await node?.stop();
});

/** So many pictures later. */
const frames = (count) => ann.page.evaluate(async (count) => { for (; count > 0; count--) await new Promise(requestAnimationFrame); }, count);
/** The row at the upper edge of the screen, and how far from it. */
const atTop = () =>
  log.evaluate((log) => {
    const edge = log.getBoundingClientRect().top;
    const row = [...log.querySelectorAll(".message")].find((row) => row.getBoundingClientRect().bottom > edge + 1);
    return { id: row.id, top: Math.round(row.getBoundingClientRect().top - edge) };
  });
const topOf = (id) => log.evaluate((log, id) => Math.round(document.getElementById(id).getBoundingClientRect().top - log.getBoundingClientRect().top), id);

test("a conversation is opened at its end, and only what can be seen is in the page", async () => {
  const { page } = ann;
  await page.locator(".row", { hasText: "bob" }).click();
  await page.locator(".message").last().waitFor();
  const { gap, rows } = await log.evaluate((log) => ({ gap: log.scrollHeight - log.scrollTop - log.clientHeight, rows: log.querySelectorAll(".message").length }));
  assert.ok(gap < 2, `${gap} px to the end`);
  assert.ok(rows < 150, `${rows} rows`);
  await sound(ann, "a long conversation");
});

test("what is read stays where it is while older texts come above it", async () => {
  const high = await log.evaluate((log) => log.scrollHeight);
  for (let pages = 0; pages < 3; pages++) {
    const mark = await log.evaluate((log) => {
      log.scrollTop = 100;
      return log.scrollHeight;
    });
    await frames(2);
    const seen = await atTop();
    await ann.page.waitForFunction((mark) => document.querySelector(".log").scrollHeight > mark + 500, mark);
    // What came is measured when it is in the page: its place is right in the picture after that.
    await frames(2);
    assert.ok(Math.abs((await topOf(seen.id)) - seen.top) <= 1, "older texts came above, and what is read is where it was");
  }
  assert.ok((await log.evaluate((log) => log.scrollHeight)) > high);
});

test("a text that comes does not move who reads older ones, and moves who is at the end", async () => {
  const before = await atTop();
  await bob.say("@ann", "while you read");
  await ann.page.locator(".row", { hasText: "while you read" }).waitFor();
  assert.equal(await topOf(before.id), before.top);
  await ann.page.getByRole("button", { name: "To the newest message" }).click();
  await message(ann.page, "while you read").waitFor();
  await bob.say("@ann", "at the end");
  await message(ann.page, "at the end").waitFor();
  await ann.page.waitForFunction(() => ((log) => log.scrollHeight - log.scrollTop - log.clientHeight < 2)(document.querySelector(".log")));
  // It is said to who listens.
  await ann.page.locator("[aria-live]", { hasText: "bob: at the end" }).waitFor({ state: "attached" });
});

test("a narrower window breaks lines elsewhere, and what is read stays", async () => {
  await log.evaluate((log) => (log.scrollTop = log.scrollHeight / 2));
  await frames(2);
  const before = await atTop();
  await ann.page.setViewportSize({ width: 800, height: 780 });
  await ann.page.waitForFunction(({ id, top }) => Math.abs(document.getElementById(id).getBoundingClientRect().top - document.querySelector(".log").getBoundingClientRect().top - top) <= 2, before);
  await ann.page.setViewportSize({ width: 1180, height: 780 });
});

test("a message far back is jumped to, by its place in the address", async () => {
  const { page } = ann;
  await page.evaluate(() => (location.hash += "/3"));
  await page.locator(".message.flash").waitFor();
  // Rows that were never in the page are measured when they are: then it is where it should be.
  await page.waitForFunction(() => {
    const row = document.querySelector(".message.flash");
    const off = row?.getBoundingClientRect().top - row?.closest(".log").getBoundingClientRect().top;
    return off > -1 && off < 700 && document.activeElement === row;
  });
  const rows = await page.locator(".message").count();
  assert.ok(rows < 200, `${rows} rows`);
});

test("arrows go from text to text, over what is in the page; each says its place", async () => {
  const { page } = ann;
  const place = () => page.evaluate(() => Number(document.activeElement.getAttribute("aria-posinset")));
  const first = await place();
  for (let step = 0; step < 60; step++) await page.keyboard.press("ArrowDown");
  assert.equal(await place(), first + 60);
  const inSight = await page.evaluate(() => ((row, log) => row.top >= log.top - 1 && row.bottom <= log.bottom + 1)(document.activeElement.getBoundingClientRect(), document.querySelector(".log").getBoundingClientRect()));
  assert.ok(inSight, "the text with the focus is seen");
  for (let step = 0; step < 60; step++) await page.keyboard.press("ArrowUp");
  assert.equal(await place(), first);
  // Who has the focus keeps it, however far away the rest is scrolled.
  await log.evaluate((log) => (log.scrollTop = log.scrollHeight));
  await frames(2);
  assert.equal(await place(), first);
  await page.keyboard.press("ArrowDown");
  assert.equal(await place(), first + 1);
  const total = await page.locator(".message").last().getAttribute("aria-setsize");
  assert.ok(Number(total) >= TEXTS, `${total} of them`);
});

test("hundreds of conversations: few are in the page, all are reached", async () => {
  const { page } = ann;
  const self = await Teller.logIn(node, "ann");
  const title = (at) => `Group ${String(at).padStart(3, "0")}`;
  await many(GROUPS, (at) => self.group(title(at)));
  await page.locator(".row", { hasText: title(GROUPS - 1) }).first().waitFor();
  const list = page.locator(".rows");
  const rows = () => list.locator(".row").count();
  assert.ok((await rows()) < 60, `${await rows()} rows`);
  await page.waitForFunction((count) => Number(document.querySelector(".rows li").getAttribute("aria-setsize")) > count, GROUPS);
  // To the last one by keyboard alone; what has the focus is always seen.
  await list.locator(".row").first().focus();
  for (let step = 0; step < GROUPS; step++) await page.keyboard.press("ArrowDown");
  const place = await page.evaluate(() => Number(document.activeElement.closest("li").getAttribute("aria-posinset")));
  assert.equal(place, GROUPS + 1);
  assert.ok((await rows()) < 60);
  // Somebody writes: their conversation goes to the top, and what is looked at stays.
  const seen = () => list.evaluate((list) => ((edge) => [...list.querySelectorAll("li")].map((row) => [row.innerText.split("\n")[1], Math.round(row.getBoundingClientRect().top - edge)]))(list.getBoundingClientRect().top));
  await list.evaluate((list) => (list.scrollTop = 5_000));
  await frames(2);
  const last = (rows) => JSON.stringify(rows.findLast(([, top]) => top > 0 && top < 500));
  const before = last(await seen());
  await bob.say("@ann", "are you there?");
  await page.locator(".notice").waitFor({ state: "attached" });
  await page.waitForFunction(() => document.title.startsWith("("));
  const after = await seen();
  assert.ok(after.some((row) => JSON.stringify(row) === before), `${before} stays where it is`);
  await page.getByLabel("Filter conversations").fill(title(7));
  await list.locator(".row", { hasText: title(7) }).waitFor();
  assert.equal(await rows(), 1);
  await page.getByLabel("Filter conversations").fill("");
  await picture(page, "many-light");
  await sound(ann, "many conversations");
});
