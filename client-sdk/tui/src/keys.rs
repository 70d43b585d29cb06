//! What each key does, screen by screen: the one table that dispatches keys, and that help and the bottom line are made of.
//!
//! In: a key and where it was pressed. Out: a [`Deed`]. Invariant: within what is in force at one place a key stands once (a test holds it), so
//! that what help says is what happens. Not here: what a deed does (`deed`).

use crossterm::event::{KeyCode, KeyModifiers};

/// A key with what is held beside it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Chord {
    pub(crate) code: KeyCode,
    pub(crate) mods: KeyModifiers,
}

/// A step in a text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Edit {
    Left,
    Right,
    WordLeft,
    WordRight,
    Start,
    End,
    Up,
    Down,
    Backspace,
    Delete,
    DeleteWord,
    DeleteToStart,
    NewLine,
}

impl Edit {
    /// All of them.
    #[cfg(test)]
    pub(crate) const ALL: &[Self] = &[
        Self::Left,
        Self::Right,
        Self::WordLeft,
        Self::WordRight,
        Self::Start,
        Self::End,
        Self::Up,
        Self::Down,
        Self::Backspace,
        Self::Delete,
        Self::DeleteWord,
        Self::DeleteToStart,
        Self::NewLine,
    ];
}

/// What a key asks for. Each is done by the screen that is on top.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Deed {
    Help,
    Quit,
    Back,
    Edit(Edit),
    /// What stands first on a screen: open, send, submit.
    Enter,
    Up,
    Down,
    PageUp,
    PageDown,
    First,
    Last,
    NextField,
    PreviousField,
    Yes,
    // Welcome.
    SetServer,
    Forget,
    // The list.
    NewGroup,
    NewDirect,
    JoinByLink,
    Contacts,
    Account,
    Search,
    Pin,
    Mute,
    Archive,
    ShowArchived,
    MarkRead,
    Details,
    // A conversation.
    EditLast,
    Choose,
    Write,
    NextTalk,
    PreviousTalk,
    Newest,
    Reply,
    Amend,
    Delete,
    React,
    Forward,
    Inspect,
    GoToQuoted,
    Retry,
    Discard,
    // A group.
    AddMember,
    RemoveMember,
    Promote,
    Demote,
    MuteMember,
    HandOver,
    Leave,
    Title,
    About,
    SlowMode,
    WhoPosts,
    WhoInvites,
    FromStart,
    Approval,
    Invite,
    Revoke,
    Approve,
    Reject,
    // People.
    Find,
    AskContact,
    Accept,
    RemoveContact,
    Block,
    // The account.
    Profile,
    Rename,
    Password,
    Recovery,
    EndDevice,
    EndOthers,
    LogOut,
    DeleteAccount,
    Refresh,
}

/// A line of help, and what makes it true.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bind {
    pub(crate) chords: &'static [Chord],
    pub(crate) deed: Deed,
    /// What it does, for help.
    pub(crate) says: &'static str,
    /// For the bottom line; empty: only in help.
    pub(crate) short: &'static str,
}

/// Keys with a heading.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Table {
    pub(crate) title: &'static str,
    pub(crate) binds: &'static [Bind],
}

const fn of(code: KeyCode) -> Chord {
    Chord { code, mods: KeyModifiers::NONE }
}
const fn key(c: char) -> Chord {
    of(KeyCode::Char(c))
}
const fn ctrl(c: char) -> Chord {
    Chord { code: KeyCode::Char(c), mods: KeyModifiers::CONTROL }
}
const fn alt(code: KeyCode) -> Chord {
    Chord { code, mods: KeyModifiers::ALT }
}
const fn ctrl_of(code: KeyCode) -> Chord {
    Chord { code, mods: KeyModifiers::CONTROL }
}
const fn shown(chords: &'static [Chord], deed: Deed, says: &'static str, short: &'static str) -> Bind {
    Bind { chords, deed, says, short }
}
const fn bind(chords: &'static [Chord], deed: Deed, says: &'static str) -> Bind {
    Bind { chords, deed, says, short: "" }
}

impl Chord {
    /// As it is written on screens.
    pub(crate) fn name(&self) -> String {
        let code = match self.code {
            KeyCode::Char(' ') => "Space".to_owned(),
            KeyCode::Char(c) if self.mods.contains(KeyModifiers::CONTROL) => c.to_uppercase().to_string(),
            KeyCode::Char(c) => c.to_string(),
            KeyCode::F(number) => format!("F{number}"),
            KeyCode::PageUp => "PgUp".to_owned(),
            KeyCode::PageDown => "PgDn".to_owned(),
            KeyCode::BackTab => "Shift-Tab".to_owned(),
            KeyCode::Delete => "Del".to_owned(),
            other => format!("{other:?}"),
        };
        match self.mods {
            KeyModifiers::CONTROL => format!("Ctrl-{code}"),
            KeyModifiers::ALT => format!("Alt-{code}"),
            _ => code,
        }
    }
}

impl Bind {
    /// All of its keys, as they are written in help.
    pub(crate) fn names(&self) -> String {
        self.chords.iter().map(Chord::name).collect::<Vec<_>>().join(", ")
    }
}

/// Everywhere.
pub(crate) const ALWAYS: Table = Table {
    title: "Everywhere",
    binds: &[
        shown(&[of(KeyCode::F(1))], Deed::Help, "this help", "help"),
        bind(&[ctrl('c')], Deed::Quit, "end the program; what was not sent yet is sent next time"),
    ],
};
/// Where no text is being typed.
pub(crate) const PLAIN: Table = Table { title: "", binds: &[shown(&[key('?')], Deed::Help, "this help", "help")] };
/// Where a text may be typed, and none is yet.
pub(crate) const EMPTY: Table =
    Table { title: "", binds: &[shown(&[key('?')], Deed::Help, "this help, where nothing is typed yet; ? in it writes a question mark", "help")] };
/// On screens above another one.
pub(crate) const BACK: Table = Table { title: "", binds: &[shown(&[of(KeyCode::Esc)], Deed::Back, "go back", "back")] };
/// While a line of text is being typed.
pub(crate) const TYPING: Table = Table {
    title: "While you type",
    binds: &[
        bind(&[of(KeyCode::Left), ctrl('b')], Deed::Edit(Edit::Left), "one character left"),
        bind(&[of(KeyCode::Right), ctrl('f')], Deed::Edit(Edit::Right), "one character right"),
        bind(&[ctrl_of(KeyCode::Left), alt(KeyCode::Char('b'))], Deed::Edit(Edit::WordLeft), "one word left"),
        bind(&[ctrl_of(KeyCode::Right), alt(KeyCode::Char('f'))], Deed::Edit(Edit::WordRight), "one word right"),
        bind(&[of(KeyCode::Home), ctrl('a')], Deed::Edit(Edit::Start), "to the start of the line"),
        bind(&[of(KeyCode::End), ctrl('e')], Deed::Edit(Edit::End), "to the end of the line"),
        bind(&[of(KeyCode::Backspace), ctrl('h')], Deed::Edit(Edit::Backspace), "delete what stands before"),
        bind(&[of(KeyCode::Delete), ctrl('d')], Deed::Edit(Edit::Delete), "delete what stands after"),
        bind(&[ctrl('w'), alt(KeyCode::Backspace)], Deed::Edit(Edit::DeleteWord), "delete the word before"),
        bind(&[ctrl('u')], Deed::Edit(Edit::DeleteToStart), "delete back to the start of the line"),
    ],
};
/// Lists of any kind that fill the screen.
const MOVE: [Bind; 6] = [
    bind(&[of(KeyCode::Up), key('k')], Deed::Up, "up"),
    bind(&[of(KeyCode::Down), key('j')], Deed::Down, "down"),
    bind(&[of(KeyCode::PageUp)], Deed::PageUp, "a page up"),
    bind(&[of(KeyCode::PageDown)], Deed::PageDown, "a page down"),
    bind(&[of(KeyCode::Home)], Deed::First, "to the first"),
    bind(&[of(KeyCode::End), key('G')], Deed::Last, "to the last"),
];
pub(crate) const MOVING: Table = Table { title: "Moving", binds: &MOVE };

pub(crate) const WELCOME: Table = Table {
    title: "Welcome",
    binds: &[
        shown(&[of(KeyCode::Enter)], Deed::Enter, "choose", "choose"),
        shown(&[key('s')], Deed::SetServer, "another server, or another certificate", "server"),
        bind(&[of(KeyCode::Delete), key('x')], Deed::Forget, "forget this saved login on this machine"),
        shown(&[key('q')], Deed::Quit, "end the program", "quit"),
    ],
};
pub(crate) const LIST: Table = Table {
    title: "Conversations",
    binds: &[
        shown(&[of(KeyCode::Enter)], Deed::Enter, "open the conversation", "open"),
        shown(&[key('n')], Deed::NewGroup, "make a group", "new group"),
        shown(&[key('d')], Deed::NewDirect, "write to somebody by name", "direct"),
        shown(&[key('l')], Deed::JoinByLink, "join a group by a link", "join"),
        shown(&[key('c')], Deed::Contacts, "contacts, requests, finding people", "contacts"),
        shown(&[key('/')], Deed::Search, "search in messages", "search"),
        shown(&[key('a')], Deed::Account, "your account: profile, devices, password, log out", "account"),
        bind(&[key('i')], Deed::Details, "the group: members, roles, links, rules; or who the other is"),
        bind(&[key('p')], Deed::Pin, "keep it on top of the list, or let it go"),
        bind(&[key('m')], Deed::Mute, "mute, or hear it again"),
        bind(&[key('x')], Deed::Archive, "archive, or put it back"),
        bind(&[key('v')], Deed::ShowArchived, "show what is archived, or all others"),
        bind(&[key('r')], Deed::MarkRead, "mark as read"),
        bind(&[key('q')], Deed::Quit, "end the program"),
    ],
};
pub(crate) const COMPOSE: Table = Table {
    title: "Writing a message",
    binds: &[
        shown(&[of(KeyCode::Enter)], Deed::Enter, "send", "send"),
        bind(&[alt(KeyCode::Enter), ctrl('j')], Deed::Edit(Edit::NewLine), "a new line"),
        shown(&[of(KeyCode::Up)], Deed::EditLast, "edit your last message, where nothing is typed yet; else a line up", "edit last"),
        bind(&[of(KeyCode::Down)], Deed::Edit(Edit::Down), "a line down"),
        shown(&[of(KeyCode::Tab)], Deed::Choose, "choose a message: reply, react, edit, delete, forward, pin", "choose"),
        shown(&[ctrl('g')], Deed::Details, "the group: members, roles, links, rules; or who the other is", "group"),
        bind(&[ctrl('s')], Deed::Search, "search here"),
        bind(&[of(KeyCode::PageUp)], Deed::PageUp, "a page back; older messages are fetched as you go"),
        bind(&[of(KeyCode::PageDown)], Deed::PageDown, "a page on"),
        bind(&[ctrl_of(KeyCode::End), alt(KeyCode::Char('e'))], Deed::Newest, "to the newest"),
        bind(&[alt(KeyCode::Down), ctrl('n')], Deed::NextTalk, "the next conversation"),
        bind(&[alt(KeyCode::Up), ctrl('p')], Deed::PreviousTalk, "the conversation before"),
        shown(&[of(KeyCode::Esc)], Deed::Back, "give up an edit or a reply; else back to the list", "back"),
    ],
};
pub(crate) const CHOOSE: Table = Table {
    title: "A chosen message",
    binds: &[
        bind(&[of(KeyCode::Up), key('k')], Deed::Up, "the message before"),
        bind(&[of(KeyCode::Down), key('j')], Deed::Down, "the next message"),
        bind(&[of(KeyCode::PageUp)], Deed::PageUp, "some messages back"),
        bind(&[of(KeyCode::PageDown)], Deed::PageDown, "some messages on"),
        bind(&[of(KeyCode::End), key('G')], Deed::Newest, "to the newest, and write"),
        shown(&[key('r')], Deed::Reply, "reply to it", "reply"),
        shown(&[key('+'), key('a')], Deed::React, "react, or take it back", "react"),
        shown(&[key('e')], Deed::Amend, "edit it, if it is yours", "edit"),
        shown(&[key('d')], Deed::Delete, "delete it for everyone", "delete"),
        shown(&[key('f')], Deed::Forward, "forward it to another conversation", "forward"),
        shown(&[key('p')], Deed::Pin, "pin or unpin it", "pin"),
        shown(&[key('i')], Deed::Inspect, "who has seen it, who reacted", "details"),
        bind(&[of(KeyCode::Enter), key('o')], Deed::GoToQuoted, "go to the message that it answers"),
        bind(&[key('y')], Deed::Retry, "send again what has failed"),
        bind(&[key('x')], Deed::Discard, "throw away what has failed"),
        shown(&[of(KeyCode::Tab), of(KeyCode::Esc)], Deed::Write, "back to writing", "write"),
    ],
};
pub(crate) const GROUP: Table = Table {
    title: "The group",
    binds: &[
        shown(&[key('a')], Deed::AddMember, "add somebody by name", "add"),
        shown(&[key('d')], Deed::RemoveMember, "remove the chosen member", "remove"),
        shown(&[key('u')], Deed::Promote, "make the chosen member an admin", "admin"),
        bind(&[key('w')], Deed::Demote, "make the chosen admin a member again"),
        shown(&[key('m')], Deed::MuteMember, "mute the chosen member for a while, or let them write again", "mute"),
        shown(&[key('i')], Deed::Invite, "make an invite link", "invite link"),
        bind(&[of(KeyCode::Enter)], Deed::Enter, "show the chosen link to copy it, or go to the chosen pin"),
        bind(&[key('x')], Deed::Revoke, "revoke the chosen link"),
        bind(&[key('y')], Deed::Approve, "let the chosen person in, who asked to join"),
        bind(&[key('n')], Deed::Reject, "refuse the chosen person, who asked to join"),
        bind(&[key('t')], Deed::Title, "another title"),
        bind(&[key('e')], Deed::About, "another description"),
        bind(&[key('s')], Deed::SlowMode, "slow mode: the least time between two messages of a member"),
        bind(&[key('p')], Deed::WhoPosts, "who may write: members, admins, the owner"),
        bind(&[key('v')], Deed::WhoInvites, "who may add people and make links"),
        bind(&[key('h')], Deed::FromStart, "new members read from the start, or from when they join"),
        bind(&[key('o')], Deed::Approval, "who joins by a link waits for an admin, or does not"),
        bind(&[key('H')], Deed::HandOver, "make the chosen member the owner in your place"),
        shown(&[key('q')], Deed::Leave, "leave the group", "leave"),
    ],
};
pub(crate) const CONTACTS: Table = Table {
    title: "Contacts",
    binds: &[
        shown(&[of(KeyCode::Enter)], Deed::Enter, "write to the chosen person", "write to"),
        shown(&[key('f'), key('/')], Deed::Find, "find people by the beginning of a name", "find"),
        shown(&[key('a')], Deed::AskContact, "ask somebody by name to be your contact", "ask"),
        shown(&[key('y')], Deed::Accept, "accept the request, or ask the chosen person", "accept"),
        shown(&[key('d')], Deed::RemoveContact, "decline the request, take yours back, or end the contact", "decline"),
        shown(&[key('b')], Deed::Block, "block, or unblock; who is blocked cannot tell", "block"),
    ],
};
pub(crate) const ACCOUNT: Table = Table {
    title: "Account",
    binds: &[
        shown(&[key('e')], Deed::Profile, "edit what others see of you", "profile"),
        shown(&[key('d')], Deed::EndDevice, "log the chosen device out", "log device out"),
        bind(&[key('o')], Deed::EndOthers, "log all other devices out"),
        shown(&[key('p')], Deed::Password, "change the password; logs all other devices out", "password"),
        bind(&[key('c')], Deed::Recovery, "a new recovery code"),
        bind(&[key('n')], Deed::Rename, "take another name; the old one is held back for 30 days"),
        shown(&[key('l')], Deed::LogOut, "log out on this device", "log out"),
        bind(&[key('x')], Deed::DeleteAccount, "delete the account, for ever"),
        bind(&[key('r')], Deed::Refresh, "ask again"),
    ],
};
pub(crate) const SEARCH: Table = Table {
    title: "Search",
    binds: &[
        shown(&[of(KeyCode::Enter)], Deed::Enter, "search; with a result chosen, go there", "search"),
        shown(&[of(KeyCode::Up)], Deed::Up, "the result before", ""),
        shown(&[of(KeyCode::Down), of(KeyCode::Tab)], Deed::Down, "the next result", "results"),
        bind(&[of(KeyCode::PageUp)], Deed::PageUp, "some results back"),
        bind(&[of(KeyCode::PageDown)], Deed::PageDown, "some results on"),
    ],
};
pub(crate) const FORM: Table = Table {
    title: "A form",
    binds: &[
        shown(&[of(KeyCode::Enter)], Deed::Enter, "to the next field; in the last one: done", "next, done"),
        shown(&[of(KeyCode::Tab), of(KeyCode::Down)], Deed::NextField, "the next field", "next field"),
        bind(&[of(KeyCode::BackTab), of(KeyCode::Up)], Deed::PreviousField, "the field before"),
    ],
};
pub(crate) const PICK: Table = Table {
    title: "Choosing",
    binds: &[
        shown(&[of(KeyCode::Enter)], Deed::Enter, "take the chosen one", "take"),
        shown(&[of(KeyCode::Up)], Deed::Up, "up", ""),
        shown(&[of(KeyCode::Down), of(KeyCode::Tab)], Deed::Down, "down", "move"),
        bind(&[of(KeyCode::PageUp)], Deed::PageUp, "a page up"),
        bind(&[of(KeyCode::PageDown)], Deed::PageDown, "a page down"),
    ],
};
pub(crate) const CONFIRM: Table = Table {
    title: "A question",
    binds: &[shown(&[key('y')], Deed::Yes, "yes, do it", "yes, do it"), shown(&[key('n'), of(KeyCode::Esc)], Deed::Back, "no", "no")],
};
pub(crate) const NOTE: Table = Table {
    title: "A note",
    binds: &[
        shown(&[of(KeyCode::Enter), of(KeyCode::Esc)], Deed::Back, "close it", "close"),
        bind(&[of(KeyCode::Up), key('k')], Deed::Up, "up"),
        bind(&[of(KeyCode::Down), key('j')], Deed::Down, "down"),
        bind(&[of(KeyCode::PageUp)], Deed::PageUp, "a page up"),
        bind(&[of(KeyCode::PageDown)], Deed::PageDown, "a page down"),
    ],
};
pub(crate) const HELP: Table = Table {
    title: "Help",
    binds: &[
        shown(&[of(KeyCode::Esc), of(KeyCode::Enter), key('q')], Deed::Back, "close help", "close"),
        shown(&[key('?')], Deed::Help, "close help; over a text field, write a question mark", ""),
        bind(&[of(KeyCode::Up), key('k')], Deed::Up, "up"),
        shown(&[of(KeyCode::Down), key('j')], Deed::Down, "down", "down"),
        bind(&[of(KeyCode::PageUp)], Deed::PageUp, "a page up"),
        bind(&[of(KeyCode::PageDown), key(' ')], Deed::PageDown, "a page down"),
    ],
};
