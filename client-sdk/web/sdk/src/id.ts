// Identifiers as an app sees them: users and devices are `bigint`s, conversations are opaque strings.
//
// In: raw bytes of the wire. Out: values that compare with `===`. Invariant: a `ChannelId` is 17 bytes, as lower-case hex.

/** A user. */
export type UserId = bigint;
/** A conversation: 17 bytes in hex. */
export type ChannelId = string & { readonly channel: unique symbol };
/** A position in a conversation's log: dense, from 1. */
export type Seq = bigint;

const DIRECT = 1;

export function channelOf(bytes: Uint8Array): ChannelId {
  let text = "";
  for (const byte of bytes) text += byte.toString(16).padStart(2, "0");
  return text as ChannelId;
}

export function channelBytes(channel: ChannelId): Uint8Array {
  const bytes = new Uint8Array(channel.length / 2);
  for (let at = 0; at < bytes.length; at++) bytes[at] = Number.parseInt(channel.slice(2 * at, 2 * at + 2), 16);
  return bytes;
}

/** The conversation of two users: both sides know its id. With oneself: notes. */
export function directChannel(a: UserId, b: UserId): ChannelId {
  const [low, high] = a <= b ? [a, b] : [b, a];
  return ("01" + hex64(low) + hex64(high)) as ChannelId;
}

/** The two users of a direct conversation, low first; `undefined` for a group. */
export function directUsers(channel: ChannelId): [UserId, UserId] | undefined {
  if (Number.parseInt(channel.slice(0, 2), 16) !== DIRECT) return undefined;
  return [BigInt("0x" + channel.slice(2, 18)), BigInt("0x" + channel.slice(18, 34))];
}

/** The other user of a direct conversation; oneself for notes. */
export function directPeer(channel: ChannelId, me: UserId): UserId | undefined {
  const users = directUsers(channel);
  return users === undefined ? undefined : users[0] === me ? users[1] : users[0];
}

/** Whether a text could be a `ChannelId`. */
export function isChannel(text: string): text is ChannelId {
  return /^(01|02)[0-9a-f]{32}$/.test(text);
}

function hex64(value: bigint): string {
  return value.toString(16).padStart(16, "0");
}

/** So many random bytes. */
export function randomBytes(count: number): Uint8Array {
  return crypto.getRandomValues(new Uint8Array(count));
}
