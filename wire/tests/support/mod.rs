//! What the wire tests share: seeded properties ([`property`]), values of every type ([`sample`]), checked-in expectations ([`golden`]).
#![allow(dead_code, clippy::unwrap_used)] // each test file uses its part

pub(crate) mod golden;
pub(crate) mod property;
pub(crate) mod sample;

/// Calls `$with!(Type, ...)` with every type that travels or is stored by itself.
#[macro_export]
macro_rules! every_type {
    ($with:ident) => {
        $with!(
            LogId,
            Vote,
            Entry,
            Membership,
            Applied,
            Batch,
            Item,
            ChannelRow,
            RosterRow,
            FormerRow,
            PositionsRow,
            Record,
            DedupRow,
            UserRow,
            DeviceRow,
            IndexRow,
            NameRow,
            GroupStateRow,
            OwnedRow,
            ClusterRow,
            NodeRow,
            GroupRow,
            RunRow,
            ClusterMap,
            ToEdge,
            ToClient,
            Pull,
            Page,
            ToPeer,
            FromPeer,
            SnapshotHead,
            SnapshotEnd,
            AppendResult,
            Act,
            RulesRow,
            MarksRow,
            ScheduledRow
        );
    };
}
