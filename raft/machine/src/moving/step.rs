//! What is done next for a move: decided from the rows of its two groups, by whoever leads its source.
//!
//! In: the source's row of the move, and how its target stands. Out: one step. Invariants: pure; a step that was taken twice, or by two leaders, or
//! from rows that are old by now is refused or done already, so that nothing has to be remembered between two steps. Not here: the steps
//! themselves ([`super`]), asking the target, sending (the node).

use bytes::Bytes;
use kith_wire::{
    id::GroupId,
    limit,
    moving::{LeavingPhase, LeavingRow, MoveChange, StagingRow},
};

use super::{pick, staging, stagings};
use crate::{
    own::Owned,
    view::{StateView, ViewError},
};

/// How the target of a move stands.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Target {
    /// What comes from the move's source, of this move or of one before it.
    pub staging: Option<StagingRow>,
    /// All of the buckets are the target's at the move's epoch, or were and went on.
    pub reached: bool,
}

/// Reads how the target of a move stands, in that target. The reader must be of a leader that has asked its voters: an older one would say what was.
///
/// # Errors
/// A row cannot be read.
pub fn stand(view: &dyn StateView, from: GroupId, leaving: &LeavingRow) -> Result<Target, ViewError> {
    Ok(Target { staging: staging(view, from)?, reached: Owned::read(view)?.reached(leaving.run, leaving.epoch) })
}

/// A step of a move.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// Log this in the source.
    Here(MoveChange),
    /// Log this in the target.
    There(MoveChange),
    /// Log in the target what follows of this round: [`piece`].
    Send { round: u64, after: Bytes },
    /// Log in the source what is dropped next: [`sweep`].
    Sweep,
    /// Look again later: the target is at something else, or has moved on.
    Wait,
}

/// The next step of a move. `open`: rows that changed in the round that is open, counted to one more than `limit::MOVE_LAST_ROUND_ROWS_MAX`.
pub fn next(source: GroupId, leaving: &LeavingRow, target: &Target, open: usize) -> Step {
    let (from, at) = (source, leaving.at);
    let is_over = leaving.phase >= LeavingPhase::Sweeping;
    match &target.staging {
        // Of a move before this one, or of this one when it is over: nothing comes of it any more.
        Some(row) if !row.dropping && (row.at < at || (row.at == at && is_over)) => Step::There(MoveChange::Unstage { from, at: row.at }),
        Some(row) if row.at < at && !is_over => Step::Wait,
        _ if is_over => Step::Sweep,
        None if target.reached && leaving.phase == LeavingPhase::Handed => Step::Here(MoveChange::Taken { at }),
        // Somebody else gave them to the target, at that epoch or a higher one.
        None if target.reached => Step::Here(MoveChange::Cancel { at }),
        None => Step::There(MoveChange::Stage { from, at, run: leaving.run, epoch: leaving.epoch }),
        // It drops what it has; or this leader's rows are old.
        Some(row) if row.dropping || row.at > at => Step::Wait,
        Some(row) if row.round < leaving.round => Step::Send { round: row.round, after: row.after.clone() },
        Some(row) if leaving.phase == LeavingPhase::Handed => {
            if row.round == leaving.round {
                Step::Send { round: row.round, after: row.after.clone() }
            } else {
                Step::There(MoveChange::Take { from, at, round: leaving.round })
            }
        }
        Some(row) if row.round > leaving.round => Step::Wait,
        Some(row) if open <= limit::MOVE_LAST_ROUND_ROWS_MAX || row.round >= limit::MOVE_ROUNDS_MAX => {
            Step::Here(MoveChange::HandOver { at, round: row.round })
        }
        Some(row) => Step::Here(MoveChange::NextRound { at, round: row.round }),
    }
}

/// What [`Step::Send`] logs in the target.
///
/// # Errors
/// A row of the source cannot be read.
pub fn piece(view: &dyn StateView, source: GroupId, leaving: &LeavingRow, round: u64, after: &Bytes) -> Result<MoveChange, ViewError> {
    let pick::Piece { rows, upto, last, .. } = if round == 0 { pick::copies(view, leaving.run, after)? } else { pick::changes(view, round, after)? };
    Ok(MoveChange::Import { from: source, at: leaving.at, round, after: after.clone(), upto, last, rows })
}

/// What [`Step::Sweep`] logs in the source.
///
/// # Errors
/// A row of the source cannot be read.
pub fn sweep(view: &dyn StateView, leaving: &LeavingRow) -> Result<MoveChange, ViewError> {
    let keys = pick::to_sweep(view, leaving)?;
    Ok(if keys.is_empty() { MoveChange::End { at: leaving.at } } else { MoveChange::Sweep { at: leaving.at, keys } })
}

/// Rows that changed in the round that is open, as [`next`] counts them.
///
/// # Errors
/// A row of the source cannot be read.
pub fn open(view: &dyn StateView, leaving: &LeavingRow) -> Result<usize, ViewError> {
    pick::changed(view, leaving.round, limit::MOVE_LAST_ROUND_ROWS_MAX + 1)
}

/// What the leader of a target logs by itself: it drops what will not come, in pieces.
///
/// # Errors
/// A row of the target cannot be read.
pub fn clear(view: &dyn StateView) -> Result<Option<MoveChange>, ViewError> {
    let Some((from, row)) = stagings(view)?.into_iter().find(|(_, row)| row.dropping) else { return Ok(None) };
    let keys = pick::left_behind(view, row.run)?;
    let at = row.at;
    Ok(Some(if keys.is_empty() { MoveChange::EndStage { from, at } } else { MoveChange::Drop { from, at, keys } }))
}

/// Whether nothing will ever come of a move that a target has room for: what its source says, behind a read barrier.
pub fn is_dead(staging: &StagingRow, source: Option<&LeavingRow>) -> bool {
    source.is_none_or(|row| row.at != staging.at)
}
