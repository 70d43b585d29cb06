//! Moderation: `kith.log.v1` and `kith.client.v1`.

use bytes::Bytes;
use prost::Message as _;

use super::{
    Field, at_most, message, nested, numbered, proto,
    proto::{
        client::v1::{self as client, desk_answer::Answer as AnswerKind, desk_request::Ask as AskKind},
        log::v1::{self as log, desk_command::Change as ChangeKind},
    },
    top, union, wrapper,
};
use crate::{
    desk::{
        AuditAct, AuditEntry, AuditRow, AuditState, AuditView, DeskAnswer, DeskChange, DeskRequest, DeskRow, ReportIdRow, ReportReason, ReportRow,
        ReportView,
    },
    error::{DecodeError, Why},
    limit,
};

top!(log: DeskRow, ReportRow, ReportIdRow, AuditRow);

wrapper!(DeskChange => log::DeskCommand.change);
nested!(DeskChange, log::DeskCommand);
union!(DeskChange => ChangeKind {
    Report: log::DeskReport { by, channel, seq, sender, reason },
    Close: log::DeskClose { id, by, token, note },
    End: log::DeskEnd { id, refused },
    ; holds Begin, Hook
});
message!(AuditEntry => log::AuditEntry { by, token, act, user, channel, number, note });
message!(AuditRow => log::AuditRow { entry, at, state, refused });
message!(DeskRow => log::DeskRow { reports, open, audits });
message!(ReportRow => log::ReportRow { channel, seq, sender, first, last, count, reasons });
message!(ReportReason => log::ReportReason { by, reason });
message!(ReportIdRow => log::ReportIdRow { id });
numbered!(AuditState => log::AuditState { Begun, Done, Refused });
numbered!(AuditAct => log::AuditAct {
    Ban, Unban, CloseReport, ResetLink, MakeAdmin, EndAdmin, ReplaceNode, AddWebhook, RemoveWebhook, DisableWebhook,
    ApplyLayout, AddNode, Decommission, Recommission, Drain, MakeJoin, RevokeJoin, Join, MoveBuckets, CancelMove, FinalizeUpgrade,
    MakeAdminToken, RevokeAdminToken, ClaimAdminToken, FirstAdminToken
});

wrapper!(DeskRequest => client::DeskRequest.ask check check_request);
nested!(DeskRequest, client::DeskRequest);
union!(DeskRequest => AskKind {
    Report: client::ReportRecord { channel, seq, reason },
    Reports: client::ListReports { after },
    CloseReport: client::CloseReport { id, note },
    Ban: client::BanUser { name, banned, note },
    Audit: client::ListAudit { before },
});
wrapper!(DeskAnswer => client::DeskAnswer.answer check check_answer);
nested!(DeskAnswer, client::DeskAnswer);
union!(DeskAnswer => AnswerKind {
    Reports: client::ReportList { reports, more },
    Audit: client::AuditList { entries, more },
    ; holds
    ; empty Done
});
message!(ReportView => client::ReportView { id, row, text });
message!(AuditView => client::AuditView { id, row });

fn check_request(request: &DeskRequest) -> Result<(), DecodeError> {
    match request {
        DeskRequest::Report { reason: text, .. } | DeskRequest::CloseReport { note: text, .. } => {
            at_most(text.chars().count(), limit::NOTE_CHARS_MAX, "reason")
        }
        DeskRequest::Ban { name, note, .. } => {
            at_most(name.len(), limit::NAME_BYTES_MAX, "name")?;
            at_most(note.chars().count(), limit::NOTE_CHARS_MAX, "note")
        }
        DeskRequest::Reports { .. } | DeskRequest::Audit { .. } => Ok(()),
    }
}

fn check_answer(answer: &DeskAnswer) -> Result<(), DecodeError> {
    match answer {
        DeskAnswer::Reports { reports, .. } => at_most(reports.len(), limit::DESK_PAGE_MAX, "reports"),
        DeskAnswer::Audit { entries, .. } => at_most(entries.len(), limit::DESK_PAGE_MAX, "entries"),
        DeskAnswer::Done => Ok(()),
    }
}
