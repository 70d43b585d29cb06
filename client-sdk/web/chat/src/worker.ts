// The service worker of the page, and the notifications that it shows.

import { locale } from "./text/index.js";

/** The page itself opens without a network too, and is told of news while it is closed. A browser that keeps nothing does without. */
export const worker: Promise<ServiceWorkerRegistration | undefined> = begin().catch(() => undefined);

async function begin(): Promise<ServiceWorkerRegistration | undefined> {
  if (!("serviceWorker" in navigator)) return undefined;
  // Somebody has clicked on a notification.
  navigator.serviceWorker.addEventListener("message", ({ data }) => {
    if (typeof data?.open === "string" && data.open.startsWith("#/")) location.hash = data.open;
  });
  await navigator.serviceWorker.register(`/sw.js?language=${locale}`);
  return navigator.serviceWorker.ready;
}

/** What is seen needs no notification: of one conversation, or of all. */
export async function clearNotifications(tag?: string): Promise<void> {
  const shown = (await (await worker)?.getNotifications(tag === undefined ? {} : { tag })) ?? [];
  for (const notification of shown) notification.close();
}
