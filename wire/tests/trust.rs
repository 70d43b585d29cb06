//! Who may join, on the wire: what is promised keeps its bytes, any value survives the way, bounds are met; a token that was changed is none.
#![allow(clippy::unwrap_used)]

mod support;

use bytes::Bytes;
use kith_wire::{
    client::{Answer, Request, ToClient, ToEdge},
    id::*,
    limit,
    log::{Item, NodeRow},
    peer::{Ask, FromPeer, Inner, InnerAnswer, ToPeer, Told},
    secret::Secret,
    trust::*,
};
use proptest::prelude::*;
use support::{
    golden::{self, hex},
    sample::{Sample, Source, supply},
};

const ID: RequestId = RequestId::new(7);

fn token(source: &mut Source<'_>) -> JoinToken {
    JoinToken {
        token: Sample::sample(source),
        by: Sample::sample(source),
        made: Sample::sample(source),
        until: Sample::sample(source),
        region: Sample::sample(source),
        zone: Sample::sample(source),
        host: Sample::sample(source),
        replaces: Sample::sample(source),
        used: bool::sample(source).then(|| JoinUse { key: Sample::sample(source), node: Sample::sample(source), at: Sample::sample(source) }),
        revoked: Sample::sample(source),
    }
}

fn changes(source: &mut Source<'_>) -> Vec<Item> {
    let changes = [
        TrustChange::AddJoin(token(source)),
        TrustChange::RevokeJoin { id: TokenId::new(Sample::sample(source)) },
        TrustChange::UseJoin {
            token: Sample::sample(source),
            key: Sample::sample(source),
            node: Sample::sample(source),
            at: Sample::sample(source),
            nodes: Sample::sample(source),
            groups: Sample::sample(source),
        },
    ];
    changes.into_iter().map(|change| Item { bucket: None, command: change.command() }).collect()
}

fn requests(source: &mut Source<'_>) -> Vec<ToEdge> {
    let requests = [
        TrustRequest::MakeJoin {
            ttl_s: 3_600,
            region: Sample::sample(source),
            zone: Sample::sample(source),
            host: Sample::sample(source),
            replaces: Sample::sample(source),
        },
        TrustRequest::Joins,
        TrustRequest::RevokeJoin { id: TokenId::new(Sample::sample(source)) },
    ];
    requests.into_iter().map(|asked| ToEdge::Request { id: ID, request: Request::Trust(asked) }).collect()
}

fn answers(source: &mut Source<'_>) -> Vec<ToClient> {
    let answers = [
        TrustAnswer::Made { token: Sample::sample(source), id: TokenId::new(Sample::sample(source)), until: Sample::sample(source) },
        TrustAnswer::Joins(vec![JoinView::from(&token(source))]),
        TrustAnswer::Done,
    ];
    answers.into_iter().map(|answer| ToClient::Answer { id: ID, answer: Ok(Answer::Trust(answer)) }).collect()
}

fn admit(source: &mut Source<'_>) -> (ToPeer, FromPeer) {
    let inner = Inner::Admit { token: Sample::sample(source), key: Sample::sample(source), node: Sample::sample(source), dry_run: true };
    let ask = Ask::Inner { group: GroupId::META, map_epoch: Sample::sample(source), inner };
    let told = Told::Inner(InnerAnswer::Admitted(Sample::sample(source)));
    (ToPeer::Ask { id: ID, deadline_ms: 9, ask }, FromPeer::Told { id: ID, told: Ok(told) })
}

fn asked(source: &mut Source<'_>) -> JoinAsk {
    let node = NodeRow { address: "h:1".into(), ..Sample::sample(source) };
    JoinAsk { secret: JoinSecret::new(Sample::sample(source)), key: Bytes::from_static(&[4; 65]), node }
}

fn told(source: &mut Source<'_>) -> Vec<JoinTold> {
    let joined = Joined {
        node: Sample::sample(source),
        certificate: Sample::sample(source),
        authority: Sample::sample(source),
        authority_key: Sample::sample(source),
        token_key: Sample::sample(source),
        cluster: Sample::sample(source),
        map: Sample::sample(source),
    };
    vec![JoinTold::Joined(Box::new(joined)), JoinTold::Refusal(Sample::sample(source))]
}

fn ticket(source: &mut Source<'_>) -> JoinTicket {
    JoinTicket {
        cluster: Sample::sample(source),
        authority: Sample::sample(source),
        secret: JoinSecret::new(Sample::sample(source)),
        addresses: vec!["10.0.0.1:7600".into(), Sample::sample(source)],
    }
}

#[test]
fn trust_has_the_bytes_it_always_had() {
    let mut lines: Vec<(String, String)> = Vec::new();
    let mut add = |name: String, bytes: Bytes| lines.push((name, hex(&bytes)));
    for start in [1, 40] {
        let bytes: Vec<u8> = (0..1200u16).map(|step| (5 * step + start) as u8).collect();
        let source = &mut Source::new(&bytes);
        for (at, value) in changes(source).into_iter().enumerate() {
            add(format!("{start} change {at}"), value.encode());
        }
        add(format!("{start} row"), TrustRow { joins: vec![token(source), token(source)], ..TrustRow::default() }.encode());
        for (at, value) in requests(source).into_iter().enumerate() {
            add(format!("{start} request {at}"), value.encode());
        }
        for (at, value) in answers(source).into_iter().enumerate() {
            add(format!("{start} answer {at}"), value.encode());
        }
        let (ask, answer) = admit(source);
        add(format!("{start} admit"), ask.encode());
        add(format!("{start} admitted"), answer.encode());
        add(format!("{start} ask"), asked(source).encode());
        for (at, value) in told(source).into_iter().enumerate() {
            add(format!("{start} told {at}"), value.encode());
        }
        add(format!("{start} ticket"), Bytes::from(ticket(source).text().reveal().to_owned()));
    }
    golden::check("trust.txt", &lines);
}

proptest! {
    #[test]
    fn any_value_survives_the_way(bytes in supply()) {
        let source = &mut Source::new(&bytes);
        for value in changes(source) {
            prop_assert_eq!(Item::decode(&value.encode()).unwrap(), value);
        }
        let row = TrustRow { joins: vec![token(source)], ..TrustRow::default() };
        prop_assert_eq!(TrustRow::decode(&row.encode()).unwrap(), row);
        for value in requests(source) {
            prop_assert_eq!(ToEdge::decode(&value.encode()).unwrap(), value);
        }
        for value in answers(source) {
            prop_assert_eq!(ToClient::decode(&value.encode()).unwrap(), value);
        }
        let (ask, answer) = admit(source);
        prop_assert_eq!(ToPeer::decode(&ask.encode()).unwrap(), ask);
        prop_assert_eq!(FromPeer::decode(&answer.encode()).unwrap(), answer);
        let value = asked(source);
        prop_assert_eq!(JoinAsk::decode(&value.encode()).unwrap(), value);
        for value in told(source) {
            prop_assert_eq!(JoinTold::decode(&value.encode()).unwrap(), value);
        }
        let value = ticket(source);
        prop_assert_eq!(value.text().reveal().parse::<JoinTicket>().unwrap(), value);
    }
}

#[test]
fn a_ticket_that_was_cut_off_or_changed_is_none() {
    let ticket = JoinTicket {
        cluster: ClusterId::new([1; 16]),
        authority: [2; 32],
        secret: JoinSecret::new([3; 32]),
        addresses: vec!["10.0.0.1:7600".into(), "[::1]:7600".into()],
    };
    let text = ticket.text().reveal().to_owned();
    assert_eq!(format!("  {text}\n").parse::<JoinTicket>(), Ok(ticket.clone()));
    assert_eq!("ey.not.this".parse::<JoinTicket>(), Err(TicketError::Prefix));
    for cut in "kith-join-".len()..text.len() {
        assert_eq!(text[..cut].parse::<JoinTicket>(), Err(TicketError::Damaged), "{cut}");
    }
    let changed = text.replacen('A', "B", 1);
    assert_ne!(changed, text);
    assert_eq!(changed.parse::<JoinTicket>(), Err(TicketError::Damaged));
    let many = JoinTicket { addresses: vec!["h:1".into(); limit::JOIN_ADDRESSES_MAX + 1], ..ticket.clone() };
    assert_eq!(many.text().reveal().parse::<JoinTicket>(), Err(TicketError::Damaged));
    let none = JoinTicket { addresses: Vec::new(), ..ticket };
    assert_eq!(none.text().reveal().parse::<JoinTicket>(), Err(TicketError::Damaged));
}

#[test]
fn secrets_are_not_shown() {
    let secret = JoinSecret::new(*b"canary-canary-canary-canary-cana");
    assert_eq!(format!("{secret:?}"), "JoinSecret(..)");
    let made = TrustAnswer::Made { token: Secret::new("canary"), id: TokenId::new(0xab), until: Timestamp::new(1) };
    assert!(!format!("{made:?}").contains("canary"));
    assert_eq!(TokenId::new(0xab).to_string(), "00000000000000ab");
    assert_eq!("00000000000000ab".parse::<TokenId>(), Ok(TokenId::new(0xab)));
}

#[test]
fn a_token_is_good_until_it_is_used_ended_or_over() {
    let good = JoinView { until: Timestamp::new(10), ..JoinView::default() };
    let at = |join: JoinView, now| join.state(Timestamp::new(now));
    assert_eq!((at(good.clone(), 9), at(good.clone(), 10)), ("good", "expired"));
    assert_eq!(at(JoinView { revoked: true, ..good.clone() }, 9), "revoked");
    assert_eq!(at(JoinView { node: Some(NodeId::new(4)), ..good }, 99), "used");
}

#[test]
fn requests_have_bounds() {
    let make = |ttl_s, zone: usize| {
        let (zone, host) = ("z".repeat(zone), String::new());
        Request::Trust(TrustRequest::MakeJoin { ttl_s, region: None, zone, host, replaces: None }).checked()
    };
    assert!(make(1, limit::NODE_LABEL_BYTES_MAX).is_ok());
    assert!(make(0, 1).is_err());
    assert!(make(limit::JOIN_TTL_S_MAX + 1, 1).is_err());
    assert!(make(1, limit::NODE_LABEL_BYTES_MAX + 1).is_err());
    let ask = |key: usize, address: &str| {
        let node = NodeRow { address: address.into(), ..NodeRow::default() };
        JoinAsk::decode(&JoinAsk { secret: JoinSecret::new([1; 32]), key: vec![4; key].into(), node }.encode())
    };
    assert!(ask(65, "h:1").is_ok());
    assert!(ask(limit::NODE_KEY_BYTES_MAX + 1, "h:1").is_err());
    assert!(ask(65, "").is_err());
}
