// Who one is and knows: profile, contacts, blocks, devices; and a browser that keeps nothing, or is full.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { Teller } from "./crowd.js";
import { begin, browser, message, Node, person, picture, say, signUp, sound } from "./place.js";

let node;
let chromium;
let ann;
let bob;

before(async () => {
  [node, chromium] = await Promise.all([Node.start(), browser()]);
  [ann, bob] = await Promise.all(["ann", "bob"].map((name) => person(chromium, node.url, name)));
  await Promise.all([signUp(ann), signUp(bob)]);
  await begin(ann.page, "bob");
  await say(ann.page, "hello bob");
  await bob.page.locator(".row", { hasText: "hello bob" }).click();
});
after(async () => {
  await chromium?.close();
  await node?.stop();
});

const close = (page) => page.getByRole("dialog").getByRole("button", { name: "Close" }).click();
const open = (page, name) => page.getByRole("button", { name, exact: true }).first().click();

test("a profile is changed, and others see it", async () => {
  const { page } = ann;
  await open(page, "Settings");
  await page.getByLabel("Display name").fill("Ann of the hills");
  await page.getByLabel("About you").fill("Up early");
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByText("Saved").waitFor();
  await close(page);
  await open(page, "Settings");
  await page.waitForFunction(() => document.querySelector("#about").value === "Up early");
  assert.equal(await page.getByLabel("Display name").inputValue(), "Ann of the hills");
  await picture(page, "settings-light");
  await sound(ann, "settings");
  await close(page);
  await bob.page.reload();
  await bob.page.locator(".row-title", { hasText: "Ann of the hills" }).waitFor();
});

test("contacts: asked, accepted, seen to be here, removed", async () => {
  await open(ann.page, "Contacts");
  await ann.page.getByText("No contacts yet").waitFor();
  await picture(ann.page, "contacts-empty-light");
  await ann.page.getByPlaceholder("Begin of a name").fill("bob");
  await ann.page.locator(".people .person").first().click();
  await ann.page.getByRole("list", { name: "Asked by you" }).getByText("bob").first().waitFor();
  await open(bob.page, "Contacts");
  const asking = bob.page.getByRole("list", { name: "Want to be your contacts" });
  await asking.getByText("Ann of the hills").waitFor();
  await picture(bob.page, "contacts-asked-light");
  await sound(bob, "contacts");
  await asking.getByRole("button", { name: "Accept" }).click();
  await bob.page.getByRole("list", { name: "Contacts", exact: true }).getByText("Ann of the hills").waitFor();
  await close(bob.page);
  await close(ann.page);
  await bob.page.locator(".row .face.online").waitFor();
  await open(bob.page, "Contacts");
  await bob.page.getByRole("button", { name: "Remove Ann of the hills from your contacts" }).click();
  await bob.page.getByRole("dialog").getByRole("button", { name: "Remove", exact: true }).click();
  await bob.page.getByRole("list", { name: "Contacts", exact: true }).waitFor({ state: "hidden" });
  await close(bob.page);
});

test("somebody is blocked, and let in again", async () => {
  await open(bob.page, "Details");
  await bob.page.getByRole("button", { name: "Block" }).click();
  await bob.page.getByRole("dialog").getByRole("button", { name: "Block" }).last().click();
  await bob.page.getByRole("dialog").waitFor({ state: "hidden" });
  await say(ann.page, "do you hear me?");
  // They do not notice.
  await message(ann.page, "do you hear me?").locator(".progress.sent, .progress.delivered").waitFor();
  await open(bob.page, "Contacts");
  const blocked = bob.page.getByRole("list", { name: "Blocked" });
  await blocked.getByText("Ann of the hills").waitFor();
  await blocked.getByRole("button", { name: "Unblock" }).click();
  await blocked.waitFor({ state: "hidden" });
  await close(bob.page);
  await say(ann.page, "and now?");
  await message(bob.page, "and now?").waitFor();
});

test("another device is seen, and logged out", async () => {
  const other = await Teller.logIn(node, "ann");
  await open(ann.page, "Settings");
  const devices = ann.page.getByRole("list", { name: "Devices" });
  await devices.getByText("this device").waitFor();
  await devices.getByText("a script").waitFor();
  await picture(ann.page, "devices-light");
  await sound(ann, "devices");
  await devices.getByRole("button", { name: "Log out a script" }).click();
  await ann.page.getByRole("dialog").getByRole("button", { name: "Log out", exact: true }).last().click();
  await devices.getByText("a script").waitFor({ state: "hidden" });
  await assert.rejects(other.ask("GET", "/v1/me"), /401|Revoked|LoginNeeded/);
  await close(ann.page);
});

test("a browser that keeps nothing says so, and chats all the same", async () => {
  const eve = await person(chromium, "about:blank", "eve");
  await eve.context.addInitScript(() => {
    IDBFactory.prototype.open = () => {
      throw new DOMException("not in a private window", "SecurityError");
    };
  });
  await eve.page.goto(node.url);
  await signUp(eve);
  await eve.page.locator(".notice", { hasText: "This browser keeps nothing" }).waitFor();
  await begin(eve.page, "bob");
  await say(eve.page, "a word that nobody keeps");
  await message(eve.page, "a word that nobody keeps").locator(".progress.sent, .progress.delivered, .progress.read").waitFor();
  await picture(eve.page, "nothing-kept-light");
  await sound(eve, "a browser that keeps nothing");
  await eve.context.close();
});

test("a full disk is told, what was written is not lost, and what others write is still shown", async () => {
  const { page } = ann;
  await page.evaluate(() => {
    globalThis.put = IDBObjectStore.prototype.put;
    IDBObjectStore.prototype.put = () => {
      throw new DOMException("no room", "QuotaExceededError");
    };
  });
  await say(page, "is there room?");
  await page.locator(".notice", { hasText: "This device cannot store anything any more" }).waitFor();
  assert.equal(await page.getByLabel("Write a message").inputValue(), "is there room?");
  await say(bob.page, "there is none");
  await message(page, "there is none").waitFor();
  await picture(page, "full-light");
  await sound(ann, "a full disk");
  await page.evaluate(() => (IDBObjectStore.prototype.put = globalThis.put));
  await page.getByLabel("Write a message").press("Enter");
  await message(bob.page, "is there room?").waitFor();
});
