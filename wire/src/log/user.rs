//! Changes of a user and the rows that they write: accounts, credentials, devices, names.
//!
//! In: bytes of `kith.log.v1`. Out: parsed types. What comes here was checked where it came in; apply checks it again.
//! Not here: index rows and the older commands of users (`log`).

use super::Command;
use crate::{
    id::{DeviceId, Timestamp, UserId},
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
    /// Ends the account for ever; id and name's hold stay.
    Erase,
    /// What was owed elsewhere has been done there, up to this version.
    Paid { debt: Debt, version: u64 },
}

/// Something that a user's home owes to another group. At most one row each: the latest state is told, not each step.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Debt {
    /// A name that is, or was, the user's: to be confirmed, or held back.
    Name(String),
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
    /// An operator's or the app's one-time code.
    pub reset: Option<IssuedReset>,
}

/// A one-time code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IssuedReset {
    /// Its digest.
    pub code: [u8; 32],
    /// It is of no use from then on.
    pub until: Timestamp,
}

/// Something owed: there while it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct OwedRow {
    /// Of the latest change; what is paid up to an older one stays owed.
    pub version: u64,
}

impl UserChange {
    /// As a command on a user.
    pub const fn of(self, user: UserId) -> Command {
        Command::User { user, change: self }
    }
}
