//! Changes of a user and the rows that they write: accounts, credentials, devices, names.
//!
//! In: bytes of `kith.log.v1`. Out: parsed types. What comes here was checked where it came in; apply checks it again.
//! Not here: index rows and the older commands of users (`log`).

use super::{Command, PushChange};
use crate::{
    id::{Bucket, CallKey, ChannelId, DeviceId, RegionId, Seq, Timestamp, UserId, UserRev, hash},
    limit,
    log::{Position, UnderKey, UserState},
    secret::Secret,
};

/// A device that is let in by a password or the like.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EnterDevice {
    /// Which.
    pub device: DeviceId,
    /// What it is called in the user's list of devices.
    pub title: String,
    /// Digest of the secret in its first refresh token.
    pub refresh: [u8; 32],
}

/// A change of one user, applied in their home. Stored: a field number in the proto, never reused.
#[derive(Clone, PartialEq, Debug)]
pub enum UserChange {
    /// Makes the account with all that it needs: the only commit point of a sign-up. The same key and name again let the device in.
    SignUp { name: String, key: [u8; 32], password: Option<Secret>, recovery: Option<[u8; 32]>, enter: Option<EnterDevice> },
    /// Lets a device in. `password_rev`: the password that was checked must still be in force.
    LogIn { password_rev: Option<u64>, enter: EnterDevice },
    /// Shows a refresh token and takes the next one.
    Refresh { device: DeviceId, shown: [u8; 32], next: [u8; 32] },
    /// Ends these devices, or all others.
    EndDevices { devices: Vec<DeviceId>, all_others: bool },
    /// Another password, in the place of the one of this revision; ends all devices but one.
    SetPassword { password_rev: u64, password: Secret, keep: DeviceId },
    /// Another recovery code; the password of this revision was checked.
    SetRecovery { password_rev: u64, recovery: [u8; 32] },
    /// A code that resets the password once, until then.
    IssueReset { code: [u8; 32], until: Timestamp },
    /// Shows a recovery code or an issued one: another password and recovery code; ends all devices.
    ResetPassword { shown: [u8; 32], password: Secret, recovery: [u8; 32] },
    /// The commit point of a rename; `renames` is their count before it.
    Rename { name: String, renames: u64 },
    /// Asks whether the user has this name. If not, none of the renames or sign-ups under way will give it to them any more.
    SettleName { name: String },
    /// Gives or takes an operator's rights.
    SetAdmin { admin: bool },
    /// Ends the account for ever; id and name's hold stay. The password of this revision was checked.
    Erase { password_rev: u64 },
    /// What was owed elsewhere has been done there, up to this version.
    Paid { debt: Debt, version: u64 },
    /// How a conversation stands in the user's list.
    Prefer { channel: ChannelId, preference: Preference },
    /// What others see of the user: each part that is given; an empty text takes it away.
    SetProfile { display: Option<String>, about: Option<String>, avatar: Option<String>, searchable: Option<bool>, fields: Vec<ProfileField> },
    /// Whether the user wants the other as a contact: contacts are those who both do.
    AskContact { peer: UserId, asked: bool },
    /// Whether the other wants this user, as the other's home says; the higher version holds.
    MirrorContact { peer: UserId, asked: bool, version: u64 },
    /// Whether the user wants to hear nothing of the other.
    Block { peer: UserId, blocked: bool },
    /// The search index has these words of the user, as of this version.
    Indexed { version: u64, words: Vec<String> },
    /// Makes the account of a bot: as a sign-up, but its owner looks after it; 0: the cluster's operators do. The same key and name again
    /// give it another token.
    SignUpBot { name: String, key: [u8; 32], owner: UserId, enter: EnterDevice },
    /// Gives a bot another token in the place of the one before, or ends that. `by`: who wants it; 0: an operator.
    BotToken { by: UserId, enter: Option<EnterDevice> },
    /// Ends a bot for ever.
    EraseBot { by: UserId },
    /// The user owns a bot, or does not any more.
    OwnBot { bot: UserId, owned: bool },
    /// These channels have forgotten the user, who was erased: so does the index.
    Forget { channels: Vec<ChannelId> },
    /// Shuts the user out, or lets them in again.
    SetBanned { banned: bool },
    /// Somebody says that they have lost the password: the app's backend is to be told a code that follows from `nonce`, by the cluster's key. One
    /// that is good for long enough stays, and is told again.
    AskReset { nonce: [u8; 16], code: [u8; 32], until: Timestamp },
    /// A change of one who comes without a token, under a key of theirs: it is noted with the change, and done once.
    Keyed { key: CallKey, digest: u64, change: Box<UserChange> },
    /// Whether all others see the user offline.
    SetPrivate { private: bool },
    /// The user was here then, and still is or has gone.
    Seen { here: bool, at: Timestamp },
    /// Of pushes.
    Push(PushChange),
}

/// One wish about a conversation in the list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Preference {
    /// On top of the list.
    Pin(bool),
    /// No push until then; `None`: none any more; the largest time: for ever.
    Mute { until: Option<Timestamp> },
    /// Out of the list until something is said after the record that the device had seen (or for as long as it is muted); `None`: back into it.
    /// News of what was seen may come to the index after the wish.
    Archive { seen: Option<Seq> },
    /// What was written and not sent yet; empty: nothing.
    Draft(SavedDraft),
    /// What is here up to this record is read, and not shown in this list any more.
    Clear { seq: Seq, cnt: u64 },
}

/// A text that was not sent yet.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SavedDraft {
    /// So far.
    pub text: String,
    /// The record that it will answer.
    pub reply_to: Option<Seq>,
    /// When it was written, by the device's clock.
    pub at: Timestamp,
}

/// A custom field of a profile.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ProfileField {
    /// Its name, chosen by the app.
    pub key: String,
    /// Its value; empty: take it away.
    pub value: String,
}

/// How a conversation stands in a user's list; part of the index row.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PreferencesRow {
    /// Since when it is pinned.
    pub pinned: Option<Timestamp>,
    /// Until when it is muted.
    pub muted: Option<Timestamp>,
    /// The head when it was archived: above it, it is in the list again.
    pub archived: Option<Seq>,
    /// What was written and not sent.
    pub draft: Option<SavedDraft>,
    /// Up to here it was cleared.
    pub cleared: Position,
}

/// What others see of a user.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ProfileRow {
    /// Shown in the place of the name.
    pub display: String,
    /// A few words.
    pub about: String,
    /// Where the picture is.
    pub avatar: String,
    /// Not found by search.
    pub hidden: bool,
    /// Rising by key.
    pub fields: Vec<ProfileField>,
    /// What the search index may have of this user.
    pub words: Vec<String>,
    /// Raised with each change that search must hear of.
    pub version: u64,
}

/// What stands between a user and another.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ContactRow {
    /// This user wants the other.
    pub mine: bool,
    /// The other wants this user.
    pub theirs: bool,
    /// As of that count of changes of theirs.
    pub theirs_version: u64,
    /// This user hears nothing of the other.
    pub blocked: bool,
    /// When it last changed.
    pub since: Timestamp,
    /// This user was asked, and does not want to.
    pub declined: bool,
}

/// A word of a user in the search index.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct WordRow {
    /// Of the profile that had it.
    pub version: u64,
}

impl ContactRow {
    /// Both want each other.
    pub const fn is_mutual(&self) -> bool {
        self.mine && self.theirs
    }
}

/// Where a word is looked up: by how it begins, so that a prefix is one range of one bucket. Names of the first region hold them all.
pub fn bucket_of_word(word: &str) -> Bucket {
    let begin: String = word.chars().take(word_prefix(word)).collect();
    Bucket { region: RegionId::FIRST, index: (hash(&[b"kith/word/1", begin.as_bytes()]) >> 48) as u16 }
}

/// How many characters of a word say where it is: two of ASCII, one of a script that has thousands.
fn word_prefix(word: &str) -> usize {
    if word.chars().next().is_some_and(|first| first.is_ascii()) { limit::SEARCH_ASCII_MIN } else { 1 }
}

/// Something that a user's home owes to another group. At most one row each: the latest state is told, not each step.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Debt {
    /// A name that is, or was, the user's: to be confirmed, or held back.
    Name(String),
    /// Whether the user wants the other as a contact.
    Contact(UserId),
    /// The user's words in the search index.
    Search,
    /// The texts of a user who was erased, in all channels of their index.
    Texts,
    /// A bot of a user who is gone: it goes too.
    Bot(UserId),
    /// A code that resets the password, to the app's backend.
    Reset,
}

/// An account.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct UserRow {
    /// Unique, folded.
    pub name: String,
    /// Digest of the secret sign-up key.
    pub key: [u8; 32],
    /// Whether it may sign in.
    pub state: UserState,
    /// Version of the user's index.
    pub rev: UserRev,
    /// When it was made.
    pub created: Timestamp,
    /// Whether it has an operator's rights.
    pub admin: bool,
    /// Log-ins so far: numbers them.
    pub logins: u64,
    /// Renames so far, and attempts that were settled against.
    pub renames: u64,
    /// When it was last renamed.
    pub renamed: Timestamp,
    /// Tokens that are bound to no device and were made up to here are of no use.
    pub closed: Timestamp,
    /// Changes so far that were owed elsewhere: numbers them.
    pub debts: u64,
    /// Conversations pinned.
    pub pins: u32,
    /// Conversations with a draft.
    pub drafts: u32,
    /// Rows of contacts.
    pub contacts: u32,
    /// Users blocked.
    pub blocks: u32,
    /// Since when an operator has shut it out; 0: not.
    pub banned: Timestamp,
    /// Groups that the user is in.
    pub groups: u32,
    /// Whether all others see the user offline.
    pub private: bool,
    /// Whether a session was known at `seen`, and nobody has said since that the last one ended.
    pub here: bool,
    /// When the user was last known to be here, within ten minutes.
    pub seen: Timestamp,
    /// Devices that are pushed to; 0: nothing is noted for pushes.
    pub pushes: u32,
}

impl UserRow {
    /// Whether an operator has shut it out.
    pub const fn is_banned(&self) -> bool {
        self.banned.get() > 0
    }
}

/// How an account is proven. A row of its own: the account's is written with each move of the index.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CredentialRow {
    /// PHC string of Argon2id; `None`: cannot log in by password.
    pub password: Option<Secret>,
    /// Raised with each change of the password.
    pub password_rev: u64,
    /// Digest of the recovery code.
    pub recovery: Option<[u8; 32]>,
    /// An operator's one-time code.
    pub reset: Option<IssuedReset>,
    /// What the app's backend was told, or is to be.
    pub mailed: Option<MailedReset>,
    /// Whose bot this is; 0: the cluster's. `None`: a person.
    pub owner: Option<UserId>,
    /// Bots that this user owns, in the order in which they were made; at most `limit::BOTS_MAX`.
    pub bots: Vec<UserId>,
}

/// A one-time code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IssuedReset {
    /// Its digest.
    pub code: [u8; 32],
    /// It is of no use from then on.
    pub until: Timestamp,
}

/// A one-time code that the app's backend hands to the user, and how often somebody has asked for one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MailedReset {
    /// The code follows from it, by the cluster's key.
    pub nonce: [u8; 16],
    /// Its digest; `None`: it was taken.
    pub code: Option<[u8; 32]>,
    /// It is of no use from then on.
    pub until: Timestamp,
    /// When somebody last asked, and was heard.
    pub asked: Timestamp,
    /// Since when it is counted how often.
    pub since: Timestamp,
    /// How often since then.
    pub asks: u32,
}

/// Something owed: there while it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct OwedRow {
    /// Of the latest change; what is paid up to an older one stays owed.
    pub version: u64,
}

impl UserChange {
    /// Under a key, if there is one.
    #[must_use]
    pub fn under(self, call: Option<UnderKey>) -> Self {
        match call {
            Some(UnderKey { key, digest }) => Self::Keyed { key, digest, change: Box::new(self) },
            None => self,
        }
    }
    /// As a command on a user.
    pub const fn of(self, user: UserId) -> Command {
        Command::User { user, change: self }
    }
}
