// An operator in the console: comes in by the cluster's first token, looks at everything, drains a node and ends the drain; a viewer is shown nothing to do;
// when the node is gone the page says so.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { browser, Node, person, picture, sound } from "./place.js";

const VIEWS = ["overview", "groups", "layout", "access", "audit"];
const LOOKS = {
  "desktop-light": { colorScheme: "light", viewport: { width: 1180, height: 780 } },
  "desktop-dark": { colorScheme: "dark", viewport: { width: 1180, height: 780 } },
  "phone-light": { colorScheme: "light", viewport: { width: 390, height: 780 } },
  "phone-dark": { colorScheme: "dark", viewport: { width: 390, height: 780 } },
};

let node;
let chromium;
let admin;
let viewerToken;

before(async () => {
  [node, chromium] = await Promise.all([Node.start(), browser()]);
});
after(async () => {
  await chromium?.close();
  await node?.stop();
});

async function enter({ page }, token) {
  await page.getByLabel("Admin token").fill(token);
  await page.getByRole("button", { name: "Enter" }).click();
}
const view = (page, key) => page.evaluate((key) => (location.hash = key), key);
const card = (page, number) => page.getByRole("button", { name: `Node ${number}` });

test("the first token lets the first admin in, once", async () => {
  const first = await node.first();
  admin = await person(chromium, `${node.url}/console`, "admin");
  await picture(admin.page, "console-door-light");
  await sound(admin, "the door");
  await enter(admin, "kith-admin-wrong");
  await admin.page.getByRole("alert").filter({ hasText: /token/ }).waitFor();
  admin.faults.length = 0;
  await enter(admin, first);
  const shown = admin.page.getByRole("dialog", { name: "Your admin token" });
  assert.match(await shown.locator(".secret").innerText(), /^kith-admin-/);
  await shown.getByRole("button", { name: "Close" }).click();
  await card(admin.page, 1).waitFor();
  const other = await person(chromium, `${node.url}/console`, "other");
  await enter(other, first);
  await other.page.getByRole("alert").filter({ hasText: "was used" }).waitFor();
  await other.context.close();
});

test("a node is drained, which asks first and shows its command line, and the drain is ended", async () => {
  const { page } = admin;
  await card(page, 1).click();
  await page.getByRole("button", { name: "Drain", exact: true }).click();
  const dialog = page.getByRole("dialog", { name: "Drain node 1" });
  await dialog.getByText("kith node drain 1").waitFor();
  await picture(page, "console-drain-light");
  await sound(admin, "asked to drain");
  await dialog.getByRole("button", { name: "Cancel" }).click();
  await page.locator(".node .word", { hasText: "up" }).waitFor();
  await page.getByRole("button", { name: "Drain", exact: true }).click();
  await dialog.getByRole("button", { name: "Drain", exact: true }).click();
  await page.locator(".node .word", { hasText: "drains" }).waitFor();
  await page.getByRole("button", { name: "End drain" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "End the drain" }).click();
  await page.locator(".node .word", { hasText: "up" }).waitFor();
});

test("a node that cannot be emptied says why", async () => {
  await admin.page.getByRole("button", { name: "Decommission" }).click();
  const dialog = admin.page.getByRole("dialog", { name: "Node 1 cannot be emptied" });
  await dialog.locator(".reasons li").first().waitFor();
  await picture(admin.page, "console-blocked-light");
  await dialog.getByRole("button", { name: "Close" }).click();
});

test("an admin makes a token for a viewer, who is shown nothing to do", async () => {
  const { page } = admin;
  await view(page, "access");
  await page.getByRole("button", { name: "New admin token" }).click();
  await page.getByLabel("What it is for").fill("grafana");
  await picture(page, "console-token-light");
  await page.getByRole("button", { name: "Make it" }).click();
  const shown = page.getByRole("dialog", { name: "The token for grafana" });
  viewerToken = await shown.locator(".secret").innerText();
  await shown.getByRole("button", { name: "Close" }).click();
  await page.getByRole("row", { name: /grafana viewer good/ }).waitFor();

  const viewer = await person(chromium, `${node.url}/console`, "viewer", LOOKS["phone-dark"]);
  await enter(viewer, viewerToken);
  await card(viewer.page, 1).click();
  await viewer.page.locator(".node-more").waitFor();
  assert.equal(await viewer.page.locator(".acts button").count(), 0);
  await picture(viewer.page, "console-viewer-phone-dark");
  for (const key of ["layout", "access"]) {
    await view(viewer.page, key);
    await viewer.page.locator(".card .nothing, .card table").first().waitFor();
    assert.equal(await viewer.page.getByRole("button", { name: /Carry out|End |New / }).count(), 0, key);
  }
  await sound(viewer, "a viewer");

  // Ended: the page that is open says so and is at the door again.
  await page.getByRole("button", { name: "End the token grafana" }).click();
  await page.getByRole("dialog").getByRole("button", { name: "End it" }).click();
  await page.getByRole("row", { name: /grafana viewer revoked/ }).waitFor();
  await viewer.page.getByRole("alert").filter({ hasText: "was ended" }).waitFor();
  await viewer.context.close();
});

test("what was done is in the audit log", async () => {
  await view(admin.page, "audit");
  for (const act of ["revoke-admin-token", "make-admin-token", "drain", "claim-admin-token", "first-admin-token"]) {
    await admin.page.getByRole("cell", { name: new RegExp(`^${act}`) }).first().waitFor();
  }
});

test("pictures of every view", async () => {
  const { page } = admin;
  for (const [name, { colorScheme, viewport }] of Object.entries(LOOKS)) {
    await page.emulateMedia({ colorScheme });
    await page.setViewportSize(viewport);
    for (const key of VIEWS) {
      await view(page, key);
      await page.locator(".card table, .node, .nothing").first().waitFor();
      await picture(page, `console-${key}-${name}`);
      await sound(admin, `${key} ${name}`);
    }
  }
  await page.setViewportSize(LOOKS["desktop-light"].viewport);
  await page.emulateMedia({ colorScheme: "light" });
});

test("a node that is cut off from the majority says so", async () => {
  const { page } = admin;
  await view(page, "overview");
  await page.route("**/v1/vitals*", async (route) => {
    const answer = await route.fetch();
    await route.fulfill({ response: answer, json: { ...(await answer.json()), unready: ["leaders: 1 of 5 groups"] } });
  });
  const notice = page.getByText("This node is cut off, or the cluster has no majority");
  await notice.waitFor();
  await picture(page, "console-cut-light");
  await sound(admin, "cut off");
  await page.unroute("**/v1/vitals*");
  await notice.waitFor({ state: "hidden" });
});

test("when the node is gone the page says so, and goes on by itself", async () => {
  const { page } = admin;
  await view(page, "overview");
  await node.kill();
  await page.getByText("This node does not answer").waitFor();
  await picture(page, "console-silent-light");
  await node.begin();
  await page.getByText("This node does not answer").waitFor({ state: "hidden" });
  await card(page, 1).waitFor();
});
