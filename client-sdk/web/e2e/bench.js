// How fast the pages are: what they weigh, when something is seen, how a long conversation scrolls, and how long two people need from a link to a text.
//
// In: KITH, CHROMIUM, optionally TEXTS and CONVERSATIONS; the SDK as it is compiled for its tests. Out: a table; nothing fails. Figures of a machine that does other work say little.

import { cpus } from "node:os";
import http from "node:http";

import { create, toBinary } from "@bufbuild/protobuf";

import { IndexRowSchema } from "../sdk/dist/src/wire/kith/log/v1/log_pb.js";
import { many, prose, Teller } from "./crowd.js";
import { begin, browser, message, Node, person, say, signUp } from "./place.js";

const TEXTS = Number(process.env.TEXTS ?? 10_000);
const CONVERSATIONS = Number(process.env.CONVERSATIONS ?? 3_000);
const LOADS = 5;
const FLING_PX = 1_000;
const FILES = {
  chat: ["/", "/app.js", "/app.css", "/icon.svg", "/manifest.webmanifest", "/sw.js"],
  console: ["/console", "/console/app.js", "/console/app.css", "/icon.svg"],
};

const rows = [];
const row = (what, measured, goal) => rows.push([what, measured, goal]);

/** Bytes of an answer as they cross the network. */
function weight(url) {
  return new Promise((resolve, reject) => {
    const asked = http.get(url, { headers: { "accept-encoding": "gzip" } }, (answer) => {
      let bytes = 0;
      answer.on("data", (data) => (bytes += data.length));
      answer.on("end", () => resolve(bytes));
    });
    asked.on("error", reject);
  });
}

const sorted = (values) => [...values].sort((a, b) => a - b);
const part = (values, share) => sorted(values)[Math.min(Math.floor(values.length * share), values.length - 1)] ?? 0;
const ms = (value) => `${value.toFixed(value < 100 ? 1 : 0)} ms`;

/** Milliseconds until something is seen, of pages that are opened for the first time; the middle one of some. */
async function firstPaint(chromium, url) {
  const times = [];
  for (let load = 0; load < LOADS; load++) {
    const { page, context } = await person(chromium, url, "nobody");
    times.push(await paint(page));
    await context.close();
  }
  return part(times, 0.5);
}
const paint = (page) =>
  page.evaluate(
    () =>
      new Promise((resolve) => {
        const seen = (list) => list.filter(({ name }) => name === "first-contentful-paint").forEach(({ startTime }) => resolve(startTime));
        new PerformanceObserver((list) => seen(list.getEntries())).observe({ type: "paint", buffered: true });
      }),
  );

/** What the page's main thread has worked so far, in milliseconds of processor time. */
async function worked(page) {
  const cdp = (page.cdp ??= await page.context().newCDPSession(page));
  await cdp.send("Performance.enable", { timeDomain: "threadTicks" });
  const { metrics } = await cdp.send("Performance.getMetrics");
  return 1_000 * metrics.find(({ name }) => name === "TaskDuration").value;
}

/** Scrolls a list so many pixels each frame until its end in that direction is there; gives how long frames took. */
async function scroll(page, list, px) {
  const before = await worked(page);
  const scrolled = await page.evaluate(
    async ({ list, px }) => {
      const log = document.querySelector(list);
      const frames = [];
      const tasks = [];
      const observer = new PerformanceObserver((list) => tasks.push(...list.getEntries().map(({ duration }) => duration)));
      observer.observe({ type: "longtask" });
      let before = await new Promise(requestAnimationFrame);
      const isThere = () => (px < 0 ? log.scrollTop <= 0 && !log.querySelector(".older.is-loading") : log.scrollTop + log.clientHeight >= log.scrollHeight - 1);
      while (!isThere()) {
        log.scrollTop += px;
        const now = await new Promise(requestAnimationFrame);
        frames.push(now - before);
        before = now;
      }
      await new Promise((resolve) => setTimeout(resolve, 100));
      observer.disconnect();
      const rows = log.querySelectorAll("[aria-setsize]");
      return { frames, tasks, rows: `${rows.length} of ${rows[0].getAttribute("aria-setsize")}` };
    },
    { list, px },
  );
  return { ...scrolled, work: (await worked(page)) - before };
}
/** Puts conversations into what this browser holds, as if it had heard of them: to make so many would take hours. */
async function keepConversations(page) {
  const rows = Array.from({ length: CONVERSATIONS }, (_, at) => {
    const id = `02${at.toString(16).padStart(32, "0")}`;
    const news = { channel: Buffer.from(id, "hex"), head: { seq: 1n, cnt: 1n }, headTs: 1_700_000_000_000n + BigInt(at) * 60_000n, headSender: BigInt(at + 1), title: `Conversation ${at}`, preview: prose(at).slice(0, 80) };
    return [id, [...toBinary(IndexRowSchema, create(IndexRowSchema, { rev: 0n, news }))]];
  });
  await page.evaluate(async (rows) => {
    const { name } = (await indexedDB.databases()).find(({ name }) => /^kith-\d+$/.test(name));
    const opening = indexedDB.open(name);
    const database = await new Promise((resolve) => (opening.onsuccess = () => resolve(opening.result)));
    const transaction = database.transaction("rows", "readwrite");
    for (const [id, row] of rows) transaction.objectStore("rows").put(Uint8Array.from(row), id);
    await new Promise((resolve) => (transaction.oncomplete = resolve));
    database.close();
  }, rows);
}

function told(what, { frames, tasks, work, rows: inPage }) {
  row(what, `${frames.length} frames: half within ${ms(part(frames, 0.5))}, 99 % within ${ms(part(frames, 0.99))}, longest ${ms(Math.max(...frames))}`, "no frame over 50 ms");
  row(`${what}: script, style and layout`, tasks.length === 0 ? "no task over 50 ms" : `${tasks.length} tasks over 50 ms, longest ${ms(Math.max(...tasks))}`, "no task over 50 ms");
  row(`${what}: work`, `${ms(work / frames.length)} of a processor for each frame; ${inPage} rows in the page`, "");
}

const [node, chromium] = await Promise.all([Node.start(), browser()]);
try {
  for (const [page, files] of Object.entries(FILES)) {
    const bytes = await Promise.all(files.map((file) => weight(node.url + file)));
    row(`the ${page} page, gzipped`, `${(bytes.reduce((a, b) => a + b) / 1_024).toFixed(1)} KiB`, "200 KiB");
  }
  row("first paint of the chat", ms(await firstPaint(chromium, node.url)), "1 s");
  row("first paint of the console", ms(await firstPaint(chromium, `${node.url}/console`)), "1 s");

  const begun = Date.now();
  const [ann, bob] = await Promise.all(["ann", "bob"].map((name) => person(chromium, node.url, name)));
  await Promise.all([signUp(ann), signUp(bob)]);
  await begin(ann.page, "bob");
  await say(ann.page, "hello bob");
  await bob.page.locator(".row", { hasText: "hello bob" }).click();
  await message(bob.page, "hello bob").waitFor();
  row("two browsers: from opening the link to the first text read", `${((Date.now() - begun) / 1_000).toFixed(1)} s`, "10 s");
  await ann.context.close();

  const teller = await Teller.logIn(node, "ann");
  const place = bob.page.url();
  await bob.page.goto("about:blank");
  await many(TEXTS, (at) => teller.say("@bob", prose(at)));
  await bob.page.goto(place);
  await bob.page.locator(".message").first().waitFor();
  row("first paint with a conversation open", ms(await paint(bob.page)), "1 s");
  const texts = `${TEXTS.toLocaleString("en")} texts`;
  told(`${texts}, up, as they come from the node`, await scroll(bob.page, ".log", -FLING_PX));
  told(`${texts}, down`, await scroll(bob.page, ".log", FLING_PX));

  await keepConversations(bob.page);
  await bob.page.goto("about:blank");
  await bob.page.goto(node.url);
  await bob.page.waitForFunction((count) => Number(document.querySelector(".rows li")?.getAttribute("aria-setsize")) > count, CONVERSATIONS);
  row(`first paint with ${CONVERSATIONS.toLocaleString("en")} conversations`, ms(await paint(bob.page)), "1 s");
  told(`${CONVERSATIONS.toLocaleString("en")} conversations, down`, await scroll(bob.page, ".rows", FLING_PX));
} finally {
  await chromium.close();
  await node.stop();
}

const wide = [0, 1, 2].map((column) => Math.max(...rows.map((row) => row[column].length), 8));
const line = (cells) => cells.map((cell, column) => cell.padEnd(wide[column])).join("  ").trimEnd();
console.log(`${cpus().length} × ${cpus()[0].model}; headless Chromium, no GPU\n`);
console.log([line(["what", "measured", "goal"]), ...rows.map(line)].join("\n"));
