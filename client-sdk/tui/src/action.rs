//! What the app asks the world for, and what the world tells it: the border between the pure part and the shell.
//!
//! In: events. Out: actions. Invariant: each [`Ask`] is answered once, with itself beside the answer, so that no table of what is open is
//! needed; writes of a conversation are handed on in the order in which they were made. Not here: who does it (`shell`, `work`).

use std::sync::Arc;

use crossterm::event::KeyEvent;
use kith_client::{
    ChannelSummary, Draft, Error, Event as SdkEvent, PresenceMap, ProfileChange,
    wire::{
        act::{Reaction, Rules},
        client::{ChannelView, GroupView, HistoryPage},
        id::{ChannelId, DeviceId, Seq, Timestamp, UserId},
        log::{Position, Record, Role, SavedDraft},
        people::{ContactView, DeviceView, ProfileView},
        search::{SearchPage, Spot},
        secret::Secret,
    },
};

/// Something happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A key was pressed.
    Key(KeyEvent),
    /// A text was pasted.
    Paste(String),
    /// The terminal has this size, in columns and rows.
    Size(u16, u16),
    /// Time went on.
    Tick,
    /// The way in is open: this user, under this name. The recovery code of a new account, once.
    Entered { user: UserId, name: String, recovery: Option<Secret> },
    /// It is not.
    Refused(Entry, Error),
    /// The password was set by a code; here is the next code.
    PasswordReset(Secret),
    /// The client has ended: by the user, or for a reason.
    Left(Option<Error>),
    /// How the connection stands.
    Link(Link),
    /// Something that nobody asked for.
    Sdk(SdkEvent),
    /// How users whom the screen shows are.
    Presence(PresenceMap),
    /// The list of conversations, those that are archived apart.
    Listed(Vec<ChannelSummary>, Vec<ChannelSummary>),
    /// What came of a question.
    Answered(Box<Ask>, Result<Answer, Error>),
    /// How far a write has got.
    Wrote(u64, Progress),
}

/// How the connection stands.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Link {
    /// Nobody is logged in.
    #[default]
    None,
    /// No connection; the next try is in so many milliseconds, if that is known.
    Offline(Option<u64>),
    /// A connection is being made.
    Connecting,
    /// Connected to this node; the list is brought up to date.
    Syncing(String),
    /// Connected to this node.
    Online(String),
}

/// How far a write has got.
#[derive(Clone, Debug)]
pub enum Progress {
    /// It has this number of the device, and is stored.
    Queued(u64),
    /// It stands there, since then.
    Recorded(Seq, Timestamp),
    /// It was done without a record.
    Done,
    /// It never will be.
    Failed(Error),
}

/// Something to do.
#[derive(Clone, Debug)]
pub enum Action {
    /// End the program.
    Quit,
    /// Let somebody in.
    Enter(Entry),
    /// Close the client.
    Leave,
    /// Forget a saved login.
    Forget(String),
    /// Read the list of conversations.
    List,
    /// Look at these users from now on, and at no others.
    Look(Vec<UserId>),
    /// Ask.
    Ask(Ask),
    /// Do something that is numbered, resent until it is answered, and done once.
    Write { ticket: u64, channel: ChannelId, write: Write },
}

/// Where the cluster is, as a person writes it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Server {
    /// Addresses of its nodes, between commas.
    pub addresses: String,
    /// File of the authority's certificate.
    pub certificate: String,
}

/// A way in.
#[derive(Clone, Debug)]
pub enum Entry {
    /// A new account.
    SignUp { server: Server, name: String, password: Secret },
    /// By name and password.
    LogIn { server: Server, name: String, password: Secret },
    /// By what was saved here.
    Resume { server: Server, name: String },
    /// Another password by a code; one logs in by it then.
    Reset { server: Server, name: String, code: Secret, password: Secret },
}

/// Which records of a conversation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Want {
    /// The newest, from the server, or from what this device holds while it is offline.
    Newest,
    /// Those before this one.
    Before(Seq),
    /// Those after this one.
    After(Seq),
    /// Those around this one.
    Around(Seq),
    /// This one, which another answers.
    Quoted(Seq),
}

/// What is looked for in messages.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Looked {
    /// Words, `"a phrase"`, `beginn*`, `-unwanted`.
    pub words: String,
    /// Only of the user of this name.
    pub from: Option<String>,
    /// Only from then on.
    pub since: Option<Timestamp>,
    /// Only before then.
    pub until: Option<Timestamp>,
    /// Only there.
    pub within: Option<ChannelId>,
    /// Only what is older: the next page.
    pub below: Option<Spot>,
}

/// A question, or something to be done that takes no number.
#[derive(Clone, Debug)]
pub enum Ask {
    /// What is seen of users.
    Names(Vec<UserId>),
    /// Records of a conversation.
    Page(ChannelId, Want),
    /// Members and how far they have read.
    Members(ChannelId),
    /// Rules, pins, links.
    Group(ChannelId),
    /// The own read position.
    MarkRead(ChannelId, Position),
    /// That this user types.
    Typing(ChannelId),
    /// How a conversation stands in the list.
    Prefer(ChannelId, Wish),
    /// Who has seen a record.
    Seen(ChannelId, Seq),
    /// The direct conversation with a user of this name.
    Direct(String),
    /// A group with a title and members by name.
    NewGroup(String, Vec<String>),
    /// Join by a link.
    Join(String),
    /// A user by name, to be added to this group.
    Add(ChannelId, String),
    /// All contacts.
    Contacts,
    /// Users by the beginning of a name.
    Find(String),
    /// What is to be with another user.
    Contact(UserId, Stand),
    /// Ask a user of this name to be a contact.
    AskByName(String),
    /// A user's profile, to be shown.
    Profile(UserId),
    /// The own devices.
    Devices,
    /// End a device.
    EndDevice(DeviceId),
    /// End all others.
    EndOthers,
    /// Another password.
    Password(Secret, Secret),
    /// Another recovery code.
    Recovery(Secret),
    /// Another name.
    Rename(String),
    /// What others see.
    SetProfile(ProfileChange),
    /// End this device.
    LogOut,
    /// End the account.
    Delete(Secret),
    /// Messages.
    Search(Looked),
}

/// How a conversation is to stand in the list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Wish {
    /// On top.
    Pin(bool),
    /// Without a sound until then.
    Mute(Option<Timestamp>),
    /// Out of it.
    Archive(bool),
    /// With what is written and not sent.
    Draft(SavedDraft),
}

/// How one is to stand to another user.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stand {
    /// As a contact: asks, or accepts.
    Contact,
    /// Not as one.
    Stranger,
    /// As somebody who is not heard.
    Blocked,
    /// As somebody who is heard again.
    Unblocked,
}

/// An answer.
#[derive(Clone, Debug)]
pub enum Answer {
    /// It is done.
    Done,
    /// It waits for an admin.
    Pending,
    /// Users.
    People(Vec<ProfileView>),
    /// Records from the server.
    Page(HistoryPage),
    /// Records that this device holds, rising, and whether there are older ones.
    Held(Vec<Arc<Record>>, bool),
    /// Members.
    Members(ChannelView),
    /// Rules, pins, links.
    Group(GroupView),
    /// Who has read it, to whom it was delivered, who reacted.
    Seen { read: Vec<UserId>, delivered: Vec<UserId>, reactions: Vec<Reaction> },
    /// A conversation, to be opened.
    Channel(ChannelId),
    /// A user.
    User(UserId),
    /// Contacts.
    Contacts(Vec<ContactView>),
    /// Devices.
    Devices(Vec<DeviceView>),
    /// A code that is shown once.
    Code(Secret),
    /// Messages that were found.
    Found(SearchPage),
}

/// What is numbered.
#[derive(Clone, Debug)]
pub enum Write {
    /// A text.
    Send(Draft),
    /// Another text in the place of an own one.
    Edit(Seq, String, Vec<UserId>),
    /// A text that is to be gone.
    Delete(Seq),
    /// A reaction, or not.
    React(Seq, String, bool),
    /// A pin, or not.
    Pin(Seq, bool),
    /// A copy of a text that stands elsewhere.
    Forward(ChannelId, Seq),
    /// A new member.
    Add(UserId),
    /// A member less.
    Remove(UserId),
    /// This user leaves.
    Leave,
    /// A member's role.
    Role(UserId, Role),
    /// Title or description.
    Describe(Option<String>, Option<String>),
    /// Rules.
    Rules(Rules),
    /// Another owner.
    HandOver(UserId),
    /// A member who may not write until then.
    Mute(UserId, Timestamp),
    /// A link: until then, for so many; 0: without end.
    Invite(Timestamp, u32),
    /// A link less.
    Revoke([u8; 16]),
    /// Somebody who asked to join is not let in.
    Reject(UserId),
}
