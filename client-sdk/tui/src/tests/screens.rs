//! Getting in, the list, groups, people, the account.

use crossterm::event::KeyCode;
use kith_client::{
    Error, PresenceMap,
    wire::{
        code::Code,
        log::SavedDraft,
        people::{ContactState, ContactView, DeviceView},
        presence::{PresenceState, PresenceView},
    },
};

use super::*;
use crate::{Entry, Progress, Stand, Wish, Write};

#[test]
fn one_signs_up_by_what_the_screen_says() {
    let mut user = User::new();
    user.sees("Sign up");
    user.key(KeyCode::Enter);
    user.types("ann");
    user.key(KeyCode::Enter);
    user.types("correct horse");
    user.key(KeyCode::Enter);
    user.types("correct hose");
    user.key(KeyCode::Enter);
    user.sees("the two passwords are not the same");
    user.sees_not("horse");
    user.sees_not("hose");
    assert!(user.did.is_empty(), "nothing is asked of a server yet: {:?}", user.did);
    user.key(KeyCode::Backspace);
    user.key(KeyCode::Backspace);
    user.types("rse");
    user.key(KeyCode::Enter);
    let Some(Action::Enter(Entry::SignUp { name, password, .. })) = user.did.pop() else { panic!("{:?}", user.did) };
    assert_eq!((name.as_str(), password.reveal()), ("ann", "correct horse"));
    user.sees("working…");
    let taken = Entry::SignUp { server: Server::default(), name, password };
    user.tell(Event::Refused(taken, Error::new(Code::NameTaken, "this name is taken")));
    user.sees("this name is taken: choose another name");
    user.tell(Event::Entered { user: ANN, name: "ann".into(), recovery: Some("the-code".into()) });
    user.sees("the-code");
    user.key(KeyCode::Enter);
    user.sees_not("the-code");
    user.sees("Conversations");
}

#[test]
fn without_a_server_it_is_asked_for_first() {
    let mut user = User::new();
    user.app.server = Server::default();
    user.key(KeyCode::Enter);
    user.sees("host:port");
    user.types("chat.example:7600");
    user.key(KeyCode::Tab);
    user.types("/etc/ca.pem");
    user.key(KeyCode::Enter);
    assert_eq!(user.app.server, Server { addresses: "chat.example:7600".into(), certificate: "/etc/ca.pem".into() });
    user.sees("chat.example:7600");
}

#[test]
fn a_saved_login_that_has_ended_leads_to_the_password() {
    let mut user = User::new();
    user.app.saved = vec!["ann".into()];
    user.sees("Go on as ann");
    user.key(KeyCode::Enter);
    let Some(Action::Enter(entry @ Entry::Resume { .. })) = user.did.pop() else { panic!("{:?}", user.did) };
    user.tell(Event::Refused(entry, Error::new(Code::LoginNeeded, "log in again")));
    user.sees("Password");
    user.types("correct horse");
    user.key(KeyCode::Enter);
    assert!(matches!(user.did.pop(), Some(Action::Enter(Entry::LogIn { name, .. })) if name == "ann"));
}

#[test]
fn what_an_empty_list_says_takes_the_room_that_there_is() {
    let mut user = User::ann();
    user.tell(Event::Size(120, 30));
    user.sees("Enter opens the chosen conversation");
    user.tell(Event::Listed(Vec::new(), Vec::new()));
    user.sees("d  write to somebody: you need the name that they signed up with");
    user.sees_not("Enter opens the chosen conversation");
}

#[test]
fn who_is_here_is_looked_at_and_shown_of_those_on_the_screen() {
    let mut user = User::ann();
    assert_eq!(user.looks, [vec![BOB]], "the other side of the one direct conversation");
    let seen = |state, last_seen| {
        let view = PresenceView { state, last_seen, ..PresenceView::unknown(BOB) };
        Event::Presence(PresenceMap::from([(BOB, view)]))
    };
    user.tell(seen(PresenceState::Online, None));
    user.sees("Bob Builder (bob) ●");
    user.tell(seen(PresenceState::Away, None));
    user.sees("Bob Builder (bob) ○");
    user.key(KeyCode::Down);
    user.key(KeyCode::Enter);
    user.sees("away");
    user.tell(seen(PresenceState::Offline, Some(Timestamp::new(NOW - 3_600_000))));
    user.sees("last seen 10:00");
    user.tell(seen(PresenceState::Offline, None));
    user.sees_not("last seen");
    user.sees_not("●");
    assert_eq!(user.looks.len(), 1, "it is still bob");
    user.key(KeyCode::Esc);
    user.key(KeyCode::Up);
    user.key(KeyCode::Enter);
    assert_eq!(user.looks.last(), Some(&vec![]), "of a group nobody is looked at");
}

#[test]
fn the_list_shows_what_is_to_be_known_of_each_conversation() {
    let mut user = User::ann();
    let mut busy = summary(room(), "garden", 9, 3);
    busy.mentions = 1;
    busy.row.preferences.pinned = Some(Timestamp::new(1));
    busy.row.preferences.muted = Some(Timestamp::new(u64::MAX));
    let mut drafted = summary(direct(), "", 1, 0);
    drafted.row.preferences.draft = Some(SavedDraft { text: "not yet".into(), ..SavedDraft::default() });
    user.tell(Event::Listed(vec![busy, drafted], vec![summary(room(), "old", 1, 0)]));
    for text in ["garden  pinned, muted", "@1", "3 new", "Bob Builder (bob): what was said last", "draft: not yet", "1 archived", "10:59"] {
        user.sees(text);
    }
    user.tell(Event::Sdk(SdkEvent::Typing { channel: direct(), user: BOB }));
    user.sees("Bob Builder (bob) is typing…");
    user.now += 7_000;
    user.tell(Event::Tick);
    user.sees_not("typing");
    user.types("v");
    user.sees("Archived conversations");
    user.types("v");
    user.did.clear();
    user.types("p");
    assert!(matches!(&user.did[..], [Action::Ask(Ask::Prefer(channel, Wish::Pin(false)))] if *channel == room()));
    user.did.clear();
    user.key(KeyCode::Down);
    user.types("m");
    user.sees("for 8 hours");
    user.key(KeyCode::Enter);
    assert!(
        matches!(&user.did[..], [Action::Ask(Ask::Prefer(channel, Wish::Mute(Some(until))))] if *channel == direct() && until.get() == user.now + 3_600_000)
    );
}

#[test]
fn a_group_is_made_and_opened() {
    let mut user = User::ann();
    user.types("n");
    user.types("kitchen");
    user.key(KeyCode::Enter);
    user.types("bob, eve");
    user.key(KeyCode::Enter);
    let Some(Action::Ask(ask @ Ask::NewGroup(..))) = user.did.pop() else { panic!("{:?}", user.did) };
    assert!(matches!(&ask, Ask::NewGroup(title, names) if title == "kitchen" && names == &["bob", "eve"]));
    user.tell(Event::Answered(Box::new(ask.clone()), Err(Error::new(Code::NoSuchUser, "no user is named \"eve\""))));
    user.sees("no user is named \"eve\"");
    user.tell(Event::Answered(Box::new(ask), Ok(Answer::Channel(room()))));
    user.sees("write a message");
    assert!(user.did.iter().any(|action| matches!(action, Action::Ask(Ask::Page(channel, Want::Newest)) if *channel == room())));
}

#[test]
fn a_group_is_run_by_keys() {
    let mut user = User::in_room(vec![text(1, BOB, "hello")], Vec::new());
    user.ctrl('g');
    user.did.clear();
    user.types("u");
    user.sees("they are an admin already");
    user.key(KeyCode::Down);
    user.types("u");
    assert!(matches!(user.did.pop(), Some(Action::Write { write: Write::Role(user, Role::Admin), .. }) if user == BOB));
    user.types("p");
    assert!(matches!(user.did.pop(), Some(Action::Write { write: Write::Rules(rules), .. }) if rules.post == Role::Admin));
    user.types("d");
    user.sees("Remove Bob Builder (bob) from garden?");
    user.types("n");
    assert!(!user.did.iter().any(|action| matches!(action, Action::Write { write: Write::Remove(_), .. })));
    user.types("dy");
    assert!(user.did.iter().any(|action| matches!(action, Action::Write { write: Write::Remove(user), .. } if *user == BOB)));
    user.did.clear();
    user.types("i");
    user.key(KeyCode::Enter);
    user.key(KeyCode::Enter);
    let Some(Action::Write { ticket, write: Write::Invite(until, 0), .. }) = user.did.pop() else { panic!("{:?}", user.did) };
    assert_eq!(until.get(), user.now + 7 * 24 * 3_600_000);
    user.tell(Event::Wrote(ticket, Progress::Done));
    let links = vec![kith_client::wire::act::Link { invite: kith_client::wire::act::Invite { secret: [7; 16], until, uses: 0 }, by: ANN, used: 0 }];
    user.tell(Event::Answered(Box::new(Ask::Group(room())), Ok(Answer::Group(GroupView { links, ..group() }))));
    user.sees("kith-join:");
    user.sees("Copy this line");
}

#[test]
fn what_was_refused_says_what_to_do() {
    let mut user = User::in_room(vec![text(1, BOB, "hello")], Vec::new());
    user.ctrl('g');
    user.types("qy");
    let ticket = user.did.iter().find_map(|action| match action {
        Action::Write { ticket, write: Write::Leave, .. } => Some(*ticket),
        _ => None,
    });
    user.tell(Event::Wrote(ticket.unwrap(), Progress::Failed(Error::new(Code::LastOwner, "the last owner must hand over first"))));
    user.sees("make another member the owner");
}

#[test]
fn contacts_are_asked_accepted_and_blocked() {
    let mut user = User::ann();
    user.types("c");
    let contact = |user, name: &str, state| ContactView { user, name: name.into(), display: String::new(), state, since: Timestamp::new(NOW) };
    let contacts = vec![contact(BOB, "bob", ContactState::Mutual), contact(EVE, "eve", ContactState::Asking)];
    user.tell(Event::Answered(Box::new(Ask::Contacts), Ok(Answer::Contacts(contacts))));
    user.sees("Ask to be your contact: y accepts, d declines");
    user.did.clear();
    user.types("y");
    assert!(matches!(user.did.pop(), Some(Action::Ask(Ask::Contact(user, Stand::Contact))) if user == EVE));
    user.key(KeyCode::Down);
    user.types("by");
    assert!(matches!(user.did.pop(), Some(Action::Ask(Ask::Contact(user, Stand::Blocked))) if user == BOB));
    user.types("fbo");
    user.key(KeyCode::Enter);
    let found = vec![ProfileView { user: BOB, name: "bob".into(), about: "builds".into(), ..ProfileView::default() }];
    user.tell(Event::Answered(Box::new(Ask::Find("bo".into())), Ok(Answer::People(found))));
    user.sees("Found by \"bo\"");
    user.key(KeyCode::Enter);
    assert_eq!(user.app.open_channel(), Some(direct()));
}

#[test]
fn who_logs_out_is_at_the_welcome_and_forgotten_here() {
    let mut user = User::ann();
    user.types("a");
    let device = |id, current| DeviceView {
        device: DeviceId::new(id),
        title: "a terminal".into(),
        created: Timestamp::new(1),
        seen: Timestamp::new(NOW),
        current,
    };
    user.tell(Event::Answered(Box::new(Ask::Devices), Ok(Answer::Devices(vec![device(1, true), device(2, false)]))));
    user.sees("this one");
    user.key(KeyCode::Down);
    user.types("dy");
    assert!(matches!(user.did.pop(), Some(Action::Ask(Ask::EndDevice(device))) if device == DeviceId::new(2)));
    user.types("ly");
    assert!(matches!(user.did.pop(), Some(Action::Ask(Ask::LogOut))));
    // The server may end the session before its answer is here.
    user.tell(Event::Left(Some(Error::new(Code::Revoked, "the account or device was revoked"))));
    assert!(matches!(user.did.pop(), Some(Action::Forget(name)) if name == "ann"));
    user.sees("Sign up");
    user.sees_not("revoked");
    user.sees_not("Go on as ann");
}

#[test]
fn without_colours_there_are_none_and_all_is_still_said() {
    let mut user = User::in_room(vec![text(1, BOB, "hello"), text(2, ANN, "hi")], Vec::new());
    let has_colors =
        |user: &User| user.buffer().content().iter().any(|cell| cell.fg != ratatui::style::Color::Reset || cell.bg != ratatui::style::Color::Reset);
    let before = user.screen();
    assert!(has_colors(&user));
    user.app.has_colors = false;
    assert!(!has_colors(&user));
    assert_eq!(user.screen(), before);
}
