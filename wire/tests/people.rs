//! Accounts and people on the wire: what is promised and stored keeps its bytes, and any value survives the way.
#![allow(clippy::unwrap_used)]

mod support;

use std::fmt::Debug;

use bytes::Bytes;
use kith_wire::{
    client::{Answer, Request, ToClient, ToEdge},
    code::Code,
    id::*,
    limit,
    log::*,
    peer::{Ask, FromPeer, Inner, InnerAnswer, ToPeer, Told},
    people::*,
    secret::Secret,
};
use proptest::prelude::*;
use support::{
    golden::{self, hex},
    sample::{Sample, Source, Variants, supply},
};

const ID: RequestId = RequestId::new(7);

fn item(change: UserChange) -> Item {
    let user = UserId::new(5);
    Item { bucket: Some(user.bucket()), command: change.of(user) }
}

fn asked(request: PeopleRequest) -> ToEdge {
    ToEdge::Request { id: ID, request: Request::People(request) }
}

fn answered(answer: PeopleAnswer) -> ToClient {
    ToClient::Answer { id: ID, answer: Ok(Answer::People(answer)) }
}

fn inner(inner: Inner) -> ToPeer {
    ToPeer::Ask { id: ID, deadline_ms: 9, ask: Ask::Inner { group: GroupId::new(1), map_epoch: MapEpoch::new(2), inner } }
}

fn inners(source: &mut Source<'_>) -> Vec<Inner> {
    vec![
        Inner::HoldName { name: Sample::sample(source), user: Sample::sample(source), until: Sample::sample(source) },
        Inner::NameAttempt { name: Sample::sample(source) },
        Inner::Enter { user: Sample::sample(source), password: Sample::sample(source), enter: Sample::sample(source), call: None },
        Inner::User { user: Sample::sample(source), change: Sample::sample(source) },
        Inner::IndexWord {
            word: Sample::sample(source),
            user: Sample::sample(source),
            version: Sample::sample(source),
            gone: Sample::sample(source),
        },
        Inner::FindWords { prefix: Sample::sample(source) },
        Inner::GetProfiles { users: Sample::sample(source) },
        Inner::ShowBot { user: Sample::sample(source), device: Sample::sample(source), shown: Sample::sample(source) },
        Inner::OwnBots { user: Sample::sample(source) },
    ]
}

/// What came later is drawn apart, so that all else keeps its bytes.
struct Later {
    changes: Vec<UserChange>,
    request: PeopleRequest,
    inner: Inner,
    row: CredentialRow,
}

fn later(source: &mut Source<'_>) -> Later {
    let (key, digest) = (Sample::sample(source), Sample::sample(source));
    let changes = vec![
        UserChange::AskReset { nonce: Sample::sample(source), code: Sample::sample(source), until: Sample::sample(source) },
        UserChange::Keyed { key, digest, change: Box::new(UserChange::sample(source)) },
        UserChange::Paid { debt: Debt::Reset, version: Sample::sample(source) },
    ];
    let (user, password, enter) = (Sample::sample(source), Sample::sample(source), Sample::sample(source));
    Later {
        changes,
        request: PeopleRequest::AskReset { name: "ann".to_owned() },
        inner: Inner::Enter { user, password, enter, call: Some(Sample::sample(source)) },
        row: CredentialRow { mailed: Some(Sample::sample(source)), ..CredentialRow::sample(source) },
    }
}

fn entered(source: &mut Source<'_>) -> FromPeer {
    let (name, login, admin, created) = (Sample::sample(source), Sample::sample(source), Sample::sample(source), Sample::sample(source));
    FromPeer::Told { id: ID, told: Ok(Told::Inner(InnerAnswer::Entered { name, login, admin, created })) }
}

fn variants<T: Variants + Debug>(start: u8) -> Vec<(String, T)> {
    let bytes: Vec<u8> = (0..400u16).map(|step| (u16::from(start) + 3 * step) as u8).collect();
    let name = |value: &T| format!("{value:?}").chars().take_while(|c| c.is_alphanumeric()).collect();
    (0..T::COUNT).map(|index| T::variant(index, &mut Source::new(&bytes))).map(|value| (name(&value), value)).collect()
}

#[test]
fn people_have_the_bytes_they_always_had() {
    let mut lines: Vec<(String, String)> = Vec::new();
    let mut add = |name: String, bytes: Bytes| lines.push((name, hex(&bytes)));
    variants(1).into_iter().for_each(|(name, change)| add(format!("change {name}"), item(change).encode()));
    variants(2).into_iter().for_each(|(name, request)| add(format!("request {name}"), asked(request).encode()));
    variants(3).into_iter().for_each(|(name, answer)| add(format!("answer {name}"), answered(answer).encode()));
    let bytes: Vec<u8> = (0..400u16).map(|step| (5 * step + 1) as u8).collect();
    let source = &mut Source::new(&bytes);
    inners(source).into_iter().enumerate().for_each(|(at, asked)| add(format!("inner {at}"), inner(asked).encode()));
    add("entered".to_owned(), entered(source).encode());
    add(
        "hold name".to_owned(),
        Item { bucket: None, command: Command::HoldName { name: "ann".into(), user: UserId::new(3), until: Timestamp::new(4) } }.encode(),
    );
    let inner_answers = [
        InnerAnswer::Words(Sample::sample(source)),
        InnerAnswer::Profiles(Sample::sample(source)),
        InnerAnswer::Reserved { since: Timestamp::new(7) },
    ];
    for (at, answer) in inner_answers.into_iter().enumerate() {
        add(format!("inner answer {at}"), FromPeer::Told { id: ID, told: Ok(Told::Inner(answer)) }.encode());
    }
    add("profile row".to_owned(), ProfileRow::sample(source).encode());
    add("contact row".to_owned(), ContactRow::sample(source).encode());
    add("word row".to_owned(), WordRow::sample(source).encode());
    add("credential row".to_owned(), CredentialRow::sample(source).encode());
    add("owed row".to_owned(), OwedRow::sample(source).encode());
    let Later { changes, request, inner: told, row } = later(&mut Source::new(&bytes));
    changes.into_iter().enumerate().for_each(|(at, change)| add(format!("later change {at}"), item(change).encode()));
    add("later request".to_owned(), asked(request).encode());
    add("later inner".to_owned(), inner(told).encode());
    add("later credential row".to_owned(), row.encode());
    golden::check("people.txt", &lines);
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(bytes in supply()) {
        let source = &mut Source::new(&bytes);
        let change = item(UserChange::sample(source));
        prop_assert_eq!(Item::decode(&change.encode()).unwrap(), change);
        let request = asked(PeopleRequest::sample(source));
        prop_assert_eq!(ToEdge::decode(&request.encode()).unwrap(), request);
        let answer = answered(PeopleAnswer::sample(source));
        prop_assert_eq!(ToClient::decode(&answer.encode()).unwrap(), answer);
        for asked in inners(source) {
            let asked = inner(asked);
            prop_assert_eq!(ToPeer::decode(&asked.encode()).unwrap(), asked);
        }
        let told = entered(source);
        prop_assert_eq!(FromPeer::decode(&told.encode()).unwrap(), told);
        let row = CredentialRow::sample(source);
        prop_assert_eq!(CredentialRow::decode(&row.encode()).unwrap(), row);
        let Later { changes, request, inner: told, row } = later(source);
        for change in changes {
            let change = item(change);
            prop_assert_eq!(Item::decode(&change.encode()).unwrap(), change);
        }
        prop_assert_eq!(ToEdge::decode(&asked(request.clone()).encode()).unwrap(), asked(request));
        let told = inner(told);
        prop_assert_eq!(ToPeer::decode(&told.encode()).unwrap(), told);
        prop_assert_eq!(CredentialRow::decode(&row.encode()).unwrap(), row);
    }
}

#[test]
fn one_more_byte_is_too_large_and_the_id_of_the_request_is_kept() {
    let log_in = |name: &str, password: usize, title: usize| {
        let request =
            PeopleRequest::LogIn { name: name.to_owned(), password: Secret::new("x".repeat(password)), nonce: [1; 16], title: "t".repeat(title) };
        match ToEdge::decode(&asked(request).encode()).unwrap() {
            ToEdge::Unreadable { id: ID, refusal } => Err(refusal.code),
            _ => Ok(()),
        }
    };
    assert_eq!(log_in("ann", limit::PASSWORD_BYTES_MAX, limit::DEVICE_TITLE_BYTES_MAX), Ok(()));
    assert_eq!(log_in("ann", limit::PASSWORD_BYTES_MAX + 1, 0), Err(Code::TooLarge));
    assert_eq!(log_in("ann", 8, limit::DEVICE_TITLE_BYTES_MAX + 1), Err(Code::TooLarge));
    assert_eq!(log_in(&"n".repeat(4 * limit::NAME_BYTES_MAX + 1), 8, 0), Err(Code::TooLarge));
    assert_eq!(log_in("", 8, 0), Err(Code::Invalid));
}

#[test]
fn no_secret_is_shown() {
    let canary = || Secret::new("canary");
    let name = || "ann".to_owned();
    let shown = [
        format!("{:?}", asked(PeopleRequest::LogIn { name: name(), password: canary(), nonce: [0; 16], title: name() })),
        format!("{:?}", asked(PeopleRequest::SignUp { name: name(), password: canary(), key: [0; 32], nonce: [0; 16], title: name() })),
        format!("{:?}", asked(PeopleRequest::ResetPassword { name: name(), code: canary(), password: canary() })),
        format!("{:?}", asked(PeopleRequest::ChangePassword { old: canary(), new: canary() })),
        format!("{:?}", answered(PeopleAnswer::Code { code: canary(), until: None })),
        format!("{:?}", inner(Inner::Enter { user: UserId::new(1), password: canary(), enter: Sample::sample(&mut Source::new(&[])), call: None })),
        format!("{:?}", UserChange::SetPassword { password_rev: 1, password: canary(), keep: DeviceId::new(1) }),
    ];
    assert!(shown.iter().all(|text| !text.contains("canary")), "{shown:?}");
}

#[test]
fn a_word_is_found_where_its_beginning_says() {
    for (word, prefix) in [("hanna", "ha"), ("hanna", "han"), ("山田", "山"), ("élodie", "é"), ("a", "a")] {
        assert_eq!(bucket_of_word(word), bucket_of_word(prefix), "{prefix} of {word}");
    }
    assert_ne!(bucket_of_word("hanna"), bucket_of_word("h"), "one letter of ASCII is too common to be looked for");
}

#[test]
fn a_conversation_is_archived_until_something_is_said_unless_it_is_muted() {
    let mut row = IndexRow::sample(&mut Source::new(&[]));
    row.news.head.seq = Seq::new(5);
    row.preferences.archived = Some(Seq::new(5));
    assert!(row.is_archived(Timestamp::new(1)));
    row.news.head.seq = Seq::new(6);
    assert!(!row.is_archived(Timestamp::new(1)));
    row.preferences.muted = Some(Timestamp::new(10));
    assert!(row.is_archived(Timestamp::new(9)) && !row.is_archived(Timestamp::new(10)));
}

#[test]
fn a_change_under_a_key_is_under_no_other() {
    let keyed = |change| UserChange::Keyed { key: CallKey::new([1; 16]), digest: 2, change: Box::new(change) };
    let erase = UserChange::Erase { password_rev: 1 };
    let one = item(keyed(erase.clone()));
    assert_eq!(Item::decode(&one.encode()).unwrap(), one);
    assert!(Item::decode(&item(keyed(keyed(erase))).encode()).is_err());
}
