//! Rows as the machine sees them: typed keys, typed values, a read view and a set of writes. Not here: key bytes ([`crate::key`]), bodies ([`crate::body`]).
//!
//! Invariants: `RowKey` and `Row` of a pair are always of the same kind; keys order as they are scanned: by owner, then by seq, user or rev.

use std::{cmp::Ordering, collections::BTreeMap, marker::PhantomData, ops::Deref, ops::RangeInclusive, sync::Arc};

use bytes::Bytes;
use kith_wire::desk::{AuditRow, DeskRow, ReportIdRow, ReportRow};
use kith_wire::hook::{HookCursorRow, HooksRow};
use kith_wire::log::{ContactRow, ProfileRow, WordRow, bucket_of_word};
use kith_wire::moving::{BucketRun, LeavingRow, StagingRow};
use kith_wire::trust::TrustRow;
use kith_wire::{
    act::{MarksRow, RulesRow, ScheduledRow, Timer},
    id::{Bucket, CallKey, ChannelId, DeviceId, GroupId, HookId, NodeId, RegionId, Seq, Timestamp, UserId, UserRev},
    log::{
        CallRow, CallsRow, ChannelRow, ClusterRow, CredentialRow, Debt, DedupEntry, DedupRow, DeviceRow, FormerRow, GroupRow, GroupStateRow,
        IndexRow, NameRow, NodeRow, OwedRow, OwnedRow, PositionsRow, PushDueRow, PushSentRow, PushesRow, Record, RosterRow, RunRow, UserRow,
    },
};
use thiserror::Error;

use crate::{
    key::{self, Family},
    mutant::Quirk,
};

/// Names a row of a group.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum RowKey {
    /// [`Row::Channel`]
    Channel(ChannelId),
    /// [`Row::Roster`]
    Roster(ChannelId),
    /// [`Row::Former`]
    Former(ChannelId, UserId),
    /// [`Row::Positions`]
    Positions(ChannelId, UserId),
    /// [`Row::Record`]
    Record(ChannelId, Seq),
    /// [`Row::Dedup`]
    Dedup(ChannelId, DeviceId),
    /// [`Row::Dirty`]: there while the channel is below its head.
    Dirty(ChannelId),
    /// [`Row::Rules`]: there when `ChannelRow::ruled` says so.
    Rules(ChannelId),
    /// [`Row::Marks`] of a record.
    Marks(ChannelId, Seq),
    /// [`Row::Reply`]: the second record is in the thread that the first one began.
    Reply(ChannelId, Seq, Seq),
    /// [`Row::Scheduled`], of this user and under this id.
    Scheduled(ChannelId, UserId, u64),
    /// [`Row::Timer`]: there until it has fired.
    Timer(Timestamp, ChannelId, Timer),
    /// [`Row::Calls`]: the calls of one caller in a channel.
    Calls(ChannelId, UserId),
    /// [`Row::Keyed`], by key.
    Keyed(ChannelId, UserId, CallKey),
    /// [`Row::User`]
    User(UserId),
    /// [`Row::Device`]
    Device(UserId, DeviceId),
    /// [`Row::Index`]
    Index(UserId, ChannelId),
    /// [`Row::IndexByRev`]: order of a user's index rows by their last change.
    IndexByRev(UserId, UserRev),
    /// [`Row::Profile`]
    Profile(UserId),
    /// [`Row::Contact`]: of the first, about the second.
    Contact(UserId, UserId),
    /// [`Row::Word`]: a word of a user, in the search index.
    Word(String, UserId),
    /// [`Row::Credential`]
    Credential(UserId),
    /// [`Row::Owed`]: there while the user's home owes it to another group.
    Owed(UserId, Debt),
    /// [`Row::Calls`]: the calls of one caller in their home.
    HomeCalls(UserId),
    /// [`Row::HomeCall`], by key.
    HomeCall(UserId, CallKey),
    /// [`Row::Pushes`]
    Pushes(UserId),
    /// [`Row::PushSent`]: there while the conversation is not read and some device was pushed to, and until that may be pushed to again.
    PushSent(UserId, ChannelId),
    /// [`Row::PushDue`]: there while some device may have to be pushed to, or what it shows taken back.
    PushDue(UserId, ChannelId),
    /// [`Row::Name`], by folded name.
    Name(String),
    /// [`Row::Desk`]: in the desk's bucket, as the three below.
    Desk,
    /// [`Row::Report`], by number.
    Report(u64),
    /// [`Row::ReportId`] of a reported record.
    ReportId(ChannelId, Seq),
    /// [`Row::Audit`], by number.
    Audit(u64),
    /// [`Row::Hooks`] of all channels, or of a user's, at the desk.
    DeskHooks,
    /// [`Row::Hooks`] of a channel.
    ChannelHooks(ChannelId),
    /// [`Row::HookCursor`] of a channel.
    HookCursor(ChannelId, HookId),
    /// [`Row::HookDue`]: there while a webhook is behind in the channel.
    HookDue(ChannelId),
    /// [`Row::Hooks`]: the group's copy of the desk's.
    GroupHooks,
    /// [`Row::GroupState`]
    GroupState,
    /// [`Row::Owned`], by the first bucket of the run.
    Owned(RegionId, u16),
    /// [`Row::Leaving`]: there while buckets of the group are leaving.
    Leaving,
    /// [`Row::Staging`]: there while buckets are coming from this group.
    Staging(GroupId),
    /// [`Row::Changed`]: the row with this packed key was changed in this round of the move under way.
    Changed(u64, Bytes),
    /// [`Row::Cluster`]; meta group only, as those below.
    Cluster,
    /// [`Row::Trust`]
    Trust,
    /// [`Row::Node`]
    Node(NodeId),
    /// [`Row::Group`]
    Group(GroupId),
    /// [`Row::Run`], by the first bucket of the run.
    Run(RegionId, u16),
}

impl RowKey {
    /// The bucket that the row belongs to and moves with; `None` for rows of the group itself.
    pub fn bucket(&self) -> Option<Bucket> {
        match self {
            Self::Word(word, _) => Some(bucket_of_word(word)),
            Self::Name(name) => Some(Bucket::of_name(name)),
            Self::Desk | Self::DeskHooks | Self::Report(_) | Self::ReportId(..) | Self::Audit(_) => Some(kith_wire::desk::bucket()),
            _ => self.owner().map(Owner::bucket),
        }
    }

    /// Whose row it is, if a channel's or a user's.
    pub fn owner(&self) -> Option<Owner> {
        match self {
            Self::Channel(c)
            | Self::Roster(c)
            | Self::Former(c, _)
            | Self::Positions(c, _)
            | Self::Record(c, _)
            | Self::Dedup(c, _)
            | Self::Dirty(c)
            | Self::Rules(c)
            | Self::Marks(c, _)
            | Self::Reply(c, ..)
            | Self::Scheduled(c, ..)
            | Self::Timer(_, c, _)
            | Self::Calls(c, _)
            | Self::Keyed(c, ..)
            | Self::ChannelHooks(c)
            | Self::HookCursor(c, _)
            | Self::HookDue(c) => Some(Owner::Channel(*c)),
            Self::User(u)
            | Self::Device(u, _)
            | Self::Index(u, _)
            | Self::IndexByRev(u, _)
            | Self::Credential(u)
            | Self::Owed(u, _)
            | Self::HomeCalls(u)
            | Self::HomeCall(u, _)
            | Self::Pushes(u)
            | Self::PushSent(u, _)
            | Self::PushDue(u, _)
            | Self::Profile(u)
            | Self::Contact(u, _) => Some(Owner::User(*u)),
            Self::Word(..)
            | Self::Name(_)
            | Self::Desk
            | Self::DeskHooks
            | Self::Report(_)
            | Self::ReportId(..)
            | Self::Audit(_)
            | Self::GroupState
            | Self::GroupHooks
            | Self::Owned(..)
            | Self::Leaving
            | Self::Staging(_)
            | Self::Changed(..)
            | Self::Cluster
            | Self::Node(_)
            | Self::Group(_)
            | Self::Run(..)
            | Self::Trust => None,
        }
    }
}

/// Whose rows move together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Owner {
    /// A conversation's.
    Channel(ChannelId),
    /// A user's.
    User(UserId),
}

impl Owner {
    /// Where all of its rows lie.
    pub fn bucket(self) -> Bucket {
        match self {
            Self::Channel(channel) => channel.bucket(),
            Self::User(user) => user.bucket(),
        }
    }
}

/// A row of a group.
#[derive(Clone, PartialEq, Debug)]
pub enum Row {
    /// What changes with every record.
    Channel(ChannelRow),
    /// Members and title.
    Roster(RosterRow),
    /// A removed member's old ranges.
    Former(FormerRow),
    /// Where a member stands.
    Positions(PositionsRow),
    /// One record.
    Record(Record),
    /// A device's numbers.
    Dedup(DedupRow),
    /// How many calls of a caller are remembered.
    Calls(CallsRow),
    /// What became of a call in a channel.
    Keyed(DedupEntry),
    /// A call in its caller's home.
    HomeCall(CallRow),
    /// A mark without content.
    Dirty,
    /// Description, rules, pins and links.
    Rules(Box<RulesRow>),
    /// What has gathered about a record.
    Marks(MarksRow),
    /// A mark without content.
    Reply,
    /// A text to be sent later.
    Scheduled(ScheduledRow),
    /// A mark without content.
    Timer,
    /// An account.
    User(UserRow),
    /// A device.
    Device(DeviceRow),
    /// A user's row for a channel.
    Index(Arc<IndexRow>),
    /// Which channel's row changed at that rev.
    IndexByRev(ChannelId),
    /// What others see of a user.
    Profile(ProfileRow),
    /// What stands between two users.
    Contact(ContactRow),
    /// A word in the search index.
    Word(WordRow),
    /// How an account is proven.
    Credential(Box<CredentialRow>),
    /// Something owed.
    Owed(OwedRow),
    /// Where devices are reached.
    Pushes(PushesRow),
    /// What was pushed of a conversation.
    PushSent(PushSentRow),
    /// A conversation to look at.
    PushDue(PushDueRow),
    /// A name.
    Name(NameRow),
    /// The desk.
    Desk(DeskRow),
    /// A reported record.
    Report(ReportRow),
    /// Which report it is in.
    ReportId(ReportIdRow),
    /// An entry of the audit log.
    Audit(AuditRow),
    /// Webhooks.
    Hooks(HooksRow),
    /// How far a webhook was told.
    HookCursor(HookCursorRow),
    /// A mark without content.
    HookDue,
    /// The group itself.
    GroupState(GroupStateRow),
    /// Owned buckets.
    Owned(OwnedRow),
    /// Buckets that are leaving.
    Leaving(LeavingRow),
    /// Buckets that are coming.
    Staging(StagingRow),
    /// A mark without content.
    Changed,
    /// The cluster.
    Cluster(ClusterRow),
    /// Who may join it.
    Trust(TrustRow),
    /// A node.
    Node(NodeRow),
    /// A group of the map.
    Group(GroupRow),
    /// A run of the map.
    Run(RunRow),
}

/// Which rows a scan gives, in key order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Scan {
    /// Records of a channel, by seq.
    Records(ChannelId, RangeInclusive<Seq>),
    /// All records of the group after this one, in storage order (by bucket, then channel, then seq).
    AllRecords(Option<(ChannelId, Seq)>),
    /// All `Positions` of a channel, by user.
    Positions(ChannelId),
    /// All calls of a caller in a channel, by key: those of nodes first, each by its time.
    Keyed(ChannelId, UserId),
    /// All calls in their caller's home, by key.
    HomeCalls(UserId),
    /// All devices of a user.
    Devices(UserId),
    /// `IndexByRev` of a user, by rev.
    IndexByRev(UserId, RangeInclusive<UserRev>),
    /// All dirty channels of the group after this one, in storage order (by bucket, then id).
    Dirty(Option<ChannelId>),
    /// All that users of the group owe, after this one, in storage order (by bucket, then user).
    Owed(Option<(UserId, Debt)>),
    /// All conversations of users of the group that are to be looked at for pushes, after this one, in storage order (by bucket, then user, then id).
    PushesDue(Option<(UserId, ChannelId)>),
    /// `Marks` of a channel, by seq.
    Marks(ChannelId, RangeInclusive<Seq>),
    /// `Reply` rows of a thread, by seq.
    Replies(ChannelId, Seq, RangeInclusive<Seq>),
    /// `Scheduled` rows of a user in a channel, by id.
    Scheduled(ChannelId, UserId),
    /// All timers of the group after this one, in storage order (by bucket, then when they are due).
    Timers(Option<(Timestamp, ChannelId, Timer)>),
    /// A user's contacts, from this one on.
    Contacts(UserId, UserId),
    /// Words of the search index that begin so.
    Words(String),
    /// Reports from this number on.
    Reports(u64),
    /// Entries of the audit log, by number.
    Audit(RangeInclusive<u64>),
    /// `HookCursor` rows of a channel, by webhook.
    HookCursors(ChannelId),
    /// All channels of the group with a webhook that is behind, after this one, in storage order (by bucket, then id).
    HooksDue(Option<ChannelId>),
    /// Owned runs of the group.
    Owned,
    /// All rows of a family in these buckets after this packed key, in storage order (by bucket): with all families, all that moves with them.
    Moving(Family, BucketRun, Option<Bytes>),
    /// All marks of the move under way after this one, by round and packed key.
    Changed(Option<(u64, Bytes)>),
    /// Buckets that are coming, by source.
    Staging,
    /// Nodes of the map.
    Nodes,
    /// Groups of the map.
    Groups,
    /// Runs of the map.
    Runs,
}

impl Scan {
    /// First and last key that the scan can give, in the order of [`RowKey`]; `None` when its range is empty.
    pub fn bounds(&self) -> Option<(RowKey, RowKey)> {
        const USERS: (UserId, UserId) = (UserId::new(0), UserId::new(u64::MAX));
        const KEYS: (CallKey, CallKey) = (CallKey::new([0; 16]), CallKey::new([u8::MAX; 16]));
        const REGIONS: (RegionId, RegionId) = (RegionId::new(0), RegionId::new(u8::MAX));
        let bounds = match self {
            Self::Records(channel, seqs) => (RowKey::Record(*channel, *seqs.start()), RowKey::Record(*channel, *seqs.end())),
            Self::AllRecords(_) => {
                let (first, last) = channels()?;
                (RowKey::Record(first, Seq::ZERO), RowKey::Record(last, Seq::new(u64::MAX)))
            }
            Self::Positions(channel) => (RowKey::Positions(*channel, USERS.0), RowKey::Positions(*channel, USERS.1)),
            Self::Keyed(channel, user) => (RowKey::Keyed(*channel, *user, KEYS.0), RowKey::Keyed(*channel, *user, KEYS.1)),
            Self::HomeCalls(user) => (RowKey::HomeCall(*user, KEYS.0), RowKey::HomeCall(*user, KEYS.1)),
            Self::Devices(user) => (RowKey::Device(*user, DeviceId::new(0)), RowKey::Device(*user, DeviceId::new(u64::MAX))),
            Self::IndexByRev(user, revs) => (RowKey::IndexByRev(*user, *revs.start()), RowKey::IndexByRev(*user, *revs.end())),
            Self::Dirty(_) => {
                let (first, last) = channels()?;
                (RowKey::Dirty(first), RowKey::Dirty(last))
            }
            Self::Owed(_) => {
                // The largest debt: no text begins with a larger character, nor is one as long.
                let last = Debt::Name(std::iter::repeat_n(char::MAX, 1 + kith_wire::limit::NAME_BYTES_MAX / 4).collect());
                (RowKey::Owed(USERS.0, Debt::Name(String::new())), RowKey::Owed(USERS.1, last))
            }
            Self::PushesDue(_) => {
                let (first, last) = channels()?;
                (RowKey::PushDue(USERS.0, first), RowKey::PushDue(USERS.1, last))
            }
            Self::Timers(_) => {
                let ((first, last), zero) = (channels()?, Timer::Send { user: USERS.0, id: 0 });
                (RowKey::Timer(Timestamp::new(0), first, zero), RowKey::Timer(Timestamp::new(u64::MAX), last, Timer::Erase(USERS.1)))
            }
            Self::Marks(channel, seqs) => (RowKey::Marks(*channel, *seqs.start()), RowKey::Marks(*channel, *seqs.end())),
            Self::Replies(channel, root, seqs) => (RowKey::Reply(*channel, *root, *seqs.start()), RowKey::Reply(*channel, *root, *seqs.end())),
            Self::Scheduled(channel, user) => (RowKey::Scheduled(*channel, *user, 0), RowKey::Scheduled(*channel, *user, u64::MAX)),
            Self::Contacts(user, from) => (RowKey::Contact(*user, *from), RowKey::Contact(*user, USERS.1)),
            Self::Words(prefix) => (RowKey::Word(prefix.clone(), USERS.0), RowKey::Word(format!("{prefix}{}", char::MAX), USERS.1)),
            Self::HookCursors(channel) => (RowKey::HookCursor(*channel, HookId::new(0)), RowKey::HookCursor(*channel, HookId::new(u64::MAX))),
            Self::HooksDue(_) => {
                let (first, last) = channels()?;
                (RowKey::HookDue(first), RowKey::HookDue(last))
            }
            Self::Reports(from) => (RowKey::Report(*from), RowKey::Report(u64::MAX)),
            Self::Audit(numbers) => (RowKey::Audit(*numbers.start()), RowKey::Audit(*numbers.end())),
            Self::Owned => (RowKey::Owned(REGIONS.0, 0), RowKey::Owned(REGIONS.1, u16::MAX)),
            Self::Moving(Family::Message, ..) => return Self::AllRecords(None).bounds(),
            Self::Moving(..) => (RowKey::Channel(channels()?.0), RowKey::Run(REGIONS.1, u16::MAX)),
            // The kind that follows.
            Self::Changed(_) => (RowKey::Changed(0, Bytes::new()), RowKey::Cluster),
            Self::Staging => (RowKey::Staging(GroupId::new(0)), RowKey::Staging(GroupId::new(u32::MAX))),
            Self::Nodes => (RowKey::Node(NodeId::new(0)), RowKey::Node(NodeId::new(u64::MAX))),
            Self::Groups => (RowKey::Group(GroupId::new(0)), RowKey::Group(GroupId::new(u32::MAX))),
            Self::Runs => (RowKey::Run(REGIONS.0, 0), RowKey::Run(REGIONS.1, u16::MAX)),
        };
        (bounds.0 <= bounds.1).then_some(bounds)
    }

    /// Whether the scan gives a key that lies within [`Scan::bounds`].
    pub fn holds(&self, key: &RowKey) -> bool {
        match (self, key) {
            (Self::Dirty(Some(after)), RowKey::Dirty(channel)) | (Self::HooksDue(Some(after)), RowKey::HookDue(channel)) => {
                storage_order(after) < storage_order(channel)
            }
            (Self::AllRecords(Some((after, at))), RowKey::Record(channel, seq)) => (storage_order(after), at) < (storage_order(channel), seq),
            (Self::Owed(Some((user, debt))), RowKey::Owed(of, owed)) => owed_order(user, debt) < owed_order(of, owed),
            (Self::PushesDue(Some((user, channel))), RowKey::PushDue(of, due)) => push_order(user, channel) < push_order(of, due),
            (Self::Timers(Some(after)), RowKey::Timer(due, channel, timer)) => timer_order(after) < timer_order(&(*due, *channel, *timer)),
            (Self::Moving(family, run, after), key) => {
                let is_in = Family::of(key) == *family && key.bucket().is_some_and(|bucket| run.holds(bucket));
                is_in && after.as_ref().is_none_or(|after| *after < key::pack(key))
            }
            (Self::Changed(after), RowKey::Changed(round, key)) => after.as_ref().is_none_or(|(after, last)| (after, last) < (round, key)),
            (Self::Changed(_), _) => false,
            _ => true,
        }
    }

    /// The order in which the scan gives two of its keys.
    pub fn compare(&self, a: &RowKey, b: &RowKey) -> Ordering {
        if let Self::Moving(..) = self {
            return key::pack(a).cmp(&key::pack(b));
        }
        match (a, b) {
            (RowKey::Dirty(a), RowKey::Dirty(b)) | (RowKey::HookDue(a), RowKey::HookDue(b)) => storage_order(a).cmp(&storage_order(b)),
            (RowKey::Record(a, one), RowKey::Record(b, other)) => (storage_order(a), one).cmp(&(storage_order(b), other)),
            (RowKey::Owed(user, debt), RowKey::Owed(other, owed)) => owed_order(user, debt).cmp(&owed_order(other, owed)),
            (RowKey::PushDue(user, channel), RowKey::PushDue(other, due)) => push_order(user, channel).cmp(&push_order(other, due)),
            (RowKey::Timer(a, b, c), RowKey::Timer(d, e, f)) => timer_order(&(*a, *b, *c)).cmp(&timer_order(&(*d, *e, *f))),
            _ => a.cmp(b),
        }
    }
}

/// The least and the greatest id that a channel can have.
fn channels() -> Option<(ChannelId, ChannelId)> {
    let first = ChannelId::direct(UserId::new(0), UserId::new(0));
    let last = ChannelId::from_bytes(&[[2].as_slice(), &[u8::MAX; 16]].concat()).ok()?;
    Some((first, last))
}

fn timer_order((due, channel, timer): &(Timestamp, ChannelId, Timer)) -> (Bucket, Timestamp, ChannelId, Timer) {
    (channel.bucket(), *due, *channel, *timer)
}

fn storage_order(channel: &ChannelId) -> (Bucket, ChannelId) {
    (channel.bucket(), *channel)
}

fn owed_order<'a>(user: &UserId, debt: &'a Debt) -> (Bucket, UserId, &'a Debt) {
    (user.bucket(), *user, debt)
}

fn push_order(user: &UserId, channel: &ChannelId) -> (Bucket, UserId, ChannelId) {
    (user.bucket(), *user, *channel)
}

/// A row could not be read: a fault of the disk or a checksum. Stops this replica of this group.
#[derive(Clone, Debug, Error)]
#[error("cannot read row {key}")]
pub struct ViewError {
    /// Which row or scan.
    pub key: String,
    /// Why.
    #[source]
    pub cause: Arc<dyn std::error::Error + Send + Sync>,
}

/// Read access to one group's rows at one moment.
pub trait StateView {
    /// One row.
    ///
    /// # Errors
    /// The row is there but cannot be read.
    fn get(&self, key: &RowKey) -> Result<Option<Arc<Row>>, ViewError>;
    /// Rows in key order, at most `limit`; from the end when `reverse`.
    ///
    /// # Errors
    /// A row cannot be read.
    fn scan(&self, scan: &Scan, reverse: bool, limit: usize) -> Result<Vec<(RowKey, Arc<Row>)>, ViewError>;
    /// What is wrong with the node that reads: nothing in any build that is shipped.
    fn quirk(&self) -> Quirk {
        Quirk::default()
    }
}

/// Rows to write: `None` deletes. Ordered, so that equal sets encode equally.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct WriteSet {
    /// By key.
    pub rows: BTreeMap<RowKey, Option<Arc<Row>>>,
    /// Keys that these rows never had before, nor will have again once deleted: a store that has not written such a row yet need never
    /// write it once it is deleted. A key may be gone from `rows` again: then they never had it at all.
    pub new: Vec<RowKey>,
}

impl WriteSet {
    /// Writes a row; the kind of key and row must be the same.
    pub fn put(&mut self, key: RowKey, row: impl Into<Row>) {
        self.rows.insert(key, Some(Arc::new(row.into())));
    }
    /// Writes a row under a key that was never used before and never will be again.
    pub fn put_new(&mut self, key: RowKey, row: impl Into<Row>) {
        self.new.push(key.clone());
        self.put(key, row);
    }
    /// Deletes a row.
    pub fn delete(&mut self, key: RowKey) {
        self.rows.insert(key, None);
    }
}

/// A value that is the content of one kind of [`Row`].
pub trait RowValue: Sized {
    /// The value, if the row is of this kind.
    fn of(row: &Row) -> Option<&Self>;
}

macro_rules! row_values {
    ($($kind:ident($value:ty)),* $(,)?) => {$(
        impl RowValue for $value {
            fn of(row: &Row) -> Option<&Self> {
                if let Row::$kind(value) = row { Some(value) } else { None }
            }
        }
        impl From<$value> for Row {
            fn from(value: $value) -> Self { Self::$kind(value) }
        }
    )*};
}
row_values! {
    Channel(ChannelRow), Roster(RosterRow), Former(FormerRow), Positions(PositionsRow), Record(Record), Dedup(DedupRow), Calls(CallsRow), Keyed(DedupEntry), HomeCall(CallRow), User(UserRow),
    Device(DeviceRow), IndexByRev(ChannelId), Owed(OwedRow), Profile(ProfileRow), Contact(ContactRow), Word(WordRow), Name(NameRow), GroupState(GroupStateRow), Owned(OwnedRow), Leaving(LeavingRow), Staging(StagingRow), Cluster(ClusterRow),
    Node(NodeRow), Group(GroupRow), Run(RunRow), Marks(MarksRow), Scheduled(ScheduledRow),
    Trust(TrustRow), Desk(DeskRow), Report(ReportRow), ReportId(ReportIdRow), Audit(AuditRow), Hooks(HooksRow), HookCursor(HookCursorRow),
    Pushes(PushesRow), PushSent(PushSentRow), PushDue(PushDueRow),
}

macro_rules! boxed_values {
    ($($kind:ident($value:ty)),* $(,)?) => {$(
        impl RowValue for $value {
            fn of(row: &Row) -> Option<&Self> {
                if let Row::$kind(value) = row { Some(value) } else { None }
            }
        }
        impl From<$value> for Row {
            fn from(value: $value) -> Self { Self::$kind(Box::new(value)) }
        }
    )*};
}
// Large and seldom: in place they would make every row as large.
boxed_values! { Rules(RulesRow), Credential(CredentialRow) }

// Shared with the news of it: a copy for each reader would cost a third of the update.
impl RowValue for IndexRow {
    fn of(row: &Row) -> Option<&Self> {
        if let Row::Index(value) = row { Some(value) } else { None }
    }
}
impl From<IndexRow> for Row {
    fn from(value: IndexRow) -> Self {
        Self::Index(Arc::new(value))
    }
}
impl From<Arc<IndexRow>> for Row {
    fn from(value: Arc<IndexRow>) -> Self {
        Self::Index(value)
    }
}

/// A row that was read, as its value; shares the memory of the view. Cloning gives the value itself.
#[derive(Debug)]
pub struct Held<T> {
    row: Arc<Row>,
    kind: PhantomData<T>,
}

impl<T: RowValue> Held<T> {
    /// Wraps a row of this kind.
    ///
    /// # Errors
    /// The row is of another kind: the store is corrupt.
    pub fn new(key: &RowKey, row: Arc<Row>) -> Result<Self, ViewError> {
        match T::of(&row) {
            Some(_) => Ok(Self { row, kind: PhantomData }),
            None => Err(ViewError::of(key, WrongKind)),
        }
    }
}

impl<T: RowValue> Deref for Held<T> {
    type Target = T;
    fn deref(&self) -> &T {
        T::of(&self.row).expect("the kind was checked by `new`, and a row behind an Arc does not change")
    }
}

/// Reads one row as its value.
///
/// # Errors
/// The row cannot be read, or is of another kind.
pub fn row<T: RowValue>(view: &dyn StateView, key: &RowKey) -> Result<Option<Held<T>>, ViewError> {
    view.get(key)?.map(|row| Held::new(key, row)).transpose()
}

/// Reads a row that must be there because another row says so.
///
/// # Errors
/// As [`row`], or the row is missing.
pub fn required<T: RowValue>(view: &dyn StateView, key: &RowKey) -> Result<Held<T>, ViewError> {
    row(view, key)?.ok_or_else(|| ViewError::of(key, Missing))
}

/// A row that another row promises is not there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("row is missing")]
pub struct Missing;

/// A row is not of the kind that its key says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("row is of another kind than its key")]
pub struct WrongKind;

impl ViewError {
    /// The error of a row.
    pub fn of(key: &RowKey, cause: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self { key: format!("{key:?}"), cause: Arc::new(cause) }
    }
}
