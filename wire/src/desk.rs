//! Moderation: what members report, what operators do about it, and the log of all that operators do.
//!
//! All of it lies in one bucket, the desk's, apart from what people say. In: fields of `kith.log.v1` and `kith.client.v1`. Out: parsed types.
//! Invariants: what an operator does is logged before it is done, and its outcome after; an entry is never changed otherwise, and never goes.
//! Bounds: `limit::REPORTS_OPEN_MAX` and those after it. Not here: who may (the node), where the rows lie (kith-storage).

use crate::{
    code::Code,
    hook::HookChange,
    id::{Bucket, ChannelId, RegionId, Seq, Timestamp, UserId, hash},
    log::Command,
    trust::TokenId,
};

/// A change at the desk. Stored: a field number in the proto, never reused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DeskChange {
    /// A member reports a record. Reports of one record are one, with a count.
    Report { by: UserId, channel: ChannelId, seq: Seq, sender: UserId, reason: String },
    /// An operator has seen to a report.
    Close { id: u64, by: UserId, token: Option<TokenId>, note: String },
    /// An operator is about to do something. Answered with the number of the entry.
    Begin(AuditEntry),
    /// Webhooks of all channels, or of those that a user is in.
    Hook(HookChange),
    /// What came of it: nothing refused it, or this did.
    End { id: u64, refused: Option<Code> },
}

/// What operators do that is logged. The number is stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AuditAct {
    /// 1: shuts a user out.
    Ban,
    /// 2: lets them in again.
    Unban,
    /// 3: has seen to a report.
    CloseReport,
    /// 4: makes a one-time code that resets a user's password.
    ResetLink,
    /// 5: gives a user an operator's rights.
    MakeAdmin,
    /// 6: takes them.
    EndAdmin,
    /// 7: puts a new node in the place of a dead one.
    ReplaceNode,
    /// 8: has the cluster's events sent somewhere.
    AddWebhook,
    /// 9: no longer.
    RemoveWebhook,
    /// 10: the cluster itself gave up on a webhook that failed for days.
    DisableWebhook,
    /// 20: carries out what the planner says.
    ApplyLayout,
    /// 21: adds a node.
    AddNode,
    /// 22: empties a node for good.
    Decommission,
    /// 23: keeps a node that was being emptied.
    Recommission,
    /// 24: has a node give up sessions and leaderships, or take them again.
    Drain,
    /// 25: makes a token that lets a node join.
    MakeJoin,
    /// 26: ends one.
    RevokeJoin,
    /// 27: a node has joined.
    Join,
    /// 28: makes an admin token.
    MakeAdminToken,
    /// 29: ends one.
    RevokeAdminToken,
    /// 30: makes one by the cluster's first.
    ClaimAdminToken,
    /// 31: the cluster's first one was shown to whoever started it.
    FirstAdminToken,
    /// 40: has buckets moved from one shard to another.
    MoveBuckets,
    /// 41: gives such a move up.
    CancelMove,
    /// 45: raises the version of the cluster.
    FinalizeUpgrade,
}

impl AuditAct {
    /// As it is shown.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ban => "ban",
            Self::Unban => "unban",
            Self::CloseReport => "close-report",
            Self::ResetLink => "reset-link",
            Self::MakeAdmin => "make-admin",
            Self::EndAdmin => "end-admin",
            Self::ReplaceNode => "replace-node",
            Self::AddWebhook => "add-webhook",
            Self::RemoveWebhook => "remove-webhook",
            Self::DisableWebhook => "disable-webhook",
            Self::ApplyLayout => "apply-layout",
            Self::AddNode => "add-node",
            Self::Decommission => "decommission",
            Self::Recommission => "recommission",
            Self::Drain => "drain",
            Self::MakeJoin => "make-join-token",
            Self::RevokeJoin => "revoke-join-token",
            Self::Join => "join",
            Self::MakeAdminToken => "make-admin-token",
            Self::RevokeAdminToken => "revoke-admin-token",
            Self::ClaimAdminToken => "claim-admin-token",
            Self::FirstAdminToken => "first-admin-token",
            Self::MoveBuckets => "move-buckets",
            Self::CancelMove => "cancel-move",
            Self::FinalizeUpgrade => "finalize-upgrade",
        }
    }
}

/// Something that an operator does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuditEntry {
    /// Who; 0: a token of nobody, made on a node's own machine, or the cluster itself.
    pub by: UserId,
    /// The admin token by which it was done.
    pub token: Option<TokenId>,
    /// What.
    pub act: AuditAct,
    /// To whom.
    pub user: Option<UserId>,
    /// Where.
    pub channel: Option<ChannelId>,
    /// Of a record, a report, a node, a webhook or a token; 0: of none.
    pub number: u64,
    /// Why, in the operator's words.
    pub note: String,
}

/// How far an entry has come. The number is stored.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AuditState {
    /// 1: asked for; who did so may have died before it was done.
    Begun,
    /// 2: done.
    Done,
    /// 3: refused.
    Refused,
}

/// An entry of the audit log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuditRow {
    /// What was done.
    pub entry: AuditEntry,
    /// When.
    pub at: Timestamp,
    /// How far it has come.
    pub state: AuditState,
    /// Why it was refused.
    pub refused: Option<Code>,
}

/// The desk itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DeskRow {
    /// Reports so far: numbers them.
    pub reports: u64,
    /// Reports that nobody has seen to.
    pub open: u64,
    /// Entries of the audit log so far: numbers them.
    pub audits: u64,
}

/// A reported record that nobody has seen to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReportRow {
    /// Where.
    pub channel: ChannelId,
    /// Which.
    pub seq: Seq,
    /// Who wrote it.
    pub sender: UserId,
    /// When it was first reported.
    pub first: Timestamp,
    /// When it was last reported.
    pub last: Timestamp,
    /// How often.
    pub count: u32,
    /// Of the first who did; at most `limit::REPORT_REASONS_KEPT`, one each.
    pub reasons: Vec<ReportReason>,
}

/// Why somebody reported it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReportReason {
    /// Who.
    pub by: UserId,
    /// In their words.
    pub reason: String,
}

/// Which report a record is in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReportIdRow {
    /// Its number.
    pub id: u64,
}

/// A request about moderation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DeskRequest {
    /// Reports a record that the asker may read.
    Report { channel: ChannelId, seq: Seq, reason: String },
    /// Open reports, the oldest first, after this one. Operators.
    Reports { after: u64 },
    /// Has seen to a report. Operators.
    CloseReport { id: u64, note: String },
    /// Shuts a user out of the cluster, or lets them in again. Operators.
    Ban { name: String, banned: bool, note: String },
    /// The audit log, the newest first, before this entry; 0: from the newest. Operators.
    Audit { before: u64 },
}

impl DeskRequest {
    /// Whether it needs an operator.
    pub const fn is_operators(&self) -> bool {
        !matches!(self, Self::Report { .. })
    }
}

/// An answer about moderation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DeskAnswer {
    /// Done, nothing to tell.
    Done,
    /// Reports, and whether there are more.
    Reports { reports: Vec<ReportView>, more: bool },
    /// Entries of the audit log, and whether there are older ones.
    Audit { entries: Vec<AuditView>, more: bool },
}

/// A report, as operators see it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReportView {
    /// Its number.
    pub id: u64,
    /// What was reported.
    pub row: ReportRow,
    /// What the record says now; `None`: nothing any more, or it cannot be read at the moment.
    pub text: Option<String>,
}

/// An entry of the audit log, as operators see it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuditView {
    /// Its number.
    pub id: u64,
    /// What was done.
    pub row: AuditRow,
}

/// The desk's bucket, fixed for ever.
pub fn bucket() -> Bucket {
    Bucket { region: RegionId::FIRST, index: (hash(&[b"kith/desk/1"]) >> 48) as u16 }
}

impl DeskChange {
    /// As a command.
    pub const fn command(self) -> Command {
        Command::Desk(self)
    }
}
