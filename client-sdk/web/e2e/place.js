// A node and a browser for tests: the node is the built program, on a port of the system's choice; the browser is Debian's Chromium.
//
// In: KITH (the program), CHROMIUM (its path), SCREENS (where pictures go). Out: pages of people. Invariant: both are gone at the end.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { chromium } from "playwright-core";

export const PASSWORD = "correct horse battery";
export const SCREENS = process.env.SCREENS ?? "";

/** A port that is free now. */
async function port() {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** A cluster of one. */
export class Node {
  said = "";
  /** `more`: further arguments, such as settings. */
  static async start(more = []) {
    const node = new Node();
    node.more = more;
    node.folder = mkdtempSync(join(tmpdir(), "kith-web-"));
    [node.client, node.http, node.page] = [await port(), await port(), await port()];
    node.url = `http://127.0.0.1:${node.page}`;
    await node.begin();
    return node;
  }
  async begin() {
    const local = (port) => `127.0.0.1:${port}`;
    const args = ["start", "--single-node", "--data", join(this.folder, "data"), "--listen", local(this.client), "--http", local(this.http), "--api-plain", local(this.page), "--until-stdin-closes", ...this.more];
    this.process = spawn(process.env.KITH, args, { stdio: ["pipe", "ignore", "pipe"] });
    this.process.stderr.setEncoding("utf8").on("data", (text) => (this.said += text));
    for (const end = Date.now() + 60_000; ; ) {
      const answers = await Promise.all([`http://${local(this.http)}/readyz`, this.url].map((url) => fetch(url).catch(() => undefined)));
      if (answers.every((answer) => answer?.ok)) return;
      if (Date.now() > end) throw new Error("the node is not ready");
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
  /** What the node shows once, when its cluster is new: the first admin token. */
  async first() {
    for (const end = Date.now() + 60_000; ; ) {
      const found = /kith-first-\S+/.exec(this.said);
      if (found !== null) return found[0];
      if (Date.now() > end) throw new Error("the node shows no first token");
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
  /** As a crash. */
  async kill() {
    const ended = new Promise((resolve) => this.process.once("exit", resolve));
    this.process.kill("SIGKILL");
    await ended;
  }
  async stop() {
    await this.kill();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** What a node counts. */
export async function counted(node, name) {
  const text = await (await fetch(`http://127.0.0.1:${node.http}/metrics`)).text();
  return text.split("\n").reduce((sum, line) => sum + (line.startsWith(`${name} `) ? Number(line.slice(name.length)) : 0), 0);
}

export function browser() {
  const args = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
  return chromium.launch({ executablePath: process.env.CHROMIUM, args });
}

/** Somebody at the door of the web chat, in a browser profile of their own. */
export async function person(browser, url, name, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1180, height: 780 }, locale: "en", ...options });
  await context.grantPermissions(["clipboard-read", "clipboard-write"]);
  const page = await context.newPage();
  page.setDefaultTimeout(30_000);
  const faults = [];
  page.on("pageerror", (error) => faults.push(String(error)));
  page.on("console", (message) => message.type() === "error" && !/WebSocket|WebTransport|ERR_|net::/.test(message.text()) && faults.push(message.text()));
  page.on("dialog", (dialog) => {
    faults.push(`a dialog: ${dialog.message()}`);
    void dialog.dismiss();
  });
  await page.goto(url);
  return { context, page, name, faults };
}

export async function signUp({ page, name }) {
  await page.getByLabel("Name").fill(name);
  await page.getByLabel("Password").fill(PASSWORD);
  await page.getByRole("button", { name: "Create account" }).click();
  await page.getByRole("button", { name: "I have written it down" }).click();
  await page.getByRole("heading", { name: "Conversations" }).waitFor();
}

/** Begins a conversation with somebody by name. */
export async function begin(page, name) {
  await page.getByRole("button", { name: "New conversation" }).first().click();
  await page.getByPlaceholder("Begin of a name").fill(name);
  await page.locator(".found .person").first().click();
  await page.getByLabel("Write a message").waitFor();
}

export async function say(page, text) {
  await page.getByLabel("Write a message").fill(text);
  await page.getByLabel("Write a message").press("Enter");
}

/** A message with this text. */
export function message(page, text) {
  return page.locator(".message").filter({ hasText: text }).last();
}

/** Writes a picture, if pictures are wanted. */
export async function picture(page, name) {
  if (SCREENS === "") return;
  mkdirSync(SCREENS, { recursive: true });
  await page.evaluate(() => Promise.all(document.getAnimations().map((animation) => animation.finished.catch(() => undefined))));
  await page.screenshot({ path: join(SCREENS, `${name}.png`) });
}

const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** No fault of the page, no serious fault of accessibility. */
export async function sound({ page, faults }, what) {
  assert.deepEqual(faults, [], what);
  // By the debugger, which no policy of the page binds.
  const found = await page.evaluate(`${axe}; axe.run(document, { resultTypes: ["violations"] })`);
  const serious = found.violations.filter(({ impact }) => impact === "serious" || impact === "critical");
  assert.deepEqual(serious.map(({ id, nodes }) => [id, nodes.map(({ html }) => html.slice(0, 120))]), [], what);
}
