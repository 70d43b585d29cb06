//! Rows as the machine sees them: typed keys, typed values, a read view and a set of writes. No key bytes here (kith-storage).
//!
//! Invariants: `RowKey` and `Row` of a pair are always of the same kind; keys order as they are scanned: by owner, then by seq, user or rev.

use std::{collections::BTreeMap, ops::RangeInclusive, sync::Arc};

use kith_wire::{
    id::{Bucket, ChannelId, DeviceId, GroupId, NodeId, RegionId, Seq, UserId, UserRev},
    log::{
        ChannelRow, ClusterRow, DedupRow, DeviceRow, FormerRow, GroupRow, GroupStateRow, IndexRow, NameRow, NodeRow, OwnedRow, PositionsRow, Record,
        RosterRow, RunRow, UserRow,
    },
};
use thiserror::Error;

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
    /// [`Row::User`]
    User(UserId),
    /// [`Row::Device`]
    Device(UserId, DeviceId),
    /// [`Row::Index`]
    Index(UserId, ChannelId),
    /// [`Row::IndexByRev`]: order of a user's index rows by their last change.
    IndexByRev(UserId, UserRev),
    /// [`Row::Name`], by folded name.
    Name(String),
    /// [`Row::GroupState`]
    GroupState,
    /// [`Row::Owned`], by the first bucket of the run.
    Owned(RegionId, u16),
    /// [`Row::Cluster`]; meta group only, as those below.
    Cluster,
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
            Self::Channel(c)
            | Self::Roster(c)
            | Self::Former(c, _)
            | Self::Positions(c, _)
            | Self::Record(c, _)
            | Self::Dedup(c, _)
            | Self::Dirty(c) => Some(c.bucket()),
            Self::User(u) | Self::Device(u, _) | Self::Index(u, _) | Self::IndexByRev(u, _) => Some(u.bucket()),
            Self::Name(name) => Some(Bucket::of_name(name)),
            Self::GroupState | Self::Owned(..) | Self::Cluster | Self::Node(_) | Self::Group(_) | Self::Run(..) => None,
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
    /// A mark without content.
    Dirty,
    /// An account.
    User(UserRow),
    /// A device.
    Device(DeviceRow),
    /// A user's row for a channel.
    Index(IndexRow),
    /// Which channel's row changed at that rev.
    IndexByRev(ChannelId),
    /// A name.
    Name(NameRow),
    /// The group itself.
    GroupState(GroupStateRow),
    /// Owned buckets.
    Owned(OwnedRow),
    /// The cluster.
    Cluster(ClusterRow),
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
    /// All `Positions` of a channel, by user.
    Positions(ChannelId),
    /// All devices of a user.
    Devices(UserId),
    /// `IndexByRev` of a user, by rev.
    IndexByRev(UserId, RangeInclusive<UserRev>),
    /// All dirty channels of the group after this one, in storage order (by bucket, then id).
    Dirty(Option<ChannelId>),
    /// Owned runs of the group.
    Owned,
    /// Nodes of the map.
    Nodes,
    /// Groups of the map.
    Groups,
    /// Runs of the map.
    Runs,
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
}

/// Rows to write: `None` deletes. Ordered, so that equal sets encode equally.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct WriteSet {
    /// By key.
    pub rows: BTreeMap<RowKey, Option<Arc<Row>>>,
}
