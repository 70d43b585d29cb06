//! Small things that stand over a screen: forms, questions, notes, and lists to choose from.

use kith_client::wire::id::{ChannelId, DeviceId, Seq, UserId};

use crate::{action::Wish, field::Field};

/// A few fields to be filled in.
#[derive(Clone, Debug)]
pub(crate) struct Form {
    pub(crate) kind: FormKind,
    pub(crate) title: String,
    /// What it is for, and what to know before.
    pub(crate) note: String,
    pub(crate) fields: Vec<FormField>,
    pub(crate) at: usize,
    /// Why it cannot be done so.
    pub(crate) wrong: Option<String>,
    /// It was handed on, and is not answered yet.
    pub(crate) is_busy: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct FormField {
    pub(crate) label: &'static str,
    pub(crate) hint: &'static str,
    pub(crate) field: Field,
}

/// What a form is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum FormKind {
    Server,
    SignUp,
    LogIn,
    Reset,
    NewGroup,
    Direct,
    Join,
    Add(ChannelId),
    Title(ChannelId),
    About(ChannelId),
    SlowMode(ChannelId),
    MuteMember(ChannelId, UserId),
    Invite(ChannelId),
    Find,
    AskContact,
    Profile,
    Rename,
    Password,
    Recovery,
    DeleteAccount,
}

/// What is asked before it is done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Question {
    DeleteMessage(ChannelId, Seq),
    RemoveMember(ChannelId, UserId),
    Leave(ChannelId),
    HandOver(ChannelId, UserId),
    Revoke(ChannelId, [u8; 16]),
    Block(UserId),
    EndDevice(DeviceId),
    EndOthers,
    LogOut,
    Forget(String),
    Quit,
}

/// What the chosen row of a list is for.
#[derive(Clone, Debug)]
pub(crate) enum PickKind {
    React(ChannelId, Seq),
    Forward(ChannelId, Seq),
    Mute(ChannelId),
}

/// A list to choose from, with a field to narrow it or to write something else.
#[derive(Clone, Debug)]
pub(crate) struct Pick {
    pub(crate) kind: PickKind,
    pub(crate) title: String,
    pub(crate) field: Field,
    pub(crate) at: usize,
}

/// A row of a [`Pick`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Choice {
    Emoji(String),
    Talk(ChannelId),
    Wish(Wish),
}

/// Reactions that are offered; any other can be typed.
pub(crate) const EMOJI: &[(&str, &str)] = &[
    ("👍", "yes, good"),
    ("❤", "love"),
    ("😂", "laughing"),
    ("🎉", "hooray"),
    ("😮", "surprised"),
    ("😢", "sad"),
    ("🙏", "thank you"),
    ("👀", "looking"),
    ("👎", "no, bad"),
    ("✅", "done"),
];

impl Form {
    pub(crate) fn new(kind: FormKind, title: &str, note: &str) -> Self {
        Self { kind, title: title.to_owned(), note: note.to_owned(), fields: Vec::new(), at: 0, wrong: None, is_busy: false }
    }
    #[must_use]
    pub(crate) fn line(mut self, label: &'static str, hint: &'static str, text: &str) -> Self {
        self.fields.push(FormField { label, hint, field: Field::line(text) });
        self
    }
    #[must_use]
    pub(crate) fn secret(mut self, label: &'static str, hint: &'static str) -> Self {
        self.fields.push(FormField { label, hint, field: Field::secret() });
        self
    }
    /// The text of a field, without spaces around it.
    pub(crate) fn text(&self, at: usize) -> String {
        self.fields.get(at).map_or_else(String::new, |field| field.field.text().trim().to_owned())
    }
    pub(crate) fn field(&mut self) -> Option<&mut Field> {
        self.fields.get_mut(self.at).map(|field| &mut field.field)
    }
    /// Moves to another field, round and round.
    pub(crate) fn step(&mut self, by: isize) {
        let count = self.fields.len().max(1) as isize;
        self.at = (self.at as isize + by).rem_euclid(count) as usize;
    }
}
