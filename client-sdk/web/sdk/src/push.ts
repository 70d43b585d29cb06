// Pushes: this browser is told of news while no page is open.
//
// In: a service worker's registration, payloads that a push service delivered. Out: a subscription that the cluster knows; what a payload points to, and
// what this device holds of it. Invariants: a payload is a pointer, never a text; permission is asked for only by `subscribe`, which belongs into an act of
// the user; `readPush` and `lookUp` need no page and no connection: a service worker has neither. Not here: when a device is pushed to (its home).
//
//   version u8 = 1 | kind u8 | user u64 | badge u32 | of kind 1 (grown), 2 (mentions the user), 3 (was read): channel [u8; 17] | seq u64
//                                                   | of kind 4 (a test): nonce u64             all big-endian; later versions add behind it

import { fromBinary } from "@bufbuild/protobuf";

import { channelOf, directPeer, isChannel, type ChannelId, type Seq, type UserId } from "./id.js";
import { databaseName, IndexedDbStore } from "./indexeddb.js";
import { IndexRowSchema } from "./wire/kith/log/v1/log_pb.js";

/** What a push says: a conversation has news, or was read on another device, or somebody tries whether pushes arrive. */
export type Push = { user: UserId; badge: number } & (
  | { type: "grown"; channel: ChannelId; seq: Seq; isMention: boolean }
  | { type: "read"; channel: ChannelId; seq: Seq }
  | { type: "test" }
);

const VERSION = 1;
const [GROWN, MENTION, READ, TEST] = [1, 2, 3, 4];
const HEAD_BYTES = 14;
const CHANNEL_BYTES = 17;

/** Reads what a push service delivered, the JSON of the event's data; `undefined`: it is no push that this version knows. */
export function readPush(data: string): Push | undefined {
  let bytes: Uint8Array;
  try {
    const { kith } = JSON.parse(data) as { kith?: unknown };
    bytes = fromUrlText(String(kith));
  } catch {
    return undefined;
  }
  if (bytes.length < HEAD_BYTES || bytes[0] !== VERSION) return undefined;
  const view = new DataView(bytes.buffer);
  const head = { user: view.getBigUint64(2), badge: view.getUint32(10) };
  const kind = bytes[1];
  if (kind === TEST) return { ...head, type: "test" };
  if (![GROWN, MENTION, READ].includes(kind) || bytes.length < HEAD_BYTES + CHANNEL_BYTES + 8) return undefined;
  const channel = channelOf(bytes.subarray(HEAD_BYTES, HEAD_BYTES + CHANNEL_BYTES));
  if (!isChannel(channel)) return undefined;
  const seq = view.getBigUint64(HEAD_BYTES + CHANNEL_BYTES);
  return kind === READ ? { ...head, type: "read", channel, seq } : { ...head, type: "grown", channel, seq, isMention: kind === MENTION };
}

/** What this device holds of a conversation that a push points to. */
export interface LookedUp {
  /** Of a group its title, else the other's name; empty if it is not held. */
  title: string;
  /** Here it was read already. */
  isRead: boolean;
}

export async function lookUp(push: Extract<Push, { channel: ChannelId }>): Promise<LookedUp> {
  const nothing = { title: "", isRead: false };
  const name = databaseName(push.user);
  // To open it would make it: who has logged out holds nothing.
  const all = await indexedDB.databases?.().catch(() => []);
  if (!all?.some((database) => database.name === name)) return nothing;
  const store = await IndexedDbStore.open(name);
  try {
    const { rows, people } = await store.load();
    const bytes = rows.get(push.channel);
    const row = bytes && fromBinary(IndexRowSchema, bytes);
    const peer = directPeer(push.channel, push.user);
    const person = peer === undefined ? undefined : people.get(peer);
    return { title: (person && (person.display || person.name)) || (row?.news?.title ?? ""), isRead: (row?.read?.seq ?? 0n) >= push.seq };
  } finally {
    store.close();
  }
}

/** A browser's subscription, as the cluster wants it. */
export interface WebPushTarget {
  endpoint: string;
  p256dh: string;
  auth: string;
  /** Names the server key that it subscribed with: the first eight bytes of its SHA-256. */
  server: Uint8Array | undefined;
}

/** The subscription of this browser, if there is one. */
export async function subscription(worker: ServiceWorkerRegistration): Promise<WebPushTarget | undefined> {
  const held = await worker.pushManager?.getSubscription();
  return held ? target(held) : undefined;
}
/** Subscribes with the cluster's key; asks the user for permission where that is not decided. Fails where the browser does not let it. */
export async function subscribe(worker: ServiceWorkerRegistration, serverKey: string): Promise<WebPushTarget> {
  const held = await worker.pushManager.getSubscription();
  const key = fromUrlText(serverKey);
  // With another key than the cluster's: of another cluster, or before the key was replaced.
  if (held !== null && !isSame(held.options.applicationServerKey, key)) await held.unsubscribe();
  return target(await worker.pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: key as Uint8Array<ArrayBuffer> }));
}
export async function unsubscribe(worker: ServiceWorkerRegistration): Promise<void> {
  await (await worker.pushManager?.getSubscription())?.unsubscribe();
}

async function target(held: PushSubscription): Promise<WebPushTarget> {
  const key = held.options.applicationServerKey;
  const server = key === null ? undefined : new Uint8Array(await crypto.subtle.digest("SHA-256", key)).subarray(0, 8);
  return { endpoint: held.endpoint, p256dh: toUrlText(held.getKey("p256dh")), auth: toUrlText(held.getKey("auth")), server };
}
function isSame(a: ArrayBuffer | null, b: Uint8Array): boolean {
  return a !== null && toUrlText(a) === toUrlText(b);
}
function toUrlText(bytes: ArrayBuffer | Uint8Array | null): string {
  const text = String.fromCharCode(...new Uint8Array(bytes ?? new ArrayBuffer(0)));
  return btoa(text).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}
function fromUrlText(text: string): Uint8Array {
  return Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (char) => char.charCodeAt(0));
}
