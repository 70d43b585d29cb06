// News while no page is open: a browser subscribes when somebody says so, a push shows what it points to, a click goes there. The browser's push service is not
// asked: its subscription is made here, and the debugger delivers what it would.

import assert from "node:assert/strict";
import { createECDH, generateKeyPairSync, randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { Teller } from "./crowd.js";
import { browser, message, Node, person, picture, signUp, sound } from "./place.js";

let folder;
let node;
let chromium;
let ann;
let self;
let bob;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), "kith-push-"));
  const key = join(folder, "vapid.pem");
  writeFileSync(key, generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey.export({ type: "pkcs8", format: "pem" }));
  const settings = ["--set", `push.web_push.key_file=${key}`, "--set", "push.web_push.subject=mailto:ops@kith.example"];
  [node, chromium] = await Promise.all([Node.start(settings), browser()]);
  ann = await person(chromium, "about:blank", "ann");
  await ann.context.grantPermissions(["notifications"], { origin: node.url });
  const ecdh = createECDH("prime256v1");
  const keys = { p256dh: [...ecdh.generateKeys()], auth: [...randomBytes(16)] };
  await ann.context.addInitScript(subscribing, keys);
  await ann.page.goto(node.url);
  await signUp(ann);
  [self, bob] = await Promise.all([Teller.logIn(node, "ann"), Teller.signUp(node, "bob")]);
});
after(async () => {
  await chromium?.close();
  await node?.stop();
  rmSync(folder, { recursive: true, force: true });
});

/** In the page: a push service that always says yes. */
function subscribing({ p256dh, auth }) {
  const held = () => {
    const server = JSON.parse(localStorage.getItem("subscribed") ?? "null");
    if (server === null) return null;
    const keys = { p256dh, auth };
    return {
      endpoint: "https://push.example/of-ann",
      options: { applicationServerKey: Uint8Array.from(server).buffer },
      getKey: (name) => Uint8Array.from(keys[name]).buffer,
      unsubscribe: async () => (localStorage.removeItem("subscribed"), true),
    };
  };
  PushManager.prototype.getSubscription = async () => held();
  PushManager.prototype.subscribe = async ({ applicationServerKey }) => {
    localStorage.setItem("subscribed", JSON.stringify([...applicationServerKey]));
    return held();
  };
}

const numberOf = (id) => BigInt(`0x${id.slice(1)}`);
/** A payload, as kith-wire writes it. */
function payload(kind, { badge = 1, seq = 0n } = {}) {
  const [me, other] = [numberOf(self.user), numberOf(bob.user)];
  const bytes = Buffer.alloc(kind === 4 ? 22 : 39);
  bytes.set([1, kind]);
  bytes.writeBigUInt64BE(me, 2);
  bytes.writeUInt32BE(badge, 10);
  if (kind !== 4) {
    bytes[14] = 1;
    bytes.writeBigUInt64BE(me < other ? me : other, 15);
    bytes.writeBigUInt64BE(me < other ? other : me, 23);
    bytes.writeBigUInt64BE(seq, 31);
  }
  return JSON.stringify({ kith: bytes.toString("base64url") });
}

/** Delivers a push, as the browser would. */
async function deliver(page, data) {
  const cdp = await page.context().newCDPSession(page);
  const found = new Promise((resolve) => cdp.on("ServiceWorker.workerRegistrationUpdated", ({ registrations: [first] }) => first !== undefined && resolve(first)));
  await cdp.send("ServiceWorker.enable");
  const { registrationId } = await found;
  await cdp.send("ServiceWorker.deliverPushMessage", { origin: node.url, registrationId, data });
  await cdp.detach();
}
const worker = () => ann.context.serviceWorkers()[0];
const shown = () => worker().evaluate(async () => (await self.registration.getNotifications()).map(({ title, body, data }) => ({ title, body, hash: data.hash })));
async function until(what, is) {
  for (const end = Date.now() + 30_000; ; ) {
    const value = await what();
    if (is(value)) return value;
    if (Date.now() > end) throw new Error(`not reached: ${JSON.stringify(value)}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

test("nobody is asked for permission unless they want to be told", async () => {
  assert.deepEqual((await self.ask("GET", "/v1/me/push")).devices, []);
  assert.equal(await ann.page.evaluate(() => localStorage.getItem("subscribed")), null);
});

test("switched on in the settings, and the cluster knows", async () => {
  const { page } = ann;
  await page.getByRole("button", { name: "Settings" }).click();
  const on = page.getByRole("switch", { name: "Tell me of news while Kith is closed" });
  await page.waitForFunction(() => !document.querySelector("#notify").disabled);
  await on.check();
  const { devices } = await until(() => self.ask("GET", "/v1/me/push"), ({ devices }) => devices.length === 1);
  assert.equal(devices[0].via, "web_push");
  await picture(page, "notifications-light");
  await sound(ann, "notifications");
  await page.getByRole("button", { name: "Close" }).click();
});

test("a push names what this device knows, one notification for each conversation; what is read elsewhere goes", async () => {
  const { page } = ann;
  const seq = await bob.say("@ann", "are you up?");
  await page.locator(".row", { hasText: "are you up?" }).waitFor();
  await page.locator(".row-title", { hasText: "bob" }).waitFor();
  // Nobody looks.
  await page.goto("about:blank");
  await deliver(page, payload(1, { seq: BigInt(seq) }));
  const [first] = await until(shown, ({ length }) => length === 1);
  assert.deepEqual([first.title, first.body], ["bob", "New message"]);
  await deliver(page, payload(2, { seq: BigInt(seq) + 1n }));
  await until(shown, ([{ body }]) => body === "You were mentioned");
  assert.equal((await shown()).length, 1);
  await deliver(page, payload(3, { seq: BigInt(seq) + 1n, badge: 0 }));
  await until(shown, ({ length }) => length === 0);
  await deliver(page, "of a version that is not known");
  await until(shown, ([one]) => one?.body === "There is something new");
});

test("a click goes to the conversation, and what is seen needs no notification", async () => {
  const { page } = ann;
  await deliver(page, payload(1, { seq: 1_000n }));
  await until(shown, (all) => all.some(({ title }) => title === "bob"));
  await page.goto(node.url);
  await page.getByRole("heading", { name: "Conversations" }).waitFor();
  await worker().evaluate(async () => {
    const notification = (await self.registration.getNotifications()).find(({ title }) => title === "bob");
    // The worker goes on, though an event that no user made cannot be waited for.
    self.dispatchEvent(new NotificationEvent("notificationclick", { notification }));
  });
  await message(page, "are you up?").waitFor();
  await until(shown, (all) => all.every(({ title }) => title !== "bob"));
  ann.faults.length = 0;
});

test("who logs out is not told any more", async () => {
  const { page } = ann;
  await page.getByRole("button", { name: "Settings" }).click();
  await page.getByRole("button", { name: "Log out", exact: true }).last().click();
  await page.getByRole("dialog").getByRole("button", { name: "Log out", exact: true }).last().click();
  await page.getByRole("button", { name: "Create account" }).waitFor();
  assert.equal(await page.evaluate(() => localStorage.getItem("subscribed")), null);
  assert.deepEqual((await self.ask("GET", "/v1/me/push")).devices, []);
});
