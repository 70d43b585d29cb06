// The scenarios that every SDK plays, in Chromium, over WebTransport and over WebSockets, against a real node.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

import { build } from "vite";

import { browser, counted, Node } from "./place.js";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const scenarios = JSON.parse(readFileSync(here("../../conformance/scenarios.json"), "utf8"));

let node;
let chromium;
let page;

before(async () => {
  const built = build({
    configFile: false,
    root: here("."),
    logLevel: "error",
    build: { write: false, minify: false, target: "es2022", lib: { entry: here("stage.js"), formats: ["iife"], name: "stage" } },
  });
  [node, chromium] = await Promise.all([Node.start(), browser()]);
  // A page of the node's own, where nobody logs in; with a script that its policy would not have. How the policy and WebTransport agree is shown by `way.test`.
  page = await chromium.newPage({ bypassCSP: true });
  await page.goto(node.url);
  const [{ output }] = [await built].flat();
  await page.addScriptTag({ content: output[0].code });
});
after(async () => {
  await chromium?.close();
  await node?.stop();
});

for (const way of ["webtransport", "websocket"]) {
  for (const [number, { name, steps }] of scenarios.entries()) {
    test(`conformance over ${way}: ${name}`, async (t) => {
      // Played against the fake node alone (`sdk/test`).
      if (steps.some(([verb]) => verb === "refuse")) return t.skip("a real node refuses no text of these two");
      const play = ([url, way, name, steps]) => globalThis.play(url, way, name, steps);
      await page.evaluate(play, [node.url, way, `${way.slice(0, 4)}${number}`, steps]);
    });
  }
}

test("a page of another site gets no session, whatever it asks over", async () => {
  // A real one: Chromium lets no page connect to this machine which it did not get from there.
  const site = createServer((_, answer) => answer.setHeader("content-type", "text/html").end("<!doctype html>"));
  await new Promise((resolve) => site.listen(0, "127.0.0.1", resolve));
  const other = await chromium.newPage();
  await other.goto(`http://localhost:${site.address().port}/`);
  const about = await (await fetch(`${node.url}/kith/1/webtransport`)).json();
  const refused = await other.evaluate(async ({ url, sha256 }) => {
    const value = Uint8Array.from(sha256.match(/../g), (pair) => Number.parseInt(pair, 16));
    const session = new WebTransport(url, { serverCertificateHashes: [{ algorithm: "sha-256", value }] });
    return session.ready.then(() => "let in", () => "refused");
  }, about);
  assert.equal(refused, "refused");
  assert.equal(await counted(node, 'kith_edge_rejects_total{reason="Origin"}'), 1);
  await other.close();
  site.close();
});
