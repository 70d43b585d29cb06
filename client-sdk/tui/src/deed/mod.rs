//! What each deed does on each screen.
//!
//! In: a deed from the table of keys. Out: changed state and actions. Not here: which key asks for it (`keys`), what comes of it (`answer`).

mod account;
mod group;
mod list;
mod people;
mod pick;
mod search;
mod submit;
mod talk;
mod welcome;

use crate::{
    app::App,
    keys::Deed,
    screen::Screen,
    state::form::{Form, Question},
    view,
};

pub(crate) use self::{group::GroupRow, people::ContactRow, welcome::WelcomeRow};

impl App {
    pub(crate) fn deed(&mut self, deed: Deed) {
        if let Some(down) = self.help {
            self.in_help(deed, down);
            return;
        }
        match deed {
            Deed::Help => self.help = Some(0),
            Deed::Quit => self.quit_or_ask(),
            Deed::Edit(edit) => self.edit(edit),
            Deed::Search => self.begin_search(),
            _ => match self.screen() {
                Screen::Welcome { .. } => self.at_welcome(deed),
                Screen::List { .. } => self.in_list(deed),
                Screen::Talk { channel } => self.in_talk(*channel, deed),
                Screen::Group { channel, .. } => self.in_group(*channel, deed),
                Screen::Contacts(_) => self.in_contacts(deed),
                Screen::Account { .. } => self.in_account(deed),
                Screen::Search(_) => self.in_search(deed),
                Screen::Form(_) => self.in_form(deed),
                Screen::Pick(_) => self.in_pick(deed),
                Screen::Question(_) => self.in_question(deed),
                Screen::Note(_) => self.in_note(deed),
            },
        }
    }
    fn in_help(&mut self, deed: Deed, down: usize) {
        match deed {
            Deed::Up => self.help = Some(down.saturating_sub(1)),
            Deed::Down => self.help = Some(down + 1),
            Deed::PageUp => self.help = Some(down.saturating_sub(view::page(self))),
            Deed::PageDown => self.help = Some(down + view::page(self)),
            Deed::Quit => self.quit(),
            Deed::Help => {
                self.help = None;
                // Over a text field: this is how one begins with a question mark.
                self.typed("?");
            }
            _ => self.help = None,
        }
        // It ends where its text ends.
        if let Some(down) = self.help {
            self.help = Some(down.min(view::help_lines(self).saturating_sub(1)));
        }
    }
    fn quit_or_ask(&mut self) {
        if matches!(self.screen(), Screen::List { .. }) {
            self.screens.push(Screen::Question(Question::Quit));
        } else {
            self.quit();
        }
    }
    pub(crate) fn back(&mut self) {
        self.keep_draft();
        if self.screens.len() > 1 {
            self.screens.pop();
        }
    }
    pub(crate) fn show_form(&mut self, form: Form) {
        self.screens.push(Screen::Form(form));
    }
    pub(crate) fn question(&mut self, question: Question) {
        self.screens.push(Screen::Question(question));
    }
    pub(crate) fn note(&mut self, title: &str, text: String) {
        self.screens.push(Screen::Note(crate::screen::Note { title: title.to_owned(), text, down: 0 }));
    }
    fn in_note(&mut self, deed: Deed) {
        let page = view::page(self);
        let Screen::Note(note) = self.screen_mut() else { return };
        match deed {
            Deed::Up => note.down = note.down.saturating_sub(1),
            Deed::Down => note.down += 1,
            Deed::PageUp => note.down = note.down.saturating_sub(page),
            Deed::PageDown => note.down += page,
            _ => return self.back(),
        }
        let last = note.text.lines().count().saturating_sub(1);
        note.down = note.down.min(last);
    }
    /// Moves in a list of so many rows.
    pub(crate) fn moved(&self, deed: Deed, at: usize, count: usize) -> Option<usize> {
        let last = count.checked_sub(1)?;
        let page = view::page(self);
        Some(match deed {
            Deed::Up => at.saturating_sub(1),
            Deed::Down => (at + 1).min(last),
            Deed::PageUp => at.saturating_sub(page),
            Deed::PageDown => (at + page).min(last),
            Deed::First => 0,
            Deed::Last => last,
            _ => return None,
        })
    }
}
