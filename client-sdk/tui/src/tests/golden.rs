//! Whole screens, as they were accepted last. `KITH_GOLDEN=write` writes what is not there yet, or is meant to be new.

use std::{fs, path::Path};

use crossterm::event::KeyCode;
use kith_client::wire::{
    act::{Act, Invite, Link as KeptLink, Rules},
    client::{Marks, ReactionTotal},
    id::{Seq, Timestamp},
    log::{Content, MemberChange},
};

use super::*;

#[track_caller]
fn golden(name: &str, screen: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(format!("{name}.txt"));
    let accepted = fs::read_to_string(&path).unwrap_or_default();
    if accepted == screen {
        return;
    }
    assert!(std::env::var("KITH_GOLDEN").is_ok_and(|how| how == "write"), "{name} is another one. Accepted:\n{accepted}\nNow:\n{screen}");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, screen).unwrap();
}

#[test]
fn the_welcome_says_what_to_do() {
    golden("welcome", &User::new().screen());
}

#[test]
fn an_empty_list_says_how_to_begin() {
    let mut user = User::new();
    user.tell(Event::Entered { user: ANN, name: "ann".into(), recovery: Some("abcd-efgh".into()) });
    user.tell(Event::Link(Link::Online("127.0.0.1:7600".into())));
    user.tell(Event::Listed(Vec::new(), Vec::new()));
    golden("recovery", &user.screen());
    user.key(KeyCode::Enter);
    golden("empty", &user.screen());
}

fn talk() -> User {
    let reply = Content::Text { text: "in the shade, by the wall".into(), reply_to: Some(Seq::new(2)), mentions: Vec::new(), extra: None };
    let records = vec![
        record(1, ANN, Content::Created { title: "garden".into(), members: vec![BOB] }),
        text(2, BOB, "Where do the ferns go? They did not like it where they were last year, it was much too bright for them there."),
        record(3, ANN, reply),
        record(4, ANN, Content::Members(MemberChange::Add(EVE))),
        text(5, BOB, "谢谢! 🌿"),
    ];
    let reactions = vec![ReactionTotal { emoji: "👍".into(), count: 2, mine: true }];
    let marks = vec![Marks { seq: Seq::new(3), edited: Seq::new(4), reactions, replies: 0, last_reply: Seq::ZERO, pinned: true }];
    User::in_room(records, marks)
}

#[test]
fn a_conversation_on_a_small_and_on_a_large_terminal() {
    let mut user = talk();
    golden("talk-80x24", &user.screen());
    user.tell(Event::Size(160, 30));
    golden("talk-160x30", &user.screen());
}

#[test]
fn a_group_shows_its_members_and_rules_with_their_keys() {
    let mut user = talk();
    user.ctrl('g');
    let links = vec![KeptLink { invite: Invite { secret: [7; 16], until: Timestamp::new(NOW + 3_600_000), uses: 3 }, by: ANN, used: 2 }];
    let view = GroupView { links, rules: Rules { slow_ms: 30_000, ..Rules::default() }, ..group() };
    user.tell(Event::Answered(Box::new(Ask::Group(room())), Ok(Answer::Group(view))));
    golden("group", &user.screen());
}

#[test]
fn help_over_a_conversation() {
    let mut user = talk();
    user.key(KeyCode::F(1));
    golden("help-talk", &user.screen());
}

#[test]
fn edits_and_deletions_stand_at_what_they_change() {
    let mut user = talk();
    user.live(act(6, BOB, Act::Edit { target: Seq::new(5), text: "Thank you! 🌿".into(), mentions: Vec::new() }));
    user.live(act(7, ANN, Act::Delete { target: Seq::new(3) }));
    golden("talk-changed", &user.screen());
}
