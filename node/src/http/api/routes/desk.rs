//! Moderation: reports of texts, and what operators do about them.

use axum::{Json, extract::State, response::Response};
use kith_wire::{
    client::{Answer, Request},
    code::Code,
    desk::{AuditAct, AuditEntry, AuditRow, AuditState, AuditView, DeskAnswer, DeskRequest, ReportView},
    id::{HookId, UserId},
    trust::TokenId,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{
    super::{
        Api,
        extract::{Body, Digest, Key, Params, Query, Who, numbered, part, seq},
        number,
        once::once,
        problem::Problem,
        unexpected,
    },
    channels::done,
    webhooks::webhook_text,
    write::{Done, channel},
};

/// Why a text is reported.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct NewReport {
    /// In the words of whoever reports it.
    #[schema(min_length = 1, max_length = 500, example = "spam")]
    reason: String,
}

/// Report a text
///
/// Tells the operators of a text of somebody else. Reports of one text are one, with a count.
#[utoipa::path(
    post, path = "/v1/channels/{channel}/messages/{seq}/reports", tag = "messages", operation_id = "report",
    params(
        ("channel" = String, Path, description = "The channel's id, or @ and a user's name", example = "@bob"),
        ("seq" = u64, Path, description = "The text's place", minimum = 1, maximum = 9_007_199_254_740_991u64),
    ),
    request_body = NewReport,
    responses((status = 200, description = "The operators see it", body = Done)),
)]
pub(in super::super) async fn report(
    State(api): State<Api>,
    who: Who,
    key: Option<Key>,
    params: Params,
    body: Body<NewReport>,
) -> Result<Response, Problem> {
    let (channel, seq) = (channel(&api, &who, &params).await?, seq(&params)?);
    let asked = DeskRequest::Report { channel, seq, reason: body.value.reason };
    once(&api, who.caller.user, key, body.digest, done(&api, &who, Request::Desk(asked))).await
}

/// Where in the list of reports.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct ReportsParams {
    /// Reports after this one: the `next` of a page before.
    #[serde(default, deserialize_with = "number::maybe")]
    #[param(maximum = 9_007_199_254_740_991u64)]
    after: Option<u64>,
}

/// Open reports.
#[derive(Serialize, ToSchema)]
pub(in super::super) struct Reports {
    /// The oldest first; at most 100.
    reports: Vec<Report>,
    /// What follows, for `after`; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<u64>,
}

/// A reported text that nobody has seen to.
#[derive(Serialize, ToSchema)]
struct Report {
    /// Its number: it is closed by this.
    report: u64,
    /// Where.
    channel: String,
    /// Which text.
    seq: u64,
    /// Who wrote it.
    sender: String,
    /// The start of what it says now; absent: nothing any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    /// How often it was reported.
    count: u32,
    /// Of the first five who did.
    reasons: Vec<Reason>,
    /// When it was first reported, in milliseconds since 1970.
    first_ms: u64,
    /// When it was last reported.
    last_ms: u64,
}

/// Why somebody reported a text.
#[derive(Serialize, ToSchema)]
#[schema(as = ReportReason)]
struct Reason {
    /// Who.
    by: String,
    /// In their words.
    reason: String,
}

impl From<ReportView> for Report {
    fn from(view: ReportView) -> Self {
        let row = view.row;
        Self {
            report: view.id,
            channel: row.channel.to_string(),
            seq: row.seq.get(),
            sender: row.sender.to_string(),
            text: view.text,
            count: row.count,
            reasons: row.reasons.into_iter().map(|one| Reason { by: one.by.to_string(), reason: one.reason }).collect(),
            first_ms: row.first.get(),
            last_ms: row.last.get(),
        }
    }
}

/// List open reports
///
/// Needs an operator's token.
#[utoipa::path(
    get, path = "/v1/reports", tag = "operators", operation_id = "reports", params(ReportsParams),
    responses((status = 200, description = "A page", body = Reports)),
)]
pub(in super::super) async fn reports(State(api): State<Api>, who: Who, Query(asked): Query<ReportsParams>) -> Result<Json<Reports>, Problem> {
    match desk(&api, &who, DeskRequest::Reports { after: asked.after.unwrap_or_default() }).await? {
        DeskAnswer::Reports { reports, more } => {
            let next = reports.last().filter(|_| more).map(|last| last.id);
            Ok(Json(Reports { reports: reports.into_iter().map(Report::from).collect(), next }))
        }
        _ => Err(unexpected()),
    }
}

/// What was done about it, or why; it stands in the audit log.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct Note {
    /// In the operator's words.
    #[serde(default)]
    #[schema(max_length = 500, example = "seen to")]
    note: String,
}

/// Close a report
///
/// Needs an operator's token.
#[utoipa::path(
    post, path = "/v1/reports/{report}/close", tag = "operators", operation_id = "closeReport",
    params(("report" = u64, Path, description = "Its number", minimum = 1, maximum = 9_007_199_254_740_991u64)),
    request_body = Note,
    responses((status = 200, description = "Closed", body = Done)),
)]
pub(in super::super) async fn close(
    State(api): State<Api>,
    who: Who,
    key: Option<Key>,
    params: Params,
    body: Body<Note>,
) -> Result<Response, Problem> {
    let asked = DeskRequest::CloseReport { id: numbered(&params, "report")?, note: body.value.note };
    once(&api, who.caller.user, key, body.digest, done(&api, &who, Request::Desk(asked))).await
}

/// Shut a user out of the cluster
///
/// Their sessions end within a second; no password and no token opens another one. Needs an operator's token.
#[utoipa::path(
    put, path = "/v1/bans/{name}", tag = "operators", operation_id = "banUser",
    params(("name" = String, Path, description = "The user's name", min_length = 1, max_length = 64)),
    request_body = Note,
    responses((status = 200, description = "Shut out", body = Done)),
)]
pub(in super::super) async fn ban(State(api): State<Api>, who: Who, key: Option<Key>, params: Params, body: Body<Note>) -> Result<Response, Problem> {
    let asked = DeskRequest::Ban { name: part(&params, "name")?, banned: true, note: body.value.note };
    once(&api, who.caller.user, key, body.digest, done(&api, &who, Request::Desk(asked))).await
}

/// Let a user in again who was shut out of the cluster
///
/// Needs an operator's token.
#[utoipa::path(
    delete, path = "/v1/bans/{name}", tag = "operators", operation_id = "unbanUser",
    params(("name" = String, Path, description = "The user's name", min_length = 1, max_length = 64)),
    responses((status = 200, description = "Let in", body = Done)),
)]
pub(in super::super) async fn unban(
    State(api): State<Api>,
    who: Who,
    key: Option<Key>,
    Digest(digest): Digest,
    params: Params,
) -> Result<Response, Problem> {
    let asked = DeskRequest::Ban { name: part(&params, "name")?, banned: false, note: String::new() };
    once(&api, who.caller.user, key, digest, done(&api, &who, Request::Desk(asked))).await
}

/// Where in the audit log.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct AuditParams {
    /// Entries before this one: the `next` of a page before. 0 or absent: from the newest.
    #[serde(default, deserialize_with = "number::maybe")]
    #[param(maximum = 9_007_199_254_740_991u64)]
    before: Option<u64>,
}

/// What operators did.
#[derive(Serialize, ToSchema)]
pub(in super::super) struct Audit {
    /// The newest first; at most 100.
    entries: Vec<Entry>,
    /// What follows, for `before`; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<u64>,
}

/// Something that an operator did.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditEntry)]
struct Entry {
    /// Its number.
    entry: u64,
    /// When, in milliseconds since 1970.
    at_ms: u64,
    /// Who; absent: a token of nobody, made on a node's own machine, or the cluster itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    /// The admin token by which it was done.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    /// What.
    #[schema(example = "ban")]
    act: &'static str,
    /// To whom.
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    /// Where.
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<String>,
    /// Of a record, a report or a node, decimal; of a webhook or a token, as it is listed.
    #[serde(skip_serializing_if = "Option::is_none")]
    of: Option<String>,
    /// Why, in the operator's words.
    note: String,
    /// How far it has come.
    state: Progress,
    /// The code by which it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<u16>,
}

/// How far an operator's act has come.
#[derive(Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = AuditState)]
enum Progress {
    /// Asked for; the node that did so may have ended before it was done.
    Begun,
    /// Done.
    Done,
    /// Refused.
    Refused,
}

impl From<AuditView> for Entry {
    fn from(view: AuditView) -> Self {
        let AuditRow { entry, at, state, refused } = view.row;
        Self {
            entry: view.id,
            at_ms: at.get(),
            by: (entry.by != UserId::new(0)).then(|| entry.by.to_string()),
            token: entry.token.map(|token| token.to_string()),
            act: entry.act.name(),
            user: entry.user.map(|user| user.to_string()),
            channel: entry.channel.map(|channel| channel.to_string()),
            of: of(&entry),
            note: entry.note,
            state: match state {
                AuditState::Begun => Progress::Begun,
                AuditState::Done => Progress::Done,
                AuditState::Refused => Progress::Refused,
            },
            refused: refused.map(Code::number),
        }
    }
}

fn of(entry: &AuditEntry) -> Option<String> {
    match entry.act {
        _ if entry.number == 0 => None,
        AuditAct::AddWebhook | AuditAct::RemoveWebhook | AuditAct::DisableWebhook => Some(webhook_text(HookId::new(entry.number))),
        AuditAct::RevokeJoin | AuditAct::MakeAdminToken | AuditAct::RevokeAdminToken | AuditAct::ClaimAdminToken | AuditAct::FirstAdminToken => {
            Some(TokenId::new(entry.number).to_string())
        }
        _ => Some(entry.number.to_string()),
    }
}

/// Read the audit log
///
/// What operators did, and what came of it. Needs an operator's token.
#[utoipa::path(
    get, path = "/v1/audit", tag = "operators", operation_id = "audit", params(AuditParams),
    responses((status = 200, description = "A page", body = Audit)),
)]
pub(in super::super) async fn audit(State(api): State<Api>, who: Who, Query(asked): Query<AuditParams>) -> Result<Json<Audit>, Problem> {
    match desk(&api, &who, DeskRequest::Audit { before: asked.before.unwrap_or_default() }).await? {
        DeskAnswer::Audit { entries, more } => {
            let next = entries.last().filter(|_| more).map(|last| last.id);
            Ok(Json(Audit { entries: entries.into_iter().map(Entry::from).collect(), next }))
        }
        _ => Err(unexpected()),
    }
}

async fn desk(api: &Api, who: &Who, asked: DeskRequest) -> Result<DeskAnswer, Problem> {
    match api.ask(&who.caller, Request::Desk(asked)).await? {
        Answer::Desk(answer) => Ok(answer),
        _ => Err(unexpected()),
    }
}
