//! The client protocol, as promised to app developers: requests, answers and events of ALPN `kith/1`.
//!
//! In: frame bodies. Out: parsed types; `decode` is the only way in, the raw messages stay private.
//! A connection has one client-opened *chat* stream with every small frame both ways, and one client-opened *bulk*
//! stream for each [`Pull`]. Not here: framing (`frame`), versions (`hello`), what a request does (`service` of the node).

use crate::{
    act::{ActWrite, Asked, Draft, Link, Muted, Pin, Reaction, Rules},
    code::Code,
    desk::{DeskAnswer, DeskRequest},
    hello::{Features, Version},
    hook::{HookAnswer, HookRequest},
    id::{
        ChannelId, ClientSeq, ClusterId, Conn, DeviceId, Incarnation, NodeId, RegionId, RequestId, Seq, SessionId, Timestamp, UserId, UserRev, hash,
    },
    layout::{LayoutAnswer, LayoutRequest},
    limit,
    log::{IndexRow, MemberChange, Position, Record, Role},
    people::{PeopleAnswer, PeopleRequest},
    presence::{PresenceRequest, PresenceView},
    push_device::{PushAnswer, PushRequest},
    search::{SearchPage, SearchQuery},
    trust::{TrustAnswer, TrustRequest},
};

/// A frame on the chat stream, client to edge.
#[derive(Clone, PartialEq, Debug)]
pub enum ToEdge {
    /// The first frame, once.
    Hello(Hello),
    /// A request; answers come in any order, each with its id.
    Request { id: RequestId, request: Request },
    /// A request that this version cannot read: an unknown kind, or a field that is malformed or over its limit. Only `decode` makes it; it
    /// is answered with this refusal, and the session goes on.
    Unreadable { id: RequestId, refusal: Refusal },
    /// Proof of life, every 30 s when nothing else is sent. Answered with [`ToClient::Beat`].
    Beat,
}

/// A frame on the chat stream, edge to client.
#[derive(Clone, PartialEq, Debug)]
pub enum ToClient {
    /// The answer to Hello.
    Welcome(Welcome),
    /// The answer to a request.
    Answer { id: RequestId, answer: Result<Answer, Refusal> },
    /// Something happened.
    Event(Event),
    /// The answer to a beat.
    Beat,
    /// The edge ends the session, with a reason; nothing follows.
    Bye(Refusal),
}

/// Opens a session.
#[derive(Clone, PartialEq, Debug)]
pub struct Hello {
    /// Highest version and features that the client speaks.
    pub version: Version,
    /// Feature bits.
    pub features: Features,
    /// The cluster it means to talk to, when known.
    pub cluster: Option<ClusterId>,
    /// A signed token (JWT).
    pub token: String,
    /// The device; must be `H(user, nonce)` of the store.
    pub device: DeviceId,
    /// Raised before each Hello; the highest of a device wins.
    pub conn: Conn,
    /// Version of the user's index that the device holds.
    pub user_rev: UserRev,
}

/// A session was opened.
#[derive(Clone, PartialEq, Debug)]
pub struct Welcome {
    /// The version both sides now speak.
    pub version: Version,
    /// The features both sides have.
    pub features: Features,
    /// The cluster.
    pub cluster: ClusterId,
    /// The node that holds the session.
    pub node: NodeId,
    /// The session.
    pub session: SessionId,
    /// The authenticated user.
    pub user: UserId,
    /// Their name.
    pub name: String,
    /// The user's index stands here: pull `(held, this]`. The live session was registered before it was read.
    pub user_rev: UserRev,
    /// Server time, for the local clock offset.
    pub now: Timestamp,
}

/// A refusal: stable code, how long to wait, what happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// Stable code; its class says whether to retry.
    pub code: Code,
    /// For [`crate::code::Retry::After`]: how long to wait, in milliseconds.
    pub retry_after_ms: Option<u32>,
    /// For `OutOfSequence`: the number that is expected.
    pub expected: Option<ClientSeq>,
    /// For `NotLeader`: who leads, if known.
    pub leader: Option<NodeId>,
    /// For a person; no user data.
    pub text: String,
    /// Of a node that takes no session: where to go instead, `host:port`, best first.
    pub alternates: Vec<String>,
}

/// A request on the chat stream.
#[derive(Clone, PartialEq, Debug)]
pub enum Request {
    /// Writes to a channel. Resent byte for byte until answered.
    Send(Send),
    /// Changes members; numbered like a send.
    ChangeMembers(ChangeMembers),
    /// Does something else; numbered like a send.
    Act(ActWrite),
    /// Joins a group by a link, or asks to: `Joined` or `Pending`.
    Join { channel: ChannelId, secret: [u8; 16] },
    /// Tells the other members that this one types. Never in the log; told again every `limit::TYPING_EVERY_MS` while it is so.
    Typing { channel: ChannelId },
    /// Description, rules, pins and, for those who may, links and requests of a channel.
    GetGroup { channel: ChannelId },
    /// The own scheduled texts of a channel.
    GetScheduled { channel: ChannelId },
    /// Who has read a record, and to whom it was delivered.
    GetSeen { channel: ChannelId, seq: Seq },
    /// Who reacted to a record, and how.
    GetReactions { channel: ChannelId, seq: Seq },
    /// Gives up a number.
    Void { channel: ChannelId, device: DeviceId, client_seq: ClientSeq, digest: Option<u64> },
    /// Makes a group chat; the id follows from (user, device, op), so a retry is the same group.
    CreateGroup { op: u64, title: String, members: Vec<UserId> },
    /// Moves the own read position.
    MarkRead { channel: ChannelId, read: Position },
    /// Tells the other members that records were delivered.
    Delivered { channel: ChannelId, delivered: Position },
    /// A channel's title, members and positions.
    GetChannel { channel: ChannelId },
    /// A user by exact name.
    FindUser { name: String },
    /// Names of users.
    GetUsers { users: Vec<UserId> },
    /// Where a session is held best: for who measured so many milliseconds, there and back, to nodes, and is thought to be in this region as
    /// long as it has measured none.
    Discover { measured: Vec<(NodeId, u32)>, region: Option<RegionId> },
    /// The state of the cluster; needs an operator's token.
    Status,
    /// Makes an account for a name, or finds it; needs an operator's token. `key` is the secret sign-up key for a new one.
    EnsureAccount { name: String, key: [u8; 32] },
    /// Puts a new node in the place of one that is gone for good; needs an operator's token. An empty zone is that of the dead node. Without
    /// `force` a dead node that is heard is refused.
    ReplaceNode { dead: NodeId, node: NodeId, address: String, http: String, zone: String, host: String, force: bool },
    /// Of accounts and people.
    People(PeopleRequest),
    /// Of moderation.
    Desk(DeskRequest),
    /// Of webhooks.
    Hook(HookRequest),
    /// Messages that have what is looked for, in conversations that the caller may read.
    Search(SearchQuery),
    /// Of who is here.
    Presence(PresenceRequest),
    /// Of pushes.
    Push(PushRequest),
    /// Of where groups stand; for operators.
    Layout(LayoutRequest),
    /// Of who may join; for operators.
    Trust(TrustRequest),
}

/// A text for a channel.
#[derive(Clone, PartialEq, Debug)]
pub struct Send {
    /// Where to.
    pub channel: ChannelId,
    /// The device's number.
    pub client_seq: ClientSeq,
    /// Below it no answer is awaited.
    pub settled: ClientSeq,
    /// 1 to 100,000 Unicode scalar values.
    pub text: String,
    /// A record that this answers.
    pub reply_to: Option<Seq>,
    /// Users that this mentions; at most 100.
    pub mentions: Vec<UserId>,
}

/// A change of members.
#[derive(Clone, PartialEq, Debug)]
pub struct ChangeMembers {
    /// Where.
    pub channel: ChannelId,
    /// The device's number.
    pub client_seq: ClientSeq,
    /// Below it no answer is awaited.
    pub settled: ClientSeq,
    /// What changes.
    pub change: MemberChange,
}

/// What a request gave.
#[derive(Clone, PartialEq, Debug)]
pub enum Answer {
    /// Written, and on the disks of a quorum.
    Sent { seq: Seq, cnt: u64, ts: Timestamp, duplicate: bool },
    /// Done, without a record; under this id, where it has one.
    Kept { id: u64 },
    /// A member now, by the record at this seq, or one before.
    Joined { seq: Seq },
    /// Waits for an admin.
    Pending,
    /// What stands beside a channel's log.
    Group(GroupView),
    /// Scheduled texts, by when they are due.
    Scheduled(Vec<ScheduledText>),
    /// Members besides the sender, sorted; who has read it was delivered it too.
    Seen { read: Vec<UserId>, delivered: Vec<UserId> },
    /// Sorted by emoji.
    Reactions(Vec<Reaction>),
    /// Given up: it never appears.
    Voided,
    /// The group chat exists.
    Created { channel: ChannelId, seq: Seq },
    /// Done, nothing to tell.
    Done,
    /// A channel.
    Channel(ChannelView),
    /// Users; those that do not exist are left out.
    Users(Vec<UserView>),
    /// Edges that can hold a session, best first, at most 8.
    Edges(Vec<Edge>),
    /// The cluster.
    Status(ClusterStatus),
    /// The account of a name.
    Account { user: UserId, name: String, created: bool },
    /// Of accounts and people.
    People(PeopleAnswer),
    /// Of moderation.
    Desk(DeskAnswer),
    /// Of webhooks.
    Hook(HookAnswer),
    /// To `Search`.
    Found(SearchPage),
    /// To `PresenceRequest::Get`: one view of each user that was asked about, in that order.
    Presence(Vec<PresenceView>),
    /// Of pushes.
    Push(PushAnswer),
    /// To `Layout`.
    Layout(LayoutAnswer),
    /// Of who may join.
    Trust(TrustAnswer),
}

/// A channel, as a member sees it.
#[derive(Clone, PartialEq, Debug)]
pub struct ChannelView {
    /// Which.
    pub channel: ChannelId,
    /// Title of a group.
    pub title: String,
    /// Last record.
    pub head: Position,
    /// Members, sorted by user.
    pub members: Vec<MemberView>,
}

/// A member, as the others see them.
#[derive(Clone, PartialEq, Debug)]
pub struct MemberView {
    /// Who.
    pub user: UserId,
    /// What they may do.
    pub role: Role,
    /// Read up to here.
    pub read: Position,
    /// Delivered up to here.
    pub delivered: Position,
}

/// What stands beside a channel's log, as a member sees it.
#[derive(Clone, PartialEq, Debug)]
pub struct GroupView {
    /// Which.
    pub channel: ChannelId,
    /// Title of a group.
    pub title: String,
    /// Its description.
    pub about: String,
    /// The asker's role.
    pub role: Role,
    /// What members may do.
    pub rules: Rules,
    /// Those that the asker may read, by rising seq.
    pub pins: Vec<Pin>,
    /// Members who may not write now.
    pub muted: Vec<Muted>,
    /// Links to join by, for those who may make them.
    pub links: Vec<Link>,
    /// Who asked to join, for admins.
    pub asked: Vec<Asked>,
    /// Who is shut out, for admins.
    pub banned: Vec<UserId>,
}

/// A text to be sent later.
#[derive(Clone, PartialEq, Debug)]
pub struct ScheduledText {
    /// Names it in `Unschedule`.
    pub id: u64,
    /// When.
    pub due: Timestamp,
    /// What.
    pub draft: Draft,
    /// It was due and refused.
    pub refused: Option<Code>,
}

/// A user, as others see them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UserView {
    /// Who.
    pub user: UserId,
    /// Their name.
    pub name: String,
}

/// A node that can hold a session.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Edge {
    /// Which node.
    pub node: NodeId,
    /// `host:port` of its QUIC endpoint.
    pub address: String,
    /// Where it stands.
    pub region: RegionId,
    /// Zone label.
    pub zone: String,
}

/// The cluster, as an operator sees it.
#[derive(Clone, PartialEq, Debug)]
pub struct ClusterStatus {
    /// The cluster.
    pub cluster: ClusterId,
    /// Version of the map that the answering node has.
    pub map_epoch: u64,
    /// Every node of the map.
    pub nodes: Vec<NodeStatus>,
    /// Every group of the map, with each replica that answered.
    pub groups: Vec<GroupStatus>,
}

/// A node, as an operator sees it.
#[derive(Clone, PartialEq, Debug)]
pub struct NodeStatus {
    /// Which.
    pub node: NodeId,
    /// `host:port`.
    pub address: String,
    /// Zone label.
    pub zone: String,
    /// Whether the answering node hears its beats.
    pub alive: bool,
    /// Sessions it holds, when it answered.
    pub sessions: Option<u64>,
    /// Resident memory in bytes, when it answered.
    pub rss_bytes: Option<u64>,
}

/// A group, as an operator sees it.
#[derive(Clone, PartialEq, Debug)]
pub struct GroupStatus {
    /// Which.
    pub group: u32,
    /// Who leads, when known.
    pub leader: Option<NodeId>,
    /// Term of that leader.
    pub term: u64,
    /// Every replica that answered.
    pub replicas: Vec<ReplicaStatus>,
}

/// A replica, as an operator sees it.
#[derive(Clone, PartialEq, Debug)]
pub struct ReplicaStatus {
    /// Where.
    pub node: NodeId,
    /// Last index in its log.
    pub last: u64,
    /// Last index applied.
    pub applied: u64,
    /// First bytes of the digest at `applied`.
    pub digest: u64,
    /// Whether it can be relied on.
    pub condition: ReplicaCondition,
}

/// Whether a replica takes part. The number is on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ReplicaCondition {
    /// 0: it does; what a version says that knows of no others.
    #[default]
    Sound,
    /// 1: its data is damaged: it does not vote, acknowledge or serve until the others have taken it out.
    Quarantined,
    /// 2: it is being rebuilt from its peers.
    Rebuilding,
    /// 3: it has stopped with an error.
    Failed,
}

/// Something happened that the client did not ask for.
#[derive(Clone, PartialEq, Debug)]
pub enum Event {
    /// A record, live.
    Delivery(Delivery),
    /// The user's index moved; the rows that changed, or none when the client should pull `(from, to]`.
    IndexMoved { from: UserRev, to: UserRev, rows: Vec<IndexRow> },
    /// Live pushes were dropped: pull up to here.
    SyncNeeded { to: UserRev },
    /// Another member read or got records.
    Receipt { channel: ChannelId, user: UserId, read: Position, delivered: Position },
    /// Another member types; ends by itself after `limit::TYPING_LASTS_MS`.
    Typing { channel: ChannelId, user: UserId },
    /// How users whom this session shows are now; the newest view of a user holds.
    Presence(Vec<PresenceView>),
    /// The edge is closing: connect elsewhere after the delay.
    GoAway { after_ms: u32 },
}

/// A live record.
#[derive(Clone, PartialEq, Debug)]
pub struct Delivery {
    /// Where.
    pub channel: ChannelId,
    /// The seq before it that this user may see: a hole is noticed at once.
    pub prev: Seq,
    /// The record, or a stub when its body is over 4 KiB: pull it.
    pub body: DeliveryBody,
}

/// A record or where to get it.
#[derive(Clone, PartialEq, Debug)]
pub enum DeliveryBody {
    /// The record itself.
    Whole(Record),
    /// Too large for the chat stream: pull the record at this position.
    Stub { at: Position },
}

/// The one request of a bulk stream; the answer is one [`Page`] frame, then the stream ends.
#[derive(Clone, PartialEq, Debug)]
pub enum Pull {
    /// Records of a channel.
    History(HistoryQuery),
    /// Rows of the user's index.
    Index(IndexQuery),
}

/// Which records. A page holds at most `limit::PAGE_RECORDS_MAX` and `limit::PAGE_BYTES_MAX`, at least one record if there is any.
#[derive(Clone, PartialEq, Debug)]
pub struct HistoryQuery {
    /// Where.
    pub channel: ChannelId,
    /// First seq, inclusive.
    pub first: Seq,
    /// Last seq, inclusive.
    pub last: Seq,
    /// From the end backwards rather than from the start forwards (the records of a page are rising either way).
    pub newest_first: bool,
    /// At most so many.
    pub limit: u32,
    /// The highest seq that the device knows of: an answer never comes from a replica behind it.
    pub min_seq: Seq,
    /// From this node's replica and no other: for those who compare replicas.
    pub replica: Option<NodeId>,
    /// Has all that was acknowledged before it was asked: the leader answers, behind a read barrier. Never together with `replica`.
    pub linearizable: bool,
    /// Where to look instead of from `first` or `last` on.
    pub place: Option<Place>,
}

/// Which rows of the own index: `from < rev ≤ to`, newest first.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IndexQuery {
    /// Held by the device.
    pub from: UserRev,
    /// Pinned at the start of the sync.
    pub to: UserRev,
    /// Rows below this only: the last one of the page before.
    pub below: Option<UserRev>,
    /// At most so many.
    pub limit: u32,
    /// Has all that was acknowledged before it was asked, whatever `to` is: the leader of the user's home answers, behind a read barrier.
    pub linearizable: bool,
}

/// The answer of a bulk stream.
#[derive(Clone, PartialEq, Debug)]
pub enum Page {
    /// Records, rising, and what of the asked range is not the user's to see.
    History(HistoryPage),
    /// Rows, newest first.
    Index { rows: Vec<IndexRow>, more: bool, rev: UserRev },
    /// Refused.
    Refused(Refusal),
}

/// Where in a history to look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    /// From the first record at or after this time on; `first` is not looked at.
    At(Timestamp),
    /// So that this record is in the middle of the page; `first`, `last` and the direction are not looked at.
    Around(Seq),
    /// Only texts of the thread that this one began, itself among them. Other records are left out without a word: what is
    /// `covered` was looked at.
    Thread(Seq),
    /// Only texts of the asker. Other records are left out without a word, as above.
    Own,
}

/// What has gathered about a record since it was made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Marks {
    /// Which record.
    pub seq: Seq,
    /// The record of its last edit or deletion; 0: none. Of two views of a record the one with the higher is the newer.
    pub edited: Seq,
    /// Sorted by emoji.
    pub reactions: Vec<ReactionTotal>,
    /// Texts in the thread that it began.
    pub replies: u32,
    /// The last of them.
    pub last_reply: Seq,
    /// Whether it is pinned.
    pub pinned: bool,
}

/// How often a reaction was given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReactionTotal {
    /// Which.
    pub emoji: String,
    /// How often.
    pub count: u32,
    /// By the asker too.
    pub mine: bool,
}

/// A page of records.
#[derive(Clone, PartialEq, Debug)]
pub struct HistoryPage {
    /// The replica that answered.
    pub node: NodeId,
    /// The channel's head there, as far as this user may see.
    pub head: Position,
    /// The incarnation there.
    pub incarnation: Incarnation,
    /// Rising; every seq of `covered` is either here or in `withheld`.
    pub records: Vec<Record>,
    /// Ranges (first, last), both inclusive, that this user may not see: a stated fact, not a hole.
    pub withheld: Vec<(Seq, Seq)>,
    /// The part of the asked range that this page answers, inclusive; `None` when the range is empty.
    pub covered: Option<(Seq, Seq)>,
    /// Of those of the records that have any, rising.
    pub marks: Vec<Marks>,
}

/// What still fits a page: at most so many records, and `limit::PAGE_BYTES_MAX` of texts; the first record always fits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PageBudget {
    records: usize,
    bytes: usize,
    first: bool,
}

impl PageBudget {
    /// An empty page for at most `limit` records, itself bounded by `limit::PAGE_RECORDS_MAX`.
    pub fn new(limit: u32) -> Self {
        Self { records: (limit as usize).min(limit::PAGE_RECORDS_MAX), bytes: limit::PAGE_BYTES_MAX, first: true }
    }
    /// Whether this record fits too; if so, it is counted. After a `false` the page is full.
    pub fn admit(&mut self, record: &Record) -> bool {
        let bytes = record.content.bytes();
        if self.records == 0 || (bytes > self.bytes && !self.first) {
            self.records = 0;
            return false;
        }
        self.records -= 1;
        self.bytes = self.bytes.saturating_sub(bytes);
        self.first = false;
        true
    }
}

impl Send {
    /// Digest of what the client sent, `settled` apart: what tells a retry from another message under the same number.
    pub fn digest(&self) -> u64 {
        let reply_to = self.reply_to.map(|seq| seq.get().to_be_bytes());
        let mentions: Vec<u8> = self.mentions.iter().flat_map(|user| user.get().to_be_bytes()).collect();
        hash(&[
            b"kith/send/1",
            self.channel.as_bytes(),
            &self.client_seq.get().to_be_bytes(),
            self.text.as_bytes(),
            reply_to.as_ref().map_or(&[], |raw| raw.as_slice()),
            &mentions,
        ])
    }
}

impl ChangeMembers {
    /// Digest of what the client sent, `settled` apart: as [`Send::digest`].
    pub fn digest(&self) -> u64 {
        let (kind, user, role) = match self.change {
            MemberChange::Add(user) => (1, user.get(), 0),
            MemberChange::Remove(user) => (2, user.get(), 0),
            MemberChange::Leave => (3, 0, 0),
            MemberChange::SetRole(user, role) => (4, user.get(), role.number()),
            MemberChange::Join => (5, 0, 0),
        };
        hash(&[b"kith/change_members/1", self.channel.as_bytes(), &self.client_seq.get().to_be_bytes(), &[kind, role], &user.to_be_bytes()])
    }
}
