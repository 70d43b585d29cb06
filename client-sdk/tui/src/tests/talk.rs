//! A conversation: writing, what comes of it, and what others do meanwhile.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use kith_client::{
    Draft, Error,
    wire::{act::Act, code::Code, log::Content},
};

use super::*;
use crate::{Progress, Wish, Write};

fn sent(user: &mut User) -> (u64, Draft) {
    match user.did.iter().rev().find_map(|action| match action {
        Action::Write { ticket, write: Write::Send(draft), .. } => Some((*ticket, draft.clone())),
        _ => None,
    }) {
        Some(sent) => sent,
        None => panic!("nothing was sent: {:?}", user.did),
    }
}

#[test]
fn a_message_is_shown_at_once_and_its_ticks_say_how_far_it_is() {
    let mut user = User::in_room(vec![text(1, BOB, "hello")], Vec::new());
    user.types("hi @bob and @eve");
    user.key(KeyCode::Enter);
    let (ticket, draft) = sent(&mut user);
    assert_eq!(draft, Draft::text("hi @bob and @eve").mentions([BOB]), "eve is no member");
    user.sees("hi @bob and @eve … sending");
    user.sees("1 not sent yet");
    user.tell(Event::Wrote(ticket, Progress::Queued(2)));
    user.tell(Event::Wrote(ticket, Progress::Recorded(Seq::new(2), Timestamp::new(NOW))));
    user.sees("hi @bob and @eve ✓");
    user.live(text(2, ANN, "hi @bob and @eve"));
    assert_eq!(user.screen().matches("hi @bob").count(), 1, "{}", user.screen());
    user.tell(Event::Sdk(SdkEvent::Receipt { channel: room(), user: BOB, read: at(2), delivered: at(2) }));
    user.sees("hi @bob and @eve ✓✓");
}

#[test]
fn who_answers_has_read() {
    let mut user = User::in_room(vec![text(1, BOB, "hi"), text(2, ANN, "hello")], Vec::new());
    user.sees("hello ✓");
    user.sees_not("✓✓");
    user.live(Record { client_seq: ClientSeq::new(0), ..text(3, BOB, "one that was to be sent later") });
    user.sees_not("✓✓");
    user.live(act(4, BOB, Act::React { target: Seq::new(2), emoji: "👍".into(), on: true }));
    user.sees_not("✓✓");
    user.live(text(5, BOB, "hi again"));
    user.sees("hello ✓✓");
}

#[test]
fn a_record_that_comes_before_the_answer_is_not_shown_twice() {
    let mut user = User::in_room(vec![text(1, BOB, "hello")], Vec::new());
    user.types("hi");
    user.key(KeyCode::Enter);
    let (ticket, _) = sent(&mut user);
    user.tell(Event::Wrote(ticket, Progress::Queued(2)));
    user.live(text(2, ANN, "hi"));
    assert_eq!(user.app.talks[&room()].pending, Vec::new());
    user.tell(Event::Wrote(ticket, Progress::Recorded(Seq::new(2), Timestamp::new(NOW))));
    assert_eq!(user.app.talks[&room()].choices().count(), 2);
}

#[test]
fn what_has_failed_says_why_and_is_sent_again_or_thrown_away() {
    let mut user = User::in_room(vec![text(1, BOB, "hello")], Vec::new());
    user.types("hi");
    user.key(KeyCode::Enter);
    let (ticket, _) = sent(&mut user);
    user.tell(Event::Wrote(ticket, Progress::Failed(Error::new(Code::Muted, "muted in this channel"))));
    user.sees("✗ not sent: muted in this channel");
    user.key(KeyCode::Tab);
    user.did.clear();
    user.types("y");
    let (again, _) = sent(&mut user);
    assert_ne!(ticket, again);
    user.tell(Event::Wrote(again, Progress::Failed(Error::new(Code::Muted, "muted in this channel"))));
    user.key(KeyCode::Tab);
    user.types("x");
    user.sees_not("not sent: muted in this channel\n");
    assert!(user.app.talks[&room()].pending.is_empty());
}

#[test]
fn up_edits_the_last_own_message_and_escape_gives_up() {
    let mut user = User::in_room(vec![text(1, ANN, "helo"), text(2, BOB, "hi")], Vec::new());
    user.key(KeyCode::Up);
    user.sees("editing");
    user.sees(" > helo");
    user.key(KeyCode::Esc);
    user.sees("write a message");
    user.key(KeyCode::Up);
    user.key(KeyCode::Backspace);
    user.types("lo");
    user.did.clear();
    user.key(KeyCode::Enter);
    assert!(
        matches!(&user.did[..], [Action::Write { write: Write::Edit(seq, text, _), .. }] if *seq == Seq::new(1) && text == "hello"),
        "{:?}",
        user.did
    );
    user.live(act(3, ANN, Act::Edit { target: Seq::new(1), text: "hello".into(), mentions: Vec::new() }));
    user.sees("hello (edited)");
}

#[test]
fn a_chosen_message_is_answered_reacted_to_and_deleted() {
    let mut user = User::in_room(vec![text(1, ANN, "one"), text(2, BOB, "two")], Vec::new());
    user.key(KeyCode::Tab);
    user.types("r");
    user.sees("reply to Bob Builder (bob): two");
    user.types("three");
    user.key(KeyCode::Enter);
    assert_eq!(sent(&mut user).1, Draft::text("three").reply_to(Seq::new(2)));
    user.key(KeyCode::Tab);
    user.key(KeyCode::Up);
    user.types("+");
    user.sees("React with");
    user.types("hoor");
    user.did.clear();
    user.key(KeyCode::Enter);
    assert!(matches!(&user.did[..], [Action::Write { write: Write::React(seq, emoji, true), .. }] if *seq == Seq::new(2) && emoji == "🎉"));
    user.live(act(3, ANN, Act::React { target: Seq::new(2), emoji: "🎉".into(), on: true }));
    user.live(act(4, BOB, Act::React { target: Seq::new(2), emoji: "🎉".into(), on: true }));
    user.sees("🎉 2*");
    user.live(act(5, ANN, Act::React { target: Seq::new(2), emoji: "🎉".into(), on: false }));
    user.sees("🎉 1");
    user.sees_not("🎉 1*");
    user.key(KeyCode::Up);
    user.types("d");
    user.sees("Delete this message for everyone?");
    user.types("y");
    assert!(user.did.iter().any(|action| matches!(action, Action::Write { write: Write::Delete(seq), .. } if *seq == Seq::new(1))));
    user.live(act(6, ANN, Act::Delete { target: Seq::new(1) }));
    user.sees("(deleted)");
}

#[test]
fn a_reaction_counts_once_whether_it_comes_with_the_page_or_after_it() {
    let react = act(2, BOB, Act::React { target: Seq::new(1), emoji: "👍".into(), on: true });
    let total = kith_client::wire::client::ReactionTotal { emoji: "👍".into(), count: 1, mine: false };
    let marks = vec![Marks { seq: Seq::new(1), edited: Seq::ZERO, reactions: vec![total], replies: 0, last_reply: Seq::ZERO, pinned: false }];
    let mut user = User::in_room(vec![text(1, ANN, "one"), react.clone()], marks);
    user.live(react);
    user.sees("👍 1");
    user.live(act(3, EVE, Act::React { target: Seq::new(1), emoji: "👍".into(), on: true }));
    user.sees("👍 2");
}

#[test]
fn older_messages_are_fetched_as_one_goes_back_and_one_stays_where_one_reads() {
    let records = (41..=100).map(|seq| text(seq, if seq % 2 == 0 { ANN } else { BOB }, &format!("number {seq}"))).collect();
    let mut user = User::in_room(records, Vec::new());
    user.sees("number 100");
    assert!(user.did.is_empty(), "{:?}", user.did);
    for _ in 0..9 {
        user.key(KeyCode::PageUp);
    }
    let asked: Vec<&Action> = user.did.iter().filter(|action| matches!(action, Action::Ask(Ask::Page(..)))).collect();
    assert!(matches!(asked[..], [Action::Ask(Ask::Page(_, Want::Before(seq)))] if *seq == Seq::new(41)), "once: {asked:?}");
    let older = HistoryPage { head: at(100), ..page((1..=40).map(|seq| text(seq, BOB, &format!("number {seq}"))).collect(), Vec::new()) };
    let before = user.screen();
    user.tell(Event::Answered(Box::new(Ask::Page(room(), Want::Before(Seq::new(41)))), Ok(Answer::Page(older))));
    for _ in 0..12 {
        user.key(KeyCode::PageUp);
    }
    user.sees("number 1\n");
    assert_ne!(before, user.screen());
    let reading = |user: &User| user.screen().lines().nth(5).map(str::to_owned);
    let at = reading(&user);
    user.live(text(101, BOB, "number 101"));
    assert_eq!(reading(&user), at, "what comes does not move what one reads");
    user.sees("newer messages below");
    user.tell(Event::Key(KeyEvent::new(KeyCode::End, KeyModifiers::CONTROL)));
    user.sees("number 101");
}

#[test]
fn what_is_read_is_told_once_and_only_from_the_newest_on() {
    let mut user = User::in_room((1..=60).map(|seq| text(seq, BOB, &format!("number {seq}"))).collect(), Vec::new());
    let told = |user: &User| user.did.iter().filter(|action| matches!(action, Action::Ask(Ask::MarkRead(..)))).count();
    user.live(text(61, BOB, "a new one"));
    assert_eq!(told(&user), 1);
    user.tell(Event::Tick);
    assert_eq!(told(&user), 1);
    user.key(KeyCode::PageUp);
    user.live(text(62, BOB, "unseen"));
    assert_eq!(told(&user), 1);
}

#[test]
fn what_was_not_read_stands_below_a_line() {
    let user = User::in_room((1..=5).map(|seq| text(seq, BOB, &format!("number {seq}"))).collect(), Vec::new());
    let screen = user.screen();
    let line = |text: &str| screen.lines().position(|line| line.contains(text)).unwrap_or_else(|| panic!("{text}\n{screen}"));
    assert!(line("number 3") < line("new messages") && line("new messages") < line("number 4"), "{screen}");
}

#[test]
fn a_draft_is_kept_for_all_devices_and_is_there_again() {
    let mut user = User::in_room(vec![text(1, BOB, "hello")], Vec::new());
    user.types("not yet");
    user.did.clear();
    user.key(KeyCode::Esc);
    assert!(matches!(&user.did[..], [Action::Ask(Ask::Prefer(_, Wish::Draft(draft)))] if draft.text == "not yet"), "{:?}", user.did);
    user.key(KeyCode::Enter);
    user.sees(" > not yet");
    user.key(KeyCode::Enter);
    assert!(
        user.did.iter().any(|action| matches!(action, Action::Ask(Ask::Prefer(_, Wish::Draft(draft))) if draft.text.is_empty())),
        "sent: no draft any more"
    );
}

#[test]
fn typing_is_told_at_most_every_three_seconds() {
    let mut user = User::in_room(vec![text(1, BOB, "hello")], Vec::new());
    let told = |user: &User| user.did.iter().filter(|action| matches!(action, Action::Ask(Ask::Typing(_)))).count();
    user.types("hello there");
    assert_eq!(told(&user), 1);
    user.now += 3_000;
    user.types("!");
    assert_eq!(told(&user), 2);
}

#[test]
fn an_answer_to_an_old_message_quotes_it_when_it_is_there() {
    let reply = Content::Text { text: "yes".into(), reply_to: Some(Seq::new(3)), mentions: Vec::new(), extra: None };
    let mut user = User::in_room(vec![text(50, BOB, "so"), record(51, ANN, reply)], Vec::new());
    user.tell(Event::Tick);
    user.sees("┃ message 3");
    let quoted = page(vec![text(3, BOB, "is it?")], Vec::new());
    user.tell(Event::Answered(Box::new(Ask::Page(room(), Want::Quoted(Seq::new(3)))), Ok(Answer::Page(quoted))));
    user.sees("┃ Bob Builder (bob): is it?");
}

#[test]
fn what_others_write_cannot_act_on_the_terminal() {
    let mut user = User::in_room(vec![text(1, BOB, "a\u{1b}[2J\u{1b}]0;x\u{7}b \u{202e}evil")], Vec::new());
    user.live(text(2, EVE, "c\u{9b}31md"));
    let screen = user.screen();
    assert!(!screen.chars().any(|c| c != '\n' && (c.is_control() || ('\u{202a}'..='\u{202e}').contains(&c))), "{screen:?}");
    user.sees("a\u{fffd}[2J\u{fffd}]0;x\u{fffd}b");
}

#[test]
fn the_connection_is_said_and_so_is_what_waits_for_it() {
    let mut user = User::in_room(vec![text(1, BOB, "hello")], Vec::new());
    user.sees("connected to 127.0.0.1:7600");
    user.tell(Event::Link(Link::Offline(Some(3_200))));
    user.types("hi");
    user.key(KeyCode::Enter);
    user.sees("offline, next try in 3 s, 1 not sent yet");
}

#[test]
fn many_lines_are_written_before_they_are_sent() {
    let mut user = User::in_room(vec![text(1, BOB, "hello")], Vec::new());
    user.types("one");
    user.ctrl('j');
    user.types("two");
    user.sees(" > one\n   two");
    user.key(KeyCode::Enter);
    assert_eq!(sent(&mut user).1, Draft::text("one\ntwo"));
}
