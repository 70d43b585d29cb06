// People chat in browsers: what each does is seen by the other; nothing that somebody writes is markup; what was written while the node was gone arrives.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { begin, browser, message, Node, person, picture, say, signUp, sound } from "./place.js";

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

test("from opening the page in two browsers to the first message read", async (t) => {
  const begun = Date.now();
  [ann, bob] = await Promise.all(["ann", "bob"].map((name) => person(chromium, node.url, name)));
  await picture(ann.page, "door-light");
  await sound(ann, "the door");
  await Promise.all([signUp(ann), signUp(bob)]);
  await picture(ann.page, "empty-light");
  await begin(ann.page, "bob");
  await say(ann.page, "hello bob");
  await bob.page.locator(".row", { hasText: "hello bob" }).click();
  await message(bob.page, "hello bob").waitFor();
  await ann.page.locator(".message.own .progress.read").waitFor();
  t.diagnostic(`${Date.now() - begun} ms`);
});

test("replies, reactions, edits, deletions and typing are seen by the other", async () => {
  await bob.page.getByLabel("Write a message").pressSequentially("he");
  await ann.page.getByText("bob is typing").waitFor();
  await message(bob.page, "hello bob").dblclick();
  await say(bob.page, "hello ann, here is a link: https://kith.example/a?b=c.");
  const reply = message(ann.page, "hello ann");
  await reply.waitFor();
  assert.equal(await reply.locator(".quote").innerText(), "ann\nhello bob");
  assert.equal(await reply.locator("a").getAttribute("href"), "https://kith.example/a?b=c");
  await reply.hover();
  await reply.getByRole("button", { name: "Actions" }).click();
  await picture(ann.page, "menu-light");
  await ann.page.getByRole("menuitem", { name: "React with 👍" }).click();
  await message(bob.page, "hello ann").getByRole("button", { name: /👍 1/ }).waitFor();
  await say(ann.page, "a mistaek");
  await message(ann.page, "a mistaek").locator(".progress.sent, .progress.delivered, .progress.read").waitFor();
  await ann.page.getByLabel("Write a message").press("ArrowUp");
  await say(ann.page, "a mistake");
  await message(bob.page, "a mistake").getByText("edited").waitFor();
  await message(ann.page, "a mistake").hover();
  await message(ann.page, "a mistake").getByRole("button", { name: "Actions" }).click();
  await ann.page.getByRole("menuitem", { name: "Delete" }).click();
  await ann.page.getByRole("dialog").getByRole("button", { name: "Delete" }).click();
  await bob.page.getByText("This message was deleted").waitFor();
  await sound(ann, "a conversation");
});

test("hostile texts are texts", async () => {
  const hostile = ["<img src=x onerror=alert(1)>", "<script>alert(2)</script>", "javascript:alert(3)", '"><svg onload=alert(4)>', "https://a.example/<b>x</b>", "\u202eevil\u202c"];
  for (const text of hostile) await say(ann.page, text);
  for (const text of hostile) await message(bob.page, text).waitFor();
  assert.equal(await bob.page.locator(".log img, .log script, .log svg:not(.icon)").count(), 0);
  assert.equal(await bob.page.locator('.log a[href^="javascript"]').count(), 0);
  assert.deepEqual([ann.faults, bob.faults], [[], []]);
});

test("long texts are folded, and a hundred messages later the first one is still there", async () => {
  await say(ann.page, "word ".repeat(19_000));
  const long = message(bob.page, "word word");
  await long.getByRole("button", { name: "Show all" }).waitFor();
  assert.ok((await long.innerText()).length < 2_000);
  for (let n = 1; n <= 120; n++) await say(ann.page, `line ${n}`);
  await message(bob.page, "line 120").waitFor();
  await bob.page.reload();
  await message(bob.page, "line 120").waitFor();
  for (let tries = 0; tries < 40 && (await bob.page.getByText("The beginning of this conversation").count()) === 0; tries++) {
    await bob.page.locator(".log").evaluate((log) => (log.scrollTop = 0));
    await bob.page.waitForTimeout(100);
  }
  // What was read stayed where it was: the beginning is above it.
  await bob.page.locator(".log").evaluate((log) => (log.scrollTop = 0));
  await message(bob.page, "hello bob").waitFor();
});

test("a group is made, talked in, searched and joined by a link", async () => {
  await ann.page.getByRole("button", { name: "New conversation" }).first().click();
  await ann.page.getByRole("button", { name: "New group" }).click();
  await ann.page.getByPlaceholder("Name of the group").fill("Alpine climbing, the whole club and its friends");
  await ann.page.getByPlaceholder("Begin of a name").fill("bob");
  await ann.page.locator(".found .person").first().click();
  await picture(ann.page, "new-group-light");
  await ann.page.getByRole("button", { name: "Create", exact: true }).click();
  await ann.page.getByText("You made the group").waitFor();
  await say(ann.page, "@bob the weather will be fine on Saturday");
  const row = bob.page.locator(".row", { hasText: "Alpine climbing" });
  await row.locator(".badge", { hasText: "@" }).waitFor();
  await picture(bob.page, "unread-light");
  await row.click();
  await message(bob.page, "the weather").locator(".mention").waitFor();
  await bob.page.keyboard.press("Control+k");
  // What was just said is found as soon as the index has it.
  const hit = bob.page.locator(".hit", { hasText: "weather" });
  for (let tries = 0; tries < 30 && (await hit.count()) === 0; tries++) {
    await bob.page.getByPlaceholder("Words in your messages").fill("");
    await bob.page.getByPlaceholder("Words in your messages").fill("weather");
    await bob.page.waitForTimeout(500);
  }
  await hit.waitFor();
  await picture(bob.page, "search-light");
  await bob.page.getByRole("button", { name: "Close" }).click();
  await ann.page.getByRole("button", { name: "Details" }).last().click();
  await ann.page.getByText("2 members").last().waitFor();
  await picture(ann.page, "details-light");
  await ann.page.getByRole("button", { name: "Copy invite link" }).click();
  await ann.page.getByText("Copied").waitFor();
  const link = await ann.page.evaluate(() => navigator.clipboard.readText());
  await ann.page.getByRole("button", { name: "Close" }).click();
  const eve = await person(chromium, link, "eve", { viewport: { width: 390, height: 780 }, colorScheme: "dark", hasTouch: true, isMobile: true });
  await picture(eve.page, "door-phone-dark");
  await signUp(eve);
  await eve.page.getByRole("button", { name: "Join", exact: true }).click();
  await eve.page.getByLabel("Write a message").waitFor();
  await eve.page.getByLabel("Write a message").fill("hi everybody 🎉");
  await eve.page.getByRole("button", { name: "Send" }).click();
  await message(ann.page, "hi everybody").waitFor();
  await picture(eve.page, "room-phone-dark");
  await eve.page.getByRole("button", { name: "Back to the list" }).click();
  await picture(eve.page, "list-phone-dark");
  await sound(eve, "a phone in the dark");
  await eve.context.close();
});

test("a node that dies and comes back: what was written meanwhile is sent, and nothing is missed", async () => {
  const direct = (page, name) => page.locator(".row").filter({ has: page.locator(".row-title", { hasText: new RegExp(`^${name}$`) }) });
  await direct(ann.page, "bob").click();
  await direct(bob.page, "ann").click();
  await node.kill();
  await say(ann.page, "written while the node was gone");
  await message(ann.page, "written while").locator(".progress.queued, .progress.sending").waitFor();
  await ann.page.locator(".notice").filter({ hasText: /Connecting|Offline/ }).waitFor();
  await picture(ann.page, "offline-light");
  // The page opens without a node, with all that it held.
  await ann.page.reload();
  await message(ann.page, "written while").locator(".progress.queued, .progress.sending").waitFor();
  await node.begin();
  await message(bob.page, "written while").waitFor({ timeout: 45_000 });
  assert.equal(await bob.page.locator(".message").filter({ hasText: "written while" }).count(), 1);
  await message(ann.page, "written while").locator(".progress.read, .progress.delivered, .progress.sent").waitFor({ timeout: 30_000 });
});

test("one tab at a time; who takes over has everything", async () => {
  const second = await ann.context.newPage();
  await second.goto(node.url);
  await second.getByRole("heading", { name: "Kith is open in another tab" }).waitFor();
  await second.getByRole("button", { name: "Use here" }).click();
  await second.locator(".row").first().waitFor();
  await ann.page.getByRole("heading", { name: "Kith is open in another tab" }).waitFor();
  await ann.page.close();
  ann.page = second;
  await second.locator(".row", { hasText: "bob" }).last().click();
  await message(second, "written while").waitFor();
});

test("pictures of every main view", async () => {
  for (const [name, options] of Object.entries({
    "desktop-light": { colorScheme: "light", viewport: { width: 1180, height: 780 } },
    "desktop-dark": { colorScheme: "dark", viewport: { width: 1180, height: 780 } },
    "phone-light": { colorScheme: "light", viewport: { width: 390, height: 780 } },
    "phone-dark": { colorScheme: "dark", viewport: { width: 390, height: 780 } },
  })) {
    await ann.page.emulateMedia({ colorScheme: options.colorScheme });
    await ann.page.setViewportSize(options.viewport);
    await ann.page.evaluate(() => (location.hash = "#/"));
    await picture(ann.page, `list-${name}`);
    await ann.page.locator(".row", { hasText: "Alpine" }).click();
    await message(ann.page, "the weather").waitFor();
    await picture(ann.page, `group-${name}`);
    await ann.page.evaluate(() => (location.hash = "#/"));
    await ann.page.locator(".row", { hasText: "bob" }).last().click();
    await message(ann.page, "written while").waitFor();
    await picture(ann.page, `direct-${name}`);
    await sound({ page: ann.page, faults: [] }, name);
    await ann.page.evaluate(() => (location.hash = "#/"));
    for (const dialog of ["Settings", "Contacts", "Search messages", "New conversation"]) {
      await ann.page.getByRole("button", { name: dialog }).first().click();
      await ann.page.getByRole("dialog", { name: dialog }).waitFor();
      if (dialog === "Settings") await ann.page.getByText("this device").waitFor();
      await picture(ann.page, `${dialog.toLowerCase().replaceAll(" ", "-")}-${name}`);
      await sound({ page: ann.page, faults: [] }, `${dialog} ${name}`);
      await ann.page.getByRole("button", { name: "Close" }).click();
    }
  }
});

test("from right to left", async () => {
  const { page } = ann;
  await page.emulateMedia({ colorScheme: "light" });
  await page.setViewportSize({ width: 1180, height: 780 });
  await page.locator(".row", { hasText: "Alpine" }).click();
  await say(page, "שלום לכולם, ניפגש בשבת בבוקר?");
  await message(page, "שלום").waitFor();
  await page.evaluate(() => (document.documentElement.dir = "rtl"));
  await picture(page, "rtl-desktop-light");
  await sound({ page, faults: [] }, "from right to left");
  const [list, room] = await Promise.all([".list", ".room"].map((part) => page.locator(part).boundingBox()));
  assert.ok(list.x > room.x, "the list is on the right");
  await page.setViewportSize({ width: 390, height: 780 });
  await picture(page, "rtl-phone-light");
  const wide = await page.evaluate(() => document.documentElement.scrollWidth);
  assert.ok(wide <= 390, `${wide} px wide`);
  await page.evaluate(() => document.documentElement.removeAttribute("dir"));
});
