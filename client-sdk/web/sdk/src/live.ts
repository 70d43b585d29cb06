// Values that change: what they are now, and a call for each change.
//
// Invariant: a subscriber is called after the change, never while another is told; one that throws harms no other. Ends with the returned function.

export interface Live<T> {
  readonly value: T;
  /** Calls `fn` after each change, until the returned function is called. */
  subscribe(fn: (value: T) => void): () => void;
}

/** A list that changes: always a new array, its items the same objects where they did not change. */
export type LiveList<T> = Live<readonly T[]>;

export class Cell<T> implements Live<T> {
  #value: T;
  #subscribers = new Set<(value: T) => void>();

  constructor(value: T) {
    this.#value = value;
  }
  get value(): T {
    return this.#value;
  }
  set(value: T): void {
    if (Object.is(value, this.#value)) return;
    this.#value = value;
    for (const fn of [...this.#subscribers]) {
      try {
        fn(value);
      } catch (error) {
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }
  subscribe(fn: (value: T) => void): () => void {
    this.#subscribers.add(fn);
    return () => this.#subscribers.delete(fn);
  }
  get isWatched(): boolean {
    return this.#subscribers.size > 0;
  }
}

/** Collects changes of one turn of the event loop into one. */
export function coalesce(fn: () => void): () => void {
  let isDue = false;
  return () => {
    if (isDue) return;
    isDue = true;
    queueMicrotask(() => {
      isDue = false;
      fn();
    });
  };
}
