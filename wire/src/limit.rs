//! Every protocol bound: one constant each, with its unit, its reason, and what happens when it is reached.

/// Text of a message, in Unicode scalar values. One more is `TooLarge`.
pub const TEXT_CHARS_MAX: usize = 100_000;
/// Text of a message, in bytes of UTF-8: four per scalar value.
pub const TEXT_BYTES_MAX: usize = 4 * TEXT_CHARS_MAX;
/// Body of a frame on a client's chat stream or peer stream, in bytes: the largest text and its envelope. A longer one ends the connection.
pub const FRAME_BYTES_MAX: usize = TEXT_BYTES_MAX + 64 * 1024;
/// Body of a frame between nodes, in bytes: a raft append or a ref frame. A longer one ends the connection.
pub const PEER_FRAME_BYTES_MAX: usize = 8 * 1024 * 1024;
/// A record whose text is longer, in bytes, travels as a stub on chat streams and is pulled.
pub const STUB_BYTES: usize = 4 * 1024;
/// Members of a group chat. The next is `GroupFull`.
pub const MEMBERS_MAX: usize = 100;
/// Stays of one user in one group chat. After so many they cannot be added again: `TooLarge`.
pub const STAYS_MAX: usize = 100;
/// Removed members of a group chat whose homes do not know yet. The next removal is `Busy`.
pub const DEPARTING_MAX: usize = 200;
/// Devices of a user. The longest idle makes room.
pub const DEVICES_MAX: usize = 32;
/// Mentions in a message. One more is `TooLarge`.
pub const MENTIONS_MAX: usize = 100;
/// Mentions remembered per member and channel. The oldest makes room.
pub const MENTIONS_KEPT: usize = 100;
/// Numbers of a device that await their final answer in one channel; the dedup ring. The next waits in the client.
pub const DEDUP_RING: usize = 32;
/// Keys of one caller that are remembered in one channel. The next call there is `Busy`, until the oldest are forgotten.
pub const CALLS_MAX: u32 = 10_000;
/// Keys of one caller that are remembered in their home. As above.
pub const HOME_CALLS_MAX: u32 = 1_000;
/// How long a caller's key is remembered, in milliseconds after the time in it: a day, and the hour that a caller's clock may be behind. An older
/// one that is unknown is `TooOld`.
pub const CALL_KEPT_MS: u64 = 25 * 3_600_000;
/// How far a caller's key may be dated ahead, in milliseconds. One beyond it is `Invalid`.
pub const CALL_AHEAD_MS: u64 = 3_600_000;
/// How long a key that a node drew is remembered, in milliseconds: far longer than its retries go on.
pub const CALL_OF_NODE_KEPT_MS: u64 = 600_000;
/// A call that has not ended for so long, in milliseconds, may be begun anew: whoever did it has given up. Before that a second one is `Busy`.
pub const CALL_RUNS_MS: u64 = 20_000;
/// Answer of a call, in bytes, that is kept in its caller's home. A longer one is not: its retry is done again.
pub const CALL_ANSWER_BYTES_MAX: usize = 4 * 1024;
/// Title of a group, in Unicode scalar values. One more is `TooLarge`.
pub const TITLE_CHARS_MAX: usize = 200;
/// User name, in bytes after folding. One more is `TooLarge`.
pub const NAME_BYTES_MAX: usize = 64;
/// Password, in Unicode scalar values. A shorter one is `WeakPassword`.
pub const PASSWORD_CHARS_MIN: usize = 8;
/// Password or code, in bytes: hashing a longer one would be a way to keep a node busy. `TooLarge`.
pub const PASSWORD_BYTES_MAX: usize = 1_024;
/// What a device is called, in bytes. One more is `TooLarge`.
pub const DEVICE_TITLE_BYTES_MAX: usize = 128;
/// Refresh tokens of no use any more that a device is remembered to have had. Who shows one of them has a copy: the device is ended. Older ones are
/// unknown, and refused as such.
pub const REFRESH_SPENT_KEPT: usize = 4;
/// A device that was not seen for so long, in milliseconds (90 days), must log in again.
pub const REFRESH_IDLE_MAX_MS: u64 = 90 * 24 * 3_600_000;
/// A name that was left is held back for so long, in milliseconds (30 days). Others are told `NameTaken`.
pub const NAME_HOLD_MS: u64 = 30 * 24 * 3_600_000;
/// Between two renames of a user, in milliseconds (a day), so that nobody holds back more than 30 names. Sooner is `TooMany`.
pub const RENAME_EVERY_MS: u64 = 24 * 3_600_000;
/// A code that the app's backend hands on is of use for so long, in milliseconds: half an hour.
pub const RESET_MAILED_MS: u64 = 30 * 60_000;
/// Between two times that a user's app is told of a lost password, in milliseconds. Whoever asks sooner is answered alike, and nothing is told.
pub const RESET_ASK_EVERY_MS: u64 = 60_000;
/// Times a day that a user's app is told of a lost password. As above.
pub const RESET_ASKS_MAX: u32 = 10;
/// Keys that operators' tokens of nobody share, as [`HOME_CALLS_MAX`] are a user's.
pub const NOBODYS_CALLS_MAX: u32 = 10_000;
/// Draft of one conversation, in Unicode scalar values. One more is `TooLarge`: the device keeps it for itself.
pub const DRAFT_CHARS_MAX: usize = 2_000;
/// Conversations of a user with a draft. The next is `LimitReached`.
pub const DRAFTS_MAX: u32 = 100;
/// Conversations that a user has pinned. The next is `LimitReached`.
pub const PINNED_MAX: u32 = 100;
/// Display name, in Unicode scalar values. One more is `TooLarge`.
pub const DISPLAY_CHARS_MAX: usize = 64;
/// What a user says of themselves, in Unicode scalar values. One more is `TooLarge`.
pub const PROFILE_ABOUT_CHARS_MAX: usize = 500;
/// URL of a picture, in bytes. One more is `TooLarge`.
pub const AVATAR_BYTES_MAX: usize = 1_024;
/// Custom fields of a profile. One more is `LimitReached`.
pub const PROFILE_FIELDS_MAX: usize = 16;
/// Name of a custom field, in bytes. One more is `TooLarge`.
pub const PROFILE_KEY_BYTES_MAX: usize = 32;
/// Value of a custom field, in Unicode scalar values. One more is `TooLarge`.
pub const PROFILE_VALUE_CHARS_MAX: usize = 256;
/// Contacts of a user, with who asked and who was asked. The next that they ask is `LimitReached`.
pub const CONTACTS_MAX: u32 = 2_000;
/// With so many contacts, who asks them anew waits at home (`Busy`): strangers cannot fill up what they have left to ask with themselves.
pub const CONTACTS_OF_OTHERS_MAX: u32 = CONTACTS_MAX / 2;
/// Users that a user has blocked. The next is `LimitReached`.
pub const BLOCKS_MAX: u32 = 1_000;
/// Bots of one user; the next one is `LimitReached`.
pub const BOTS_MAX: usize = 20;
/// Contacts of one answer. More come with the next.
pub const CONTACTS_PER_PAGE: usize = 100;
/// Words of a display name that search knows, besides the name. Further ones are not found.
pub const SEARCH_WORDS_MAX: usize = 8;
/// Letters of a word that search knows. Further ones do not count.
pub const SEARCH_WORD_CHARS_MAX: usize = 32;
/// Letters of ASCII that a search must have. Fewer find only what is no longer.
pub const SEARCH_ASCII_MIN: usize = 2;
/// Users of one search. More letters find others.
pub const SEARCH_FOUND_MAX: usize = 20;
/// What is typed to search messages, in Unicode scalar values. One more is `TooLarge`.
pub const QUERY_CHARS_MAX: usize = 256;
/// Words of a search for messages. One more is `TooLarge`.
pub const QUERY_WORDS_MAX: usize = 16;
/// Messages of one page of a search. More come with the next page.
pub const QUERY_HITS_MAX: usize = 50;
/// Groups whose title has what is looked for. Further ones are not named.
pub const QUERY_CHANNELS_MAX: usize = 20;
/// Part of a message that was found, in Unicode scalar values. Longer ones are cut around what was found.
pub const EXCERPT_CHARS_MAX: usize = 200;
/// Places that are marked in a part of a message. Further ones are not.
pub const EXCERPT_MARKS_MAX: usize = 50;
/// Conversations of a user that a search looks at, the last moved first. Further ones are counted as not searched.
pub const SEARCHED_CHANNELS_MAX: usize = 10_000;
/// Requests of one connection before its Hello. The next ends it.
pub const DOOR_REQUESTS_MAX: usize = 16;
/// Preview of a channel's last text, in Unicode scalar values. Longer ones are cut.
pub const PREVIEW_CHARS: usize = 80;
/// Description of a group, in Unicode scalar values. One more is `TooLarge`.
pub const ABOUT_CHARS_MAX: usize = 1_000;
/// A reaction, in bytes: the longest emoji sequences have about 40. One more is `TooLarge`.
pub const EMOJI_BYTES_MAX: usize = 64;
/// Different reactions on one record. The next is `TooManyReactions`; each is given by at most `MEMBERS_MAX` users.
pub const REACTIONS_MAX: usize = 20;
/// Users behind one reaction, former members included. The next is `TooManyReactions`.
pub const REACTION_USERS_MAX: usize = 2 * MEMBERS_MAX;
/// Pinned texts of a channel. The next is `TooManyPins`.
pub const PINS_MAX: usize = 50;
/// Links by which a group can be joined, ended ones that nobody revoked included. The next is `TooManyLinks`.
pub const INVITES_MAX: usize = 20;
/// Users that wait to be let into a group. The next is told `TooManyAsk`.
pub const JOIN_REQUESTS_MAX: usize = 100;
/// Texts that one member has scheduled in one channel, refused ones included. The next is `TooManyScheduled`.
pub const SCHEDULED_MAX: usize = 20;
/// How far ahead a text can be scheduled, and how long one can last before it ends, in milliseconds: a year. More is `Invalid`.
pub const AHEAD_MS_MAX: u64 = 366 * 24 * 3_600 * 1_000;
/// How long a text lasts at least before it ends, in milliseconds. Less is `Invalid`.
pub const TTL_MS_MIN: u64 = 1_000;
/// Shortest retention of a channel, in milliseconds: a minute. Less is `Invalid`.
pub const RETENTION_MS_MIN: u64 = 60_000;
/// Longest delay of slow mode, in milliseconds: six hours. More is `Invalid`.
pub const SLOW_MS_MAX: u64 = 6 * 3_600 * 1_000;
/// Records that one logged sweep empties. The rest follows in the next one.
pub const SWEEP_RECORDS: usize = 256;
/// Groups that a user is in. Making, joining or being added to the next is `TooManyGroups`; what is under way at once may go a little over.
pub const GROUPS_MAX: u32 = 2_000;
/// Webhooks of a channel. The next is `LimitReached`.
pub const HOOKS_PER_CHANNEL_MAX: usize = 4;
/// Webhooks of the cluster: of all channels, or of a bot's. The next is `LimitReached`. Each costs every record of its channels a row.
pub const HOOKS_OF_DESK_MAX: usize = 16;
/// URL of a webhook, in bytes. One more is `TooLarge`.
pub const HOOK_URL_BYTES_MAX: usize = 1_024;
/// Key of a webhook's signatures, in bytes, as Standard Webhooks has it. A shorter one is `Invalid`.
pub const HOOK_KEY_BYTES_MIN: usize = 24;
/// As above. A longer one is `TooLarge`.
pub const HOOK_KEY_BYTES_MAX: usize = 64;
/// Users shut out of a group. The next is `LimitReached`.
pub const GROUP_BANS_MAX: usize = 200;
/// Reported records that nobody has seen to. A report of another one is `Busy`.
pub const REPORTS_OPEN_MAX: u64 = 10_000;
/// Reasons kept of one reported record; those who report it later are counted.
pub const REPORT_REASONS_KEPT: usize = 5;
/// A reason or a note, in Unicode scalar values. One more is `TooLarge`.
pub const NOTE_CHARS_MAX: usize = 500;
/// Reports, or entries of the audit log, of one answer. More come with the next.
pub const DESK_PAGE_MAX: usize = 100;
/// Bytes of records that are looked at for one page of own texts. The rest comes with the next.
pub const OWN_BYTES_LOOKED_AT: usize = 4 * PAGE_BYTES_MAX;
/// Channels that an erased user's home forgets in one command. More come with the next.
pub const FORGET_MAX: usize = 64;
/// A client says that its user types at most so often, in milliseconds; the edge passes on no more.
pub const TYPING_EVERY_MS: u64 = 3_000;
/// What a client shows of somebody who types ends so long after the last word of it, in milliseconds.
pub const TYPING_LASTS_MS: u64 = 6_000;
/// Users whose presence one session watches, or one request asks for. One more is `TooLarge`.
pub const WATCHES_MAX: usize = 200;
/// Views of one presence event. More follow in the next one.
pub const PRESENCE_EVENT_MAX: usize = 1_000;
/// Watchers of all watches in one message of an edge to a home. The rest waits for the next one.
pub const WATCHERS_PER_MESSAGE: usize = 2_000;
/// A user whose last session has ended is shown offline so long after it, in milliseconds: a network that flaps is not seen.
pub const PRESENCE_GRACE_MS: u64 = 45_000;
/// While a user is here, that is written down at most so often, in milliseconds.
pub const SEEN_EVERY_MS: u64 = 600_000;
/// Users of one `GetUsers`. One more is `TooLarge`.
pub const USERS_PER_REQUEST: usize = 200;
/// Token, in bytes. A longer one is `BadToken`.
pub const TOKEN_BYTES_MAX: usize = 4 * 1024;
/// Records of a history page. More come with the next page.
pub const PAGE_RECORDS_MAX: usize = 1_000;
/// Bytes of a history page, counted over texts; one record always fits. More come with the next page.
pub const PAGE_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of the marks of a history page. More records come with the next page.
pub const PAGE_MARKS_BYTES_MAX: usize = 256 * 1024;
/// Rows of an index page. More come with the next page.
pub const PAGE_ROWS_MAX: usize = 500;
/// Body of a page frame, in bytes.
pub const PAGE_FRAME_BYTES_MAX: usize = PAGE_BYTES_MAX + FRAME_BYTES_MAX;
/// Items of one raft batch. The rest goes into the next one.
pub const BATCH_ITEMS_MAX: usize = 4_096;
/// Bytes of one raft batch, encoded; one item always fits. The rest goes into the next one.
pub const BATCH_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Requests of one session that wait for an answer. The next is `Busy`.
pub const SESSION_REQUESTS_MAX: usize = 64;
/// Bulk streams of one connection that are open at once; the transport makes the next wait.
pub const SESSION_PULLS_MAX: usize = 8;
/// Outbound queue of one session, in frames. Beyond it live pushes are dropped and the client is told to pull.
pub const OUTBOX_FRAMES_MAX: usize = 256;
/// Outbound queue of one session, in bytes. As above.
pub const OUTBOX_BYTES_MAX: usize = 256 * 1024;
/// Payload of a push, in bytes: a pointer, with room for what later versions add. Of a longer one nothing is read.
pub const PUSH_PAYLOAD_BYTES_MAX: usize = 128;
/// Where a device is reached, in bytes: its token, or its address with its keys. One more is `TooLarge`.
pub const PUSH_TARGET_BYTES_MAX: usize = 3 * 1024;
/// Nothing is pushed before a device had so long to confirm what is new, in milliseconds.
pub const PUSH_WAIT_MS: u64 = 8_000;
/// Of one conversation a device is pushed to at most so often, in milliseconds; what comes meanwhile is in the next push.
pub const PUSH_EVERY_MS: u64 = 60_000;
/// What could not be pushed for so long, in milliseconds, is given up.
pub const PUSH_KEPT_MS: u64 = 24 * 3_600_000;
/// A device that did not register anew for so long, in milliseconds, is pushed to no more: its app is gone, or its provider would know.
pub const PUSH_REGISTERED_MS: u64 = 270 * 24 * 3_600_000;
/// Conversations that are summed up for a badge, the last moved first.
pub const PUSH_BADGE_ROWS_MAX: usize = 1_000;
/// Conversations that one command settles. More come with the next.
pub const PUSH_SETTLED_MAX: usize = 64;
/// Why a device was not reached, in Unicode scalar values; the rest is cut off.
pub const PUSH_REASON_CHARS_MAX: usize = 120;
/// Edges of one `Discover` answer, and of those that a refusal names.
pub const EDGES_MAX: usize = 8;
/// Nodes whose distance one `Discover` tells: a few rounds of answers. More is `TooLarge`.
pub const MEASURED_MAX: usize = 64;
/// Groups, moves, or lines of a plan in one answer to an operator. The rest is counted.
pub const LAYOUT_LINES_MAX: usize = 400;
/// An address or a label of a node, in bytes.
pub const NODE_LABEL_BYTES_MAX: usize = 256;
/// Moves that the map keeps the reasons of. The oldest makes room.
pub const MOVES_KEPT: usize = 100;
/// What was moved, or why, in bytes.
pub const MOVE_TEXT_BYTES_MAX: usize = 512;
/// Nodes and groups that one command changes together. The rest goes into the next one.
pub const MAP_CHANGE_ROWS_MAX: usize = 1_000;
/// Runs of buckets that an answer shows of a group. More are counted only.
pub const SHOWN_RUNS_MAX: usize = 64;
/// What a build is called, in bytes. A longer name in a hello refuses it.
pub const BUILD_BYTES_MAX: usize = 64;
/// Rows of one piece of a move of buckets, keys that one command drops. More go into the next one.
pub const MOVE_ROWS_MAX: usize = 1_000;
/// Keys and bodies of one piece of a move, in bytes; one row always fits. More go into the next piece.
pub const MOVE_PIECE_BYTES_MAX: usize = 256 * 1024;
/// Rows that changed since the last round of a move, at which its buckets are handed over: so much is sent while nobody serves them.
pub const MOVE_LAST_ROUND_ROWS_MAX: usize = 256;
/// Rounds of changes after which buckets are handed over whatever is left: what changes faster than it is sent never ends otherwise.
pub const MOVE_ROUNDS_MAX: u64 = 16;
/// Join tokens that are kept, used ones among them. One more is `LimitReached`.
pub const JOIN_TOKENS_MAX: usize = 64;
/// What is over is shown for so long, in milliseconds, then forgotten.
pub const JOIN_TOKEN_KEPT_MS: u64 = 7 * 24 * 3_600_000;
/// A join token is good for at most so many seconds. More is `Invalid`.
pub const JOIN_TTL_S_MAX: u32 = 7 * 24 * 3_600;
/// Nodes that a join token names, to be asked.
pub const JOIN_ADDRESSES_MAX: usize = 8;
/// A join token, in characters. A longer text is none.
pub const JOIN_TICKET_CHARS_MAX: usize = 4 * 1024;
/// What a node that joins asks, in bytes.
pub const JOIN_ASK_BYTES_MAX: usize = 8 * 1024;
/// What it is told, in bytes: the map is in it.
pub const JOIN_TOLD_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Admin tokens that are kept, ended ones among them. One more is `LimitReached`.
pub const ADMIN_TOKENS_MAX: usize = 64;
/// What is over is shown for so long, in milliseconds, then forgotten.
pub const ADMIN_TOKEN_KEPT_MS: u64 = 7 * 24 * 3_600_000;
/// An admin token is good for at most so many seconds. More is `Invalid`.
pub const ADMIN_TTL_S_MAX: u32 = 366 * 24 * 3_600;
/// The first one of a cluster is good for so many seconds: whoever was not there to read it asks on a node's own machine.
pub const ADMIN_FIRST_TTL_S: u32 = 24 * 3_600;
/// What an admin token is for, in Unicode scalar values. More is `TooLarge`.
pub const ADMIN_NAME_CHARS_MAX: usize = 64;
/// A node's public key, in bytes.
pub const NODE_KEY_BYTES_MAX: usize = 256;
/// Refs of one pending set before it is proposed early.
pub const REFS_PENDING_MAX: usize = 4_096;
/// A snapshot chunk, in bytes.
pub const SNAPSHOT_CHUNK_BYTES: usize = 1024 * 1024;

const _: () = assert!(FRAME_BYTES_MAX > TEXT_BYTES_MAX, "the largest text must fit a frame");
const _: () = assert!(PEER_FRAME_BYTES_MAX > 2 * BATCH_BYTES_MAX + FRAME_BYTES_MAX, "a full batch must fit a peer frame");
