//! What is persisted, for ever: raft log entries, the commands in them, and the rows that apply writes.
//!
//! In: bytes of the `kith.log.v1` messages. Out: parsed types; `decode` is the only way in, the raw messages stay private.
//! Invariants: a field number is never reused; an unknown command is an error, never skipped; an unknown content kind is kept.
//! Bounds: `limit.rs`. Not here: what a command does (kith-machine), where a row lies (kith-storage).

mod call;
mod content;
mod push;
mod user;

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::{
    act::{Act, Timer},
    code::Code,
    hook::{HookAck, HookChange, HooksRow},
    id::{
        BootEpoch, Bucket, CallKey, ChannelId, ClientSeq, ClusterId, DeviceId, GroupId, Incarnation, LogIndex, MapEpoch, NodeId, OwnerEpoch,
        RegionId, Seq, StoreId, Term, Timestamp, UserId, UserRev,
    },
    layout::LayoutMove,
    trust::TrustChange,
    upgrade::ClusterVersion,
};

pub use self::{
    call::{CallRow, CallsRow, UnderKey},
    content::{Content, Record},
    push::{PushChange, PushDevice, PushDueRow, PushFailure, PushSent, PushSentRow, PushSettled, PushTarget, PushesRow, QuietHours},
    user::{
        ContactRow, CredentialRow, Debt, EnterDevice, IssuedReset, MailedReset, OwedRow, Preference, PreferencesRow, ProfileField, ProfileRow,
        SavedDraft, UserChange, UserRow, WordRow, bucket_of_word,
    },
};

// ---------------------------------------------------------------- raft log

/// Position of an entry in a group's Raft log.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct LogId {
    /// Term of the leader that wrote it.
    pub term: Term,
    /// Its index, from 0.
    pub index: LogIndex,
}

/// A vote, as Raft persists it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Vote {
    /// The term voted in.
    pub term: Term,
    /// Who was voted for.
    pub node: Option<NodeId>,
    /// Whether a quorum granted it.
    pub committed: bool,
}

/// One entry of a group's Raft log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Entry {
    /// Where it stands.
    pub id: LogId,
    /// What it carries.
    pub payload: Payload,
}

/// What a Raft entry carries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Payload {
    /// A new leader's first entry.
    Blank,
    /// An encoded [`Batch`], kept as bytes until it is applied.
    Batch(Bytes),
    /// A change of the group's voters and learners.
    Membership(Membership),
}

/// Voters and learners of a group; two voter sets while a change is under way (joint consensus).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Membership {
    /// One or two sets of voters, each sorted.
    pub voters: Vec<Vec<NodeId>>,
    /// Every member that does not vote, sorted.
    pub learners: Vec<NodeId>,
}

/// What a state database holds for a group: the `applied` row, written in one batch with the rows.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Applied {
    /// Last entry applied; `None` before the first.
    pub last: Option<LogId>,
    /// Where the membership in force was logged.
    pub membership_at: Option<LogId>,
    /// The membership in force.
    pub membership: Membership,
}

// ---------------------------------------------------------------- commands

/// One Raft entry of ours: all that was queued at the group's proposer, in order.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Batch {
    /// The proposer's clock. Apply takes the larger of this and the last one it saw.
    pub now: Timestamp,
    /// At most `limit::BATCH_ITEMS_MAX`.
    pub items: Vec<Item>,
}

/// One command and the bucket it is for: ownership is checked at apply, for each item. Meta and group commands name no bucket.
#[derive(Clone, PartialEq, Debug)]
pub struct Item {
    /// Bucket that must be owned; `None` for commands on the group itself.
    pub bucket: Option<Bucket>,
    /// What to do.
    pub command: Command,
}

/// Who writes to a channel, and with which number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Author {
    /// The user.
    pub user: UserId,
    /// The device.
    pub device: DeviceId,
    /// The device's number for this write in this channel.
    pub client_seq: ClientSeq,
    /// Below it the device awaits no answer any more.
    pub settled: ClientSeq,
    /// Of the bytes as the client sent them.
    pub digest: u64,
    /// In the place of a number, for callers that send in parallel: `client_seq` and `settled` say nothing then.
    pub key: Option<CallKey>,
}

/// Everything that can be logged in a group. Stored: a field number in the proto, never reused.
#[derive(Clone, PartialEq, Debug)]
pub enum Command {
    // -- channel
    /// Adds a record of content to a conversation.
    Append { channel: ChannelId, author: Author, content: Content, peer: PeerCheck },
    /// Makes a group chat; idempotent by its id. `members` are added besides the creator.
    CreateGroup { channel: ChannelId, creator: UserId, device: DeviceId, op: u64, title: String, members: Vec<UserId> },
    /// Adds, removes, or changes the role of a member; a numbered write like any other.
    ChangeMembers { channel: ChannelId, author: Author, change: MemberChange },
    /// Does something else that is numbered like any other write.
    Act { channel: ChannelId, author: Author, act: Act },
    /// Refuses a write for what the leader learnt elsewhere: logged, so that it uses up its number.
    Refuse { channel: ChannelId, author: Author, code: Code },
    /// Joins a group by a link, or asks to; idempotent.
    Join { channel: ChannelId, user: UserId, secret: [u8; 16] },
    /// What was to happen then happens: once, whoever proposes it and how often. A text is refused for what its leader learnt elsewhere.
    Fire { channel: ChannelId, due: Timestamp, timer: Timer, refused: Option<Code> },
    /// Gives up a number of a device (of the same user).
    Void { channel: ChannelId, user: UserId, device: DeviceId, client_seq: ClientSeq, digest: Option<u64> },
    /// Every home has committed the refs of this channel up to here.
    Fanned { channel: ChannelId, seq: Seq },
    /// Read and delivered positions of a member, largest wins.
    Receipt { channel: ChannelId, user: UserId, read: Option<Position>, delivered: Option<Position> },
    /// This user is erased or never was: stop fanning out to them, and empty their texts.
    Gone { channel: ChannelId, user: UserId },
    // -- user
    /// Makes a user: the only commit point of a sign-up. `key` is a digest of the secret sign-up key.
    CreateUser { user: UserId, name: String, key: [u8; 32] },
    /// Settles a stale reservation: if the user does not exist, it never will.
    ForbidUser { user: UserId },
    /// Notes a device of a user; the longest idle makes room for the 33rd. `login`: the one that its token was given at, 0 for a token that is
    /// bound to no device; `issued`: when that was made.
    RegisterDevice { user: UserId, device: DeviceId, login: u64, issued: Timestamp },
    /// Merges refs into a user's index.
    MergeRefs { user: UserId, refs: Vec<Ref> },
    /// Changes a user's account.
    User { user: UserId, change: UserChange },
    /// Moves a user's own read position, largest wins.
    MarkRead { user: UserId, channel: ChannelId, read: Position },
    /// A call of a user begins; what was answered under the same key is answered again.
    BeginCall { user: UserId, key: CallKey, digest: u64 },
    /// What was answered to it, kept for a day.
    EndCall { user: UserId, key: CallKey, answer: Bytes },
    // -- name
    /// Holds a name for a user that is being made.
    ReserveName { name: String, user: UserId },
    /// The user exists: the name is theirs.
    ConfirmName { name: String, user: UserId },
    /// The reservation of then came to nothing: the name is free, unless it was reserved anew since.
    ReleaseName { name: String, user: UserId, since: Timestamp },
    /// The user has left the name behind: nobody else may have it until then.
    HoldName { name: String, user: UserId, until: Timestamp },
    /// A word of a user for the search index, or that it is gone; the higher version holds.
    IndexWord { word: String, user: UserId, version: u64, gone: bool },
    // -- the desk
    /// A report, or what an operator does.
    Desk(crate::desk::DeskChange),
    // -- webhooks
    /// Changes a channel's webhooks; `by` 0: the cluster itself, or an operator.
    ChannelHook { channel: ChannelId, by: UserId, change: HookChange },
    /// The group's copy of the desk's webhooks, if newer.
    SetHooks { hooks: HooksRow },
    /// How far webhooks have been told of a channel.
    Hooked { channel: ChannelId, acks: Vec<HookAck> },
    // -- the group itself
    /// A step of a move of buckets from one group to another.
    Move(crate::moving::MoveChange),
    /// Takes buckets into ownership, at a higher epoch only.
    OwnBuckets { region: RegionId, first: u16, last: u16, epoch: OwnerEpoch },
    /// Raises the version that this group's commands, rows and snapshots are written in.
    RaiseVersion { version: u32 },
    // -- meta group only
    /// Makes the cluster: idempotent by cluster id.
    /// `version`: at which it begins; 0: at the first.
    InitCluster { cluster: ClusterId, version: ClusterVersion },
    /// Adds a node or replaces what is known of it.
    PutNode { node: NodeRow },
    /// Adds a group or changes its replicas or leader preference.
    PutGroup { group: GroupRow },
    /// Gives a run of buckets to a group.
    PutRun { run: RunRow },
    /// Changes nodes and groups together, if the map has this epoch: who proposes it has seen all that it changes.
    /// `moves` say what of it is moved, and why, in the order in which that was decided.
    ChangeMap { at: MapEpoch, nodes: Vec<NodeRow>, groups: Vec<GroupRow>, moves: Vec<LayoutMove> },
    /// Raises the version of the cluster by one, if every node's build knows that.
    RaiseCluster { to: ClusterVersion },
    /// Changes who may join.
    Trust(TrustChange),
}

/// What the leader learnt from the other side's home before a direct channel's first record.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum PeerCheck {
    /// Not asked: the channel exists, or is a group.
    #[default]
    NotAsked,
    /// The other user exists and may be written to.
    Exists,
}

/// A change of a channel's members.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemberChange {
    /// Adds a user as a member.
    Add(UserId),
    /// Removes a member.
    Remove(UserId),
    /// The author leaves.
    Leave,
    /// Gives a member a role.
    SetRole(UserId, Role),
    /// The author joined by a link. Only recorded: nobody asks for it in this way.
    Join,
}

/// A channel's news for one member: coalesced, repeated and reordered at will; larger values win.
#[derive(Clone, PartialEq, Debug)]
pub struct Ref {
    /// Which channel.
    pub channel: ChannelId,
    /// Compared before any position.
    pub incarnation: Incarnation,
    /// The last record this user may see.
    pub head: Position,
    /// Server time of the record that stands for the channel: its last text, or the head when no text is near it.
    pub head_ts: Timestamp,
    /// Newest membership record about this user: the larger wins.
    pub member_seq: Seq,
    /// Start of the present stay, and the count before it.
    pub join: Position,
    /// Set when the user has left: nothing after it is theirs.
    pub left: Option<Seq>,
    /// The user's own last record.
    pub own: Position,
    /// Seqs that mention the user, rising, at most 100, newest kept.
    pub mentions: Vec<Seq>,
    /// Title of a group, empty for a direct channel.
    pub title: String,
    /// Start of that text, at most `limit::PREVIEW_CHARS`; empty when it is gone or will not be kept.
    pub preview: String,
    /// Who sent that record.
    pub head_sender: UserId,
}

// ---------------------------------------------------------------- channel rows

/// A place in a channel: the seq and the running number of texts up to it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Position {
    /// The record.
    pub seq: Seq,
    /// Texts up to and with it.
    pub cnt: u64,
}

/// What a member may do. The number is stored.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Role {
    /// 1: posts and reads.
    Member,
    /// 2: adds and removes members.
    Admin,
    /// 3: everything; a group always has one.
    Owner,
}

/// The part of a conversation that changes with every record.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ChannelRow {
    /// Raised by recovery that may have lost a tail.
    pub incarnation: Incarnation,
    /// The last record.
    pub head: Position,
    /// Its server time: never goes back.
    pub last_ts: Timestamp,
    /// Up to here every home has committed its refs. Below `head`: dirty.
    pub fanned: Seq,
    /// The group has ended; its row stays, so that its id is never reused.
    pub dissolved: bool,
    /// There is a `RulesRow` to look at before anything is written.
    pub ruled: bool,
    /// Records before this one are over the channel's retention; 0: none ever was.
    pub kept: Seq,
    /// It has webhooks of its own.
    pub hooked: bool,
}

/// Who is in a conversation, and its title.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RosterRow {
    /// Empty for a direct channel.
    pub title: String,
    /// Who made it.
    pub creator: UserId,
    /// Sorted by user; at most 100.
    pub members: Vec<Member>,
    /// Removed, but not yet known so at home: fan-out targets until `fanned` passes their `member_seq`. Sorted by user.
    pub departing: Vec<Departing>,
}

/// A present member.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Member {
    /// The user.
    pub user: UserId,
    /// What they may do.
    pub role: Role,
    /// The newest membership record about them.
    pub member_seq: Seq,
    /// Earlier stays and the present one (last, open), rising.
    pub stays: Vec<Stay>,
}

/// A range of a channel that a user may read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stay {
    /// First visible record, with the count of texts *before* it.
    pub join: Position,
    /// Last visible record; `None` while the stay lasts.
    pub left: Option<Seq>,
    /// Visible from here already, when that is before `join`: unread begins at `join` all the same.
    pub since: Option<Seq>,
}

impl Stay {
    /// First visible record.
    pub fn first(&self) -> Seq {
        self.since.unwrap_or(self.join.seq)
    }
    /// Whether a record lies in it.
    pub fn shows(&self, seq: Seq) -> bool {
        self.first() <= seq && self.left.is_none_or(|left| seq <= left)
    }
}

/// A removed member whose home may not know yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Departing {
    /// The user.
    pub user: UserId,
    /// The record that removed them.
    pub member_seq: Seq,
}

/// A removed member's right to read the old ranges.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FormerRow {
    /// The record that removed them.
    pub member_seq: Seq,
    /// All stays, closed, rising.
    pub stays: Vec<Stay>,
    /// By somebody else, or they left while muted: a link does not bring them back.
    pub removed: bool,
}

/// Where a member stands in a channel: latest values.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PositionsRow {
    /// Own last record.
    pub own: Position,
    /// Read up to here.
    pub read: Position,
    /// Delivered up to here.
    pub delivered: Position,
    /// Seqs that mention this member, rising, at most 100, newest kept.
    pub mentions: Vec<Seq>,
}

impl Role {
    /// The stable number.
    pub const fn number(self) -> u8 {
        match self {
            Self::Member => 1,
            Self::Admin => 2,
            Self::Owner => 3,
        }
    }
}

/// What a device did in a channel, so that a retry never makes a second record.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DedupRow {
    /// Whose device.
    pub user: UserId,
    /// The last number used up.
    pub last: ClientSeq,
    /// The numbers from `settled` on, rising, dense up to `last`; at most `limit::DEDUP_RING`.
    pub ring: Vec<DedupEntry>,
}

/// One number that a device used up; also a row of its own, of one call under a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DedupEntry {
    /// The number; 0 for a call under a key.
    pub client_seq: ClientSeq,
    /// Of the bytes.
    pub digest: u64,
    /// What became of it.
    pub outcome: Outcome,
}

/// What became of a number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// A record.
    Record { seq: Seq, ts: Timestamp },
    /// Done without a record, under this id.
    Kept(u64),
    /// A logged refusal.
    Refused(Code),
    /// Given up.
    Voided,
}

// ---------------------------------------------------------------- user and name rows

/// Whether a user may sign in. The number is stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum UserState {
    /// 1: an account.
    #[default]
    Active,
    /// 2: was never made, and never will be.
    Forbidden,
    /// 3: erased; id and dedup stay.
    Erased,
}

/// A device of a user. One that was ended stays, so that its tokens stay ended.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DeviceRow {
    /// When it was first seen.
    pub created: Timestamp,
    /// When it last signed in.
    pub seen: Timestamp,
    /// What it is called; empty if it never logged in by itself.
    pub title: String,
    /// The log-in that let it in; 0: it came with a token that is bound to no device.
    pub login: u64,
    /// Digest of the secret in its refresh token.
    pub refresh: Option<[u8; 32]>,
    /// When that was given.
    pub refreshed: Timestamp,
    /// Digests before it, newest first: who shows one has an old copy.
    pub spent: Vec<[u8; 32]>,
    /// Since when it is ended.
    pub ended: Option<Timestamp>,
}

/// The row per user and channel that sync reads.
#[derive(Clone, PartialEq, Debug)]
pub struct IndexRow {
    /// Version at which this row last changed.
    pub rev: UserRev,
    /// News of the channel: the merged refs.
    pub news: Ref,
    /// Read by this user up to here.
    pub read: Position,
    /// How it stands in the user's list.
    pub preferences: PreferencesRow,
}

impl IndexRow {
    /// Texts that the user has not read: a difference of two running numbers, never a stored counter. Reading begins with the present stay.
    pub fn unread(&self) -> u64 {
        self.news.head.cnt.saturating_sub(self.read.cnt.max(self.news.join.cnt).max(self.preferences.cleared.cnt))
    }
    /// Whether it is out of the list: archived, and nothing was said since, or nobody wants to hear it.
    pub fn is_archived(&self, now: Timestamp) -> bool {
        self.preferences.archived.is_some_and(|head| self.news.head.seq <= head || self.is_muted(now))
    }
    /// Whether it is muted.
    pub fn is_muted(&self, now: Timestamp) -> bool {
        self.preferences.muted.is_some_and(|until| now < until)
    }
    /// Mentions of the user that they have not read; 100 shows as "99+".
    pub fn unread_mentions(&self) -> usize {
        self.news.mentions.iter().filter(|seq| **seq > self.read.seq).count()
    }
}

/// How a name stands. The number is stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum NameState {
    /// 1: held for a user that is being made.
    #[default]
    Reserved,
    /// 2: belongs to the user.
    Confirmed,
    /// 3: belonged to the user, and is nobody else's until its time is over.
    HeldBack,
}

/// A user name.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct NameRow {
    /// Whose it is, or will be.
    pub user: UserId,
    /// How it stands.
    pub state: NameState,
    /// Since when.
    pub since: Timestamp,
    /// For [`NameState::HeldBack`]: until when.
    pub until: Timestamp,
}

// ---------------------------------------------------------------- group rows

/// The group's own row.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct GroupStateRow {
    /// Version that commands, rows and snapshots are written in.
    pub version: u32,
    /// Chain over every applied entry and what it wrote; equal on replicas at an equal index.
    pub digest: [u8; 32],
    /// The largest clock seen in a batch.
    pub now: Timestamp,
}

/// A run of buckets that this group owns, or has given away.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OwnedRow {
    /// Last bucket of the run, inclusive (the first is in the key).
    pub last: u16,
    /// At this epoch.
    pub epoch: OwnerEpoch,
    /// To whom they were given, at this epoch; `None`: they are this group's own. Stays, so that no older epoch takes them back.
    pub to: Option<GroupId>,
}

// ---------------------------------------------------------------- meta rows

/// The cluster.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ClusterRow {
    /// Its id.
    pub cluster: ClusterId,
    /// Log index of the last visible change.
    pub epoch: MapEpoch,
    /// What was moved last and why, newest first; at most `limit::MOVES_KEPT`.
    pub moves: Vec<LayoutMove>,
    /// What its nodes may do together; 0: the first.
    pub version: ClusterVersion,
}

/// Where a node stands in its life. The number is stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum NodeState {
    /// 1: known, not yet serving.
    Joining,
    /// 2: serving.
    #[default]
    Up,
    /// 3: being emptied.
    Draining,
    /// 4: gone, fenced.
    Left,
}

/// A node.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct NodeRow {
    /// Its id.
    pub node: NodeId,
    /// The data directory it is bound to; `None` until first seen.
    pub store: Option<StoreId>,
    /// Highest start seen.
    pub boot: BootEpoch,
    /// `host:port` of the client and peer QUIC endpoint (one UDP port, told apart by ALPN).
    pub address: String,
    /// `host:port` of the HTTP face.
    pub http: String,
    /// Region it stands in.
    pub region: RegionId,
    /// Zone label.
    pub zone: String,
    /// Host label.
    pub host: String,
    /// Weight for placement.
    pub capacity: u32,
    /// Where it stands.
    pub state: NodeState,
    /// The newest cluster version that the build knows which it was seen with last; 0: not told.
    pub version: ClusterVersion,
}

/// A Raft group of the map.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct GroupRow {
    /// Its id.
    pub group: GroupId,
    /// Region whose buckets it may hold.
    pub region: RegionId,
    /// Where its replicas are, sorted.
    pub replicas: Vec<NodeId>,
    /// Who should lead it, best first.
    pub preference: Vec<NodeId>,
    /// Raised with each change.
    pub conf_epoch: u64,
}

/// A run of buckets in the map.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RunRow {
    /// Region of the buckets.
    pub region: RegionId,
    /// First bucket.
    pub first: u16,
    /// Last bucket, inclusive.
    pub last: u16,
    /// Who owns them.
    pub group: GroupId,
    /// At this epoch.
    pub epoch: OwnerEpoch,
}

/// The cluster map: what the meta group's rows say together. Also kept on each node's disk and sent between nodes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ClusterMap {
    /// The cluster.
    pub cluster: ClusterId,
    /// Version.
    pub epoch: MapEpoch,
    /// All nodes.
    pub nodes: BTreeMap<NodeId, NodeRow>,
    /// All groups, the meta group among them.
    pub groups: BTreeMap<GroupId, GroupRow>,
    /// Runs by (region, first), not overlapping.
    pub runs: BTreeMap<(RegionId, u16), RunRow>,
    /// What the nodes may do together; 0: the first.
    pub version: ClusterVersion,
}

impl ClusterMap {
    /// Who holds a bucket; `None` when no run covers it.
    pub fn group_of(&self, bucket: Bucket) -> Option<GroupId> {
        let (_, run) = self.runs.range(..=(bucket.region, bucket.index)).next_back()?;
        (run.region == bucket.region && bucket.index <= run.last).then_some(run.group)
    }
}
