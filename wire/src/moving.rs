//! Buckets on their way from one group to another: what is logged for it in both groups, and the rows that say how far it is.
//!
//! In: the fields of a [`crate::log::Command::Move`] and of the rows of a move. Out: the same, parsed. Invariants: a move is named by its source and by
//! the place of its `Begin` in the source's log, so that no two moves are ever taken for one another; keys and rows travel as their bytes in
//! the store, and are parsed by apply, each against its own bucket. Bounds: `limit::MOVE_*`. Not here: the protocol (kith-machine's `moving`).

use bytes::Bytes;

use crate::id::{Bucket, GroupId, LogIndex, OwnerEpoch, RegionId};

/// Buckets of one region that follow one another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct BucketRun {
    /// Region of the buckets.
    pub region: RegionId,
    /// First bucket.
    pub first: u16,
    /// Last bucket, inclusive.
    pub last: u16,
}

impl BucketRun {
    /// Whether a bucket lies in it.
    pub fn holds(&self, bucket: Bucket) -> bool {
        self.region == bucket.region && (self.first..=self.last).contains(&bucket.index)
    }
    /// Whether some bucket lies in both.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.region == other.region && self.first <= other.last && other.first <= self.last
    }
    /// How many buckets it has.
    pub fn count(&self) -> u32 {
        u32::from(self.last.saturating_sub(self.first)) + u32::from(self.first <= self.last)
    }
}

impl std::fmt::Display for BucketRun {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{:04x}-{:04x}", self.region, self.first, self.last)
    }
}

/// One step of a move, in the log of its source or of its target.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MoveChange {
    // -- in the source's log
    /// Begins to copy buckets to another group; they are served on. Where it stands in the log names the move.
    Begin { run: BucketRun, to: GroupId },
    /// What changed in this round is now all of it, and can be sent: changes from here on are the next round's.
    NextRound { at: LogIndex, round: u64 },
    /// The buckets are the target's: the only commit point of a move. What changed in this round is all that is still to be sent.
    HandOver { at: LogIndex, round: u64 },
    /// The move is given up; only before `HandOver`.
    Cancel { at: LogIndex },
    /// The target has logged that the buckets are its own: the rows here can go.
    Taken { at: LogIndex },
    /// Drops rows that have gone over, and marks of the move.
    Sweep { at: LogIndex, keys: Vec<Bytes> },
    /// Nothing is left of the move here.
    End { at: LogIndex },
    // -- in the target's log
    /// Makes room for buckets that are to come from a group, at this epoch.
    Stage { from: GroupId, at: LogIndex, run: BucketRun, epoch: OwnerEpoch },
    /// Some rows: those of the round that follow `after`, up to `upto`. `last`: none of this round comes after them.
    Import { from: GroupId, at: LogIndex, round: u64, after: Bytes, upto: Bytes, last: bool, rows: Vec<MovedRow> },
    /// The source has handed over, and `round` was its last: the buckets are this group's own.
    Take { from: GroupId, at: LogIndex, round: u64 },
    /// Nothing more comes: what came is to be dropped.
    Unstage { from: GroupId, at: LogIndex },
    /// Drops rows of buckets that will not come.
    Drop { from: GroupId, at: LogIndex, keys: Vec<Bytes> },
    /// Nothing is left of it here.
    EndStage { from: GroupId, at: LogIndex },
}

/// A row on its way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MovedRow {
    /// Its key.
    pub key: Bytes,
    /// Its body; `None`: it is gone since an earlier round.
    pub body: Option<Bytes>,
}

/// How far a move is in its source. The number is stored.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum LeavingPhase {
    /// 1: copied, and served here.
    #[default]
    Copying,
    /// 2: given away; the last round is on its way.
    Handed,
    /// 3: the target has them: the rows here are dropped.
    Sweeping,
    /// 4: given up; the marks of the move are dropped.
    Cancelled,
}

impl LeavingPhase {
    /// In one word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Copying => "copying",
            Self::Handed => "handed over",
            Self::Sweeping => "sweeping",
            Self::Cancelled => "cancelled",
        }
    }
}

/// In the source: buckets that are leaving. A group has at most one such row.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LeavingRow {
    /// Where the move began in this group's log: its name.
    pub at: LogIndex,
    /// Which buckets.
    pub run: BucketRun,
    /// Where they go.
    pub to: GroupId,
    /// At which epoch they are owned there.
    pub epoch: OwnerEpoch,
    /// How far it is.
    pub phase: LeavingPhase,
    /// Changes are marked for this round, from 1. Round 0 is the copy of all rows.
    pub round: u64,
}

/// In the target: buckets that are coming. One row per source.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StagingRow {
    /// The move's name in its source.
    pub at: LogIndex,
    /// Which buckets.
    pub run: BucketRun,
    /// At which epoch they will be owned.
    pub epoch: OwnerEpoch,
    /// The round that is coming: all before it are here.
    pub round: u64,
    /// What has come of it reaches up to here; empty: nothing has.
    pub after: Bytes,
    /// Rows that have come.
    pub rows: u64,
    /// Nothing more comes: what is here is dropped.
    pub dropping: bool,
}
