//! The protocol between nodes, ALPN `kith-peer/1`: raft traffic, forwarded requests, fan-out, beats.
//!
//! In: checked frames (crc32) of the one stream that each node opens to each other node. Out: parsed types.
//! One ordered pair of nodes has one connection and one multiplexed stream: what A asks and tells B goes over the stream that A
//! opened, and B's answers come back on it. Snapshots have a stream of their own. N and N-1 interoperate.
//! Not here: deadlines and reconnecting (the node's peer links), what raft does with it (kith-raft).

use bytes::Bytes;

use crate::{
    admin::{AdminRole, AdminToken},
    client::{Answer, Delivery, DeliveryBody, HistoryPage, HistoryQuery, IndexQuery, Page, Refusal, ReplicaCondition, Request},
    desk::DeskChange,
    hello::Version,
    hook::HooksRow,
    id::{
        BootEpoch, Bucket, CallKey, ChannelId, ClusterId, Conn, DeviceId, GroupId, LogIndex, MapEpoch, NodeId, RequestId, Seq, SessionId, StoreId,
        Term, Timestamp, UserId, UserRev,
    },
    layout::NodeLoad,
    log::{ClusterMap, EnterDevice, Entry, IndexRow, LogId, Membership, NodeRow, Position, Record, Ref, RunRow, UnderKey, UserChange, Vote},
    moving::{BucketRun, LeavingRow, MoveChange, StagingRow},
    people::ProfileView,
    presence::{PresencePush, PresenceTold, PresenceView, PresenceWatch},
    push_device::{PushState, PushTested},
    search::{SearchPart, SearchQuery, SearchScope, SearchTold},
    secret::Secret,
    trust::TokenId,
    upgrade::ClusterVersion,
};

/// A frame from the node that opened the stream.
#[derive(Clone, PartialEq, Debug)]
pub enum ToPeer {
    /// The first frame, once.
    Hello(PeerHello),
    /// Asks; the answer carries the same id.
    Ask { id: RequestId, deadline_ms: u32, ask: Ask },
    /// An ask that this version cannot read. Only `decode` makes it; it is answered with this refusal, and the stream goes on.
    Unreadable { id: RequestId, refusal: Refusal },
    /// Tells; no answer.
    Tell(Tell),
}

/// A frame from the node that accepted the stream.
#[derive(Clone, PartialEq, Debug)]
pub enum FromPeer {
    /// The answer to Hello.
    Hello(PeerHello),
    /// Refused; nothing follows.
    Bye(Refusal),
    /// The answer to an Ask.
    Told { id: RequestId, told: Result<Told, Refusal> },
    /// Answers of a raft append session, in the order of its requests.
    Appended(AppendAnswer),
}

/// Who a node is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerHello {
    /// Highest version it speaks.
    pub version: Version,
    /// Its cluster.
    pub cluster: ClusterId,
    /// Its id.
    pub node: NodeId,
    /// Its data directory.
    pub store: StoreId,
    /// Its count of starts.
    pub boot: BootEpoch,
    /// Version of its map.
    pub map_epoch: MapEpoch,
    /// What its store has synced, ever (as in [`Beat`]); 0: not told.
    pub synced_batches: u64,
    /// Drawn at each start, so that two starts with one count are told apart; 0: not told.
    pub life: u64,
    /// The newest cluster version that its build knows; 0: not told.
    pub knows: ClusterVersion,
    /// The cluster version that it has on its disk; 0: not told.
    pub noted: ClusterVersion,
    /// Its build, as people call it; at most `limit::BUILD_BYTES_MAX`.
    pub build: String,
}

/// A question to another node.
#[derive(Clone, PartialEq, Debug)]
pub enum Ask {
    /// A client's request, for the leader of a group. Never forwarded again.
    Forward { group: GroupId, map_epoch: MapEpoch, caller: Caller, request: Request },
    /// A client's history pull, for a replica.
    History { group: GroupId, caller: Caller, query: HistoryQuery },
    /// A client's index pull, for a replica of the user's group; `min_rev` must have been applied.
    Index { group: GroupId, caller: Caller, query: IndexQuery, min_rev: UserRev },
    /// An operation of the cluster itself on a group's leader.
    Inner { group: GroupId, map_epoch: MapEpoch, inner: Inner },
    /// Registers sessions with the leader of their users' home group. In bulk after a change of leader.
    Register { group: GroupId, boot: BootEpoch, sessions: Vec<Registration> },
    /// The map, if newer than this.
    Map { newer_than: MapEpoch },
    /// The state of this node and its replicas.
    NodeStatus,
    /// Raft: a vote or a pre-vote. `transfer`: the old leader asked for it, so that its lease does not count.
    Vote { group: GroupId, vote: Vote, last: Option<LogId>, pre: bool, transfer: bool },
    /// Raft: hand over leadership.
    TransferLeader { group: GroupId, from: Vote, to: NodeId, last: Option<LogId> },
    /// Raft: heartbeats of many groups in one frame.
    Heartbeats(Vec<Heartbeat>),
    /// Raft: the asker's replica is damaged: take it out of the group, so that it may begin anew. Answered as `Vote`, with the leader's own vote
    /// and the entry that said so, once the others have committed that it is out.
    Withdraw { group: GroupId },
    /// Messages in these conversations that have what is looked for, as the caller may read them, but for those of `hidden` users.
    Search { caller: Caller, query: SearchQuery, parts: Vec<SearchPart>, hidden: Vec<UserId> },
    /// What the caller may search, from a replica of their home; titles are compared with `words`.
    SearchScope { group: GroupId, caller: Caller, words: String },
    /// Which of the edge's users look at users of this group; to its leader.
    Watch { group: GroupId, boot: BootEpoch, watches: Vec<PresenceWatch> },
    /// Raft: whether the asker is out of the group, which a quorum of it has just confirmed. Answered as `Withdraw`, granted if it is; nothing is done.
    IsOut { group: GroupId },
    /// What this node knows that the planner needs.
    Load,
    /// Give up sessions and leaderships until this node is started anew, or take them again.
    Drain { on: bool },
    /// Those of this node's metrics that operators are shown.
    Vitals,
}

/// An answer of another node.
#[derive(Clone, PartialEq, Debug)]
pub enum Told {
    /// To `Forward`.
    Answer(Answer),
    /// To `History`.
    History(HistoryPage),
    /// To `Index`.
    Page(Page),
    /// To `Inner`.
    Inner(InnerAnswer),
    /// To `Register`: in the order of the sessions.
    Registered { group: GroupId, term: Term, sessions: Vec<Result<RegisteredSession, Refusal>> },
    /// To `Map`: none when there is nothing newer.
    Map(Option<ClusterMap>),
    /// To `NodeStatus`.
    NodeStatus(PeerStatus),
    /// To `Vitals`: lines of OpenMetrics.
    Vitals { text: String },
    /// To `Vote` and `Withdraw`.
    Vote { vote: Vote, granted: bool, last: Option<LogId> },
    /// To `TransferLeader`.
    Done,
    /// To `Heartbeats`: in their order.
    Heartbeats(Vec<HeartbeatAnswer>),
    /// To `Search`.
    Searched(SearchTold),
    /// To `SearchScope`.
    SearchScope(SearchScope),
    /// To `Watch`.
    Watched { group: GroupId, told: PresenceTold },
    /// To `Load`.
    Load(NodeLoad),
}

/// Something that needs no answer on the stream.
#[derive(Clone, PartialEq, Debug)]
pub enum Tell {
    /// Raft: one append of a session. Answers come as [`AppendAnswer`], in order, keyed by (group, session).
    Append(Append),
    /// Raft: the sender ended an append session.
    AppendEnd { group: GroupId, session: u64 },
    /// Fan-out: from a channel's leader to the leader of the members' home groups.
    Refs(RefFrame),
    /// Fan-out: from a home leader back to a channel's leader, after the user index was committed.
    RefsKept(RefsKept),
    /// Fan-out: from a home leader to an edge.
    Push(PushFrame),
    /// The pair's beat, every 250 ms.
    Beat(Beat),
    /// A session has ended.
    Unregister { group: GroupId, user: UserId, device: DeviceId, session: SessionId },
    /// All sessions that the edge has for this group are registered with who leads it in this term; it may have none.
    RegisteredAll { group: GroupId, term: Term, boot: BootEpoch },
    /// Whether somebody sits before a device has changed.
    Activity { group: GroupId, user: UserId, session: SessionId, away: bool },
    /// A device that is pushed to has what is new of a conversation up to there.
    Confirmed { group: GroupId, user: UserId, device: DeviceId, channel: ChannelId, seq: Seq },
}

/// Who a forwarded request is from; the edge has authenticated it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Caller {
    /// The user; 0 for an operator without an account.
    pub user: UserId,
    /// The device.
    pub device: DeviceId,
    /// What they may do to the cluster; `None`: nothing.
    pub admin: Option<AdminRole>,
    /// Names the request in every node's log.
    pub trace: u64,
    /// In the place of numbers, for callers that have none: names the call, so that a retry is known over any node.
    pub key: Option<CallKey>,
    /// The admin token that was shown: for the audit log.
    pub token: Option<TokenId>,
}

impl Caller {
    /// Whether they may do what needs this role.
    pub fn may(&self, role: AdminRole) -> bool {
        self.admin >= Some(role)
    }
}

/// One append of a streamed session.
#[derive(Clone, PartialEq, Debug)]
pub struct Append {
    /// Which group.
    pub group: GroupId,
    /// Which session of it: a late one must never overwrite the live one.
    pub session: u64,
    /// Leader's vote.
    pub vote: Vote,
    /// The entry before the first of `entries`.
    pub prev: Option<LogId>,
    /// New entries, dense.
    pub entries: Vec<Entry>,
    /// What the leader has committed.
    pub committed: Option<LogId>,
}

/// The answer to one append.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AppendAnswer {
    /// Which group.
    pub group: GroupId,
    /// Which session.
    pub session: u64,
    /// What became of it.
    pub result: AppendResult,
}

/// What became of an append. The number is on the wire.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AppendResult {
    /// 1: flushed up to here.
    Flushed(Option<LogId>),
    /// 2: the log differs at `prev`.
    Conflict(Option<LogId>),
    /// 3: a higher vote was seen.
    HigherVote(Vote),
    /// 4: this node does not run the group, or the session is over. Ends the session.
    Closed,
}

/// One group's heartbeat: an append without entries.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Heartbeat {
    /// Which group.
    pub group: GroupId,
    /// Leader's vote.
    pub vote: Vote,
    /// Matching entry.
    pub prev: Option<LogId>,
    /// What the leader has committed.
    pub committed: Option<LogId>,
}

/// The answer to one group's heartbeat.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HeartbeatAnswer {
    /// Which group.
    pub group: GroupId,
    /// What became of it.
    pub result: AppendResult,
}

/// A snapshot's head, first frame of a snapshot stream; chunks of rows follow, then a [`SnapshotEnd`].
#[derive(Clone, PartialEq, Debug)]
pub struct SnapshotHead {
    /// Which group.
    pub group: GroupId,
    /// Leader's vote.
    pub vote: Vote,
    /// Last entry in it.
    pub last: Option<LogId>,
    /// Where its membership was logged.
    pub membership_at: Option<LogId>,
    /// Its membership.
    pub membership: Membership,
}

/// A snapshot's end: what the receiver checks before it installs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SnapshotEnd {
    /// Rows sent.
    pub rows: u64,
    /// crc32 over all chunk bodies in order.
    pub crc: u32,
}

/// A cluster's own operation on a group's leader.
#[derive(Clone, PartialEq, Debug)]
pub enum Inner {
    /// May this user be written to by `from`?
    CheckPeer { user: UserId, from: UserId },
    /// Name reservation, step 1.
    ReserveName { name: String, user: UserId },
    /// Step 2: the commit point, at the home of the user.
    CreateUser { user: UserId, name: String, key: [u8; 32] },
    /// Settles a stale reservation at the home: does the user have this name? If not, they will not get it by what is under way.
    SettleUser { user: UserId, name: String },
    /// Step 3.
    ConfirmName { name: String, user: UserId },
    /// Step 3, when the reservation of then came to nothing.
    ReleaseName { name: String, user: UserId, since: Timestamp },
    /// Who has this name?
    FindName { name: String },
    /// Names of users of this group.
    GetUsers { users: Vec<UserId> },
    /// Is this device one of the user's?
    HasDevice { user: UserId, device: DeviceId },
    /// The user has left the name behind.
    HoldName { name: String, user: UserId, until: Timestamp },
    /// Who has this name, for somebody who tries to log in: counted, whether anybody has it or not.
    NameAttempt { name: String },
    /// Checks a password at the user's home, and lets the device in. Whether there is such a user cannot be told from the answer or its time.
    Enter { user: UserId, password: Secret, enter: EnterDevice, call: Option<UnderKey> },
    /// A change of a user that was checked where it came in.
    User { user: UserId, change: UserChange },
    /// A record, as this user may read it.
    ReadRecord { channel: ChannelId, user: UserId, seq: Seq },
    /// A word for the search index.
    IndexWord { word: String, user: UserId, version: u64, gone: bool },
    /// Words that begin so, and whose they are.
    FindWords { prefix: String },
    /// What is seen of users of this group.
    GetProfiles { users: Vec<UserId> },
    /// This user was erased: the channel is to forget them.
    Gone { channel: ChannelId, user: UserId },
    /// A change at the desk.
    Desk(DeskChange),
    /// The desk's webhooks, if newer than this.
    HooksSince { version: u64 },
    /// Does a token that was given so still stand: nobody has ended its device or its log-in, nor shut the user out, nor erased them?
    MayStay { user: UserId, device: DeviceId, login: u64, issued: Timestamp },
    /// Is this user shut out of the cluster?
    IsBanned { user: UserId },
    /// May each of these users of this group be in one more group chat?
    HasRoom { users: Vec<UserId> },
    /// Begins a call under a key, or tells what was answered to it.
    BeginCall { user: UserId, key: CallKey, digest: u64 },
    /// Keeps the answer of a call.
    EndCall { user: UserId, key: CallKey, answer: Bytes },
    /// Is this the token of a bot, as this digest of its secret says?
    ShowBot { user: UserId, device: DeviceId, shown: [u8; 32] },
    /// Which bots does the user own?
    OwnBots { user: UserId },
    /// How users of this group are, as this user may see it.
    Presence { asker: UserId, users: Vec<UserId> },
    /// Which devices of this user are pushed to?
    Pushes { user: UserId },
    /// Sends each of them a push that says nothing.
    TestPush { user: UserId },
    /// A node asks to join: by a token with this digest and a public key with that one. `dry_run`: may it? Asked of the meta group.
    Admit { token: [u8; 32], key: [u8; 32], node: NodeRow, dry_run: bool },
    /// Which admin token has this id? Asked of the meta group.
    ShowAdmin { id: TokenId },
    /// Up to where a member has read, for the others to see.
    Receipt { channel: ChannelId, user: UserId, read: Position },
    /// How a move into this group stands, after this step of it if one is named; asked by who leads its source, of the target.
    Move { from: GroupId, leaving: LeavingRow, change: Option<MoveChange> },
    /// Begins to move these buckets of this group to another.
    BeginMove { run: BucketRun, to: GroupId },
    /// Gives the move out of this group up, unless its buckets have been handed over.
    CancelMove,
    /// The move out of this group, if there is one.
    Leaving,
    /// To whom this group gave the bucket.
    GivenTo { bucket: Bucket },
    /// Runs that a group owns at epochs that the map may not know; asked of the meta group.
    TellRuns { runs: Vec<RunRow> },
}

/// The answer to an [`Inner`].
#[derive(Clone, PartialEq, Debug)]
pub enum InnerAnswer {
    /// Done.
    Done,
    /// Yes or no.
    Truth(bool),
    /// A name, and whether it is confirmed; since when it is so, and its age in milliseconds.
    Name { user: UserId, confirmed: bool, age_ms: u64, held: bool, since: Timestamp },
    /// To `ReserveName`: which reservation it is, for its release.
    Reserved { since: Timestamp },
    /// No such name.
    NoName,
    /// Names of users that exist.
    Users(Vec<(UserId, String)>),
    /// A device was let in, or went on.
    Entered { name: String, login: u64, admin: bool, created: bool },
    /// To `ReadRecord`: none that they may read.
    Source { record: Option<Record> },
    /// Words, rising, and whose they are.
    Words(Vec<(String, UserId)>),
    /// What is seen of users, and whether search may show them.
    Profiles(Vec<(ProfileView, bool)>),
    /// To `HooksSince`.
    Hooks { hooks: Option<HooksRow> },
    /// To `Desk`: the number of what was begun.
    Kept { id: u64 },
    /// To `BeginCall`: the answer given before; none: the call is the asker's to do.
    Call { answer: Option<Bytes> },
    /// To `Presence`, in the order of the users.
    Presence(Vec<PresenceView>),
    /// To `Pushes`.
    Pushes(PushState),
    /// To `TestPush`.
    Tested(Vec<PushTested>),
    /// To `Admit`: the node's row, with its id; without one after a dry run.
    Admitted(NodeRow),
    /// To `ShowAdmin`: none, if there is none.
    Admin { token: Option<AdminToken> },
    /// To `Move`: what has come of it, and whether the buckets are the target's, or were and went on.
    MoveStands { staging: Option<StagingRow>, reached: bool },
    /// To `Leaving`.
    Leaving { leaving: Option<LeavingRow> },
    /// To `GivenTo`: none if it did not give it.
    GivenTo { run: Option<RunRow> },
}

/// A session for the registry of a home leader.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Registration {
    /// The user.
    pub user: UserId,
    /// The device.
    pub device: DeviceId,
    /// The session on the asking edge.
    pub session: SessionId,
    /// The device's count of connections: the higher wins.
    pub conn: Conn,
    /// False when the device was noted before and the session merely re-registers.
    pub new: bool,
    /// The log-in that its token was given at; 0: the token is bound to no device.
    pub login: u64,
    /// When its token was made.
    pub issued: Timestamp,
    /// Nobody sits before the device: who is to be reached there may be elsewhere.
    pub away: bool,
}

/// What a registered session learns.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RegisteredSession {
    /// The user's index stands here.
    pub user_rev: UserRev,
    /// The user's name.
    pub name: String,
    /// The device is pushed to: what its session confirms is told to its home, as `Confirmed`.
    pub pushes: bool,
}

/// The pair's beat.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Beat {
    /// Version of the sender's map.
    pub map_epoch: MapEpoch,
    /// Groups that the sender leads, with the term, sorted.
    pub leads: Vec<(GroupId, Term)>,
    /// What the sender's store has synced, ever: rises with each synced batch, over restarts.
    pub synced_batches: u64,
    /// Sessions that it holds.
    pub sessions: u64,
    /// Sessions that it can hold; 0: not told.
    pub sessions_max: u64,
    /// It gives up sessions and leaderships.
    pub drains: bool,
    /// The cluster version that it has on its disk: a build that does not know that will not start there; 0: not told.
    pub noted: ClusterVersion,
}

/// Refs and bodies from a channel's leader to one node, at most one frame per 5 ms.
#[derive(Clone, PartialEq, Debug)]
pub struct RefFrame {
    /// The channel's group.
    pub source: GroupId,
    /// Term in which the source leads.
    pub term: Term,
    /// Per channel and home group.
    pub channels: Vec<ChannelRefs>,
}

/// One channel's news for the users of one home group.
#[derive(Clone, PartialEq, Debug)]
pub struct ChannelRefs {
    /// Home group of `users`.
    pub home: GroupId,
    /// Which channel.
    pub channel: ChannelId,
    /// The refs are complete up to here: what `RefsKept` answers. 0: there are no refs in this one and nothing is to be answered.
    pub seq: Seq,
    /// One ref per user.
    pub refs: Vec<(UserId, Ref)>,
    /// New records, each once, rising; live push only, may be empty.
    pub bodies: Vec<LiveRecord>,
    /// Positions of members that moved; live push only, may be empty.
    pub receipts: Vec<LiveReceipt>,
}

/// A member's positions on their way to the screens of the others. Both 0: the member types.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LiveReceipt {
    /// Whose positions.
    pub user: UserId,
    /// Read up to here.
    pub read: Position,
    /// Delivered up to here.
    pub delivered: Position,
    /// Who of the frame's users may see it.
    pub recipients: Vec<UserId>,
}

/// A record on its way to screens.
#[derive(Clone, PartialEq, Debug)]
pub struct LiveRecord {
    /// The record, or a stub when its text is over `limit::STUB_BYTES`.
    pub body: DeliveryBody,
    /// Who of the frame's users may see it, each with the seq before it that they may see.
    pub recipients: Vec<(UserId, Seq)>,
}

/// What a home group has committed to its users' indexes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RefsKept {
    /// The channel's group.
    pub source: GroupId,
    /// The home group.
    pub home: GroupId,
    /// Per channel: up to where, and the users that are gone for good.
    pub kept: Vec<(ChannelId, Seq, Vec<UserId>)>,
}

/// What a home leader has for the sessions of one edge.
#[derive(Clone, PartialEq, Debug)]
pub struct PushFrame {
    /// The home group.
    pub home: GroupId,
    /// Term in which the sender leads it: an older one is dropped.
    pub term: Term,
    /// Live records, each once.
    pub deliveries: Vec<(Delivery, Vec<(SessionId, Seq)>)>,
    /// Index changes by user, for all their sessions on this edge.
    pub moves: Vec<IndexMove>,
    /// Sessions that a newer connection replaced.
    pub replaced: Vec<SessionId>,
    /// Read and delivered positions of other members.
    pub receipts: Vec<(SessionId, ChannelId, UserId, Position, Position)>,
    /// Sessions whose device was ended, or whose account was.
    pub ended: Vec<SessionId>,
    /// Who is here, for those who look.
    pub presence: PresencePush,
}

/// A user's index moved.
#[derive(Clone, PartialEq, Debug)]
pub struct IndexMove {
    /// Whose sessions.
    pub sessions: Vec<SessionId>,
    /// From this version.
    pub from: UserRev,
    /// To this one.
    pub to: UserRev,
    /// The rows that changed.
    pub rows: Vec<IndexRow>,
}

/// A node's own state.
#[derive(Clone, PartialEq, Debug)]
pub struct PeerStatus {
    /// Sessions it holds.
    pub sessions: u64,
    /// Resident memory in bytes.
    pub rss_bytes: u64,
    /// Its replicas.
    pub replicas: Vec<PeerReplica>,
}

/// A replica's state.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerReplica {
    /// Which group.
    pub group: GroupId,
    /// Who it thinks leads.
    pub leader: Option<NodeId>,
    /// Its term.
    pub term: Term,
    /// Last index in its log.
    pub last: LogIndex,
    /// Last index applied.
    pub applied: LogIndex,
    /// First bytes of the digest there.
    pub digest: u64,
    /// Whether it can be relied on.
    pub condition: ReplicaCondition,
}
