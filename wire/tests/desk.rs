//! Moderation and webhooks: what is promised and stored keeps its bytes, and a webhook's key is printed by nothing.
#![allow(clippy::unwrap_used)]

mod support;

use bytes::Bytes;
use kith_wire::{
    act::{Act, Timer},
    client::{Request, ToEdge},
    code::Code,
    desk::*,
    hook::*,
    id::*,
    log::*,
};
use support::golden::{self, hex};

fn channel() -> ChannelId {
    ChannelId::direct(UserId::new(1), UserId::new(2))
}

fn hook(scope: HookScope) -> Hook {
    let (secret, at) = (HookKey::new(Bytes::from_static(b"a key that nothing prints")), Timestamp::new(9));
    let url = "https://example.com/hook".to_owned();
    Hook { id: HookId::new(7), scope, url, secret, events: HookEvents::ALL, by: UserId::new(1), made: at, disabled: Timestamp::new(0) }
}

fn commands() -> Vec<Command> {
    let entry = AuditEntry {
        by: UserId::new(1),
        token: None,
        act: AuditAct::Ban,
        user: Some(UserId::new(2)),
        channel: Some(channel()),
        number: 3,
        note: "why".into(),
    };
    let id = HookId::new(7);
    let report = DeskChange::Report { by: UserId::new(1), channel: channel(), seq: Seq::new(5), sender: UserId::new(2), reason: "spam".into() };
    vec![
        report.command(),
        DeskChange::Close { id: 4, by: UserId::new(1), token: None, note: "seen".into() }.command(),
        DeskChange::Begin(entry).command(),
        DeskChange::End { id: 4, refused: Some(Code::NoSuchUser) }.command(),
        DeskChange::Hook(HookChange::Put(hook(HookScope::All))).command(),
        Command::ChannelHook { channel: channel(), by: UserId::new(1), change: HookChange::Remove(id) },
        Command::ChannelHook { channel: channel(), by: UserId::new(0), change: HookChange::Disable { id } },
        Command::SetHooks { hooks: HooksRow { version: 2, hooks: vec![hook(HookScope::User(UserId::new(3)))] } },
        Command::Hooked { channel: channel(), acks: vec![HookAck { hook: id, seq: Seq::new(8), failing: Timestamp::new(6) }] },
        Command::Fire { channel: channel(), due: Timestamp::new(5), timer: Timer::Erase(UserId::new(2)), refused: None },
    ]
}

fn requests() -> Vec<Request> {
    let (scope, id) = (HookScope::Channel(channel()), HookId::new(7));
    let hook = hook(scope);
    vec![
        Request::Desk(DeskRequest::Report { channel: channel(), seq: Seq::new(5), reason: "spam".into() }),
        Request::Desk(DeskRequest::Reports { after: 3 }),
        Request::Desk(DeskRequest::CloseReport { id: 3, note: "seen".into() }),
        Request::Desk(DeskRequest::Ban { name: "eve".into(), banned: true, note: "spam".into() }),
        Request::Desk(DeskRequest::Audit { before: 9 }),
        Request::Hook(HookRequest::Add { scope, url: hook.url, secret: hook.secret, events: HookEvents::CREATED, key: 5 }),
        Request::Hook(HookRequest::List(HookScope::All)),
        Request::Hook(HookRequest::Remove { scope, id }),
        Request::Hook(HookRequest::Test { scope, id }),
    ]
}

#[test]
fn moderation_and_webhooks_have_the_bytes_they_always_had() {
    let mut lines = Vec::new();
    for (at, command) in commands().into_iter().enumerate() {
        let item = Item { bucket: None, command };
        let bytes = item.encode();
        assert_eq!(Item::decode(&bytes).unwrap(), item);
        lines.push((format!("command {at}"), hex(&bytes)));
    }
    for (at, request) in requests().into_iter().enumerate() {
        let asked = ToEdge::Request { id: RequestId::new(7), request };
        let bytes = asked.encode();
        assert_eq!(ToEdge::decode(&bytes).unwrap(), asked);
        lines.push((format!("request {at}"), hex(&bytes)));
    }
    let ban = Act::Ban { user: UserId::new(2), on: true };
    assert_eq!(Act::decode(&ban.encode()).unwrap(), ban);
    lines.push(("ban".to_owned(), hex(&ban.encode())));
    golden::check("desk.txt", &lines);
}

#[test]
fn a_webhooks_key_is_printed_by_nothing() {
    let shown = format!("{:?} {:?} {:?}", hook(HookScope::All), commands(), requests());
    assert!(!shown.contains("that nothing prints") && shown.contains("HookKey(…)"));
}

#[test]
fn a_longer_note_or_url_is_refused_where_it_comes_in() {
    let refused = |request| ToEdge::decode(&ToEdge::Request { id: RequestId::new(7), request }.encode());
    let long = "x".repeat(kith_wire::limit::NOTE_CHARS_MAX + 1);
    let report = Request::Desk(DeskRequest::Report { channel: channel(), seq: Seq::new(5), reason: long });
    assert!(matches!(refused(report), Ok(ToEdge::Unreadable { .. }) | Err(_)));
    let url = "x".repeat(kith_wire::limit::HOOK_URL_BYTES_MAX + 1);
    let Hook { secret, .. } = hook(HookScope::All);
    let add = Request::Hook(HookRequest::Add { scope: HookScope::All, url, secret, events: HookEvents::ALL, key: 1 });
    assert!(matches!(refused(add), Ok(ToEdge::Unreadable { .. }) | Err(_)));
}
