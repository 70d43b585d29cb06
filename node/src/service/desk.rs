//! Moderation as any node serves it: reports, bans, and the log of what operators do.
//!
//! In: a member's report, an operator's requests. Out: changes at the desk, at a user's home, pages of both lists. Invariants: what is reported was
//! looked up as the reporter may read it; what an operator does is logged before it is done, and without that it is not done (a node is replaced
//! all the same: the log may be what the dead node took along). Bounds: `limit::DESK_PAGE_MAX`; reports of one user are counted (`auth::gate`).
//! Not here: the rows (kith-machine's `desk`).

use std::time::Duration;

use futures_util::{StreamExt, stream};
use kith_machine::desk as rows;
use kith_raft::GroupHandle;
use kith_wire::{
    client::{Answer, Refusal, Request},
    code::Code,
    desk::{self, AuditAct, AuditEntry, AuditView, DeskAnswer, DeskChange, DeskRequest, ReportView},
    id::UserId,
    limit,
    log::{Content, UserChange},
    peer::{Caller, Inner, InnerAnswer},
};

use super::{
    account,
    local::{broken, not_proposed, view},
};
use crate::{
    auth::gate::Gate,
    clock::Instant,
    router::{Router, refuse},
};

/// The desk. Clones are of the same node.
#[derive(Clone, Debug)]
pub struct Desk {
    router: Router,
    gate: Gate,
}

impl Desk {
    /// Over a router.
    pub const fn new(router: Router, gate: Gate) -> Self {
        Self { router, gate }
    }

    /// Does a request. Whether the caller may was checked.
    ///
    /// # Errors
    /// A refusal with a stable code.
    pub async fn handle(&self, caller: &Caller, asked: DeskRequest, deadline: Instant) -> Result<DeskAnswer, Refusal> {
        match asked {
            DeskRequest::Report { channel, seq, reason } => {
                self.gate.report(caller.user)?;
                let read = Inner::ReadRecord { channel, user: caller.user, seq };
                let InnerAnswer::Source { record } = self.router.inner(channel.bucket(), read, deadline).await? else {
                    return Err(refuse(Code::Internal));
                };
                let record = record.ok_or_else(|| refuse(Code::NotFound))?;
                match record.content {
                    Content::Text { .. } if record.sender == caller.user => Err(refuse(Code::Invalid).with_text("nobody reports what they wrote")),
                    Content::Text { .. } => {
                        let change = DeskChange::Report { by: caller.user, channel, seq, sender: record.sender, reason };
                        self.change(change, deadline).await.map(|_| DeskAnswer::Done)
                    }
                    Content::Gone { .. } => Err(refuse(Code::TextGone)),
                    _ => Err(refuse(Code::Invalid).with_text("only texts are reported")),
                }
            }
            DeskRequest::CloseReport { id, note } => {
                self.change(DeskChange::Close { id, by: caller.user, token: caller.token, note }, deadline).await.map(|_| DeskAnswer::Done)
            }
            DeskRequest::Ban { name, banned, note } => self.ban(caller, &name, banned, note, deadline).await,
            DeskRequest::Audit { .. } => self.listed(caller, asked, deadline).await,
            DeskRequest::Reports { .. } => match self.listed(caller, asked, deadline).await? {
                DeskAnswer::Reports { reports, more } => Ok(DeskAnswer::Reports { reports: self.with_texts(reports, deadline).await, more }),
                other => Ok(other),
            },
        }
    }

    /// Logs what an operator is about to do, has it done, and logs what came of it.
    ///
    /// # Errors
    /// The log does not take it; or as the work.
    pub async fn audited<T>(&self, entry: AuditEntry, deadline: Instant, work: impl Future<Output = Result<T, Refusal>>) -> Result<T, Refusal> {
        let InnerAnswer::Kept { id } = self.change(DeskChange::Begin(entry), deadline).await? else { return Err(refuse(Code::Internal)) };
        let done = work.await;
        self.ended(id, &done, deadline).await;
        done
    }

    /// As [`Desk::audited`], for what must be possible when the desk's group has no leader: that it is not logged is said.
    ///
    /// # Errors
    /// As the work.
    pub async fn audited_if_possible<T>(
        &self,
        entry: AuditEntry,
        deadline: Instant,
        work: impl Future<Output = Result<T, Refusal>>,
    ) -> Result<T, Refusal> {
        let soon = deadline.min(self.router.clock().instant() + LOG_WITHIN);
        let act = entry.act;
        match self.change(DeskChange::Begin(entry), soon).await {
            Ok(InnerAnswer::Kept { id }) => {
                let done = work.await;
                self.ended(id, &done, deadline).await;
                done
            }
            refused => {
                let code = refused.err().map_or(Code::Internal, |refusal| refusal.code);
                tracing::info!(%code, act = act.name(), "service.desk: an operator's act could not be logged, and is done all the same");
                work.await
            }
        }
    }

    /// If this is lost, the entry says only that it was begun.
    async fn ended<T>(&self, id: u64, done: &Result<T, Refusal>, deadline: Instant) {
        let refused = done.as_ref().err().map(|refusal| refusal.code);
        if let Err(refusal) = self.change(DeskChange::End { id, refused }, deadline).await {
            tracing::debug!(code = %refusal.code, id, "service.desk: the outcome of an operator's act is not logged");
        }
    }

    async fn ban(&self, caller: &Caller, name: &str, banned: bool, note: String, deadline: Instant) -> Result<DeskAnswer, Refusal> {
        let user = self.user(name, deadline).await?;
        if user == caller.user {
            return Err(refuse(Code::Invalid).with_text("an operator does not ban themselves"));
        }
        let act = if banned { AuditAct::Ban } else { AuditAct::Unban };
        let entry = AuditEntry { by: caller.user, token: caller.token, act, user: Some(user), channel: None, number: 0, note };
        let change = Inner::User { user, change: UserChange::SetBanned { banned } };
        self.audited(entry, deadline, self.router.inner(user.bucket(), change, deadline)).await.map(|_| DeskAnswer::Done)
    }

    /// Whom an operator means.
    ///
    /// # Errors
    /// `NoSuchUser`; or the name's group has no leader.
    pub async fn user(&self, name: &str, deadline: Instant) -> Result<UserId, Refusal> {
        match account::find_user(&self.router, name, deadline).await? {
            Answer::Users(users) => users.first().map(|view| view.user).ok_or_else(|| refuse(Code::NoSuchUser)),
            _ => Err(refuse(Code::Internal)),
        }
    }

    async fn listed(&self, caller: &Caller, asked: DeskRequest, deadline: Instant) -> Result<DeskAnswer, Refusal> {
        match self.router.forward(caller, desk::bucket(), Request::Desk(asked), deadline).await? {
            Answer::Desk(answer) => Ok(answer),
            _ => Err(refuse(Code::Internal)),
        }
    }

    /// What the reported records say now, read as who reported them first may: what was deleted since is gone here too.
    async fn with_texts(&self, reports: Vec<ReportView>, deadline: Instant) -> Vec<ReportView> {
        let read = reports.into_iter().map(|report| async move {
            let Some(by) = report.row.reasons.first().map(|reason| reason.by) else { return report };
            let read = Inner::ReadRecord { channel: report.row.channel, user: by, seq: report.row.seq };
            let text = match self.router.inner(report.row.channel.bucket(), read, deadline).await {
                Ok(InnerAnswer::Source { record: Some(record) }) => record.content.text().map(|text| text.chars().take(TEXT_CHARS_SHOWN).collect()),
                _ => None,
            };
            ReportView { text, ..report }
        });
        stream::iter(read.collect::<Vec<_>>()).buffered(READ_AT_ONCE).collect().await
    }

    async fn change(&self, change: DeskChange, deadline: Instant) -> Result<InnerAnswer, Refusal> {
        self.router.inner(desk::bucket(), Inner::Desk(change), deadline).await
    }
}

/// A page, at the leader of the desk's group.
pub(super) async fn page(handle: &GroupHandle, caller: &Caller, asked: DeskRequest) -> Result<Answer, Refusal> {
    if caller.admin.is_none() {
        return Err(refuse(Code::NotAdmin));
    }
    handle.read_barrier().await.map_err(not_proposed)?;
    let view = view(handle)?;
    let answer = match asked {
        DeskRequest::Reports { after } => {
            let mut found = rows::reports(&view, after, limit::DESK_PAGE_MAX + 1).map_err(|error| broken(&error))?;
            let more = found.len() > limit::DESK_PAGE_MAX;
            found.truncate(limit::DESK_PAGE_MAX);
            DeskAnswer::Reports { reports: found.into_iter().map(|(id, row)| ReportView { id, row, text: None }).collect(), more }
        }
        DeskRequest::Audit { before } => {
            let before = if before == 0 { u64::MAX } else { before };
            let mut found = rows::audit(&view, before, limit::DESK_PAGE_MAX + 1).map_err(|error| broken(&error))?;
            let more = found.len() > limit::DESK_PAGE_MAX;
            found.truncate(limit::DESK_PAGE_MAX);
            DeskAnswer::Audit { entries: found.into_iter().map(|(id, row)| AuditView { id, row }).collect(), more }
        }
        DeskRequest::Report { .. } | DeskRequest::CloseReport { .. } | DeskRequest::Ban { .. } => return Err(refuse(Code::Unsupported)),
    };
    Ok(Answer::Desk(answer))
}

/// For the log to take an entry that may be done without.
const LOG_WITHIN: Duration = Duration::from_secs(3);
/// Reported records that are read at once.
const READ_AT_ONCE: usize = 8;
/// Of a reported text, in Unicode scalar values: a page of the longest ones would fit no frame.
const TEXT_CHARS_SHOWN: usize = 1_000;
