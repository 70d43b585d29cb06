// What runs without the page: it shows the page without a network, and news while no page is open.
//
// In: requests of the page, pushes, clicks on notifications. Out: the files that were loaded last; a notification for each conversation. Invariants: the
// node is always asked first, so that nobody stays on an old version; a push is a pointer: what a notification says is what this device holds, and that
// something is new; who looks at the page is not told twice.

import { lookUp, readPush, type Push } from "../../sdk/src/push.js";
import { LANGUAGES } from "../src/text/languages.js";

declare const self: ServiceWorkerGlobalScope;

const CACHE = "kith-page-1";
const FILES = ["/", "/app.js", "/app.css", "/icon.svg", "/manifest.webmanifest"];
/** The page names its language when it registers this. */
const t = LANGUAGES[new URL(self.location.href).searchParams.get("language") ?? ""] ?? LANGUAGES.en;

// ---- the page without a network

async function fresh(request: Request, path: string): Promise<Response> {
  const cache = await caches.open(CACHE);
  try {
    const answer = await fetch(request);
    if (answer.ok) await cache.put(path, answer.clone());
    return answer;
  } catch (error) {
    const kept = await cache.match(path);
    if (kept === undefined) throw error;
    return kept;
  }
}

self.addEventListener("install", (event) => {
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(FILES)).then(() => self.skipWaiting()));
});
self.addEventListener("activate", (event) => {
  const old = caches.keys().then((names) => Promise.all(names.filter((name) => name !== CACHE).map((name) => caches.delete(name))));
  event.waitUntil(old.then(() => self.clients.claim()));
});
self.addEventListener("fetch", (event) => {
  const { origin, pathname } = new URL(event.request.url);
  if (event.request.method === "GET" && origin === self.location.origin && FILES.includes(pathname)) event.respondWith(fresh(event.request, pathname));
});

// ---- pushes

async function pages(): Promise<readonly WindowClient[]> {
  return self.clients.matchAll({ type: "window", includeUncontrolled: true });
}

async function handlePush(push: Push | undefined): Promise<void> {
  if (push === undefined) return show(t.app, t.pushed.news, "", "#/");
  if (push.badge > 0) await navigator.setAppBadge?.(push.badge).catch(() => undefined);
  else await navigator.clearAppBadge?.().catch(() => undefined);
  if (push.type === "test") return show(t.app, t.pushed.test, "test", "#/");
  const { channel, seq } = push;
  if (push.type === "read") {
    const shown = await self.registration.getNotifications({ tag: channel });
    for (const notification of shown) if (BigInt(notification.data.seq) <= seq) notification.close();
    return;
  }
  const { title, isRead } = await lookUp(push).catch(() => ({ title: "", isRead: false }));
  if (isRead || (await pages()).some(({ focused }) => focused)) return;
  await show(title || t.app, push.isMention ? t.pushed.mention : t.pushed.message, channel, `#/c/${channel}`, seq);
}
/** One for each conversation: a later one takes the place of the one before. */
function show(title: string, body: string, tag: string, hash: string, seq = 0n): Promise<void> {
  const options = { body, tag, renotify: tag !== "", icon: "/icon.svg", badge: "/icon.svg", data: { hash, seq: seq.toString() } };
  return self.registration.showNotification(title, options);
}
self.addEventListener("push", (event) => event.waitUntil(handlePush(readPush(event.data?.text() ?? ""))));

/** A page that is open goes there; else one is opened. */
async function open(hash: string): Promise<void> {
  const [page] = await pages();
  if (page === undefined) return void (await self.clients.openWindow(`/${hash}`));
  page.postMessage({ open: hash });
  await page.focus();
}
self.addEventListener("notificationclick", (event) => {
  event.notification.close();
  event.waitUntil(open(String(event.notification.data.hash)).catch(() => undefined));
});
