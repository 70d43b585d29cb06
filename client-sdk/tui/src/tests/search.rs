//! Searching: by the cluster, a page after the other; and without it.

use crossterm::event::KeyCode;
use kith_client::{
    Error,
    wire::{
        code::Code,
        search::{SearchHit, SearchPage, Spot},
    },
};

use super::*;
use crate::Looked;

pub(super) fn found(seqs: impl IntoIterator<Item = u64>, next: Option<u64>) -> SearchPage {
    let spot = |seq| Spot { ts: Timestamp::new(NOW - 3_600_000 + seq * 1_000), seq: Seq::new(seq), channel: room() };
    let hits = seqs.into_iter().map(|seq| SearchHit { spot: spot(seq), sender: BOB, excerpt: format!("fern number {seq}"), marks: vec![(0, 4)] });
    SearchPage { hits: hits.collect(), next: next.map(spot), ..SearchPage::default() }
}

/// What is asked for now.
fn asked(user: &mut User) -> Looked {
    let looked = user.did.drain(..).find_map(|action| match action {
        Action::Ask(Ask::Search(looked)) => Some(looked),
        _ => None,
    });
    looked.expect("a search is asked for")
}

/// Ann, who looks for something, and what is asked of the cluster.
fn looks(typed: &str) -> (User, Looked) {
    let mut user = User::ann();
    user.types("/");
    user.types(typed);
    user.key(KeyCode::Enter);
    let looked = asked(&mut user);
    (user, looked)
}

fn tell(user: &mut User, looked: Looked, page: Result<SearchPage, Error>) {
    user.tell(Event::Answered(Box::new(Ask::Search(looked)), page.map(Answer::Found)));
}

#[test]
fn what_was_not_answered_is_not_nothing() {
    let (mut user, looked) = looks("fern");
    tell(&mut user, looked.clone(), Err(Error::new(Code::Timeout, "no answer in time")));
    user.sees("Enter asks again: ");
    user.sees_not("nothing is found");
    user.key(KeyCode::Enter);
    let again = asked(&mut user);
    assert_eq!(again, looked);
    tell(&mut user, again, Ok(SearchPage::default()));
    user.sees("nothing is found for \"fern\"");
    user.sees_not("Enter asks again");
}

#[test]
fn what_is_typed_says_what_is_looked_for() {
    let (user, looked) = looks("from:@bob \"blue boat\" since:2026-11-20 before:2026-11-22 -red");
    user.sees("searching…");
    let day = |day: u64| Some(Timestamp::new(1_795_132_800_000 + day * 24 * 3_600_000));
    assert_eq!(
        looked,
        Looked { words: "\"blue boat\" -red".into(), from: Some("bob".into()), since: day(0), until: day(2), within: None, below: None }
    );
    let mut user = User::ann();
    user.types("/fern since:tomorrow");
    user.key(KeyCode::Enter);
    user.sees("\"tomorrow\" is no day");
    assert!(user.did.is_empty(), "{:?}", user.did);
}

#[test]
fn messages_are_found_a_page_after_the_other_and_opened() {
    let (mut user, looked) = looks("fern");
    tell(&mut user, looked.clone(), Ok(SearchPage { unsearched: 2, channels: vec![room()], ..found((11..=20).rev(), Some(11)) }));
    for text in ["10 messages", "Bob Builder (bob) in garden", "fern number 20", "2 conversations were not searched", "titles: garden"] {
        user.sees(text);
    }
    assert!(user.did.iter().all(|action| !matches!(action, Action::Ask(Ask::Search(_)))), "the next page is not asked for before it is wanted");
    (0..7).for_each(|_| user.key(KeyCode::Down));
    let next = asked(&mut user);
    assert_eq!(next, Looked { below: found([], Some(11)).next, ..looked });
    user.key(KeyCode::Down);
    assert!(user.did.is_empty(), "once");
    tell(&mut user, next.clone(), Ok(found([5, 4], None)));
    user.sees("12 messages");
    tell(&mut user, next, Ok(found([3], None)));
    user.sees("12 messages");
    user.key(KeyCode::Enter);
    assert_eq!(user.app.open_channel(), Some(room()));
}

#[test]
fn pages_without_a_message_are_passed_over_and_not_for_ever() {
    let (mut user, mut looked) = looks("fern");
    for page in 1..10 {
        tell(&mut user, looked, Ok(found([], Some(100 - page))));
        looked = asked(&mut user);
    }
    tell(&mut user, looked, Ok(found([], Some(3))));
    assert!(user.did.is_empty(), "{:?}", user.did);
    user.sees("there is more: narrow it");
}

#[test]
fn why_nothing_was_found_is_said_and_an_older_answer_is_none() {
    let (mut user, looked) = looks("fern");
    tell(&mut user, looked.clone(), Err(Error::new(Code::Timeout, "nobody answered")));
    user.sees_not("searching");
    user.key(KeyCode::Backspace);
    user.key(KeyCode::Enter);
    let newer = asked(&mut user);
    tell(&mut user, looked, Ok(found([1], None)));
    user.sees("searching…");
    user.sees_not("fern number");
    tell(&mut user, newer, Ok(found([2], None)));
    user.sees("fern number 2");
}

#[test]
fn without_a_connection_what_was_loaded_is_searched() {
    let mut user = User::in_room(vec![text(1, BOB, "a Fern"), text(2, ANN, "another fern"), text(3, BOB, "a rose")], Vec::new());
    user.tell(Event::Link(Link::Offline(None)));
    user.ctrl('s');
    user.types("fern from:bob");
    user.key(KeyCode::Enter);
    user.sees("one message; offline: only in what was loaded since the start");
    user.sees("a Fern");
    user.sees_not("another fern");
    assert!(user.did.iter().all(|action| !matches!(action, Action::Ask(Ask::Search(_)))), "{:?}", user.did);
}
