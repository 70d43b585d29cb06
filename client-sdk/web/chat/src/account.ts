// Who is logged in on this device: kept in a small database of its own, since `localStorage` cannot hold bytes, and is lost more easily.

import type { SavedLogin } from "@kith/client";

const NAME = "kith-account";
const KEY = "login";

function open(): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const opening = indexedDB.open(NAME, 1);
    opening.onupgradeneeded = () => opening.result.createObjectStore("account");
    opening.onsuccess = () => resolve(opening.result);
    opening.onerror = () => reject(opening.error);
  });
}

async function within<T>(mode: IDBTransactionMode, run: (store: IDBObjectStore) => IDBRequest<T>): Promise<T> {
  const database = await open();
  try {
    const transaction = database.transaction("account", mode, { durability: "strict" });
    const request = run(transaction.objectStore("account"));
    await new Promise<void>((resolve, reject) => {
      transaction.oncomplete = () => resolve();
      transaction.onabort = transaction.onerror = () => reject(transaction.error);
    });
    return request.result;
  } finally {
    database.close();
  }
}

/** In a window that keeps nothing: for as long as it is open. */
let kept: SavedLogin | undefined;

export async function loadLogin(): Promise<SavedLogin | undefined> {
  try {
    return await within("readonly", (store) => store.get(KEY) as IDBRequest<SavedLogin | undefined>);
  } catch {
    return kept;
  }
}
export async function saveLogin(login: SavedLogin): Promise<void> {
  kept = login;
  await within("readwrite", (store) => store.put(login, KEY)).catch(() => undefined);
}
export async function forgetLogin(): Promise<void> {
  kept = undefined;
  await within("readwrite", (store) => store.delete(KEY)).catch(() => undefined);
}
