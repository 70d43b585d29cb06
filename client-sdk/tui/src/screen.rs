//! The screens, and which keys are in force on each.
//!
//! The app has a stack of them; the top one gets the keys. Forms, questions, notes and picks are drawn over the one below. Invariant: the
//! bottom one is the welcome or the list, and is never taken away by a key.

use kith_client::wire::{
    id::{ChannelId, Seq, Timestamp, UserId},
    people::{DeviceView, ProfileView},
};

use crate::{
    action::Looked,
    field::Field,
    keys::{self, Table},
    state::form::{Form, Pick, Question},
};

#[derive(Clone, Debug)]
pub(crate) enum Screen {
    Welcome { at: usize },
    List { at: Option<ChannelId>, archived: bool },
    Talk { channel: ChannelId },
    Group { channel: ChannelId, at: usize },
    Contacts(ContactsScreen),
    Account { at: usize, devices: Option<Vec<DeviceView>> },
    Search(Box<Search>),
    Form(Form),
    Pick(Pick),
    Question(Question),
    Note(Note),
}

#[derive(Clone, Debug, Default)]
pub(crate) struct ContactsScreen {
    pub(crate) at: usize,
    /// What was looked for, and who was found.
    pub(crate) found: Option<(String, Vec<ProfileView>)>,
}

/// Something to be read, and perhaps copied.
#[derive(Clone, Debug)]
pub(crate) struct Note {
    pub(crate) title: String,
    pub(crate) text: String,
    pub(crate) down: usize,
}

#[derive(Clone, Debug)]
pub(crate) struct Search {
    /// Only there.
    pub(crate) within: Option<ChannelId>,
    pub(crate) field: Field,
    /// What was looked for last, as it was typed.
    pub(crate) looked_for: Option<String>,
    /// What is asked for now.
    pub(crate) waits_for: Option<Looked>,
    pub(crate) hits: Vec<Hit>,
    /// The chosen one; `None`: the field.
    pub(crate) at: Option<usize>,
    /// What is to be known of the answer.
    pub(crate) note: String,
    /// What was asked, with where its next page begins.
    pub(crate) next: Option<Looked>,
    /// Pages without a message, one after the other.
    pub(crate) empty_pages: usize,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Hit {
    pub(crate) channel: ChannelId,
    pub(crate) seq: Seq,
    pub(crate) sender: UserId,
    pub(crate) ts: Timestamp,
    pub(crate) text: String,
}

impl Search {
    pub(crate) fn new(within: Option<ChannelId>) -> Self {
        Self {
            within,
            field: Field::line(""),
            looked_for: None,
            waits_for: None,
            hits: Vec::new(),
            at: None,
            note: String::new(),
            next: None,
            empty_pages: 0,
        }
    }
}

impl Screen {
    /// Whether it is drawn over the one below.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self, Self::Form(_) | Self::Pick(_) | Self::Question(_) | Self::Note(_))
    }
    /// What it is called in help.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Welcome { .. } => "Welcome",
            Self::List { .. } => "Conversations",
            Self::Talk { .. } => "A conversation",
            Self::Group { .. } => "A group",
            Self::Contacts(_) => "Contacts",
            Self::Account { .. } => "Your account",
            Self::Search(_) => "Search",
            Self::Form(_) => "A form",
            Self::Pick(_) => "Choosing",
            Self::Question(_) => "A question",
            Self::Note(_) => "A note",
        }
    }
    /// The text field that has the keys. That of a conversation is with the conversation.
    pub(crate) fn field(&mut self) -> Option<&mut Field> {
        match self {
            Self::Form(form) => form.field(),
            Self::Pick(pick) => Some(&mut pick.field),
            Self::Search(search) if search.at.is_none() => Some(&mut search.field),
            _ => None,
        }
    }
    /// As [`Screen::field`], to look at.
    pub(crate) fn field_ref(&self) -> Option<&Field> {
        match self {
            Self::Form(form) => form.fields.get(form.at).map(|field| &field.field),
            Self::Pick(pick) => Some(&pick.field),
            Self::Search(search) if search.at.is_none() => Some(&search.field),
            _ => None,
        }
    }
    /// The keys that are in force, besides those that depend on whether something is typed. `chooses`: in a conversation a message is chosen.
    pub(crate) fn tables(&self, chooses: bool) -> Vec<Table> {
        match self {
            Self::Welcome { .. } => vec![keys::WELCOME, keys::MOVING, keys::PLAIN],
            Self::List { .. } => vec![keys::LIST, keys::MOVING, keys::PLAIN],
            Self::Talk { .. } if chooses => vec![keys::CHOOSE, keys::PLAIN],
            Self::Talk { .. } => vec![keys::COMPOSE, keys::TYPING],
            Self::Group { .. } => vec![keys::GROUP, keys::BACK, keys::MOVING, keys::PLAIN],
            Self::Contacts(_) => vec![keys::CONTACTS, keys::BACK, keys::MOVING, keys::PLAIN],
            Self::Account { .. } => vec![keys::ACCOUNT, keys::BACK, keys::MOVING, keys::PLAIN],
            Self::Search(search) if search.at.is_some() => vec![keys::SEARCH, keys::BACK, keys::PLAIN],
            Self::Search(_) => vec![keys::SEARCH, keys::BACK, keys::TYPING],
            Self::Form(_) => vec![keys::FORM, keys::BACK, keys::TYPING],
            Self::Pick(_) => vec![keys::PICK, keys::BACK, keys::TYPING],
            Self::Question(_) => vec![keys::CONFIRM, keys::PLAIN],
            Self::Note(_) => vec![keys::NOTE, keys::PLAIN],
        }
    }
}
