//! `kith.log.v1`: raft log, commands and rows.
//!
//! What is stored is checked for form only, not against limits that a later version may lower; the one exception is the batch.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message as _;

use super::{
    Field, at_most, message, nested, numbered, proto,
    proto::log::v1::{
        self as log, dedup_entry::Outcome as OutcomeKind, entry::Payload as PayloadKind, item::Command as CommandKind,
        member_change::Change as MemberChangeKind,
    },
    put_direct, taken, top, union, well_formed, wrapper,
};
use crate::{
    act::{Act, Extra},
    error::{DecodeError, Why},
    id::{Bucket, ClientSeq, NodeId},
    layout::LayoutMove,
    limit,
    log::{
        Applied, Author, Batch, CallRow, CallsRow, ChannelRow, ClusterMap, ClusterRow, Command, Content, DedupEntry, DedupRow, Departing, DeviceRow,
        Entry, FormerRow, GroupRow, GroupStateRow, IndexRow, Item, LogId, Member, MemberChange, Membership, NameRow, NameState, NodeRow, NodeState,
        Outcome, OwnedRow, Payload, PeerCheck, Position, PositionsRow, Record, Ref, Role, RosterRow, RunRow, Stay, UserRow, UserState, Vote,
    },
};

put_direct!(Batch, Record, IndexRow);
taken!(log: Batch, Record, IndexRow);
top!(log: LogId, Vote, Entry, Membership, Applied, Item);
top!(log: ChannelRow, RosterRow, FormerRow, PositionsRow, DedupRow, UserRow, DeviceRow, NameRow);
top!(log: DedupEntry, CallsRow, CallRow);
top!(log: GroupStateRow, OwnedRow, ClusterRow, NodeRow, GroupRow, RunRow, ClusterMap);

// ---------------------------------------------------------------- raft log

message!(LogId => log::LogId { term, index });
message!(Vote => log::Vote { term, node, committed });
message!(Entry => log::Entry { id, payload });
message!(Membership => log::Membership { voters, learners });
message!(Applied => log::Applied { last, membership_at, membership });
wrapper!(Vec<NodeId> => log::NodeSet.nodes);
union!(Payload => PayloadKind { ; holds Batch, Membership ; empty Blank });

// ---------------------------------------------------------------- commands

message!(Batch => log::Batch { now, items } check check_batch);
message!(Bucket => log::Bucket { region, index });
message!(Item => log::Item { bucket, command });
message!(Author => log::Author { user, device, client_seq, settled, digest, key });
message!(Ref => log::Ref {
    channel, incarnation, head, head_ts, member_seq, join, left, own, mentions, title, preview, head_sender
});
numbered!(PeerCheck => log::PeerCheck { NotAsked, Exists });
wrapper!(MemberChange => log::MemberChange.change);
nested!(MemberChange, log::MemberChange);

union!(Command => CommandKind {
    Append: log::Append { channel, author, content, peer },
    CreateGroup: log::CreateGroup { channel, creator, device, op, title, members },
    ChangeMembers: log::ChangeMembers { channel, author, change },
    Act: log::ActAt { channel, author, act },
    Refuse: log::Refuse { channel, author, code },
    Join: log::Join { channel, user, secret },
    Fire: log::Fire { channel, due, timer, refused },
    Void: log::Void { channel, user, device, client_seq, digest },
    Fanned: log::Fanned { channel, seq },
    Receipt: log::Receipt { channel, user, read, delivered },
    Gone: log::Gone { channel, user },
    CreateUser: log::CreateUser { user, name, key },
    ForbidUser: log::ForbidUser { user },
    RegisterDevice: log::RegisterDevice { user, device, login, issued },
    User: log::UserCommand { user, change },
    HoldName: log::HoldName { name, user, until },
    IndexWord: log::IndexWord { word, user, version, gone },
    MergeRefs: log::MergeRefs { user, refs },
    MarkRead: log::MarkRead { user, channel, read },
    ReserveName: log::NameOfUser { name, user },
    ConfirmName: log::NameOfUser { name, user },
    ReleaseName: log::ReleaseName { name, user, since },
    OwnBuckets: log::OwnBuckets { region, first, last, epoch },
    RaiseVersion: log::RaiseVersion { version },
    InitCluster: log::InitCluster { cluster, version },
    RaiseCluster: log::RaiseCluster { to },
    PutNode: log::PutNode { node },
    PutGroup: log::PutGroup { group },
    PutRun: log::PutRun { run },
    ChangeMap: log::ChangeMap { at, nodes, groups, moves },
    ChannelHook: log::ChannelHook { channel, by, change },
    SetHooks: log::SetHooks { hooks },
    Hooked: log::Hooked { channel, acks },
    BeginCall: log::BeginCall { user, key, digest },
    EndCall: log::EndCall { user, key, answer },
    ; holds Desk, Move, Trust
});

impl Field<Option<MemberChangeKind>> for MemberChange {
    fn put(&self) -> Option<MemberChangeKind> {
        Some(match self {
            Self::Add(user) => MemberChangeKind::Add(user.get()),
            Self::Remove(user) => MemberChangeKind::Remove(user.get()),
            Self::Leave => MemberChangeKind::Leave(log::Unit {}),
            Self::Join => MemberChangeKind::Join(log::Unit {}),
            Self::SetRole(user, role) => MemberChangeKind::SetRole(log::SetRole { user: user.get(), role: Field::put(role) }),
        })
    }
    fn take(raw: Option<MemberChangeKind>, field: &'static str) -> Result<Self, DecodeError> {
        match raw.ok_or_else(|| DecodeError::field(field, Why::Unknown))? {
            MemberChangeKind::Add(user) => Field::take(user, "add").map(Self::Add),
            MemberChangeKind::Remove(user) => Field::take(user, "remove").map(Self::Remove),
            MemberChangeKind::Leave(log::Unit {}) => Ok(Self::Leave),
            MemberChangeKind::Join(log::Unit {}) => Ok(Self::Join),
            MemberChangeKind::SetRole(raw) => Ok(Self::SetRole(Field::take(raw.user, "user")?, Field::take(raw.role, "role")?)),
        }
    }
}

// A logged command with odd fields is decoded and refused at apply: to fail here would stop every replica of its group.

fn check_batch(batch: &Batch) -> Result<(), DecodeError> {
    at_most(batch.items.len(), limit::BATCH_ITEMS_MAX, "items")
}

/// A write's number: from 1.
pub(super) fn numbered_write(client_seq: ClientSeq) -> Result<(), DecodeError> {
    well_formed(client_seq.get() > 0, "client_seq")
}

// ---------------------------------------------------------------- channel rows

message!(Position => log::Position { seq, cnt });
message!(ChannelRow => log::ChannelRow { incarnation, head, last_ts, fanned, dissolved, ruled, kept, hooked });
message!(RosterRow => log::RosterRow { title, creator, members, departing } check check_roster);
message!(Member => log::Member { user, role, member_seq, stays });
message!(Stay => log::Stay { join, left, since });
message!(Departing => log::Departing { user, member_seq });
message!(FormerRow => log::FormerRow { member_seq, stays, removed });
message!(PositionsRow => log::PositionsRow { own, read, delivered, mentions });
message!(Record => log::Record { at, incarnation, sender, device, client_seq, ts, content });
message!(DedupRow => log::DedupRow { user, last, ring });
message!(DedupEntry => log::DedupEntry { client_seq, digest, outcome });
message!(CallsRow => log::CallsRow { floor, live });
message!(CallRow => log::CallRow { digest, begun, answer });
numbered!(Role => log::Role { Member, Admin, Owner });
union!(Outcome => OutcomeKind {
    Record: log::RecordOutcome { seq, ts },
    ; holds Kept, Refused
    ; empty Voided
});

impl Field<log::Content> for Content {
    fn put(&self) -> log::Content {
        let body = match self {
            Self::Text { text, reply_to, mentions, extra } => {
                let extra = extra.as_deref().map(Field::put);
                log::Text { text: text.clone(), reply_to: Field::put(reply_to), mentions: Field::put(mentions), extra }.encode_to_vec()
            }
            Self::Created { title, members } => log::Created { title: title.clone(), members: Field::put(members) }.encode_to_vec(),
            Self::Members(change) => <MemberChange as Field<log::MemberChange>>::put(change).encode_to_vec(),
            Self::Act(act) => <Act as Field<log::Act>>::put(act).encode_to_vec(),
            Self::Gone { why, counted } => log::GoneText { why: Field::put(why), counted: *counted }.encode_to_vec(),
            Self::Erased { user } => log::ErasedUser { user: Field::put(user) }.encode_to_vec(),
            Self::Unknown { bytes, .. } => return log::Content { kind: self.kind(), body: bytes.clone() },
        };
        log::Content { kind: self.kind(), body: Bytes::from(body) }
    }
    fn take(raw: log::Content, _field: &'static str) -> Result<Self, DecodeError> {
        fn body<M: prost::Message + Default>(raw: Bytes, message: &'static str) -> Result<M, DecodeError> {
            M::decode(raw).map_err(|source| DecodeError::Malformed { message, source })
        }
        match raw.kind {
            0 => Err(DecodeError::Field { message: "Content", field: "kind", why: Why::Missing }),
            1 => {
                let log::Text { text, reply_to, mentions, extra } = body(raw.body, "Text")?;
                let extra = extra.map(|raw| <Extra as Field<log::Extra>>::take(raw, "extra")).transpose()?.map(Box::new);
                Ok(Self::Text { text, reply_to: Field::take(reply_to, "reply_to")?, mentions: Field::take(mentions, "mentions")?, extra })
            }
            2 => {
                let log::Created { title, members } = body(raw.body, "Created")?;
                Ok(Self::Created { title, members: Field::take(members, "members")? })
            }
            3 => Field::take(body::<log::MemberChange>(raw.body, "MemberChange")?, "body").map(Self::Members),
            4 => Field::take(body::<log::Act>(raw.body, "Act")?, "body").map(Self::Act),
            5 => {
                let log::GoneText { why, counted } = body(raw.body, "GoneText")?;
                Ok(Self::Gone { why: Field::take(why, "why")?, counted })
            }
            6 => {
                let log::ErasedUser { user } = body(raw.body, "ErasedUser")?;
                Ok(Self::Erased { user: Field::take(user, "user")? })
            }
            kind => Ok(Self::Unknown { kind, bytes: raw.body }),
        }
    }
}
nested!(Content, log::Content);

fn check_roster(row: &RosterRow) -> Result<(), DecodeError> {
    well_formed(row.members.is_sorted_by(|a, b| a.user < b.user), "members")?;
    well_formed(row.departing.is_sorted_by(|a, b| a.user < b.user), "departing")
}

// ---------------------------------------------------------------- user, name, group and meta rows

message!(UserRow => log::UserRow { name, key, state, rev, created, admin, logins, renames, renamed, closed, debts, pins, drafts, contacts, blocks, banned, groups, private, here, seen, pushes });
message!(DeviceRow => log::DeviceRow { created, seen, title, login, refresh, refreshed, spent, ended });
message!(IndexRow => log::IndexRow { rev, news, read, preferences });
message!(NameRow => log::NameRow { user, state, since, until });
message!(GroupStateRow => log::GroupStateRow { version, digest, now });
message!(OwnedRow => log::OwnedRow { last, epoch, to });
message!(ClusterRow => log::ClusterRow { cluster, epoch, moves, version });
message!(LayoutMove => log::MapMove { group, what, why, bytes });
message!(NodeRow => log::NodeRow { node, store, boot, address, http, region, zone, host, capacity, state, version });
message!(GroupRow => log::GroupRow { group, region, replicas, preference, conf_epoch });
message!(RunRow => log::RunRow { region, first, last, group, epoch });
numbered!(UserState => log::UserState { Active, Forbidden, Erased });
numbered!(NameState => log::NameState { Reserved, Confirmed, HeldBack });
numbered!(NodeState => log::NodeState { Joining, Up, Draining, Left });

impl Field<log::ClusterMap> for ClusterMap {
    fn put(&self) -> log::ClusterMap {
        log::ClusterMap {
            cluster: Field::put(&self.cluster),
            epoch: Field::put(&self.epoch),
            nodes: self.nodes.values().map(Field::put).collect(),
            groups: self.groups.values().map(Field::put).collect(),
            runs: self.runs.values().map(Field::put).collect(),
            version: Field::put(&self.version),
        }
    }
    fn take(raw: log::ClusterMap, _field: &'static str) -> Result<Self, DecodeError> {
        fn by<K: Ord, V>(rows: Vec<V>, key: impl Fn(&V) -> K, field: &'static str) -> Result<BTreeMap<K, V>, DecodeError> {
            well_formed(rows.is_sorted_by(|a, b| key(a) < key(b)), field)?;
            Ok(rows.into_iter().map(|row| (key(&row), row)).collect())
        }
        fn fields(raw: log::ClusterMap) -> Result<ClusterMap, DecodeError> {
            let runs: Vec<RunRow> = Field::take(raw.runs, "runs")?;
            well_formed(runs.iter().all(|run| run.first <= run.last), "runs")?;
            well_formed(runs.is_sorted_by(|a, b| (a.region, a.last) < (b.region, b.first)), "runs")?;
            Ok(ClusterMap {
                cluster: Field::take(raw.cluster, "cluster")?,
                epoch: Field::take(raw.epoch, "epoch")?,
                nodes: by(Field::take(raw.nodes, "nodes")?, |row: &NodeRow| row.node, "nodes")?,
                groups: by(Field::take(raw.groups, "groups")?, |row: &GroupRow| row.group, "groups")?,
                runs: by(runs, |row| (row.region, row.first), "runs")?,
                version: Field::take(raw.version, "version")?,
            })
        }
        fields(raw).map_err(|error| error.within("ClusterMap"))
    }
}
nested!(ClusterMap, log::ClusterMap);
