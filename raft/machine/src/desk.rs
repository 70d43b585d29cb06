//! The operators' desk: reports of records, and the log of what operators do.
//!
//! In: a member's report (its record was looked up before), an operator's acts. Out: rows of the desk's bucket. Invariants: reports of one record
//! are one row; an entry of the audit log gets a number once, its outcome once, and stays. Bounds: `limit::REPORTS_OPEN_MAX` open reports, then
//! `Busy`; the audit log grows with what operators do. Not here: who may do what (the node), doing it (its own group).

use kith_wire::{
    code::Code,
    desk::{AuditAct, AuditEntry, AuditRow, AuditState, DeskChange, DeskRow, ReportIdRow, ReportReason, ReportRow},
    id::{ChannelId, Seq, UserId},
    limit,
    trust::TokenId,
};

use crate::{
    Context, hook,
    reply::Reply,
    view::{Held, RowKey, Scan, StateView, ViewError},
};

/// Applies a change at the desk.
pub(crate) fn change(ctx: &mut Context<'_>, change: DeskChange) -> Result<Reply, ViewError> {
    let over = |text: &str| text.chars().count() > limit::NOTE_CHARS_MAX;
    match change {
        DeskChange::Report { reason: text, .. } | DeskChange::Close { note: text, .. } if over(&text) => Ok(Reply::Rejected(Code::TooLarge)),
        DeskChange::Begin(entry) if over(&entry.note) => Ok(Reply::Rejected(Code::TooLarge)),
        DeskChange::Report { by, channel, seq, sender, reason } => report(ctx, (channel, seq), sender, ReportReason { by, reason }),
        DeskChange::Close { id, by, token, note } => close(ctx, id, (by, token), note),
        DeskChange::Begin(entry) => {
            let id = log(ctx, entry, AuditState::Begun)?;
            Ok(Reply::Kept { id })
        }
        DeskChange::End { id, refused } => end(ctx, id, refused),
        DeskChange::Hook(change) => hook::change_at_desk(ctx, change),
    }
}

/// Open reports after this one, the oldest first; at most `limit`.
///
/// # Errors
/// A row cannot be read.
pub fn reports(view: &dyn StateView, after: u64, limit: usize) -> Result<Vec<(u64, ReportRow)>, ViewError> {
    let mut found = Vec::new();
    for (key, row) in view.scan(&Scan::Reports(after.saturating_add(1)), false, limit)? {
        if let RowKey::Report(id) = key {
            found.push((id, Held::<ReportRow>::new(&key, row)?.clone()));
        }
    }
    Ok(found)
}

/// Entries of the audit log before this one, the newest first; at most `limit`.
///
/// # Errors
/// A row cannot be read.
pub fn audit(view: &dyn StateView, before: u64, limit: usize) -> Result<Vec<(u64, AuditRow)>, ViewError> {
    let mut found = Vec::new();
    for (key, row) in view.scan(&Scan::Audit(0..=before.saturating_sub(1)), true, limit)? {
        if let RowKey::Audit(id) = key {
            found.push((id, Held::<AuditRow>::new(&key, row)?.clone()));
        }
    }
    Ok(found)
}

fn report(ctx: &mut Context<'_>, (channel, seq): (ChannelId, Seq), sender: UserId, reason: ReportReason) -> Result<Reply, ViewError> {
    let key = RowKey::ReportId(channel, seq);
    if let Some(id) = ctx.rows.row::<ReportIdRow>(&key)?.map(|row| row.id) {
        let mut row = ctx.rows.required::<ReportRow>(&RowKey::Report(id))?.clone();
        if row.reasons.iter().any(|known| known.by == reason.by) {
            return Ok(Reply::Done);
        }
        row.count = row.count.saturating_add(1);
        row.last = ctx.now;
        if row.reasons.len() < limit::REPORT_REASONS_KEPT {
            row.reasons.push(reason);
        }
        ctx.rows.put(RowKey::Report(id), row);
        return Ok(Reply::Done);
    }
    let mut desk = desk(ctx)?;
    if desk.open >= limit::REPORTS_OPEN_MAX {
        return Ok(Reply::Rejected(Code::Busy));
    }
    (desk.reports, desk.open) = (desk.reports + 1, desk.open + 1);
    let row = ReportRow { channel, seq, sender, first: ctx.now, last: ctx.now, count: 1, reasons: vec![reason] };
    ctx.rows.put(RowKey::Report(desk.reports), row);
    ctx.rows.put(key, ReportIdRow { id: desk.reports });
    ctx.rows.put(RowKey::Desk, desk);
    Ok(Reply::Done)
}

/// Takes a report off the desk, into the audit log.
fn close(ctx: &mut Context<'_>, id: u64, (by, token): (UserId, Option<TokenId>), note: String) -> Result<Reply, ViewError> {
    let Some(row) = ctx.rows.row::<ReportRow>(&RowKey::Report(id))?.map(|row| row.clone()) else { return Ok(Reply::Rejected(Code::NotFound)) };
    let desk = desk(ctx)?;
    ctx.rows.put(RowKey::Desk, DeskRow { open: desk.open.saturating_sub(1), ..desk });
    ctx.rows.delete(RowKey::Report(id));
    ctx.rows.delete(RowKey::ReportId(row.channel, row.seq));
    let entry = AuditEntry { by, token, act: AuditAct::CloseReport, user: Some(row.sender), channel: Some(row.channel), number: row.seq.get(), note };
    log(ctx, entry, AuditState::Done)?;
    Ok(Reply::Done)
}

/// Adds an entry to the audit log; gives its number.
pub(crate) fn log(ctx: &mut Context<'_>, entry: AuditEntry, state: AuditState) -> Result<u64, ViewError> {
    let mut desk = desk(ctx)?;
    desk.audits += 1;
    ctx.rows.put(RowKey::Audit(desk.audits), AuditRow { entry, at: ctx.now, state, refused: None });
    ctx.rows.put(RowKey::Desk, desk);
    Ok(desk.audits)
}

fn end(ctx: &mut Context<'_>, id: u64, refused: Option<Code>) -> Result<Reply, ViewError> {
    let key = RowKey::Audit(id);
    let Some(row) = ctx.rows.row::<AuditRow>(&key)?.map(|row| row.clone()) else { return Ok(Reply::Rejected(Code::NotFound)) };
    if row.state == AuditState::Begun {
        let state = if refused.is_some() { AuditState::Refused } else { AuditState::Done };
        ctx.rows.put(key, AuditRow { state, refused, ..row });
    }
    Ok(Reply::Done)
}

fn desk(ctx: &Context<'_>) -> Result<DeskRow, ViewError> {
    Ok(ctx.rows.row::<DeskRow>(&RowKey::Desk)?.map_or_else(DeskRow::default, |row| *row))
}
