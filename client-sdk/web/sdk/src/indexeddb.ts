// The store of a browser: one IndexedDB database for each account.
//
//   meta     key                  conn, rev
//   rows     channel              IndexRow, encoded
//   cursors  channel              from, max, head
//   numbers  channel              last, acked
//   writes   channel, number      Request, encoded, and when
//   records  channel, seq         Record and Marks, encoded, and as of which head
//   people   user                 name, display
//
// Numbers that are keys are JavaScript numbers: a seq stays below 2^53. Invariant: one `write` is one transaction, in strict durability.

import type { ChannelId } from "./id.js";
import { emptySnapshot, StoreFailed, type Change, type Snapshot, type Store, type StoredRecord } from "./store.js";

const VERSION = 1;
const NAMES = ["meta", "rows", "cursors", "numbers", "writes", "records", "people"] as const;

export class IndexedDbStore implements Store {
  readonly isDurable = true;
  readonly #database: IDBDatabase;

  private constructor(database: IDBDatabase) {
    this.#database = database;
  }

  /** Opens or makes the database of this name. Fails where the browser keeps nothing: a private window, a full disk. */
  static async open(name: string): Promise<IndexedDbStore> {
    try {
      const opening = indexedDB.open(name, VERSION);
      opening.onupgradeneeded = () => {
        for (const name of NAMES) opening.result.createObjectStore(name);
      };
      return new IndexedDbStore(await done(opening));
    } catch (cause) {
      throw new StoreFailed("opening the local store", cause);
    }
  }

  async load(): Promise<Snapshot> {
    const snapshot = emptySnapshot();
    const stores = this.#transaction(["meta", "rows", "cursors", "numbers", "writes", "people"], "readonly");
    const each = async (name: string, take: (key: never, value: never) => void): Promise<void> => {
      const store = stores.objectStore(name);
      const [keys, values] = await Promise.all([done(store.getAllKeys()), done(store.getAll())]);
      keys.forEach((key, at) => take(key as never, values[at] as never));
    };
    try {
      await Promise.all([
        each("meta", (key: "conn" | "rev", value: bigint) => (snapshot[key] = value)),
        each("rows", (key: ChannelId, value: Uint8Array) => snapshot.rows.set(key, value)),
        each("cursors", (key: ChannelId, value: never) => snapshot.cursors.set(key, value)),
        each("numbers", (key: ChannelId, value: never) => snapshot.numbers.set(key, value)),
        each("writes", ([channel, number]: [ChannelId, number], value: { request: Uint8Array; at: number }) => {
          snapshot.writes.push({ channel, number: BigInt(number), ...value });
        }),
        each("people", (key: string, value: never) => snapshot.people.set(BigInt(key), value)),
      ]);
    } catch (cause) {
      throw new StoreFailed("reading the local store", cause);
    }
    return snapshot;
  }

  async write(changes: readonly Change[]): Promise<void> {
    try {
      const transaction = this.#transaction([...NAMES], "readwrite");
      try {
        for (const change of changes) apply(transaction, change);
      } catch (cause) {
        // All of them or none.
        transaction.abort();
        throw cause;
      }
      await ended(transaction);
    } catch (cause) {
      throw new StoreFailed("writing the local store", cause);
    }
  }

  async records(channel: ChannelId, first: bigint, last: bigint, limit: number): Promise<StoredRecord[]> {
    try {
      const store = this.#transaction(["records"], "readonly").objectStore("records");
      const range = IDBKeyRange.bound([channel, Number(first)], [channel, Number(last)]);
      const found: StoredRecord[] = [];
      const walk = store.openCursor(range, "prev");
      await new Promise<void>((resolve, reject) => {
        walk.onerror = () => reject(walk.error);
        walk.onsuccess = () => {
          const at = walk.result;
          if (at === null || found.length >= limit) return resolve();
          found.push(at.value as StoredRecord);
          at.continue();
        };
      });
      return found.reverse();
    } catch (cause) {
      throw new StoreFailed("reading the local store", cause);
    }
  }

  close(): void {
    this.#database.close();
  }

  async wipe(): Promise<void> {
    this.#database.close();
    await done(indexedDB.deleteDatabase(this.#database.name));
  }

  #transaction(names: string[], mode: IDBTransactionMode): IDBTransaction {
    return this.#database.transaction(names, mode, { durability: "strict" });
  }
}

function apply(transaction: IDBTransaction, change: Change): void {
  const put = (name: string, value: unknown, key: IDBValidKey): void => void transaction.objectStore(name).put(value, key);
  switch (change.type) {
    case "conn":
      return put("meta", change.conn, "conn");
    case "rev":
      return put("meta", change.rev, "rev");
    case "row":
      return put("rows", change.row, change.channel);
    case "cursor":
      return put("cursors", { ...change.cursor }, change.channel);
    case "numbers":
      return put("numbers", { ...change.numbers }, change.channel);
    case "write": {
      const { channel, number, request, at } = change.write;
      return put("writes", { request, at }, [channel, Number(number)]);
    }
    case "settled":
      return void transaction.objectStore("writes").delete([change.channel, Number(change.number)]);
    case "records":
      for (const record of change.records) put("records", record, [change.channel, Number(record.seq)]);
      return;
    case "forget":
      return void transaction.objectStore("records").delete(IDBKeyRange.bound([change.channel, 0], [change.channel, Number.MAX_SAFE_INTEGER]));
    case "person":
      return put("people", change.person, change.user.toString());
  }
}

function done<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
    (request as unknown as IDBOpenDBRequest).onblocked = () => reject(new DOMException("another page holds it", "InvalidStateError"));
  });
}

function ended(transaction: IDBTransaction): Promise<void> {
  return new Promise((resolve, reject) => {
    transaction.oncomplete = () => resolve();
    transaction.onabort = () => reject(transaction.error);
    transaction.onerror = () => reject(transaction.error);
  });
}

/** The name of an account's database. */
export function databaseName(user: bigint): string {
  return `kith-${user}`;
}
