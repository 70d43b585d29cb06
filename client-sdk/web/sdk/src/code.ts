// Stable error numbers and what to do about each, as `wire/src/code.rs` has them; a test holds the two to each other.
//
// In: a number from the wire. Out: its name and retry class. Invariant: a number that this version does not know acts by its class (thousands).

/** What to do about a refusal. */
export type Retry = "never" | "now" | "after" | "after_auth";

/** Every code that this version knows: its number and what to do. */
export const CODES = {
  Timeout: [1001, "now"],
  Disconnected: [1002, "now"],
  Draining: [1003, "now"],
  Replaced: [1004, "never"],
  VersionMismatch: [1005, "never"],
  BadFrame: [1006, "never"],
  WrongCluster: [1007, "never"],
  BadToken: [2001, "after_auth"],
  TokenExpired: [2002, "after_auth"],
  Revoked: [2003, "never"],
  NotAdmin: [2004, "never"],
  Banned: [2005, "never"],
  TokenSpent: [2006, "never"],
  BadLogin: [2010, "never"],
  LoginNeeded: [2011, "never"],
  NotMember: [3001, "never"],
  NotAllowed: [3002, "never"],
  Dissolved: [3003, "never"],
  NoSuchUser: [3004, "never"],
  NameTaken: [3005, "never"],
  IdTaken: [3006, "never"],
  GroupFull: [3007, "never"],
  LastOwner: [3008, "never"],
  Muted: [3030, "never"],
  LinkEnded: [3031, "never"],
  TextGone: [3032, "never"],
  TooManyReactions: [3033, "never"],
  TooManyPins: [3034, "never"],
  TooManyLinks: [3035, "never"],
  TooManyAsk: [3036, "never"],
  TooManyScheduled: [3037, "never"],
  BannedHere: [3038, "never"],
  TooManyGroups: [3039, "never"],
  Invalid: [4001, "never"],
  TooLarge: [4002, "never"],
  Conflict: [4003, "never"],
  TooOld: [4004, "never"],
  Voided: [4005, "never"],
  NotFound: [4006, "never"],
  Unsupported: [4007, "never"],
  WeakPassword: [4020, "never"],
  LimitReached: [4021, "never"],
  Outdated: [4040, "never"],
  NotReached: [4041, "never"],
  Busy: [5001, "after"],
  OutOfSequence: [5002, "now"],
  TooMany: [5003, "after"],
  RateLimited: [5010, "after"],
  SlowMode: [5030, "after"],
  NoLeader: [6001, "after"],
  NotLeader: [6002, "now"],
  WrongGroup: [6003, "now"],
  Frozen: [6004, "after"],
  Behind: [6005, "after"],
  DiskFull: [6006, "after"],
  OutcomeUnknown: [6007, "now"],
  Resync: [6008, "now"],
  Internal: [9001, "never"],
} as const satisfies Record<string, readonly [number, Retry]>;

/** The name of a code. */
export type CodeName = keyof typeof CODES | "Unknown";

const BY_NUMBER = new Map<number, { name: CodeName; retry: Retry }>(
  Object.entries(CODES).map(([name, [number, retry]]) => [number, { name: name as CodeName, retry }]),
);

function retryOfClass(number: number): Retry {
  switch (Math.floor(number / 1000)) {
    case 1:
      return "now";
    case 2:
      return "after_auth";
    case 5:
    case 6:
      return "after";
    default:
      return "never";
  }
}

/** Why something was not done. */
export class ChatError extends Error {
  /** Stable number. */
  readonly code: number;
  /** Its name; `Unknown` for a number of a newer version. */
  readonly codeName: CodeName;
  /** What to do. */
  readonly retry: Retry;
  /** For `after`: how long the server said to wait, in milliseconds. */
  readonly retryAfterMs: number | undefined;
  /** For `OutOfSequence`: the number that comes next. */
  readonly expected: bigint | undefined;
  /** Where to go instead, `host:port`, best first. */
  readonly alternates: readonly string[];

  constructor(code: number, text: string, more: { retryAfterMs?: number; expected?: bigint; alternates?: readonly string[]; cause?: unknown } = {}) {
    super(text, { cause: more.cause });
    this.name = "ChatError";
    this.code = code;
    const known = BY_NUMBER.get(code);
    this.codeName = known?.name ?? "Unknown";
    this.retry = known?.retry ?? retryOfClass(code);
    this.retryAfterMs = more.retryAfterMs;
    this.expected = more.expected;
    this.alternates = more.alternates ?? [];
  }

  /** An error by its name. */
  static of(name: keyof typeof CODES, text: string, cause?: unknown): ChatError {
    return new ChatError(CODES[name][0], text, { cause });
  }

  /** Whether the same request will always get the same answer. */
  get isFinal(): boolean {
    return this.retry === "never";
  }

  is(...names: (keyof typeof CODES)[]): boolean {
    return names.some((name) => CODES[name][0] === this.code);
  }
}
