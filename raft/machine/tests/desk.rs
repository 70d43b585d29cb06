//! The desk by example: reports of one record are one, closing one is logged, an entry of the audit log gets its outcome once.

use kith_machine::{Applied, desk, reply::Reply, testing::Script};
use kith_wire::{
    code::Code,
    desk::{AuditAct, AuditEntry, AuditState, DeskChange},
    id::{ChannelId, Seq, UserId},
    limit,
};

fn channel() -> ChannelId {
    ChannelId::direct(Script::user(0), Script::user(1))
}

fn apply(script: &mut Script, change: DeskChange) -> Reply {
    let Applied { replies, .. } = script.propose(change.command());
    replies[0].clone()
}

fn report(by: u8, seq: u64, reason: &str) -> DeskChange {
    DeskChange::Report { by: Script::user(by), channel: channel(), seq: Seq::new(seq), sender: Script::user(1), reason: reason.to_owned() }
}

fn entry(act: AuditAct) -> AuditEntry {
    AuditEntry { by: Script::user(0), token: None, act, user: Some(Script::user(1)), channel: None, number: 0, note: "why".to_owned() }
}

#[test]
fn reports_of_one_record_are_one_and_a_closed_one_is_in_the_audit_log() {
    let mut script = Script::new();
    assert_eq!(apply(&mut script, report(0, 5, "rude")), Reply::Done);
    assert_eq!(apply(&mut script, report(0, 5, "rude again")), Reply::Done, "the same person is not counted again");
    assert_eq!(apply(&mut script, report(2, 5, "false")), Reply::Done);
    assert_eq!(apply(&mut script, report(2, 9, "spam")), Reply::Done);
    let open = desk::reports(&script.view, 0, 9).expect("readable");
    assert_eq!(open.iter().map(|(id, row)| (*id, row.seq.get(), row.count)).collect::<Vec<_>>(), [(1, 5, 2), (2, 9, 1)]);
    assert_eq!(open[0].1.reasons.iter().map(|one| one.reason.as_str()).collect::<Vec<_>>(), ["rude", "false"]);
    assert_eq!(desk::reports(&script.view, 1, 9).expect("readable").len(), 1);

    let close = |id| DeskChange::Close { id, by: Script::user(0), token: None, note: "warned".to_owned() };
    assert_eq!(apply(&mut script, close(1)), Reply::Done);
    assert_eq!(apply(&mut script, close(1)), Reply::Rejected(Code::NotFound));
    let logged = desk::audit(&script.view, u64::MAX, 9).expect("readable");
    assert_eq!(logged.len(), 1);
    let (id, row) = &logged[0];
    assert_eq!((*id, row.entry.act, row.entry.number, row.state), (1, AuditAct::CloseReport, 5, AuditState::Done));
    assert_eq!(apply(&mut script, report(0, 5, "again")), Reply::Done, "a new report of what was seen to");
    assert_eq!(desk::reports(&script.view, 0, 9).expect("readable").len(), 2);
}

#[test]
fn reasons_are_bounded_and_reports_are_counted_all_the_same() {
    let mut script = Script::new();
    for by in 0..20 {
        let report =
            DeskChange::Report { by: UserId::new(100 + by), channel: channel(), seq: Seq::new(5), sender: Script::user(1), reason: String::new() };
        apply(&mut script, report);
    }
    let (_, row) = desk::reports(&script.view, 0, 1).expect("readable").remove(0);
    assert_eq!((row.reasons.len(), row.count), (limit::REPORT_REASONS_KEPT, 20));
    let long = "x".repeat(limit::NOTE_CHARS_MAX + 1);
    assert_eq!(apply(&mut script, report(0, 7, &long)), Reply::Rejected(Code::TooLarge));
    assert_eq!(apply(&mut script, DeskChange::Begin(AuditEntry { note: long, ..entry(AuditAct::Ban) })), Reply::Rejected(Code::TooLarge));
}

#[test]
fn an_entry_of_the_audit_log_gets_its_number_and_its_outcome_once() {
    let mut script = Script::new();
    assert_eq!(apply(&mut script, DeskChange::Begin(entry(AuditAct::Ban))), Reply::Kept { id: 1 });
    assert_eq!(apply(&mut script, DeskChange::Begin(entry(AuditAct::Unban))), Reply::Kept { id: 2 });
    apply(&mut script, DeskChange::End { id: 1, refused: Some(Code::NoSuchUser) });
    apply(&mut script, DeskChange::End { id: 1, refused: None });
    assert_eq!(apply(&mut script, DeskChange::End { id: 7, refused: None }), Reply::Rejected(Code::NotFound));
    let logged = desk::audit(&script.view, u64::MAX, 9).expect("readable");
    let shown: Vec<_> = logged.iter().map(|(id, row)| (*id, row.state, row.refused)).collect();
    assert_eq!(shown, [(2, AuditState::Begun, None), (1, AuditState::Refused, Some(Code::NoSuchUser))], "the newest first");
    assert_eq!(desk::audit(&script.view, 2, 9).expect("readable").len(), 1);
    assert_eq!(desk::audit(&script.view, 1, 9).expect("readable"), []);
}
