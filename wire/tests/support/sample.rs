//! Values of every wire type, drawn from bytes: proptest draws and shrinks the bytes, and no bytes at all give the smallest value.

use std::collections::BTreeSet;

use bytes::Bytes;
use kith_wire::{
    act::*,
    client::*,
    code::Code,
    hello::{Features, Version},
    id::*,
    log::*,
    peer::*,
    people::*,
    secret::Secret,
};
use proptest::prelude::{Strategy, any};

/// A finite supply of bytes; zeros from its end on.
pub(crate) struct Source<'a>(std::slice::Iter<'a, u8>);

impl<'a> Source<'a> {
    /// From these bytes.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes.iter())
    }
    /// The next byte.
    pub(crate) fn byte(&mut self) -> u8 {
        self.0.next().copied().unwrap_or(0)
    }
    /// A number below `n`.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        usize::from(self.byte()) % n
    }
    /// A number: small, wide or the largest.
    pub(crate) fn number(&mut self) -> u64 {
        match self.below(8) {
            0..4 => u64::from(self.byte()),
            4..7 => (0..8).fold(0, |sum, _| sum << 8 | u64::from(self.byte())),
            _ => u64::MAX,
        }
    }
    fn many<T>(&mut self, draw: impl Fn(&mut Self) -> T) -> Vec<T> {
        (0..self.below(4)).map(|_| draw(self)).collect()
    }
}

/// What came later is drawn where it is tested: the bytes of the others stay.
impl Sample for Beat {
    fn sample(source: &mut Source<'_>) -> Self {
        Self { map_epoch: Sample::sample(source), leads: Sample::sample(source), synced_batches: Sample::sample(source), ..Self::default() }
    }
}

/// A type of which values can be drawn.
pub(crate) trait Sample: Sized {
    /// Draws one.
    fn sample(source: &mut Source<'_>) -> Self;
}

/// An enum whose variants can be drawn one by one.
pub(crate) trait Variants: Sized {
    /// How many it has.
    const COUNT: usize;
    /// Draws a value of one variant.
    fn variant(index: usize, source: &mut Source<'_>) -> Self;
}

/// The bytes that a value is drawn from.
pub(crate) fn supply() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..1200)
}

macro_rules! drawn {
    ($($ty:ty: $source:ident => $value:expr;)*) => { $(
        impl Sample for $ty { fn sample($source: &mut Source<'_>) -> Self { $value } }
    )* };
}
macro_rules! ids {
    ($($ty:ty),*) => { drawn! { $($ty: source => <$ty>::new(source.number());)* } };
}
macro_rules! record {
    // Fields after `+` draw nothing: what follows in a golden frame is as it was before there were any. They are drawn in tests of their own.
    ($($ty:ident { $($field:ident),* $(; + $($later:ident),*)? })*) => { $(
        impl Sample for $ty {
            fn sample(source: &mut Source<'_>) -> Self {
                $ty { $($field: Sample::sample(source),)* $($($later: Default::default(),)*)? }
            }
        }
    )* };
}
macro_rules! choice {
    ($ty:ty { $($named:ident { $($field:ident),* $(; + $($later:ident),*)? })* $(; $($held:ident)*)? $(; empty $($empty:ident)*)? $(; with $($with:expr),*)? }) => {
        impl Variants for $ty {
            const COUNT: usize = [$(stringify!($named),)* $($(stringify!($held),)*)? $($(stringify!($empty),)*)? $($(stringify!($with),)*)?].len();
            fn variant(index: usize, source: &mut Source<'_>) -> Self {
                let draws: [fn(&mut Source<'_>) -> Self; Self::COUNT] = [
                    $(|source| { let _ = &source; Self::$named { $($field: Sample::sample(source),)* $($($later: Default::default(),)*)? } },)*
                    $($(|source| Self::$held(Sample::sample(source)),)*)?
                    $($(|_| Self::$empty,)*)?
                    $($($with,)*)?
                ];
                draws[index](source)
            }
        }
        impl Sample for $ty {
            fn sample(source: &mut Source<'_>) -> Self {
                let index = source.below(Self::COUNT);
                Self::variant(index, source)
            }
        }
    };
}

drawn! {
    bool: source => source.byte() & 1 == 1;
    u16: source => source.number() as u16;
    u32: source => source.number() as u32;
    u64: source => source.number();
    String: source => source.many(|source| ["a", "é", "語", "🦀", "\u{0}", " "][source.below(6)]).concat();
    Secret: source => Secret::new(String::sample(source));
    Bytes: source => Bytes::from(source.many(Source::byte));
    RegionId: source => RegionId::new(source.byte());
    GroupId: source => GroupId::new(source.number() as u32);
    Incarnation: source => Incarnation::new(source.number() as u32);
    ClusterId: source => ClusterId::new([source.byte(); 16]);
    StoreId: source => StoreId::new([source.byte(); 16]);
    CallKey: source => CallKey::new([source.byte(); 16]);
    [u8; 32]: source => [source.byte(); 32];
    [u8; 16]: source => [source.byte(); 16];
    Code: source => Code::from_number(source.number() as u16);
    Version: source => Version(source.number() as u32);
    Features: source => Features(source.number());
    ChannelId: source => match source.below(2) {
        0 => ChannelId::direct(Sample::sample(source), Sample::sample(source)),
        _ => ChannelId::group(Sample::sample(source), Sample::sample(source), Sample::sample(source), source.number()),
    };
    Bucket: source => Bucket { region: Sample::sample(source), index: Sample::sample(source) };
    ClientSeq: source => ClientSeq::new(source.number().max(1));
}
ids!(NodeId, UserId, DeviceId, SessionId, Seq, UserRev, Term, LogIndex, MapEpoch, BootEpoch, Conn, OwnerEpoch, RequestId, Timestamp);

impl<T: Sample> Sample for Option<T> {
    fn sample(source: &mut Source<'_>) -> Self {
        (source.byte() & 1 == 1).then(|| T::sample(source))
    }
}
impl<T: Sample> Sample for Vec<T> {
    fn sample(source: &mut Source<'_>) -> Self {
        source.many(T::sample)
    }
}
impl<T: Sample, E: Sample> Sample for Result<T, E> {
    fn sample(source: &mut Source<'_>) -> Self {
        if source.byte() & 1 == 0 { Ok(T::sample(source)) } else { Err(E::sample(source)) }
    }
}
macro_rules! tuples {
    ($(($($part:ident),*))*) => { $(
        impl<$($part: Sample),*> Sample for ($($part),*) { fn sample(source: &mut Source<'_>) -> Self { ($($part::sample(source)),*) } }
    )* };
}
tuples! { (A, B) (A, B, C) (A, B, C, D, E) }

// ---------------------------------------------------------------- log

record! {
    LogId { term, index }
    Vote { term, node, committed }
    Entry { id, payload }
    Membership { voters, learners }
    Applied { last, membership_at, membership }
    Batch { now, items }
    Ref { channel, incarnation, head, head_ts, member_seq, join, left, own, mentions, title, preview, head_sender }
    Position { seq, cnt }
    ChannelRow { incarnation, head, last_ts, fanned, dissolved, ruled, kept, hooked }
    Member { user, role, member_seq, stays }
    Stay { join, left, since }
    Departing { user, member_seq }
    FormerRow { member_seq, stays, removed }
    PositionsRow { own, read, delivered, mentions }
    Record { at, incarnation, sender, device, client_seq, ts, content }
    DedupRow { user, last, ring }
    CallsRow { floor, live }
    CallRow { digest, begun, answer }
    DedupEntry { client_seq, digest, outcome }
    UserRow { name, key, state, rev, created, admin, logins, renames, renamed, closed, debts, pins, drafts, contacts, blocks, banned, groups; + private, here, seen, pushes }
    DeviceRow { created, seen, title, login, refresh, refreshed, spent, ended }
    EnterDevice { device, title, refresh }
    IssuedReset { code, until }
    MailedReset { nonce, code, until, asked, since, asks }
    UnderKey { key, digest }
    OwedRow { version }
    IndexRow { rev, news, read, preferences }
    PreferencesRow { pinned, muted, archived, draft, cleared }
    SavedDraft { text, reply_to, at }
    ProfileField { key, value }
    ProfileRow { display, about, avatar, hidden, fields, words, version }
    ContactRow { mine, theirs, theirs_version, blocked, since, declined }
    WordRow { version }
    NameRow { user, state, since, until }
    GroupStateRow { version, digest, now }
    OwnedRow { last, epoch ; + to }
    ClusterRow { cluster, epoch ; + moves, version }
    NodeRow { node, store, boot, address, http, region, zone, host, capacity, state ; + version }
    Extra { thread, ttl_ms, origin }
    Origin { channel, seq, sender, ts }
    Rules { post, invite, pin, describe, from_start, approval, slow_ms, retention_ms }
    Invite { secret, until, uses }
    Link { invite, by, used }
    Pin { seq, by }
    Muted { user, until }
    Asked { user, at }
    Reaction { emoji, users }
    RulesRow { about, rules, pins, muted, links, asked, sweep, erasing, banned }
    Erasing { user, next, upto, due }
    MarksRow { edited, reactions, replies, last_reply }
    ScheduledRow { due, device, draft, refused }
    GroupRow { group, region, replicas, preference, conf_epoch }
}
choice!(Payload { ; Batch Membership ; empty Blank });
choice!(Command {
    Append { channel, author, content, peer }
    CreateGroup { channel, creator, device, op, title, members }
    ChangeMembers { channel, author, change }
    Void { channel, user, device, client_seq, digest }
    Act { channel, author, act }
    Refuse { channel, author, code }
    Join { channel, user, secret }
    Fire { channel, due, timer, refused }
    Fanned { channel, seq }
    Receipt { channel, user, read, delivered }
    Gone { channel, user }
    CreateUser { user, name, key }
    ForbidUser { user }
    RegisterDevice { user, device, login, issued }
    MergeRefs { user, refs }
    MarkRead { user, channel, read }
    ReserveName { name, user }
    ConfirmName { name, user }
    ReleaseName { name, user, since }
    OwnBuckets { region, first, last, epoch }
    RaiseVersion { version }
    InitCluster { cluster ; + version }
    PutNode { node }
    PutGroup { group }
    PutRun { run }
    BeginCall { user, key, digest }
    EndCall { user, key, answer }
});
choice!(UserChange {
    SignUp { name, key, password, recovery, enter }
    LogIn { password_rev, enter }
    Refresh { device, shown, next }
    EndDevices { devices, all_others }
    SetPassword { password_rev, password, keep }
    SetRecovery { password_rev, recovery }
    IssueReset { code, until }
    ResetPassword { shown, password, recovery }
    Rename { name, renames }
    SettleName { name }
    SetAdmin { admin }
    Paid { debt, version }
    Prefer { channel, preference }
    SetProfile { display, about, avatar, searchable, fields }
    AskContact { peer, asked }
    MirrorContact { peer, asked, version }
    Block { peer, blocked }
    Indexed { version, words }
    SignUpBot { name, key, owner, enter }
    BotToken { by, enter }
    EraseBot { by }
    OwnBot { bot, owned }
    Erase { password_rev }
    Forget { channels }
    SetBanned { banned }
});
choice!(Debt { ; Name Contact Bot ; empty Search Texts });
choice!(Preference { Mute { until } Archive { seen } Clear { seq, cnt } ; Pin Draft });
choice!(PeerCheck { ; ; empty NotAsked Exists });
choice!(Role { ; ; empty Member Admin Owner });
choice!(Outcome { Record { seq, ts } ; Kept Refused ; empty Voided });
choice!(Act {
    Forward { from, seq }
    Delete { target }
    Pin { target, on }
    Schedule { due, draft }
    Unschedule { id }
    HandOver { to }
    Mute { user, until }
    Revoke { secret }
    Reject { user }
    ; Post Invite
    ; with
        |source| Self::Edit { target: Sample::sample(source), text: filled(source), mentions: Sample::sample(source) },
        |source| Self::React { target: Sample::sample(source), emoji: "👍".into(), on: Sample::sample(source) },
        |source| Self::Describe { title: Some(Sample::sample(source)), about: Sample::sample(source) },
        |source| Self::SetRules(Rules { slow_ms: 0, retention_ms: 0, ..Sample::sample(source) }),
        |source| Self::Ban { user: Sample::sample(source), on: Sample::sample(source) }
});
choice!(Timer { Send { user, id } ; Expire ; empty Sweep ; with |source| Self::Erase(Sample::sample(source)) });
choice!(Gone { ; ; empty Deleted Expired Retention Erased Changed });
drawn! {
    // As it was before there was any of it.
    CredentialRow: source => CredentialRow {
        password: Sample::sample(source),
        password_rev: Sample::sample(source),
        recovery: Sample::sample(source),
        reset: Sample::sample(source),
        mailed: None,
        owner: Sample::sample(source),
        bots: Sample::sample(source),
    };
    Draft: source => Draft {
        text: filled(source),
        reply_to: Sample::sample(source),
        mentions: Sample::sample(source),
        thread: Sample::sample(source),
        ttl_ms: (source.byte() & 1 == 1).then_some(5_000),
    };
}

fn filled(source: &mut Source<'_>) -> String {
    format!("{}.", String::sample(source))
}
choice!(UserState { ; ; empty Active Forbidden Erased });
choice!(NameState { ; ; empty Reserved Confirmed HeldBack });
choice!(NodeState { ; ; empty Joining Up Draining Left });
drawn! {
    // The keys draw nothing: what follows in a golden frame is as it was before there were any.
    Author: source => {
        let (user, device, client_seq) = (Sample::sample(source), Sample::sample(source), Sample::sample(source));
        let (settled, digest) = (Sample::sample(source), u64::sample(source));
        Author { user, device, client_seq, settled, digest, key: (digest % 4 == 3).then(|| CallKey::of_node(Timestamp::new(digest >> 16), 7)) }
    };
    Caller: source => {
        let (user, device, admin, trace) = (Sample::sample(source), Sample::sample(source), bool::sample(source), u64::sample(source));
        let admin = admin.then_some(kith_wire::admin::AdminRole::Admin);
        Caller { user, device, admin, trace, token: None, key: (trace % 4 == 3).then(|| CallKey::of_node(Timestamp::new(trace >> 16), 7)) }
    };
    Item: source => {
        let mut item = Item { bucket: Sample::sample(source), command: Sample::sample(source) };
        if let Command::OwnBuckets { first, last, .. } = &mut item.command {
            (*first, *last) = ((*first).min(*last), (*first).max(*last));
        }
        item
    };
    MemberChange: source => match source.below(5) {
        0 => MemberChange::Leave,
        1 => MemberChange::Add(Sample::sample(source)),
        2 => MemberChange::Remove(Sample::sample(source)),
        3 => MemberChange::Join,
        _ => MemberChange::SetRole(Sample::sample(source), Sample::sample(source)),
    };
    Content: source => match source.below(6) {
        0 => Content::Text { text: Sample::sample(source), reply_to: Sample::sample(source), mentions: Sample::sample(source), extra: Option::<Extra>::sample(source).map(Box::new) },
        1 => Content::Created { title: Sample::sample(source), members: Sample::sample(source) },
        2 => Content::Members(Sample::sample(source)),
        3 => Content::Act(Sample::sample(source)),
        4 => Content::Gone { why: Sample::sample(source), counted: Sample::sample(source) },
        _ => Content::Unknown { kind: (source.number() as u32).max(7), bytes: Sample::sample(source) },
    };
    RosterRow: source => {
        let mut row = RosterRow {
            title: Sample::sample(source), creator: Sample::sample(source), members: Sample::sample(source), departing: Sample::sample(source)
        };
        row.members.sort_by_key(|member: &Member| member.user);
        row.members.dedup_by_key(|member| member.user);
        row.departing.sort_by_key(|departing: &Departing| departing.user);
        row.departing.dedup_by_key(|departing| departing.user);
        row
    };
    RunRow: source => {
        let (a, b): (u16, u16) = Sample::sample(source);
        RunRow { region: Sample::sample(source), first: a.min(b), last: a.max(b), group: Sample::sample(source), epoch: Sample::sample(source) }
    };
    ClusterMap: source => {
        let region = RegionId::sample(source);
        let cuts: BTreeSet<u16> = source.many(u16::sample).into_iter().collect();
        let nodes: Vec<NodeRow> = Sample::sample(source);
        let groups: Vec<GroupRow> = Sample::sample(source);
        let runs = cuts.iter().map(|&first| RunRow { region, first, last: first, group: Sample::sample(source), epoch: Sample::sample(source) });
        ClusterMap {
            runs: runs.map(|run| ((region, run.first), run)).collect(),
            cluster: Sample::sample(source),
            epoch: Sample::sample(source),
            nodes: nodes.into_iter().map(|row| (row.node, row)).collect(),
            groups: groups.into_iter().map(|row| (row.group, row)).collect(),
            version: Default::default(),
        }
    };
}

// ---------------------------------------------------------------- client

record! {
    Hello { version, features, cluster, token, device, conn, user_rev }
    Welcome { version, features, cluster, node, session, user, name, user_rev, now }
    Refusal { code, retry_after_ms, expected, leader, text ; + alternates }
    ChannelView { channel, title, head, members }
    MemberView { user, role, read, delivered }
    GroupView { channel, title, about, role, rules, pins, muted, links, asked, banned }
    ScheduledText { id, due, draft, refused }
    Marks { seq, edited, reactions, replies, last_reply, pinned }
    ReactionTotal { emoji, count, mine }
    UserView { user, name }
    Edge { node, address, region, zone }
    ClusterStatus { cluster, map_epoch, nodes, groups }
    NodeStatus { node, address, zone, alive, sessions, rss_bytes }
    GroupStatus { group, leader, term, replicas }
    ReplicaStatus { node, last, applied, digest, condition }
    Delivery { channel, prev, body }
}
choice!(ReplicaCondition { ; ; empty Sound Quarantined Rebuilding Failed });
choice!(ToEdge { Request { id, request } ; Hello ; empty Beat });
choice!(ToClient { Answer { id, answer } ; Welcome Event Bye ; empty Beat });
choice!(Request {
    Void { channel, device, client_seq, digest }
    CreateGroup { op, title, members }
    MarkRead { channel, read }
    Delivered { channel, delivered }
    GetChannel { channel }
    GetUsers { users }
    Join { channel, secret }
    Typing { channel }
    GetGroup { channel }
    GetScheduled { channel }
    GetSeen { channel, seq }
    GetReactions { channel, seq }
    ReplaceNode { dead, node, address, http, zone, host, force }
    ; Send ChangeMembers Act
    ; with |_| Self::Discover { measured: Vec::new(), region: None }, |_| Self::Status, |source| Self::FindUser { name: name(source) }, |source| Self::EnsureAccount { name: name(source), key: Sample::sample(source) }
});

fn name(source: &mut Source<'_>) -> String {
    format!("n{}", String::sample(source))
}

choice!(Answer {
    Sent { seq, cnt, ts, duplicate }
    Created { channel, seq }
    Account { user, name, created }
    Kept { id }
    Joined { seq }
    Seen { read, delivered }
    ; Channel Users Edges Status Group Scheduled Reactions
    ; empty Voided Done Pending
});
choice!(Event {
    IndexMoved { from, to, rows }
    SyncNeeded { to }
    Receipt { channel, user, read, delivered }
    Typing { channel, user }
    GoAway { after_ms }
    ; Delivery
});
choice!(Place { ; At Around Thread ; empty Own });
choice!(DeliveryBody { Stub { at } ; Whole });
choice!(Pull { ; History Index });
choice!(Page { Index { rows, more, rev } ; History Refused });

drawn! {
    Send: source => {
        let client_seq = ClientSeq::sample(source);
        Send {
            channel: Sample::sample(source),
            client_seq,
            settled: ClientSeq::sample(source).min(client_seq),
            text: format!("{}.", String::sample(source)),
            reply_to: Sample::sample(source),
            mentions: Sample::sample(source),
        }
    };
    ChangeMembers: source => {
        let client_seq = ClientSeq::sample(source);
        ChangeMembers { channel: Sample::sample(source), client_seq, settled: ClientSeq::sample(source).min(client_seq), change: Sample::sample(source) }
    };
    ActWrite: source => {
        let client_seq = ClientSeq::sample(source);
        ActWrite { channel: Sample::sample(source), client_seq, settled: ClientSeq::sample(source).min(client_seq), act: Sample::sample(source) }
    };
    HistoryQuery: source => {
        let query = HistoryQuery {
            channel: Sample::sample(source),
            first: Sample::sample(source),
            last: Sample::sample(source),
            newest_first: Sample::sample(source),
            limit: u32::sample(source).max(1),
            min_seq: Sample::sample(source),
            replica: Sample::sample(source),
            linearizable: false,
            place: None,
        };
        // Draws nothing: what follows in a golden frame is as it was before there was this field.
        let place = (query.limit % 3 == 2).then(|| Place::sample(source));
        HistoryQuery { linearizable: query.replica.is_none() && query.newest_first, place, ..query }
    };
    IndexQuery: source => {
        let (from, to, below, limit) = (Sample::sample(source), Sample::sample(source), Sample::sample(source), u32::sample(source).max(1));
        IndexQuery { from, to, below, limit, linearizable: limit % 4 == 3 }
    };
    HistoryPage: source => {
        let mut records: Vec<Record> = Sample::sample(source);
        records.sort_by_key(|record| record.at.seq);
        records.dedup_by_key(|record| record.at.seq);
        let range = |(a, b): (Seq, Seq)| (a.min(b), a.max(b));
        let marks = records.first().map(|record| Marks { seq: record.at.seq, ..Sample::sample(source) }).into_iter().collect();
        HistoryPage {
            marks,
            node: Sample::sample(source),
            head: Sample::sample(source),
            incarnation: Sample::sample(source),
            records,
            withheld: source.many(|source| range(Sample::sample(source))),
            covered: Option::<(Seq, Seq)>::sample(source).map(range),
        }
    };
}

// ---------------------------------------------------------------- people

record! {
    LoggedIn { user, name, device, access, access_until, refresh, recovery }
    DeviceView { device, title, created, seen, current }
    ProfileView { user, name, display, about, avatar, fields }
    ContactView { user, name, display, state, since }
}
choice!(PeopleRequest {
    LogInWith { token, nonce, title }
    Refresh { token, nonce }
    EndDevice { device }
    ChangePassword { old, new }
    NewRecoveryCode { password }
    DeleteAccount { password }
    Prefer { channel, preference }
    GetProfiles { users }
    AskContact { peer, asked }
    Block { peer, blocked }
    Contacts { after }
    BotToken { bot }
    EndBotToken { bot }
    DeleteBot { bot }
    ;
    ; empty LogOut Devices EndOthers Bots
    ; with
    |source| Self::SignUp { name: name(source), password: Sample::sample(source), key: Sample::sample(source), nonce: Sample::sample(source), title: Sample::sample(source) },
    |source| Self::LogIn { name: name(source), password: Sample::sample(source), nonce: Sample::sample(source), title: Sample::sample(source) },
    |source| Self::ResetPassword { name: name(source), code: Sample::sample(source), password: Sample::sample(source) },
    |source| Self::Rename { name: name(source) },
    |source| Self::ResetLink { name: name(source) },
    |source| Self::Search { prefix: name(source) },
    |source| Self::MakeBot { name: name(source), key: Sample::sample(source) },
    |source| {
        let fields = source.many(|source| ProfileField { key: name(source), value: Sample::sample(source) });
        let (display, about, avatar, searchable) = (Sample::sample(source), Sample::sample(source), Sample::sample(source), Sample::sample(source));
        Self::SetProfile { display, about, avatar, searchable, fields }
    },
    |source| Self::SetAdmin { name: name(source), admin: Sample::sample(source) }
});
choice!(PeopleAnswer { Code { code, until } Contacts { contacts, more } Bot { user, name, token } ; LoggedIn Devices Profiles Bots ; empty Done });
choice!(ContactState { ; ; empty Mutual Asked Asking Blocked });

// ---------------------------------------------------------------- peer

record! {
    Append { group, session, vote, prev, entries, committed }
    AppendAnswer { group, session, result }
    Heartbeat { group, vote, prev, committed }
    HeartbeatAnswer { group, result }
    SnapshotHead { group, vote, last, membership_at, membership }
    SnapshotEnd { rows, crc }
    Registration { user, device, session, conn, new, login, issued; + away }
    RegisteredSession { user_rev, name; + pushes }
    RefFrame { source, term, channels }
    ChannelRefs { home, channel, seq, refs, bodies, receipts }
    LiveReceipt { user, read, delivered, recipients }
    LiveRecord { body, recipients }
    RefsKept { source, home, kept }
    PushFrame { home, term, deliveries, moves, replaced, receipts, ended; + presence }
    IndexMove { sessions, from, to, rows }
    PeerStatus { sessions, rss_bytes, replicas }
    PeerReplica { group, leader, term, last, applied, digest, condition }
}
choice!(ToPeer { Ask { id, deadline_ms, ask } ; Hello Tell });
choice!(FromPeer { Told { id, told } ; Hello Bye Appended });
choice!(Ask {
    Forward { group, map_epoch, caller, request }
    History { group, caller, query }
    Index { group, caller, query, min_rev }
    Inner { group, map_epoch, inner }
    Register { group, boot, sessions }
    Map { newer_than }
    Vote { group, vote, last, pre, transfer }
    TransferLeader { group, from, to, last }
    Withdraw { group }
    ; Heartbeats
    ; empty NodeStatus
});
choice!(Told {
    Registered { group, term, sessions }
    Vote { vote, granted, last }
    ; Answer History Page Inner Map NodeStatus Heartbeats
    ; empty Done
});
choice!(Tell {
    AppendEnd { group, session }
    Unregister { group, user, device, session }
    ; Append Refs RefsKept Push Beat
});
choice!(AppendResult { ; Flushed Conflict HigherVote ; empty Closed });
choice!(Inner {
    CheckPeer { user, from }
    ReserveName { name, user }
    CreateUser { user, name, key }
    SettleUser { user, name }
    ConfirmName { name, user }
    ReleaseName { name, user, since }
    FindName { name }
    GetUsers { users }
    HasDevice { user, device }
    ReadRecord { channel, user, seq }
    BeginCall { user, key, digest }
    EndCall { user, key, answer }
});
choice!(InnerAnswer { Name { user, confirmed, age_ms, held, since } Source { record } Call { answer } ; Truth Users ; empty Done NoName });
drawn! {
    PeerHello: source => PeerHello {
        version: Sample::sample(source),
        cluster: Sample::sample(source),
        node: NodeId::new(source.number().max(1)),
        store: Sample::sample(source),
        boot: Sample::sample(source),
        map_epoch: Sample::sample(source),
        synced_batches: Sample::sample(source),
        life: Sample::sample(source),
        knows: Default::default(),
        noted: Default::default(),
        build: String::new(),
    };
}
