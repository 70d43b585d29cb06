//! Moves of buckets: `kith.log.v1`.

use bytes::Bytes;
use prost::Message as _;

use super::{
    Field, message, nested, numbered,
    proto::log::v1::{self as log, move_command::Change as ChangeKind},
    top, union, wrapper,
};
use crate::{
    error::{DecodeError, Why},
    moving::{BucketRun, LeavingPhase, LeavingRow, MoveChange, MovedRow, StagingRow},
};

// A logged command with odd fields is decoded and refused at apply: to fail here would stop every replica of its group.

top!(log: LeavingRow, StagingRow);

wrapper!(MoveChange => log::MoveCommand.change);
nested!(MoveChange, log::MoveCommand);
union!(MoveChange => ChangeKind {
    Begin: log::BeginMove { run, to },
    NextRound: log::MoveRound { at, round },
    HandOver: log::MoveRound { at, round },
    Cancel: log::MoveName { at },
    Taken: log::MoveName { at },
    Sweep: log::MoveKeys { at, keys },
    End: log::MoveName { at },
    Stage: log::StageMove { from, at, run, epoch },
    Import: log::ImportMove { from, at, round, after, upto, last, rows },
    Take: log::StagedRound { from, at, round },
    Unstage: log::StagedName { from, at },
    Drop: log::StagedKeys { from, at, keys },
    EndStage: log::StagedName { from, at },
});
message!(BucketRun => log::BucketRun { region, first, last });
message!(MovedRow => log::MovedRow { key, body });
message!(LeavingRow => log::LeavingRow { at, run, to, epoch, phase, round });
message!(StagingRow => log::StagingRow { at, run, epoch, round, after, rows, dropping });
numbered!(LeavingPhase => log::LeavingPhase { Copying, Handed, Sweeping, Cancelled });
