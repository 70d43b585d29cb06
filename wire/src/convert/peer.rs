//! `kith.peer.v1`: raft traffic, forwarded requests, fan-out and beats.

use bytes::Bytes;
use prost::Message as _;

use super::{
    Field, at_most, message, nested, proto,
    proto::{
        client::v1 as client,
        log::v1 as log,
        peer::v1::{
            self as peer, append_result::Result as AppendResultKind, ask::Ask as AskKind, from_peer::Frame as FromPeerKind,
            id_told::Told as IdToldKind, inner::Inner as InnerKind, inner_answer::Answer as InnerAnswerKind, live_record::Body as LiveBodyKind,
            registered_result::Result as RegisteredResultKind, tell::Tell as TellKind, to_peer::Frame as ToPeerKind, told::Told as ToldKind,
        },
    },
    top, tuple, union, well_formed, wrapper,
};
use crate::{
    client::{Delivery, DeliveryBody, Refusal},
    error::{DecodeError, Why},
    id::{ChannelId, GroupId, Seq, SessionId, Term, UserId},
    limit,
    log::{ClusterMap, LogId, Position, Ref, UnderKey},
    peer::{
        Append, AppendAnswer, AppendResult, Ask, Beat, Caller, ChannelRefs, FromPeer, Heartbeat, HeartbeatAnswer, IndexMove, Inner, InnerAnswer,
        LiveReceipt, LiveRecord, PeerHello, PeerReplica, PeerStatus, PushFrame, RefFrame, RefsKept, RegisteredSession, Registration, SnapshotEnd,
        SnapshotHead, Tell, ToPeer, Told,
    },
    people::ProfileView,
};

top!(peer: ToPeer, FromPeer, SnapshotHead, SnapshotEnd, AppendResult);

// ---------------------------------------------------------------- the stream

impl Field<peer::ToPeer> for ToPeer {
    fn put(&self) -> peer::ToPeer {
        peer::ToPeer {
            frame: Some(match self {
                Self::Hello(hello) => ToPeerKind::Hello(Field::put(hello)),
                Self::Tell(tell) => ToPeerKind::Tell(Field::put(tell)),
                Self::Ask { id, deadline_ms, ask } => {
                    ToPeerKind::Ask(peer::IdAsk { id: Field::put(id), deadline_ms: *deadline_ms, ask: Field::put(ask) })
                }
                Self::Unreadable { id, .. } => ToPeerKind::Ask(peer::IdAsk { id: Field::put(id), deadline_ms: 0, ask: None }),
            }),
        }
    }
    fn take(raw: peer::ToPeer, _field: &'static str) -> Result<Self, DecodeError> {
        match raw.frame.ok_or(DecodeError::Field { message: "ToPeer", field: "frame", why: Why::Unknown })? {
            ToPeerKind::Hello(raw) => Field::take(raw, "hello").map(Self::Hello),
            ToPeerKind::Tell(raw) => Field::take(raw, "tell").map(Self::Tell),
            ToPeerKind::Ask(peer::IdAsk { id, deadline_ms, ask }) => {
                let id = Field::take(id, "id")?;
                // As with a client's request: the id of what a newer node asks is kept, so that it can be told so.
                Ok(match Field::take(ask.unwrap_or_default(), "ask") {
                    Ok(ask) => Self::Ask { id, deadline_ms, ask },
                    Err(error) => Self::Unreadable { id, refusal: Refusal::from(error) },
                })
            }
        }
    }
}

wrapper!(FromPeer => peer::FromPeer.frame);
union!(FromPeer => FromPeerKind {
    Told: peer::IdTold { id, told },
    ; holds Hello, Bye, Appended
});
message!(PeerHello => peer::PeerHello { version, cluster, node, store, boot, map_epoch, synced_batches, life, knows, noted, build } check check_hello);

fn check_hello(hello: &PeerHello) -> Result<(), DecodeError> {
    at_most(hello.build.len(), limit::BUILD_BYTES_MAX, "build")?;
    well_formed(hello.node.get() > 0, "node")
}

impl Field<Option<IdToldKind>> for Result<Told, Refusal> {
    fn put(&self) -> Option<IdToldKind> {
        Some(match self {
            Ok(told) => IdToldKind::Given(Field::put(told)),
            Err(refusal) => IdToldKind::Refusal(Field::put(refusal)),
        })
    }
    fn take(raw: Option<IdToldKind>, field: &'static str) -> Result<Self, DecodeError> {
        match raw.ok_or_else(|| DecodeError::field(field, Why::Unknown))? {
            IdToldKind::Given(raw) => Field::take(raw, field).map(Ok),
            IdToldKind::Refusal(raw) => Field::take(raw, field).map(Err),
        }
    }
}

// ---------------------------------------------------------------- asks

wrapper!(Ask => peer::Ask.ask);
nested!(Ask, peer::Ask);
union!(Ask => AskKind {
    Forward: peer::Forward { group, map_epoch, caller, request },
    History: peer::HistoryAsk { group, caller, query },
    Index: peer::IndexAsk { group, caller, query, min_rev },
    Inner: peer::InnerAsk { group, map_epoch, inner },
    Register: peer::Register { group, boot, sessions },
    Map: peer::MapAsk { newer_than },
    Vote: peer::VoteAsk { group, vote, last, pre, transfer },
    TransferLeader: peer::TransferLeader { group, from, to, last },
    Withdraw: peer::Withdraw { group },
    Search: peer::SearchAsk { caller, query, parts, hidden },
    SearchScope: peer::SearchScopeAsk { group, caller, words },
    Watch: peer::WatchAsk { group, boot, watches },
    Drain: peer::DrainAsk { on },
    IsOut: peer::Withdraw { group },
    ; holds Heartbeats
    ; empty NodeStatus, Load, Vitals
});
wrapper!(Vec<Heartbeat> => peer::Heartbeats.heartbeats);
message!(UnderKey => peer::UnderKey { key, digest });
message!(Caller => peer::Caller { user, device, admin, trace, key, token });
message!(Heartbeat => peer::Heartbeat { group, vote, prev, committed });
message!(Registration => peer::Registration { user, device, session, conn, new, login, issued, away });

wrapper!(Inner => peer::Inner.inner);
nested!(Inner, peer::Inner);
union!(Inner => InnerKind {
    CheckPeer: peer::CheckPeer { user, from },
    ReserveName: log::NameOfUser { name, user },
    CreateUser: log::CreateUser { user, name, key },
    SettleUser: peer::SettleUser { user, name },
    ConfirmName: log::NameOfUser { name, user },
    ReleaseName: log::ReleaseName { name, user, since },
    FindName: client::FindUser { name },
    GetUsers: client::GetUsers { users },
    HasDevice: peer::HasDevice { user, device },
    HoldName: log::HoldName { name, user, until },
    NameAttempt: peer::NameAttempt { name },
    Enter: peer::Enter { user, password, enter, call },
    User: log::UserCommand { user, change },
    ReadRecord: peer::ReadRecord { channel, user, seq },
    IndexWord: log::IndexWord { word, user, version, gone },
    FindWords: client::SearchUsers { prefix },
    GetProfiles: client::GetProfiles { users },
    BeginCall: log::BeginCall { user, key, digest },
    EndCall: log::EndCall { user, key, answer },
    ShowBot: peer::ShowBot { user, device, shown },
    OwnBots: peer::OwnBotsOf { user },
    Gone: log::Gone { channel, user },
    HasRoom: client::GetUsers { users },
    IsBanned: peer::IsBanned { user },
    MayStay: peer::MayStay { user, device, login, issued },
    HooksSince: peer::HooksSince { version },
    Presence: peer::PresenceOfUsers { asker, users },
    Pushes: peer::PushesOf { user },
    TestPush: peer::PushesOf { user },
    Admit: peer::Admit { token, key, node, dry_run },
    ShowAdmin: peer::ShowAdmin { id },
    Receipt: peer::ReadReceipt { channel, user, read },
    Move: peer::MoveAsk { from, leaving, change },
    GivenTo: peer::GivenAsk { bucket },
    TellRuns: peer::TellRuns { runs },
    BeginMove: log::BeginMove { run, to },
    ; holds Desk
    ; empty Leaving, CancelMove
});

// ---------------------------------------------------------------- answers

wrapper!(Told => peer::Told.told);
union!(Told => ToldKind {
    Registered: peer::Registered { group, term, sessions },
    Vote: peer::VoteTold { vote, granted, last },
    Watched: peer::Watched { group, told },
    Vitals: peer::Vitals { text },
    ; holds Answer, History, Page, Inner, Map, NodeStatus, Heartbeats, Searched, SearchScope, Load
    ; empty Done
});
wrapper!(Option<ClusterMap> => peer::MapTold.map);
wrapper!(Vec<HeartbeatAnswer> => peer::HeartbeatAnswers.answers);
message!(HeartbeatAnswer => peer::HeartbeatAnswer { group, result });
message!(RegisteredSession => peer::RegisteredSession { user_rev, name, pushes });
message!(PeerStatus => peer::PeerStatus { sessions, rss_bytes, replicas });
message!(PeerReplica => peer::PeerReplica { group, leader, term, last, applied, digest, condition });

impl Field<peer::RegisteredResult> for Result<RegisteredSession, Refusal> {
    fn put(&self) -> peer::RegisteredResult {
        peer::RegisteredResult {
            result: Some(match self {
                Ok(session) => RegisteredResultKind::Session(Field::put(session)),
                Err(refusal) => RegisteredResultKind::Refusal(Field::put(refusal)),
            }),
        }
    }
    fn take(raw: peer::RegisteredResult, _field: &'static str) -> Result<Self, DecodeError> {
        match raw.result.ok_or(DecodeError::Field { message: "RegisteredResult", field: "result", why: Why::Unknown })? {
            RegisteredResultKind::Session(raw) => Field::take(raw, "session").map(Ok),
            RegisteredResultKind::Refusal(raw) => Field::take(raw, "refusal").map(Err),
        }
    }
}

wrapper!(InnerAnswer => peer::InnerAnswer.answer);
union!(InnerAnswer => InnerAnswerKind {
    Name: peer::FoundName { user, confirmed, age_ms, held, since },
    Reserved: peer::Reserved { since },
    Entered: peer::Entered { name, login, admin, created },
    Source: peer::Source { record },
    Call: peer::CallBegun { answer },
    Kept: client::Kept { id },
    Admin: peer::AdminShown { token },
    Hooks: peer::HooksFound { hooks },
    MoveStands: peer::MoveStands { staging, reached },
    Leaving: peer::LeavingTold { leaving },
    GivenTo: peer::GivenTold { run },
    ; holds Truth, Users, Words, Profiles, Presence, Pushes, Tested, Admitted
    ; empty Done, NoName
});
wrapper!(Vec<(String, UserId)> => peer::FoundWords.words);
tuple!((String, UserId) => peer::FoundWord { word word, user user });
wrapper!(Vec<(ProfileView, bool)> => peer::FoundProfiles.profiles);
tuple!((ProfileView, bool) => peer::FoundProfile { profile profile, searchable searchable });
tuple!((UserId, String) => client::UserView { user user, name name });
wrapper!(Vec<(UserId, String)> => client::Users.users);

// ---------------------------------------------------------------- raft

message!(Append => peer::Append { group, session, vote, prev, entries, committed });
message!(AppendAnswer => peer::AppendAnswer { group, session, result });
wrapper!(AppendResult => peer::AppendResult.result);
nested!(AppendResult, peer::AppendResult);
union!(AppendResult => AppendResultKind {
    ; holds Flushed, Conflict, HigherVote
    ; empty Closed
});
wrapper!(Option<LogId> => peer::AtLog.at);
message!(SnapshotHead => peer::SnapshotHead { group, vote, last, membership_at, membership });
message!(SnapshotEnd => peer::SnapshotEnd { rows, crc });

// ---------------------------------------------------------------- tells and fan-out

wrapper!(Tell => peer::Tell.tell);
union!(Tell => TellKind {
    AppendEnd: peer::AppendEnd { group, session },
    Unregister: peer::Unregister { group, user, device, session },
    RegisteredAll: peer::RegisteredAll { group, term, boot },
    Activity: peer::ActivityOf { group, user, session, away },
    Confirmed: peer::Confirmed { group, user, device, channel, seq },
    ; holds Append, Refs, RefsKept, Push, Beat
});
message!(Beat => peer::Beat { map_epoch, leads, synced_batches, sessions, sessions_max, drains, noted });
tuple!((GroupId, Term) => peer::Lead { group group, term term });
message!(RefFrame => peer::RefFrame { source, term, channels });
message!(ChannelRefs => peer::ChannelRefs { home, channel, seq, refs, bodies, receipts });
message!(LiveReceipt => peer::LiveReceipt { user, read, delivered, recipients });
tuple!((UserId, Ref) => peer::UserRef { user user, news news });
message!(LiveRecord => peer::LiveRecord { body, recipients });
union!(DeliveryBody => LiveBodyKind {
    Stub: client::Stub { at },
    ; holds Whole
});
tuple!((UserId, Seq) => peer::Recipient { user user, prev prev });
message!(RefsKept => peer::RefsKept { source, home, kept });
tuple!((ChannelId, Seq, Vec<UserId>) => peer::KeptChannel { channel channel, seq seq, gone gone });
message!(PushFrame => peer::PushFrame { home, term, deliveries, moves, replaced, receipts, ended, presence });
tuple!((Delivery, Vec<(SessionId, Seq)>) => peer::PushDelivery { delivery delivery, sessions sessions });
tuple!((SessionId, Seq) => peer::SessionPrev { session session, prev prev });
tuple!((SessionId, ChannelId, UserId, Position, Position) => peer::PushReceipt {
    session session, channel channel, user user, read read, delivered delivered
});
message!(IndexMove => peer::IndexMove { sessions, from, to, rows });
