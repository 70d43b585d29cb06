// The client of Kith for browsers: chat that works offline, sends exactly once, and shows each record once and in order.
//
//   const door = new Door([url], browserTransport());
//   const { login } = await door.logIn("ann", password, "my browser");
//   const tokens = new Tokens(door, login, save);
//   const client = await Client.create(url, { ...login, tokens: (why) => tokens.token(why) });
//   void client.connect();
//   const room = client.direct(await client.findUser("bob"));
//   const timeline = await room.open();
//   timeline.items.subscribe(render);
//   await room.send("hello"); // shows at once, works offline

export { ChatError, CODES, type CodeName, type Retry } from "./code.js";
export type { Content, RoleName } from "./content.js";
export { Channel, Client, Timeline, type ClientOptions, type Contact, type Device, type Profile, type Found, type Member, type Outgoing } from "./client.js";
export { channelBytes, channelOf, directChannel, directPeer, isChannel, type ChannelId, type Seq, type UserId } from "./id.js";
export { IndexedDbStore } from "./indexeddb.js";
export { Cell, type Live, type LiveList } from "./live.js";
export { Door, Tokens, type Entered, type SavedLogin } from "./login.js";
export { People, type Presence } from "./people.js";
export { lookUp, readPush, subscription, type LookedUp, type Push } from "./push.js";
export type { Status, TokenReason } from "./session.js";
export type { Delivery, Reaction, TimelineItem } from "./shown.js";
export { MemoryStore, StoreFailed, type Store } from "./store.js";
export type { ChannelSummary, Reach } from "./sync.js";
export { WebSocketTransport, type Link, type LinkEvents, type Transport } from "./transport.js";
export { browserTransport } from "./way.js";
export { WebTransportTransport } from "./webtransport.js";
export { Role } from "./wire/kith/log/v1/log_pb.js";
