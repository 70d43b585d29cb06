//! Presence on the wire: what is promised keeps its bytes, any value survives the way, bounds are met.
#![allow(clippy::unwrap_used)]

mod support;

use bytes::Bytes;
use kith_wire::{
    client::{Answer, Event, Request, ToClient, ToEdge},
    code::Code,
    id::*,
    limit,
    log::{Item, UserChange, UserRow},
    peer::{Ask, FromPeer, Inner, InnerAnswer, PushFrame, Registration, Tell, ToPeer, Told},
    presence::*,
};
use proptest::prelude::*;
use support::{
    golden::{self, hex},
    sample::{Sample, Source, supply},
};

const ID: RequestId = RequestId::new(7);

fn at(source: &mut Source<'_>) -> PresenceAt {
    PresenceAt { term: Sample::sample(source), version: Sample::sample(source) }
}

fn view(source: &mut Source<'_>) -> PresenceView {
    let state = [PresenceState::Unknown, PresenceState::Offline, PresenceState::Away, PresenceState::Online][source.below(4)];
    PresenceView { user: Sample::sample(source), state, last_seen: Sample::sample(source), at: at(source) }
}

fn views(source: &mut Source<'_>) -> Vec<PresenceView> {
    (0..source.below(4)).map(|_| view(source)).collect()
}

fn requests(source: &mut Source<'_>) -> Vec<ToEdge> {
    let requests = [
        PresenceRequest::Get { users: Sample::sample(source) },
        PresenceRequest::Watch { users: Sample::sample(source) },
        PresenceRequest::SetActivity { active: Sample::sample(source) },
        PresenceRequest::SetPrivate { private: Sample::sample(source) },
    ];
    requests.into_iter().map(|asked| ToEdge::Request { id: ID, request: Request::Presence(asked) }).collect()
}

fn to_client(source: &mut Source<'_>) -> Vec<ToClient> {
    vec![ToClient::Answer { id: ID, answer: Ok(Answer::Presence(views(source))) }, ToClient::Event(Event::Presence(views(source)))]
}

fn push(source: &mut Source<'_>) -> PresencePush {
    let right = |source: &mut Source<'_>| PresenceRight {
        user: Sample::sample(source),
        watcher: Sample::sample(source),
        allowed: Sample::sample(source),
        at: at(source),
    };
    PresencePush {
        views: views(source),
        rights: (0..source.below(3)).map(|_| right(source)).collect(),
        circles: Sample::sample(source),
        again: Sample::sample(source),
    }
}

fn to_peer(source: &mut Source<'_>) -> Vec<ToPeer> {
    let watch = |source: &mut Source<'_>| PresenceWatch {
        user: Sample::sample(source),
        known: at(source),
        rights: at(source),
        watchers: Sample::sample(source),
        all: Sample::sample(source),
        ended: Sample::sample(source),
    };
    let asks = [
        Ask::Watch { group: Sample::sample(source), boot: Sample::sample(source), watches: (0..source.below(4)).map(|_| watch(source)).collect() },
        Ask::Inner {
            group: Sample::sample(source),
            map_epoch: Sample::sample(source),
            inner: Inner::Presence { asker: Sample::sample(source), users: Sample::sample(source) },
        },
        Ask::Register {
            group: Sample::sample(source),
            boot: Sample::sample(source),
            sessions: vec![Registration { away: true, ..Sample::sample(source) }],
        },
    ];
    let tells = [
        Tell::RegisteredAll { group: Sample::sample(source), term: Sample::sample(source), boot: Sample::sample(source) },
        Tell::Activity { group: Sample::sample(source), user: Sample::sample(source), session: Sample::sample(source), away: Sample::sample(source) },
        Tell::Push(PushFrame { presence: push(source), ..Sample::sample(source) }),
    ];
    let asks = asks.into_iter().map(|ask| ToPeer::Ask { id: ID, deadline_ms: 9, ask });
    asks.chain(tells.into_iter().map(ToPeer::Tell)).collect()
}

fn from_peer(source: &mut Source<'_>) -> Vec<FromPeer> {
    let told = PresenceTold { again: Sample::sample(source), views: views(source), denied: Sample::sample(source), at: at(source) };
    let told = [Told::Watched { group: Sample::sample(source), told }, Told::Inner(InnerAnswer::Presence(views(source)))];
    told.into_iter().map(|told| FromPeer::Told { id: ID, told: Ok(told) }).collect()
}

fn changes(source: &mut Source<'_>) -> Vec<Item> {
    let user: UserId = Sample::sample(source);
    let changes =
        [UserChange::SetPrivate { private: Sample::sample(source) }, UserChange::Seen { here: Sample::sample(source), at: Sample::sample(source) }];
    changes.into_iter().map(|change| Item { bucket: Some(user.bucket()), command: change.of(user) }).collect()
}

fn row(source: &mut Source<'_>) -> UserRow {
    UserRow { private: Sample::sample(source), here: Sample::sample(source), seen: Sample::sample(source), ..Sample::sample(source) }
}

#[test]
fn presence_has_the_bytes_it_always_had() {
    let mut lines: Vec<(String, String)> = Vec::new();
    let mut add = |name: String, bytes: Bytes| lines.push((name, hex(&bytes)));
    for start in [1, 40] {
        let bytes: Vec<u8> = (0..1200u16).map(|step| (5 * step + start) as u8).collect();
        let source = &mut Source::new(&bytes);
        requests(source).iter().enumerate().for_each(|(at, frame)| add(format!("request {start} {at}"), frame.encode()));
        to_client(source).iter().enumerate().for_each(|(at, frame)| add(format!("to client {start} {at}"), frame.encode()));
        to_peer(source).iter().enumerate().for_each(|(at, frame)| add(format!("to peer {start} {at}"), frame.encode()));
        from_peer(source).iter().enumerate().for_each(|(at, frame)| add(format!("from peer {start} {at}"), frame.encode()));
        add(format!("row {start}"), row(source).encode());
        changes(source).iter().enumerate().for_each(|(at, change)| add(format!("change {start} {at}"), change.encode()));
    }
    golden::check("presence.txt", &lines);
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(bytes in supply()) {
        let source = &mut Source::new(&bytes);
        for frame in requests(source) {
            prop_assert_eq!(ToEdge::decode(&frame.encode()).unwrap(), frame);
        }
        for frame in to_client(source) {
            prop_assert_eq!(ToClient::decode(&frame.encode()).unwrap(), frame);
        }
        for frame in to_peer(source) {
            prop_assert_eq!(ToPeer::decode(&frame.encode()).unwrap(), frame);
        }
        for frame in from_peer(source) {
            prop_assert_eq!(FromPeer::decode(&frame.encode()).unwrap(), frame);
        }
        for change in changes(source) {
            prop_assert_eq!(Item::decode(&change.encode()).unwrap(), change);
        }
        let row = row(source);
        prop_assert_eq!(UserRow::decode(&row.encode()).unwrap(), row);
    }
}

#[test]
fn a_session_watches_only_so_many() {
    let met = |users: usize| {
        let users = (0..users as u64).map(UserId::new).collect();
        match ToEdge::decode(&ToEdge::Request { id: ID, request: Request::Presence(PresenceRequest::Watch { users }) }.encode()).unwrap() {
            ToEdge::Request { .. } => Ok(()),
            ToEdge::Unreadable { id, refusal } => {
                assert_eq!(id, ID);
                Err(refusal.code)
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(met(limit::WATCHES_MAX), Ok(()));
    assert_eq!(met(limit::WATCHES_MAX + 1), Err(Code::TooLarge));
}

#[test]
fn a_later_term_is_newer_whatever_its_count() {
    let at = |term, version| PresenceAt { term: Term::new(term), version };
    assert!(at(1, 9) < at(2, 1) && at(2, 1) < at(2, 2) && PresenceAt::default() < at(1, 0));
    assert!(PresenceState::Offline < PresenceState::Away && PresenceState::Away < PresenceState::Online);
}

#[test]
fn whoever_may_not_know_is_told_the_same() {
    let view = PresenceView::hidden(UserId::new(3));
    assert_eq!((view.state, view.last_seen, view.at), (PresenceState::Offline, None, PresenceAt::default()));
}
