//! What of a move is sent, or dropped, next: read from the rows, in pieces.
//!
//! Invariants: a piece follows the place where the one before it ended; a round's pieces are the same whoever reads them, but for values that changed
//! since, and those come again. Bounds: `limit::MOVE_ROWS_MAX` and `limit::MOVE_PIECE_BYTES_MAX`; one row always fits.

use bytes::Bytes;
use kith_wire::{
    limit,
    moving::{BucketRun, LeavingPhase, LeavingRow, MovedRow},
};

use super::{moving_families, pack_mark};
use crate::{
    body,
    key::{self, Family},
    view::{Row, RowKey, Scan, StateView, ViewError},
};

/// Rows of one read.
const AT_ONCE: usize = 64;

/// Rows to send.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Piece {
    /// In the order of their keys.
    pub(super) rows: Vec<MovedRow>,
    /// The last of them; where the next piece begins.
    pub(super) upto: Bytes,
    /// Nothing of the round comes after them.
    pub(super) last: bool,
    bytes: usize,
}

impl Piece {
    /// Adds a row, if it finds room.
    fn add(&mut self, key: Bytes, row: Option<&Row>) -> bool {
        let body = row.map(|row| {
            let mut body = Vec::new();
            body::encode(row, &mut body);
            Bytes::from(body)
        });
        let bytes = key.len() + body.as_ref().map_or(0, Bytes::len);
        let is_full = self.rows.len() >= limit::MOVE_ROWS_MAX || self.bytes + bytes > limit::MOVE_PIECE_BYTES_MAX;
        if is_full && !self.rows.is_empty() {
            return false;
        }
        self.bytes += bytes;
        self.upto = key.clone();
        self.rows.push(MovedRow { key, body });
        true
    }
    fn last(self) -> Self {
        Self { last: true, ..self }
    }
}

/// The piece of round 0, the copy of all rows of these buckets, that follows this packed key (empty: the first one).
///
/// # Errors
/// A row cannot be read.
pub(super) fn copies(view: &dyn StateView, run: BucketRun, after: &Bytes) -> Result<Piece, ViewError> {
    let begun = after.first().and_then(|number| Family::from_number(*number));
    let mut piece = Piece::default();
    for family in moving_families().filter(|family| begun.is_none_or(|begun| *family >= begun)) {
        let mut from = (begun == Some(family)).then(|| after.clone());
        loop {
            let rows = view.scan(&Scan::Moving(family, run, from.take()), false, AT_ONCE)?;
            let is_more = rows.len() == AT_ONCE;
            for (key, row) in rows {
                if !piece.add(key::pack(&key), Some(&row)) {
                    return Ok(piece);
                }
            }
            if !is_more {
                break;
            }
            from = Some(piece.upto.clone());
        }
    }
    Ok(piece.last())
}

/// The piece of a round that is closed, of rows that changed in it, that follows this packed key: each as it is now, or that it is gone.
///
/// # Errors
/// A row cannot be read, or a mark names none.
pub(super) fn changes(view: &dyn StateView, round: u64, after: &Bytes) -> Result<Piece, ViewError> {
    let mut piece = Piece { upto: after.clone(), ..Piece::default() };
    loop {
        let marks = view.scan(&Scan::Changed(Some((round, piece.upto.clone()))), false, AT_ONCE)?;
        let is_more = marks.len() == AT_ONCE;
        for (mark, _) in marks {
            let RowKey::Changed(of, packed) = &mark else { continue };
            if *of != round {
                return Ok(piece.last());
            }
            let key = key::decode_packed(packed).map_err(|cause| ViewError::of(&mark, cause))?;
            if !piece.add(packed.clone(), view.get(&key)?.as_deref()) {
                return Ok(piece);
            }
        }
        if !is_more {
            return Ok(piece.last());
        }
    }
}

/// How many rows have changed in a round, counted up to this many.
///
/// # Errors
/// A row cannot be read.
pub(super) fn changed(view: &dyn StateView, round: u64, limit: usize) -> Result<usize, ViewError> {
    let marks = view.scan(&Scan::Changed(Some((round, Bytes::new()))), false, limit)?;
    Ok(marks.iter().filter(|(key, _)| matches!(key, RowKey::Changed(of, _) if *of == round)).count())
}

/// What a source drops next of a move that is over, as `Sweep` names it; nothing: the move can end.
///
/// # Errors
/// A row cannot be read.
pub(super) fn to_sweep(view: &dyn StateView, leaving: &LeavingRow) -> Result<Vec<Bytes>, ViewError> {
    let marks = view.scan(&Scan::Changed(None), false, limit::MOVE_ROWS_MAX)?;
    let marks: Vec<Bytes> =
        marks.into_iter().filter_map(|(key, _)| if let RowKey::Changed(round, key) = key { Some(pack_mark(round, &key)) } else { None }).collect();
    if !marks.is_empty() || leaving.phase != LeavingPhase::Sweeping { Ok(marks) } else { left_behind(view, leaving.run) }
}

/// Rows of these buckets that lie here, by packed key; no more than one command drops.
///
/// # Errors
/// A row cannot be read.
pub(super) fn left_behind(view: &dyn StateView, run: BucketRun) -> Result<Vec<Bytes>, ViewError> {
    let mut keys = Vec::new();
    for family in moving_families() {
        let rows = view.scan(&Scan::Moving(family, run, None), false, limit::MOVE_ROWS_MAX - keys.len())?;
        keys.extend(rows.iter().map(|(key, _)| key::pack(key)));
        if keys.len() >= limit::MOVE_ROWS_MAX {
            break;
        }
    }
    Ok(keys)
}
