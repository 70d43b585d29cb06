//! Contacts: requests, blocks, finding people.

use kith_client::wire::{
    id::UserId,
    people::{ContactState, ContactView, ProfileView},
};

use crate::{
    action::{Ask, Stand},
    app::App,
    keys::Deed,
    screen::Screen,
    state::form::{Form, FormKind, Question},
};

/// A row of the contacts that can be chosen.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ContactRow<'a> {
    Found(&'a ProfileView),
    Contact(&'a ContactView),
}

impl ContactRow<'_> {
    pub(crate) fn user(&self) -> UserId {
        match self {
            Self::Found(profile) => profile.user,
            Self::Contact(contact) => contact.user,
        }
    }
    fn name(&self) -> &str {
        match self {
            Self::Found(profile) => &profile.name,
            Self::Contact(contact) => &contact.name,
        }
    }
}

/// In which order contacts stand, by how they stand.
pub(crate) const STATES: [ContactState; 4] = [ContactState::Asking, ContactState::Mutual, ContactState::Asked, ContactState::Blocked];

impl App {
    /// Who was found, then who has asked, contacts, who was asked, and who is blocked.
    pub(crate) fn contact_rows(&self) -> Vec<ContactRow<'_>> {
        let found = self.screens.iter().rev().find_map(|screen| match screen {
            Screen::Contacts(contacts) => contacts.found.as_ref(),
            _ => None,
        });
        let mut rows: Vec<ContactRow<'_>> = found.into_iter().flat_map(|(_, profiles)| profiles).map(ContactRow::Found).collect();
        let contacts = self.contacts.as_deref().unwrap_or_default();
        for state in STATES {
            rows.extend(contacts.iter().filter(|contact| contact.state == state).map(ContactRow::Contact));
        }
        rows
    }
    pub(crate) fn stands(&self, user: UserId) -> Option<ContactState> {
        self.contacts.iter().flatten().find(|contact| contact.user == user).map(|contact| contact.state)
    }
    pub(super) fn in_contacts(&mut self, deed: Deed) {
        let Screen::Contacts(contacts) = self.screen() else { return };
        let (at, rows) = (contacts.at, self.contact_rows());
        let chosen = rows.get(at.min(rows.len().saturating_sub(1))).map(|row| (row.user(), row.name().to_owned()));
        if let Some(to) = self.moved(deed, at, rows.len()) {
            if let Screen::Contacts(contacts) = self.screen_mut() {
                contacts.at = to;
            }
            return;
        }
        match (deed, chosen) {
            (Deed::Back, _) => self.back(),
            (Deed::Find, _) => {
                self.show_form(Form::new(FormKind::Find, "Find people", "By the beginning of their name, or of a word of their display name.").line(
                    "Begins with",
                    "two letters at least",
                    "",
                ))
            }
            (Deed::AskContact, _) => self.show_form(
                Form::new(FormKind::AskContact, "Ask for contact", "They are asked, and become your contact when they accept.").line("Name", "", ""),
            ),
            (Deed::Enter, Some((user, name))) => {
                let channel = kith_client::wire::id::ChannelId::direct(self.me, user);
                if name.is_empty() { self.say("this account is gone") } else { self.open(channel) }
            }
            (Deed::Accept, Some((user, _))) => self.ask(Ask::Contact(user, Stand::Contact)),
            (Deed::RemoveContact, Some((user, _))) => match self.stands(user) {
                Some(ContactState::Blocked) => self.say("they are blocked: b unblocks them"),
                Some(_) => self.ask(Ask::Contact(user, Stand::Stranger)),
                None => self.say("they are no contact of yours"),
            },
            (Deed::Block, Some((user, _))) if self.stands(user) == Some(ContactState::Blocked) => self.ask(Ask::Contact(user, Stand::Unblocked)),
            (Deed::Block, Some((user, _))) => self.question(Question::Block(user)),
            (Deed::Enter | Deed::Accept | Deed::Block | Deed::RemoveContact, None) => self.say("nobody is here yet: f finds people, a asks by name"),
            _ => {}
        }
    }
}
