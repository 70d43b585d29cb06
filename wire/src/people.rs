//! Accounts and people in the client protocol: sign-up, log-in, devices, passwords, names.
//!
//! In: the fields of a [`crate::client::Request::People`]. Out: those of an answer. Invariant: what is secret is a [`Secret`], which no log
//! shows. Those that [`PeopleRequest::is_at_door`] says so of may be asked before Hello, without a token. Not here: what they do (the node).

use crate::{
    client::UserView,
    id::{ChannelId, DeviceId, Timestamp, UserId},
    log::{Preference, ProfileField},
    secret::Secret,
};

/// A request about accounts and people.
#[derive(Clone, PartialEq, Debug)]
pub enum PeopleRequest {
    /// Makes an account, and lets the device in. `key` is drawn and kept by the client until it is answered: with it, a retry is the same user.
    SignUp { name: String, password: Secret, key: [u8; 32], nonce: [u8; 16], title: String },
    /// Lets a device in by name and password.
    LogIn { name: String, password: Secret, nonce: [u8; 16], title: String },
    /// Lets a device in by a token of the app's own backend (JWT); the account is made on first use.
    LogInWith { token: Secret, nonce: [u8; 16], title: String },
    /// Gives a new access token, and the next refresh token. `nonce` is drawn for this token and kept until it is answered: with it, a retry gives
    /// the same, in whatever order the tries arrive.
    Refresh { token: Secret, nonce: [u8; 16] },
    /// Another password by a recovery code or a one-time code.
    ResetPassword { name: String, code: Secret, password: Secret },
    /// Ends this device.
    LogOut,
    /// The user's devices.
    Devices,
    /// Ends a device: its session within a second, its tokens for ever.
    EndDevice { device: DeviceId },
    /// Ends all devices but this one.
    EndOthers,
    /// Another password; ends all other devices.
    ChangePassword { old: Secret, new: Secret },
    /// A new recovery code in the place of the old one.
    NewRecoveryCode { password: Secret },
    /// Another name; the old one is held back for 30 days.
    Rename { name: String },
    /// Ends the account for ever.
    DeleteAccount { password: Secret },
    /// A one-time code that resets a user's password; needs an operator.
    ResetLink { name: String },
    /// Gives or takes an operator's rights; only by a token made on a node's own machine.
    SetAdmin { name: String, admin: bool },
    /// How a conversation stands in the own list, on all devices.
    Prefer { channel: ChannelId, preference: Preference },
    /// What others see: each part that is given; an empty text takes it away.
    SetProfile { display: Option<String>, about: Option<String>, avatar: Option<String>, searchable: Option<bool>, fields: Vec<ProfileField> },
    /// What is seen of users.
    GetProfiles { users: Vec<UserId> },
    /// Asks somebody to be a contact, accepts who has asked, or takes that back or declines.
    AskContact { peer: UserId, asked: bool },
    /// Whether to hear nothing of somebody.
    Block { peer: UserId, blocked: bool },
    /// Contacts, and who has asked or was, by user id; after this one.
    Contacts { after: UserId },
    /// Users by the beginning of their name or of a word of their display name.
    Search { prefix: String },
    /// Makes a bot of this user, or of the cluster where an operator without an account asks. `key` is drawn and kept by the client until it is
    /// answered: with it, a retry is the same bot.
    MakeBot { name: String, key: [u8; 32] },
    /// Another token for a bot, in the place of the one before; of its owner, or an operator.
    BotToken { bot: UserId },
    /// Ends the token of a bot: it is refused everywhere within ten seconds.
    EndBotToken { bot: UserId },
    /// Ends a bot for ever.
    DeleteBot { bot: UserId },
    /// The user's bots.
    Bots,
    /// Has the app's backend hand a one-time code to whoever has this name. Answered alike whether anybody has it.
    AskReset { name: String },
}

/// An answer about accounts and people.
#[derive(Clone, PartialEq, Debug)]
pub enum PeopleAnswer {
    /// The device is in.
    LoggedIn(LoggedIn),
    /// Devices, the last seen first.
    Devices(Vec<DeviceView>),
    /// Done, nothing to tell.
    Done,
    /// Profiles; of users that do not exist there is none.
    Profiles(Vec<ProfileView>),
    /// Contacts, by rising user, and whether there are more.
    Contacts { contacts: Vec<ContactView>, more: bool },
    /// A code that is shown once.
    Code { code: Secret, until: Option<Timestamp> },
    /// A bot, and its token, shown once.
    Bot { user: UserId, name: String, token: Secret },
    /// Bots, in the order in which they were made; an empty name: gone, or not known now.
    Bots(Vec<UserView>),
}

/// What a device needs to go on.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LoggedIn {
    /// The user.
    pub user: UserId,
    /// Their name, folded.
    pub name: String,
    /// The device: `H(user, nonce)`.
    pub device: DeviceId,
    /// For Hello.
    pub access: Secret,
    /// It is of no use from then on.
    pub access_until: Timestamp,
    /// For the next [`PeopleRequest::Refresh`], once.
    pub refresh: Secret,
    /// A new account's recovery code, shown once.
    pub recovery: Option<Secret>,
}

/// A device, as its user sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DeviceView {
    /// Which.
    pub device: DeviceId,
    /// What it is called.
    pub title: String,
    /// When it was first seen.
    pub created: Timestamp,
    /// When it last signed in.
    pub seen: Timestamp,
    /// Whether it is the one that asks.
    pub current: bool,
}

/// What is seen of a user.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ProfileView {
    /// Who.
    pub user: UserId,
    /// Their name, folded: what tells them apart.
    pub name: String,
    /// What is shown in its place; empty: the name is.
    pub display: String,
    /// A few words.
    pub about: String,
    /// Where the picture is.
    pub avatar: String,
    /// Of the app.
    pub fields: Vec<ProfileField>,
}

/// What stands between the user and another.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ContactView {
    /// Who.
    pub user: UserId,
    /// Their name; empty if it is not known now.
    pub name: String,
    /// What is shown in its place.
    pub display: String,
    /// How it stands.
    pub state: ContactState,
    /// Since when.
    pub since: Timestamp,
}

/// How two users stand. The number is on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ContactState {
    /// 1: contacts.
    Mutual,
    /// 2: this user has asked.
    Asked,
    /// 3: the other has asked.
    Asking,
    /// 4: this user has blocked the other.
    Blocked,
}

impl PeopleRequest {
    /// The name whose password or code it may guess, or whose holder it may pester.
    pub fn guesses(&self) -> Option<&str> {
        match self {
            Self::LogIn { name, .. } | Self::ResetPassword { name, .. } | Self::AskReset { name } => Some(name),
            _ => None,
        }
    }
    /// Whether it may be asked without a token.
    pub const fn is_at_door(&self) -> bool {
        matches!(
            self,
            Self::SignUp { .. }
                | Self::LogIn { .. }
                | Self::LogInWith { .. }
                | Self::Refresh { .. }
                | Self::ResetPassword { .. }
                | Self::AskReset { .. }
        )
    }
}
