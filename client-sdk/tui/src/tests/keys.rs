//! That help tells the truth, on each screen.

use crossterm::event::KeyCode;

use super::*;
use crate::{
    field::Field,
    keys::Chord,
    screen::{ContactsScreen, Note, Screen, Search},
    state::form::{Form, FormKind, Pick, PickKind, Question},
};

/// One of each screen.
fn screens() -> Vec<Screen> {
    let mut found = Search::new(None);
    found.at = Some(0);
    vec![
        Screen::Welcome { at: 0 },
        Screen::List { at: None, archived: false },
        Screen::Talk { channel: room() },
        Screen::Group { channel: room(), at: 0 },
        Screen::Contacts(ContactsScreen::default()),
        Screen::Account { at: 0, devices: None },
        Screen::Search(Box::new(Search::new(None))),
        Screen::Search(Box::new(found)),
        Screen::Form(Form::new(FormKind::Direct, "", "").line("Name", "", "")),
        Screen::Pick(Pick { kind: PickKind::React(room(), Seq::new(1)), title: String::new(), field: Field::line(""), at: 0 }),
        Screen::Question(Question::Quit),
        Screen::Note(Note { title: String::new(), text: String::new(), down: 0 }),
    ]
}

/// On a screen that is on top, with something typed and without, with a message chosen and without.
fn everywhere(mut check: impl FnMut(&mut User)) {
    for screen in screens() {
        for (is_empty, chooses, in_help) in [(true, false, false), (false, false, false), (true, true, false), (true, false, true)] {
            let mut user = User::in_room(vec![text(1, ANN, "hello")], Vec::new());
            user.app.screens.push(screen.clone());
            if !is_empty {
                user.app.typed("x");
            }
            if chooses {
                user.app.talks.get_mut(&room()).unwrap().choose(0);
            }
            user.app.help = in_help.then_some(0);
            check(&mut user);
        }
    }
}

#[test]
fn no_key_stands_twice_so_that_what_help_says_is_what_happens() {
    everywhere(|user| {
        let mut seen: Vec<Chord> = Vec::new();
        for table in user.app.tables() {
            for chord in table.binds.iter().flat_map(|bind| bind.chords) {
                assert!(!seen.contains(chord), "{} on {} stands twice", chord.name(), user.app.screen().name());
                seen.push(*chord);
            }
        }
    });
}

#[test]
fn help_is_on_every_screen_and_shows_every_key() {
    everywhere(|user| {
        let is_help = |user: &User| user.app.help.is_some();
        if is_help(user) {
            return;
        }
        user.sees("help");
        let keys: Vec<(String, &str)> = user.app.tables().iter().flat_map(|table| table.binds).map(|bind| (bind.names(), bind.says)).collect();
        user.tell(Event::Size(100, 200));
        user.key(KeyCode::F(1));
        assert!(is_help(user));
        let screen = user.screen();
        for (names, says) in keys {
            let first = says.split_whitespace().next().unwrap();
            assert!(screen.lines().any(|line| line.contains(&names) && line.contains(first)), "{names} {says}\n{screen}");
        }
        user.key(KeyCode::Esc);
        assert!(!is_help(user));
    });
}

#[test]
fn a_question_mark_opens_help_where_nothing_is_typed_and_is_typed_by_a_second_one() {
    let mut user = User::in_room(vec![text(1, ANN, "hello")], Vec::new());
    user.key(KeyCode::Char('?'));
    assert!(user.app.help.is_some());
    user.key(KeyCode::Char('?'));
    assert!(user.app.help.is_none());
    user.types("really?");
    assert!(user.app.help.is_none(), "it is a letter among others");
    user.sees(" > ?really?");
}

#[test]
fn the_bottom_line_always_says_how_to_get_help() {
    everywhere(|user| {
        for width in [20, 40, 80, 200] {
            user.tell(Event::Size(width, 24));
            let screen = user.screen();
            let bottom = screen.lines().last().unwrap();
            assert!(user.app.help.is_some() || bottom.contains("help"), "{width}: {bottom:?} on {}", user.app.screen().name());
        }
    });
}
