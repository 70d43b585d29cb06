//! Who may run the cluster, on the wire: what is promised keeps its bytes, any value survives the way, bounds are met; a token that was changed is none.
#![allow(clippy::unwrap_used)]

mod support;

use bytes::Bytes;
use kith_wire::{
    admin::*,
    client::{Answer, Request, ToClient, ToEdge},
    desk::{AuditAct, AuditEntry, DeskChange},
    id::*,
    limit,
    log::Item,
    peer::{Ask, Caller, FromPeer, Inner, InnerAnswer, ToPeer, Told},
    trust::*,
};
use proptest::prelude::*;
use support::{
    golden::{self, hex},
    sample::{Sample, Source, supply},
};

const ID: RequestId = RequestId::new(7);

fn role(source: &mut Source<'_>) -> AdminRole {
    AdminRole::ALL[(u64::sample(source) % 3) as usize]
}

fn token_id(source: &mut Source<'_>) -> Option<TokenId> {
    bool::sample(source).then(|| TokenId::new(Sample::sample(source)))
}

fn token(source: &mut Source<'_>) -> AdminToken {
    AdminToken {
        token: Sample::sample(source),
        name: Sample::sample(source),
        role: role(source),
        by: Sample::sample(source),
        by_token: token_id(source),
        made: Sample::sample(source),
        until: Sample::sample(source),
        revoked: Sample::sample(source),
        first: Sample::sample(source),
    }
}

fn changes(source: &mut Source<'_>) -> Vec<Item> {
    let entry = AuditEntry {
        by: Sample::sample(source),
        token: Some(TokenId::new(Sample::sample(source))),
        act: AuditAct::RevokeAdminToken,
        user: None,
        channel: None,
        number: Sample::sample(source),
        note: String::new(),
    };
    let close = DeskChange::Close { id: 3, by: UserId::new(0), token: token_id(source), note: String::new() };
    let changes = [
        TrustChange::AddAdmin(token(source)).command(),
        TrustChange::RevokeAdmin { id: TokenId::new(Sample::sample(source)) }.command(),
        TrustChange::ClaimAdmin { first: Sample::sample(source), token: token(source) }.command(),
        DeskChange::Begin(entry).command(),
        close.command(),
    ];
    changes.into_iter().map(|command| Item { bucket: None, command }).collect()
}

fn requests(source: &mut Source<'_>) -> Vec<ToEdge> {
    let requests = [
        TrustRequest::MakeAdmin { name: "grafana".into(), role: role(source), ttl_s: 3_600 },
        TrustRequest::Admins,
        TrustRequest::RevokeAdmin { id: TokenId::new(Sample::sample(source)) },
        TrustRequest::ClaimFirst { token: Sample::sample(source), name: "ann".into() },
        TrustRequest::MakeFirst,
    ];
    requests.into_iter().map(|asked| ToEdge::Request { id: ID, request: Request::Trust(asked) }).collect()
}

fn answers(source: &mut Source<'_>) -> Vec<ToClient> {
    let answers = [TrustAnswer::Admins(vec![AdminView::from(&token(source)), AdminView::from(&token(source))])];
    answers.into_iter().map(|answer| ToClient::Answer { id: ID, answer: Ok(Answer::Trust(answer)) }).collect()
}

fn asks(source: &mut Source<'_>) -> Vec<ToPeer> {
    let caller = Caller { user: UserId::new(0), device: DeviceId::new(1), admin: Some(role(source)), trace: 3, key: None, token: token_id(source) };
    let asks = [
        Ask::Inner { group: GroupId::META, map_epoch: Sample::sample(source), inner: Inner::ShowAdmin { id: TokenId::new(Sample::sample(source)) } },
        Ask::Forward { group: GroupId::META, map_epoch: Sample::sample(source), caller, request: Request::Trust(TrustRequest::Admins) },
        Ask::Vitals,
    ];
    asks.into_iter().map(|ask| ToPeer::Ask { id: ID, deadline_ms: 9, ask }).collect()
}

fn told(source: &mut Source<'_>) -> Vec<FromPeer> {
    let told = [
        Told::Inner(InnerAnswer::Admin { token: Some(token(source)) }),
        Told::Inner(InnerAnswer::Admin { token: None }),
        Told::Vitals { text: Sample::sample(source) },
    ];
    told.into_iter().map(|told| FromPeer::Told { id: ID, told: Ok(told) }).collect()
}

fn row(source: &mut Source<'_>) -> TrustRow {
    TrustRow { joins: Vec::new(), admins: vec![token(source), token(source)], first_made: true }
}

#[test]
fn admin_has_the_bytes_it_always_had() {
    let mut lines: Vec<(String, String)> = Vec::new();
    let mut add = |name: String, bytes: Bytes| lines.push((name, hex(&bytes)));
    for start in [1, 40] {
        let bytes: Vec<u8> = (0..1200u16).map(|step| (5 * step + start) as u8).collect();
        let source = &mut Source::new(&bytes);
        changes(source).into_iter().enumerate().for_each(|(at, value)| add(format!("{start} change {at}"), value.encode()));
        add(format!("{start} row"), row(source).encode());
        requests(source).into_iter().enumerate().for_each(|(at, value)| add(format!("{start} request {at}"), value.encode()));
        answers(source).into_iter().enumerate().for_each(|(at, value)| add(format!("{start} answer {at}"), value.encode()));
        asks(source).into_iter().enumerate().for_each(|(at, value)| add(format!("{start} ask {at}"), value.encode()));
        told(source).into_iter().enumerate().for_each(|(at, value)| add(format!("{start} told {at}"), value.encode()));
        let raw = Sample::sample(source);
        for (name, secret) in [("token", AdminSecret::new(raw)), ("first token", AdminSecret::first(raw))] {
            add(format!("{start} {name}"), Bytes::from(secret.text().reveal().to_owned()));
            add(format!("{start} {name} digest"), Bytes::copy_from_slice(&secret.digest()));
        }
    }
    golden::check("admin.txt", &lines);
}

proptest! {
    #[test]
    fn any_value_survives_the_way(bytes in supply()) {
        let source = &mut Source::new(&bytes);
        for value in changes(source) {
            prop_assert_eq!(Item::decode(&value.encode()).unwrap(), value);
        }
        let value = row(source);
        prop_assert_eq!(TrustRow::decode(&value.encode()).unwrap(), value);
        for value in requests(source) {
            prop_assert_eq!(ToEdge::decode(&value.encode()).unwrap(), value);
        }
        for value in answers(source) {
            prop_assert_eq!(ToClient::decode(&value.encode()).unwrap(), value);
        }
        for value in asks(source) {
            prop_assert_eq!(ToPeer::decode(&value.encode()).unwrap(), value);
        }
        for value in told(source) {
            prop_assert_eq!(FromPeer::decode(&value.encode()).unwrap(), value);
        }
        let secret = AdminSecret::new(Sample::sample(source));
        prop_assert_eq!(secret.text().reveal().parse::<AdminSecret>().unwrap(), secret);
    }

    #[test]
    fn any_text_is_a_token_or_none(text in ".{0,80}") {
        let _ = text.parse::<AdminSecret>();
        let _ = format!("kith-admin-{text}").parse::<AdminSecret>();
    }
}

#[test]
fn a_token_is_written_in_one_way() {
    let (plain, first) = (AdminSecret::new([3; 32]), AdminSecret::first([3; 32]));
    assert_ne!(plain.digest(), first.digest(), "neither opens what the other does");
    let text = plain.text().reveal().to_owned();
    assert_eq!(format!("  {text}\n").parse(), Ok(plain), "as it is copied");
    assert_eq!(first.text().reveal().parse(), Ok(first));
    assert!(!format!("{plain:?}").contains(&text));
    for wrong in ["", "kith-admin-", &text[1..], &text[..text.len() - 1], &format!("{text}A"), &text.replace("kith-admin", "kith-join")] {
        assert_eq!(wrong.parse::<AdminSecret>(), Err(AdminSecretError), "{wrong}");
    }
    // 43 digits carry two bits more than 32 bytes.
    let mut other = text[..text.len() - 1].to_owned();
    let last = text.chars().last().unwrap();
    other.push(char::from(last as u8 + 1));
    assert_eq!(other.parse::<AdminSecret>(), Err(AdminSecretError), "{other}");
}

#[test]
fn each_role_may_what_those_before_it_may() {
    let caller = |admin| Caller { user: UserId::new(0), device: DeviceId::new(1), admin, trace: 0, key: None, token: None };
    for (at, held) in AdminRole::ALL.into_iter().enumerate() {
        for (needed_at, needed) in AdminRole::ALL.into_iter().enumerate() {
            assert_eq!(caller(Some(held)).may(needed), needed_at <= at, "{held} {needed}");
        }
        assert!(!caller(None).may(held));
        assert_eq!(held.name().parse(), Ok(held));
    }
    assert_eq!("owner".parse::<AdminRole>(), Err(RoleError));
}

#[test]
fn bounds_of_requests_are_met() {
    let asked = |name: &str, ttl_s| Request::Trust(TrustRequest::MakeAdmin { name: name.into(), role: AdminRole::Viewer, ttl_s });
    let longest = "n".repeat(limit::ADMIN_NAME_CHARS_MAX);
    assert!(asked(&longest, limit::ADMIN_TTL_S_MAX).checked().is_ok());
    for (name, ttl_s) in
        [(format!("{longest}n"), 1), ("n".into(), 0), ("n".into(), limit::ADMIN_TTL_S_MAX + 1), (String::new(), 1), ("a\nb".into(), 1)]
    {
        assert!(asked(&name, ttl_s).checked().is_err(), "{name:?} {ttl_s}");
    }
}

#[test]
fn a_node_of_before_knows_an_admin_as_an_operator() {
    // What was a truth value is a role now: the highest is what `true` was.
    let caller = Caller { user: UserId::new(0), device: DeviceId::new(1), admin: Some(AdminRole::Admin), trace: 0, key: None, token: None };
    let ask = Ask::Forward { group: GroupId::META, map_epoch: MapEpoch::default(), caller, request: Request::Status };
    let bytes = ToPeer::Ask { id: ID, deadline_ms: 9, ask }.encode();
    assert!(bytes.windows(2).any(|pair| pair == [0x18, 0x01]), "field 3, varint 1: {}", hex(&bytes));
}
